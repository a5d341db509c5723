import { assert, assertEquals, assertMatch } from "@std/assert";
import type { RotatorEvent } from "../../mod.ts";
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

type EventOf<Type extends RotatorEvent["type"]> = Extract<
  RotatorEvent,
  { type: Type }
>;

function eventsOf<Type extends RotatorEvent["type"]>(
  fleet: Fleet,
  type: Type,
): EventOf<Type>[] {
  return fleet.events.filter((event): event is EventOf<Type> =>
    event.type === type
  );
}

async function rowOf(fleet: Fleet, alias: string) {
  const { accounts } = await fleet.rotator.status();
  return accounts.find((row) => row.alias === alias)!;
}

function credited(more: { balance: string | null } = { balance: "10" }) {
  return {
    windows: fullWindows(START),
    credits: { ...TEN_CREDITS, ...more },
  };
}

test("credits-spent tells the balances once per answer, and the default policy warns once", async () => {
  await using fleet = await startFleet({
    accounts: { alice: credited(), bob: {} },
  });
  await fleet.ask();
  assertEquals(eventsOf(fleet, "credits-spent"), [], "bob had included usage");
  assertEquals(eventsOf(fleet, "warning"), []);
  fleet.fake.account("bob").windows = fullWindows(START);
  await fleet.rotator.refresh();
  for (let n = 0; n < 3; n++) await fleet.ask();
  const spent = eventsOf(fleet, "credits-spent").map((event) => [
    event.alias,
    event.certain,
    event.balanceBefore,
    event.balanceAfter,
  ]);
  assertEquals(spent, [
    ["alice", true, "10", "9"],
    ["alice", true, "9", "8"],
    ["alice", true, "8", "7"],
  ]);
  const warnings = eventsOf(fleet, "warning");
  assertEquals(warnings.length, 1);
  assertMatch(warnings[0]!.reason, /No credit policy is set/);
  assertEquals((await rowOf(fleet, "alice")).credits?.balance, "7");
});

test("a credit policy that is set needs no warning, and an unknown balance is null", async () => {
  await using fleet = await startFleet({
    credits: ["alice"],
    accounts: { alice: credited({ balance: null }) },
  });
  await fleet.ask();
  const [spent] = eventsOf(fleet, "credits-spent");
  assertEquals([spent?.balanceBefore, spent?.balanceAfter], [null, null]);
  assertEquals(eventsOf(fleet, "warning"), []);
});

test("credits-spent knows no balance after an answer that tells none", async () => {
  await using fleet = await startFleet({
    credits: ["alice"],
    accounts: { alice: credited() },
  });
  const { queue } = fleet.fake.account("alice");
  queue.push({
    headers: { "x-codex-credits-has-credits": "" },
    events: [{ type: "response.completed", response: {} }],
  });
  await fleet.ask();
  const [spent] = eventsOf(fleet, "credits-spent");
  assertEquals([spent?.balanceBefore, spent?.balanceAfter], ["10", null]);
});

test("credits-spent tells the balance of the answer's head also when an event names none", async () => {
  const told = { has_credits: true, unlimited: false };
  for (
    const [credits, after] of [
      [told, "9.5"],
      [{ ...told, balance: "9.2" }, "9.2"],
    ] as const
  ) {
    await using fleet = await startFleet({
      credits: ["alice"],
      accounts: { alice: credited() },
    });
    fleet.fake.account("alice").queue.push({
      headers: { "x-codex-credits-balance": "9.5" },
      events: [
        { type: "codex.rate_limits", credits },
        { type: "response.output_item.added", item: {} },
      ],
    });
    await fleet.ask();
    const [spent] = eventsOf(fleet, "credits-spent");
    assertEquals([spent?.balanceBefore, spent?.balanceAfter], ["10", after]);
  }
});

test("credits-spent is uncertain, after a warning, when the account could not be asked", async () => {
  await using fleet = await startFleet({
    credits: "all",
    accounts: { alice: { usageAlways: { status: 500, body: {} } } },
  });
  assertEquals((await fleet.ask()).status, 200);
  const types = fleet.events.map(({ type }) => type);
  assertEquals(types, ["selected", "warning", "credits-spent"]);
  assertEquals(eventsOf(fleet, "selected")[0]?.standing, "unconfirmed");
  assertEquals(eventsOf(fleet, "credits-spent")[0]?.certain, false);
});

test("a request that fails on credits spends nothing and says so to nobody", async () => {
  for (const status of [500, 502, 504]) {
    await using fleet = await startFleet({ accounts: { alice: credited() } });
    fleet.fake.account("alice").queue.push({ status, body: {} });
    assertEquals((await fleet.ask()).status, status);
    assertEquals(eventsOf(fleet, "credits-spent"), []);
    assertEquals(eventsOf(fleet, "warning"), []);
  }
});

test("selected says the standing that status shows", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: credited() },
  });
  await fleet.rotator.refresh();
  for (const expected of ["included", "credits"]) {
    const { next } = await fleet.rotator.status();
    const { standing } = await rowOf(fleet, next!);
    await fleet.ask();
    const selected = eventsOf(fleet, "selected").at(-1)!;
    assertEquals(
      [selected.alias, selected.standing, standing],
      [next, expected, expected],
    );
    fleet.fake.account("alice").windows = fullWindows(START);
    await fleet.rotator.refresh();
  }
});

