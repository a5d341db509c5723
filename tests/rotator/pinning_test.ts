import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  type Fleet,
  fullWindows,
  HOUR,
  MINUTE,
  START,
  startFleet,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";
import type { PoolState, Store } from "../../mod.ts";

const PINNED = { pinned: "alice" };

function usageCallsOf(fleet: Fleet, name: string): number {
  return fleet.fake.log.filter((entry) =>
    entry.kind === "usage" && entry.account === name
  ).length;
}

function typeOf(text: string): string {
  return JSON.parse(text).error.type;
}

test("a pinned account alone serves and is asked, whatever the others have", async () => {
  await using fleet = await startFleet({
    settings: PINNED,
    accounts: { alice: {}, bob: { plan: "pro" } },
  });
  for (let n = 0; n < 3; n++) await fleet.ask();
  assertEquals(fleet.served(), ["alice", "alice", "alice"]);
  assertEquals(usageCallsOf(fleet, "bob"), 0);
  assertEquals((await fleet.rotator.status()).next, "alice");
});

test("a pinned account that is newly credited is asked and used, never another", async () => {
  await using fleet = await startFleet({
    settings: PINNED,
    accounts: {
      alice: { windows: fullWindows(START) },
      bob: {},
      carol: { credits: { ...TEN_CREDITS } },
    },
  });
  const refused = await fleet.ask();
  assertEquals([refused.status, typeOf(refused.text)], [
    429,
    "usage_limit_reached",
  ]);
  assertMatch(refused.text, /pinned account \\"alice\\"/);
  fleet.fake.account("alice").credits = { ...TEN_CREDITS };
  assertEquals((await fleet.ask()).status, 429, "it was asked just now");
  assertEquals(usageCallsOf(fleet, "alice"), 1);
  fleet.clock.now += MINUTE;
  assertEquals((await fleet.ask()).alias, "alice");
  assertEquals(usageCallsOf(fleet, "alice"), 2);
  assertEquals(fleet.served(), ["alice$"]);
  assertEquals(
    fleet.fake.log.every(({ account }) => account === "alice"),
    true,
  );
});

test("a pinned account that may not spend is refused, with credits and others at hand", async () => {
  await using fleet = await startFleet({
    credits: ["bob"],
    settings: PINNED,
    accounts: {
      alice: { windows: fullWindows(START), credits: { ...TEN_CREDITS } },
      bob: { credits: { ...TEN_CREDITS } },
    },
  });
  const { status, text } = await fleet.ask();
  assertEquals(status, 429);
  const { accounts } = JSON.parse(text).error;
  assertEquals(accounts.length, 1);
  assertEquals(accounts[0].alias, "alice");
  assertEquals(accounts[0].reason, "exhausted");
  assertEquals(fleet.served(), []);
  fleet.clock.now = START + HOUR;
  assertEquals((await fleet.ask()).alias, "alice", "its window has reset");
  assertEquals(fleet.fake.charged, []);
});

test("a pinned account that cannot serve says why, without asking the others", async () => {
  const answers: unknown[] = [];
  for (const pinned of ["disabled", "login", "nobody"]) {
    await using fleet = await startFleet({
      settings: { pinned },
      accounts: { disabled: {}, login: {}, other: {} },
      records: {
        disabled: { enabled: false },
        login: { auth: { invalidAt: START, reason: "The sign-in expired" } },
      },
    });
    const { status, text } = await fleet.ask();
    assertMatch(text, new RegExp(`pinned account \\\\"${pinned}\\\\"`));
    answers.push([pinned, status, typeOf(text)]);
    assertEquals(fleet.fake.log.length, 0);
    const { next } = await fleet.rotator.status();
    assertEquals(next, null);
  }
  assertEquals(answers, [
    ["disabled", 403, "no_eligible_account"],
    ["login", 401, "login_required"],
    ["nobody", 403, "no_eligible_account"],
  ]);
});

test("a pinned account's hiccup is tried again on it alone", async () => {
  await using fleet = await startFleet({
    random: () => 0,
    settings: PINNED,
    accounts: { alice: {}, bob: {} },
  });
  fleet.fake.account("alice").queue.push({ status: 503, body: {} });
  assertEquals((await fleet.ask()).alias, "alice");
  fleet.fake.account("alice").queue.push({
    status: 429,
    headers: { "retry-after": "30" },
    body: {},
  });
  const { status, response } = await fleet.ask();
  assertEquals(status, 429);
  assertEquals(response.headers.get("retry-after"), "30");
  assert(fleet.fake.log.every(({ account }) => account === "alice"));
});

test("a pin is honoured within a second, before the session's account, until it is taken off", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  const store = fleet.store as Store;
  const ask = async () => (await fleet.ask({ prompt_cache_key: "k" })).alias;
  assertEquals(await ask(), "alice");
  await store.update((state) => {
    state.settings.pinned = "bob";
  });
  fleet.clock.now += 1000;
  assertEquals(await ask(), "bob");
  const switched = fleet.events.find((event) => event.type === "switched");
  assertEquals(switched?.reason, "Another account is pinned");
  await store.update((state) => {
    state.settings.pinned = null;
  });
  fleet.clock.now += 1000;
  assertEquals(await ask(), "bob", "the session stays where it was served");
  assertEquals((await fleet.ask()).alias, "alice");
});

test("a pin is honoured also where a store goes on with one object of its own", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: {} },
    store(initial) {
      const state = structuredClone(initial) as PoolState;
      return {
        read: () => Promise.resolve(state),
        update(change) {
          change(state);
          return Promise.resolve(state);
        },
        exclusive: (_name, job) => job(),
      };
    },
  });
  await fleet.ask();
  await (fleet.store as Store).update((state) => {
    state.settings.pinned = "alice";
  });
  fleet.clock.now += 1000;
  const aliases = [(await fleet.ask()).alias, (await fleet.ask()).alias];
  assertEquals(aliases, ["alice", "alice"]);
});
