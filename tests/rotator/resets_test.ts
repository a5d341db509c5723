import { assert, assertEquals } from "@std/assert";
import type { FakeAccountOptions } from "../../lib/testing/fake_codex.ts";
import {
  DAY,
  EXHAUSTED,
  HOUR,
  kindsOf,
  MINUTE,
  rowOf,
  START,
  startKnown,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";

const WEEK = 604_800;

/** A week that is full and whose reset the backend goes on telling in the past. */
const RESET_IN_THE_PAST: FakeAccountOptions = {
  windows: [{
    seconds: WEEK,
    usedPercent: 100,
    resetAt: START - HOUR,
    countsOn: true,
  }],
  credits: { ...TEN_CREDITS, balance: "50" },
};

/** A 5-hour window that is full for another hour. */
function fullUntil(
  resetAt: number,
  credits: FakeAccountOptions["credits"],
): FakeAccountOptions {
  return {
    windows: [{ seconds: 18_000, usedPercent: 100, resetAt }],
    ...(credits && { credits }),
  };
}

test("rotator.fetch() sends nothing for an hour while a full window's reset lies in the past and credits are forbidden", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: RESET_IN_THE_PAST },
  });
  for (let minute = 0; minute < 60; minute++) {
    fleet.clock.now += MINUTE;
    const { status } = await fleet.ask();
    assertEquals(status, 429);
    await fleet.ask();
  }
  const kinds = kindsOf(fleet);
  assertEquals(kinds.filter((kind) => kind === "responses:alice"), []);
  assert(kinds.length <= 60, `${kinds.length} usage calls in an hour`);
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() pays nothing while a full window's reset lies in the past and another account has quota", async () => {
  await using fleet = await startKnown({
    credits: "all",
    accounts: { alice: RESET_IN_THE_PAST, bob: {} },
  });
  for (let minute = 0; minute < 60; minute++) {
    fleet.clock.now += MINUTE;
    assertEquals((await fleet.ask()).alias, "bob");
  }
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() asks once after a reset before it sends anything that could be charged", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: fullUntil(START + HOUR, TEN_CREDITS) },
  });
  fleet.clock.now += HOUR;
  assertEquals((await fleet.ask()).status, 200);
  assertEquals((await fleet.ask()).status, 200);
  assertEquals(kindsOf(fleet), [
    "usage:alice",
    "responses:alice",
    "responses:alice",
  ]);
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() trusts the clock where the account was seen to have no credits", async () => {
  await using fleet = await startKnown({
    accounts: { alice: fullUntil(START + HOUR, null) },
  });
  assertEquals((await fleet.ask()).status, 429);
  fleet.clock.now += HOUR;
  fleet.fake.clearLog();
  assertEquals((await fleet.ask()).status, 200);
  assertEquals(kindsOf(fleet), ["responses:alice"]);
});

test("rotator.fetch() asks first when only the clock has ended a usage limit that was answered", async () => {
  const credits = { ...TEN_CREDITS };
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: { credits } },
  });
  const alice = fleet.fake.account("alice");
  alice.limited = { until: START + 20 * MINUTE };
  assertEquals((await fleet.ask()).status, 429);
  assertEquals((await rowOf(fleet, "alice"))[0], "exhausted");
  alice.limited = null;
  alice.windows = [{ seconds: 18_000, usedPercent: 100, resetAt: START + DAY }];
  fleet.clock.now += 21 * MINUTE;
  assertEquals((await fleet.ask()).status, 429);
  assertEquals(fleet.fake.charged, []);
  alice.windows = [{
    seconds: 18_000,
    usedPercent: 1,
    resetAt: START + 2 * DAY,
  }];
  fleet.clock.now += 16 * MINUTE;
  assertEquals((await fleet.ask()).status, 200);
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() believes an early reset that usage shows", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: { ...EXHAUSTED, credits: { ...TEN_CREDITS } } },
  });
  assertEquals((await fleet.ask()).status, 429);
  fleet.fake.account("alice").windows = [
    { seconds: 18_000, usedPercent: 1, resetAt: START + 5 * HOUR },
    { seconds: WEEK, usedPercent: 1, resetAt: START + 7 * DAY },
  ];
  fleet.clock.now += MINUTE;
  assertEquals((await fleet.ask()).status, 200);
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() does not reopen a window by usage out of a cache", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: {
      alice: {
        windows: [{ seconds: 18_000, usedPercent: 60, resetAt: START + HOUR }],
        credits: { ...TEN_CREDITS },
        costPercent: 40,
        usageCacheSeconds: 60,
      },
    },
  });
  assertEquals((await fleet.ask()).status, 200);
  for (let seconds = 0; seconds < 60; seconds += 20) {
    fleet.clock.now += 20_000;
    await fleet.rotator.refresh();
    assertEquals((await fleet.ask()).status, 429);
  }
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() takes a full window for open that its own answer's flags allow", async () => {
  const windows = [{ seconds: WEEK, usedPercent: 100, resetAt: START + DAY }];
  for (
    const [flags, status] of [
      [{ allowed: true, limitReached: false }, 200],
      [{ allowed: true, limitReached: true }, 429],
      [{ allowed: false, limitReached: false }, 429],
    ] as const
  ) {
    await using fleet = await startKnown({
      accounts: { alice: { plan: "team", windows, flags } },
    });
    assertEquals([flags, (await fleet.ask()).status], [flags, status]);
  }
});

test("rotator.refresh() ends a limit that usage contradicts, however often it came back", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const alice = fleet.fake.account("alice");
  const limit = {
    status: 429,
    body: { error: { type: "usage_limit_reached", resets_in_seconds: 86_400 } },
  };
  const standing = async () => (await rowOf(fleet, "alice"))[0];
  /** How long usage does not lift a limit that came back, minutes. */
  for (const believed of [0, 15, 60, 360, 360]) {
    alice.queue.push(limit);
    await fleet.ask();
    fleet.clock.now += Math.max(1, believed - 1) * MINUTE;
    await fleet.ask();
    if (believed > 0) {
      assertEquals([believed, await standing()], [believed, "exhausted"]);
    }
    fleet.clock.now += MINUTE;
    await fleet.ask();
    assertEquals([believed, await standing()], [believed, "included"]);
  }
  alice.queue.push(limit);
  await fleet.ask();
  assertEquals(await standing(), "exhausted");
  fleet.clock.now += 1000;
  await fleet.rotator.refresh();
  assertEquals(await standing(), "included");
});
