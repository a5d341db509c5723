import { assert, assertEquals, assertRejects } from "@std/assert";
import { createRotator, type Store } from "../../mod.ts";
import type { FakeAccountOptions } from "../../lib/testing/fake_codex.ts";
import {
  CREDITED,
  DAY,
  EXHAUSTED,
  type Fleet,
  fullWindows,
  kindsOf,
  MINUTE,
  recordOf,
  rowOf,
  START,
  startFleet,
  startKnown,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";

function many(count: number, options: FakeAccountOptions = {}) {
  return Object.fromEntries(
    Array.from({ length: count }, (_, n) => [`a${n}`, options]),
  );
}

function asked(fleet: Fleet): string[] {
  return fleet.fake.log.filter((entry) => entry.kind === "usage").map((entry) =>
    entry.account ?? ""
  );
}

test("rotator.fetch() asks an account once for any number of requests", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => fleet.ask()),
  );
  assertEquals(answers.every((answer) => answer.status === 200), true);
  assertEquals(fleet.usageCalls(), 1);
});

test("rotator.fetch() asks the unknown ones together, eight at once", async () => {
  const release = Promise.withResolvers<void>();
  await using fleet = await startFleet({
    credits: "none",
    accounts: many(20, {
      ...EXHAUSTED,
      usageAlways: { until: release.promise },
    }),
  });
  const answer = fleet.ask();
  await fleet.fake.seen((entry) =>
    entry.kind === "usage" && entry.parallel === 8
  );
  release.resolve();
  assertEquals((await answer).status, 429);
  assertEquals(Math.max(...fleet.fake.log.map((entry) => entry.parallel)), 8);
  assertEquals(asked(fleet).length, 20);
});

test("rotator.fetch() goes on as soon as one of those asked is included", async () => {
  const release = Promise.withResolvers<void>();
  await using fleet = await startFleet({
    accounts: { alice: { usageQueue: [{ until: release.promise }] }, bob: {} },
  });
  assertEquals((await fleet.ask()).alias, "bob");
  release.resolve();
  await fleet.fake.seen((entry) =>
    entry.kind === "usage" && entry.account === "alice" && entry.done
  );
});

test("rotator.fetch() does not ask unknown ones whose turn has not come", async () => {
  await using fleet = await startKnown({
    accounts: {
      alice: { credits: TEN_CREDITS },
      bob: { credits: TEN_CREDITS, plan: "pro" },
    },
  });
  fleet.clock.now += 14 * MINUTE;
  await fleet.ask();
  fleet.clock.now += 14 * MINUTE;
  assertEquals((await fleet.ask()).alias, "bob");
  assertEquals(asked(fleet), []);
});

test("rotator.fetch() asks a stale account before it sends anything to it", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: { credits: TEN_CREDITS } },
  });
  fleet.fake.account("alice").windows = fullWindows(START);
  fleet.clock.now += 15 * MINUTE + 1;
  assertEquals(
    (await fleet.ask()).status,
    429,
    "another program used it up meanwhile",
  );
  assertEquals(kindsOf(fleet), ["usage:alice"]);
  await using twin = await startKnown({
    credits: "all",
    accounts: { alice: { credits: TEN_CREDITS } },
  });
  twin.fake.account("alice").windows = fullWindows(START);
  twin.clock.now += 15 * MINUTE + 1;
  assertEquals((await twin.ask()).status, 200);
  assertEquals(twin.served(), ["alice$"]);
});

test("rotator.fetch() asks an account at most once per minute", async () => {
  await using fleet = await startFleet({
    credits: "none",
    accounts: { alice: EXHAUSTED, bob: { usageAlways: { status: 500 } } },
  });
  fleet.fake.account("bob").always = {
    status: 429,
    body: { error: { type: "usage_limit_reached" } },
  };
  for (
    const [wait, count] of [[0, 1], [30_000, 1], [29_999, 1], [1, 2], [
      59_999,
      2,
    ], [1, 3]] as const
  ) {
    fleet.clock.now += wait;
    await fleet.ask();
    assertEquals(asked(fleet).filter((name) => name === "alice").length, count);
    assert(asked(fleet).filter((name) => name === "bob").length <= count);
  }
});

