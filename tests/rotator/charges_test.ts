import { assertEquals } from "@std/assert";
import type { Store } from "../../mod.ts";
import {
  CREDITED,
  EXHAUSTED,
  HOUR,
  kindsOf,
  MINUTE,
  rowOf,
  START,
  startFleet,
  startKnown,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";

test("a balance that falls over a request thought included is told, and makes the account unknown", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: { credits: { ...TEN_CREDITS } } },
  });
  const alice = fleet.fake.account("alice");
  alice.headers = (headers) => ({ ...headers, "x-codex-credits-balance": "7" });
  assertEquals((await fleet.ask()).status, 200);
  const spent = fleet.events.filter(({ type }) => type === "credits-spent");
  assertEquals(
    spent.map((event) =>
      event.type === "credits-spent" &&
      [event.alias, event.certain, event.balanceBefore, event.balanceAfter]
    ),
    [["alice", true, "10", "7"]],
  );
  assertEquals((await rowOf(fleet, "alice"))[0], "unknown");
  alice.windows = EXHAUSTED.windows!;
  fleet.clock.now += MINUTE;
  fleet.fake.clearLog();
  assertEquals((await fleet.ask()).status, 429);
  assertEquals(kindsOf(fleet), ["usage:alice"]);
});

test("an account with credits is asked in the background from 95 % on", async () => {
  for (
    const [usedPercent, credits, calls] of [
      [95, { ...TEN_CREDITS }, 1],
      [94, { ...TEN_CREDITS }, 0],
      [95, undefined, 0],
    ] as const
  ) {
    await using fleet = await startKnown({
      credits: "none",
      accounts: {
        alice: {
          windows: [{ seconds: 18_000, usedPercent, resetAt: START + HOUR }],
          ...(credits && { credits }),
        },
      },
    });
    fleet.clock.now += MINUTE;
    fleet.fake.clearLog();
    await fleet.ask();
    await fleet.rotator.refresh();
    const asked = kindsOf(fleet).filter((kind) => kind === "usage:alice");
    // the refresh joins what is under way
    await fleet.rotator.close();
    assertEquals([usedPercent, asked.length >= calls], [usedPercent, true]);
  }
});

test("rotator.fetch() fails closed where usage tells no rate limit and no readable credits", async () => {
  for (
    const [payload, status] of [
      [{ rate_limit: null, credits: null }, 429],
      [{ rate_limit: null, credits: { has_credits: "maybe" } }, 429],
      [{
        rate_limit: null,
        credits: { has_credits: false, unlimited: false, balance: "0" },
      }, 200],
    ] as const
  ) {
    await using fleet = await startFleet({
      credits: "none",
      accounts: {
        alice: { usageOverride: (usual) => ({ ...usual, ...payload }) },
      },
    });
    assertEquals([payload, (await fleet.ask()).status], [payload, status]);
  }
});

test("an unknown account that may not be asked keeps nobody from credits that are known", async () => {
  await using fleet = await startKnown({
    credits: ["bob"],
    accounts: { alice: { credits: { ...TEN_CREDITS } }, bob: CREDITED },
  });
  fleet.clock.now += 16 * MINUTE;
  fleet.fake.account("alice").usageAlways = { status: 500 };
  assertEquals((await fleet.ask()).alias, "bob");
  assertEquals((await fleet.ask()).alias, "bob");
});

test("facts belong to a login: two names that were exchanged charge nobody by mistake", async () => {
  for (const unknown of ["email", "userId", "accountId"] as const) {
    await using fleet = await startKnown({
      credits: "none",
      accounts: {
        alice: { windows: EXHAUSTED.windows!, credits: { ...TEN_CREDITS } },
        bob: {},
      },
    });
    const store = fleet.store as Store;
    await store.update(({ accounts }) => {
      for (const record of Object.values(accounts)) delete record[unknown];
    });
    fleet.clock.now += 1000;
    assertEquals((await fleet.ask()).alias, "bob");
    await store.update(({ accounts }) => {
      const { alice, bob } = accounts;
      accounts["alice"] = bob!;
      accounts["bob"] = alice!;
    });
    fleet.clock.now += 1000;
    for (let n = 0; n < 3; n++) {
      const { status, alias } = await fleet.ask();
      assertEquals([unknown, status, alias], [unknown, 200, "alice"]);
    }
    assertEquals(fleet.fake.charged, []);
  }
});

test("weighted follows its weights also in processes of one request each", async () => {
  let seed = 1;
  const random = () => (seed = seed * 48_271 % 2_147_483_647) / 2_147_483_647;
  await using fleet = await startKnown({
    strategy: "weighted",
    accounts: { alice: {}, bob: {} },
    records: { alice: { weight: 3 }, bob: { weight: 1 } },
  });
  const { createRotator } = await import("../../mod.ts");
  let bobs = 0;
  for (let n = 0; n < 60; n++) {
    await using rotator = createRotator({
      store: fleet.store,
      strategy: "weighted",
      backend: fleet.fake.backend,
      issuer: fleet.fake.issuer,
      now: () => fleet.clock.now,
      random,
    });
    if ((await fleet.ask({}, {}, rotator)).alias === "bob") bobs++;
  }
  assertEquals([bobs > 6, bobs < 26], [true, true], `${bobs} of 60`);
});