test("cooldown, switched and status give one reason and one time", async () => {
  const answers = [
    {
      status: 429,
      headers: { "retry-after": "90" },
      body: {},
    },
    {
      status: 429,
      body: {
        error: { type: "usage_limit_reached", resets_in_seconds: 7200 },
      },
    },
    { status: 402, body: { detail: { code: "deactivated_workspace" } } },
    { status: 429, body: { error: { type: "usage_not_included" } } },
  ];
  for (const answer of answers) {
    await using fleet = await startFleet({
      credits: "none",
      accounts: { alice: {}, bob: {} },
    });
    await fleet.rotator.refresh();
    fleet.fake.account("alice").queue.push(answer);
    assertEquals((await fleet.ask()).alias, "bob");
    const [cooldown] = eventsOf(fleet, "cooldown");
    const [switched] = eventsOf(fleet, "switched");
    const row = await rowOf(fleet, "alice");
    assertEquals([switched?.from, switched?.alias], ["alice", "bob"]);
    assertEquals(switched?.reason, cooldown?.reason);
    assertEquals(row.detail, cooldown?.reason);
    assertEquals(row.until, new Date(cooldown?.until ?? 0).toISOString());
  }
});

test("a session that moves says why in the words of status", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  await fleet.ask({ prompt_cache_key: "k" });
  fleet.fake.account("alice").windows = fullWindows(START);
  await fleet.rotator.refresh();
  await fleet.ask({ prompt_cache_key: "k" });
  const { reason } = await rowOf(fleet, "alice");
  assertEquals(reason, "exhausted");
  assertMatch(eventsOf(fleet, "switched")[0]!.reason, /\(exhausted\)/);
});

test("login-required and exhausted say what the answer and status say", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: { windows: fullWindows(START) } },
  });
  await fleet.rotator.refresh();
  fleet.fake.revoke("alice", "all");
  const { status, text } = await fleet.ask();
  assertEquals(status, 429);
  const [login] = eventsOf(fleet, "login-required");
  const row = await rowOf(fleet, "alice");
  assertEquals([row.reason, row.detail], ["login", login?.reason]);
  const [exhausted] = eventsOf(fleet, "exhausted");
  const { error } = JSON.parse(text);
  assertEquals(exhausted?.reason, error.message);
  assertEquals(exhausted?.until, START + HOUR);
  const { accounts } = await fleet.rotator.status();
  assertEquals(
    error.accounts,
    accounts.map(({ alias, reason, until }) => ({ alias, reason, until })),
  );
});

test("a callback that throws disturbs nothing", async () => {
  await using fleet = await startFleet({
    accounts: { alice: credited() },
    onEvent: () => {
      throw new Error("not here");
    },
  });
  assertEquals((await fleet.ask()).status, 200);
  assertEquals(fleet.served(), ["alice$"]);
});

test("a callback that rejects disturbs nothing", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {} },
    onEvent: () => Promise.reject(new Error("not here")),
  });
  assertEquals((await fleet.ask()).status, 200);
});

test("credits-spent is told also of an answer that broke off before its content", async () => {
  await using fleet = await startFleet({ accounts: { alice: credited() } });
  fleet.fake.account("alice").queue.push({
    events: [{ type: "response.created", response: { id: "r" } }],
  });
  assertEquals((await fleet.ask()).status, 200);
  const spent = fleet.events.filter(({ type }) => type === "credits-spent");
  assertEquals(spent.length, 1);
});

test("no event, status or refusal ever holds a token", async () => {
  await using fleet = await startFleet({
    accounts: { alice: { ...credited() }, bob: {}, carol: {}, dave: {} },
  });
  const { fake } = fleet;
  const said: string[] = [];
  const ask = async () => {
    const { text } = await fleet.ask({ prompt_cache_key: "k" });
    said.push(text, JSON.stringify(await fleet.rotator.status()));
    fleet.clock.now += MINUTE;
  };
  await ask();
  const leaky = `Bearer ${fake.tokens("carol").access}`;
  fake.account("bob").queue.push(
    { status: 429, body: { error: { message: leaky } } },
  );
  fake.account("bob").always = {
    status: 402,
    body: { detail: { code: "deactivated_workspace", message: leaky } },
  };
  fake.revoke("carol", "access");
  await ask();
  fake.revoke("dave", "all");
  for (let n = 0; n < 4; n++) await ask();
  fake.account("carol").windows = fullWindows(START);
  fake.account("bob").usageAlways = { status: 403, body: { error: leaky } };
  said.push(JSON.stringify(await fleet.rotator.refresh()));
  for (let n = 0; n < 3; n++) await ask();
  const types = new Set(fleet.events.map(({ type }) => type));
  for (
    const type of [
      "selected",
      "switched",
      "cooldown",
      "credits-spent",
      "usage-refreshed",
      "token-refreshed",
      "login-required",
      "warning",
    ] as const
  ) assert(types.has(type), `nothing was said of ${type}`);
  const all = JSON.stringify(fleet.events) + said.join("\n");
  assert(all.includes("Bearer …"), "the backend's words are told without it");
  assertEquals(all.includes(fake.canary), false);
});