test("rotator.fetch() asks the exhausted before anything is paid for", async () => {
  await using fleet = await startKnown({
    accounts: { alice: EXHAUSTED, bob: CREDITED },
  });
  fleet.clock.now += MINUTE;
  fleet.fake.account("alice").windows = [{ seconds: 604_800, usedPercent: 0 }];
  assertEquals(
    (await fleet.ask()).alias,
    "alice",
    "an early reset counts in this same request",
  );
  assertEquals(fleet.fake.charged, []);
  await using twin = await startKnown({
    accounts: { alice: EXHAUSTED, bob: CREDITED },
  });
  twin.clock.now += MINUTE;
  assertEquals(
    (await twin.ask()).alias,
    "bob",
    "usage that still shows exhaustion moves nobody",
  );
  assertEquals(asked(twin).sort(), ["alice", "bob"]);
});

test("rotator.fetch() asks accounts at their cap as well before it refuses or pays", async () => {
  const afterReset = async (usedPercent: number, more = {}) => {
    await using fleet = await startKnown({
      accounts: { alice: CREDITED, ...more },
      creditCaps: { alice: { day: 0 } },
    });
    fleet.clock.now += MINUTE;
    fleet.fake.account("alice").windows = [{ seconds: 604_800, usedPercent }];
    const { status, alias } = await fleet.ask();
    return [status, alias, fleet.fake.charged.length];
  };
  assertEquals(await afterReset(0), [200, "alice", 0]);
  assertEquals((await afterReset(100))[0], 429);
  assertEquals(await afterReset(0, { bob: CREDITED }), [200, "alice", 0]);
  const paid = await afterReset(100, { bob: CREDITED });
  assertEquals(paid, [200, "bob", 1]);
});

test("rotator.fetch() serves a newly credited account in the same request", async () => {
  const newly = async (credits: "all" | "none") => {
    await using fleet = await startKnown({
      credits,
      accounts: { alice: EXHAUSTED },
    });
    assertEquals((await fleet.ask()).status, 429);
    fleet.clock.now += MINUTE;
    fleet.fake.account("alice").credits = { ...TEN_CREDITS };
    return (await fleet.ask()).status;
  };
  assertEquals([await newly("all"), await newly("none")], [200, 429]);
});

test("rotator.fetch() asks again when the caller gave up the request that asked", async () => {
  await using fleet = await startFleet({
    accounts: { alice: { usageQueue: [{ hang: true }] } },
  });
  const abort = new AbortController();
  const first = fleet.ask({}, { signal: abort.signal });
  await fleet.fake.seen((entry) => entry.kind === "usage");
  abort.abort(new Error("never mind"));
  await assertRejects(() => first, Error, "never mind");
  const second = await fleet.ask();
  assertEquals([second.status, kindsOf(fleet).at(-1)], [
    200,
    "responses:alice",
  ]);
});

test("rotator.fetch() keeps an asking alive that others wait for", async () => {
  const release = Promise.withResolvers<void>();
  await using fleet = await startFleet({
    accounts: { alice: { usageQueue: [{ until: release.promise }] } },
  });
  const abort = new AbortController();
  const first = fleet.ask({}, { signal: abort.signal });
  const second = fleet.ask();
  await fleet.fake.seen((entry) => entry.kind === "usage");
  abort.abort(new Error("never mind"));
  await assertRejects(() => first, Error, "never mind");
  release.resolve();
  assertEquals((await second).status, 200);
  assertEquals(fleet.usageCalls(), 1);
});

test("rotator.fetch() counts as failed what has not answered in five seconds", async () => {
  const known = {
    observedAt: START - DAY,
    hasCredits: true,
    unlimited: false,
    balance: "5",
  };
  const hanging = (credits: "all" | "none", records = {}) =>
    startFleet({
      credits,
      records,
      accounts: many(2, { credits: TEN_CREDITS, usageAlways: { hang: true } }),
    });
  await using allowed = await hanging("all");
  await using forbidden = await hanging("none", {
    a0: { credits: known },
    a1: { credits: known },
  });
  await using unseen = await hanging("none");
  const [first, second, third] = await Promise.all([
    allowed.ask(),
    forbidden.ask(),
    unseen.ask(),
  ]);
  assertEquals([first.status, second.status, third.status], [200, 429, 200]);
  assertEquals(await rowOf(forbidden, "a0"), ["unknown", MINUTE]);
  const warnings = (fleet: Fleet) =>
    fleet.events.filter((event) => event.type === "warning").map((event) =>
      event.alias
    );
  assertEquals([warnings(allowed)[0], warnings(unseen)[0]], ["a0", "a0"]);
  assertEquals((await forbidden.ask()).status, 429);
  assertEquals(asked(forbidden).length, 2, "asked at most once per minute");
});

test("rotator.fetch() finds the usage of deployments that answer elsewhere", async () => {
  for (
    const [backendPath, usagePaths] of [
      ["/backend-api", ["/codex/usage"]],
      ["", ["/api/codex/usage"]],
      ["/other", ["/codex/usage"]],
    ] as const
  ) {
    await using fleet = await startFleet({
      credits: "none",
      fake: { backendPath, usagePaths: [...usagePaths] },
      accounts: { alice: { credits: TEN_CREDITS } },
    });
    assertEquals([backendPath, (await fleet.ask()).status], [backendPath, 200]);
    assertEquals((await rowOf(fleet, "alice"))[0], "included");
  }
});

test("rotator.refresh() tries the other usage path once where this one is refused or not there", async () => {
  const page = { status: 403, body: "<html>Just a moment</html>" };
  const missing = { status: 404, body: {} };
  for (const refusal of [page, { status: 403, body: {} }, missing]) {
    await using fleet = await startFleet({
      fake: { usagePaths: ["/wham/usage", "/codex/usage"] },
      accounts: { alice: { usageQueue: [refusal] } },
    });
    const { accounts: [served] } = await fleet.rotator.refresh();
    assertEquals([served?.ok, served?.error], [true, null]);
    const paths = fleet.fake.log.map(({ path }) => path);
    assertEquals(paths, [
      "/backend-api/wham/usage",
      "/backend-api/codex/usage",
    ]);
    fleet.fake.account("alice").usageAlways = refusal;
    const { accounts: [refused] } = await fleet.rotator.refresh();
    const error = `the usage endpoint answered ${refusal.status}`;
    assertEquals([refused?.error, fleet.usageCalls()], [error, 4]);
    assertEquals((await rowOf(fleet, "alice"))[0], "included");
  }
});

test("rotator.refresh() lets an answer that was asked for earlier undo nothing that a later one said", async () => {
  const answer = (plan_type: string, more: Record<string, unknown>) => ({
    plan_type,
    rate_limit: {
      allowed: false,
      limit_reached: true,
      primary_window: {
        used_percent: 100,
        limit_window_seconds: 18_000,
        reset_after_seconds: 3600,
      },
    },
    ...more,
  });
  const credits = { has_credits: true, unlimited: false, balance: "10" };
  for (const [reached, status] of [[true, 429], [false, 200]] as const) {
    await using fleet = await startKnown({
      credits: "all",
      accounts: { alice: { ...EXHAUSTED, credits: TEN_CREDITS } },
    });
    const { fake, clock } = fleet;
    const late = Promise.withResolvers<void>();
    fake.account("alice").usageQueue.push(
      { until: late.promise, body: answer("pro", { credits: null }) },
      { body: answer("plus", { credits, spend_control: { reached } }) },
    );
    const now = () => clock.now;
    const { backend, issuer } = fake;
    await using other = createRotator({
      store: fleet.store,
      backend,
      issuer,
      now,
    });
    const before = fake.log.length;
    const first = fleet.rotator.refresh();
    await fake.seen((entry) =>
      entry.kind === "usage" && fake.log.indexOf(entry) >= before
    );
    clock.now += 1000;
    await other.refresh();
    clock.now += 1000;
    late.resolve();
    await first;
    assertEquals((await fleet.rotator.status()).accounts[0]?.plan, "plus");
    assertEquals((await fleet.ask()).status, status);
    assertEquals(fake.charged.length, reached ? 0 : 1);
  }
});

test("rotator.fetch() takes the plan from an answer's headers unless usage that was asked for later has told it", async () => {
  for (const asksBetween of [false, true]) {
    await using fleet = await startKnown({
      accounts: { alice: { plan: "plus" } },
    });
    const { fake, clock } = fleet;
    const late = Promise.withResolvers<void>();
    fake.account("alice").queue.push({
      until: late.promise,
      headers: { "x-codex-plan-type": "pro" },
    });
    const before = fake.log.length;
    const asked = fleet.ask();
    await fake.seen((entry) =>
      entry.kind === "responses" && fake.log.indexOf(entry) >= before
    );
    clock.now += 1000;
    if (asksBetween) await fleet.rotator.refresh();
    late.resolve();
    assertEquals((await asked).status, 200);
    const [alice] = (await fleet.rotator.status()).accounts;
    assertEquals(alice?.plan, asksBetween ? "plus" : "pro");
  }
});

test("rotator.fetch() asks an account that was signed in again, also within the minute", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  fleet.fake.revoke("alice", "all");
  assertEquals((await fleet.ask()).status, 401);
  fleet.clock.now += 20_000;
  await (fleet.store as Store).update((state) => {
    const { auth: _, ...account } = state.accounts.alice!;
    state.accounts.alice = { ...account, ...recordOf(fleet.fake, "alice") };
  });
  assertEquals((await fleet.ask()).status, 200);
});
