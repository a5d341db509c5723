import { assertEquals } from "@std/assert";
import {
  CREDITED,
  DAY,
  HOUR,
  kindsOf,
  MINUTE,
  START,
  startFleet,
  startKnown,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";

const LIMITED = {
  status: 429,
  body: { error: { type: "usage_limit_reached", resets_in_seconds: 3600 } },
};

test("rotator.fetch() frees a limited account early by no more than the clock jumped", async () => {
  for (const jump of [-30 * MINUTE, -2 * DAY, 20 * MINUTE]) {
    await using fleet = await startFleet({
      accounts: { alice: {} },
      credits: "none",
    });
    fleet.fake.account("alice").always = LIMITED;
    fleet.fake.account("alice").usageAlways = { status: 503 };
    assertEquals((await fleet.ask()).status, 429);
    fleet.fake.account("alice").always = undefined;
    fleet.fake.clearLog();
    // 10 minutes pass, and the clock jumps
    fleet.clock.now = START + 10 * MINUTE + jump;
    assertEquals((await fleet.ask()).status, 429, `jump ${jump}`);
    assertEquals(fleet.served(), []);
  }
});

test("rotator.fetch() blocks nobody for good when the clock jumps back by years", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  const account = fleet.fake.account("alice");
  account.queue.push(
    { status: 429, headers: { "retry-after": "120" }, body: "{}" },
    LIMITED,
  );
  assertEquals((await fleet.ask()).status, 429);
  fleet.clock.now += 5 * MINUTE;
  assertEquals((await fleet.ask()).status, 429);
  fleet.clock.now -= 400 * DAY;
  const answer = await fleet.ask();
  assertEquals(answer.status, 200);
});

test("rotator.fetch() asks again when the clock jumped back and facts come from the future", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  await fleet.ask();
  fleet.clock.now -= 3 * HOUR;
  fleet.fake.clearLog();
  const account = fleet.fake.account("alice");
  account.windows = [{ seconds: 18_000, usedPercent: 100 }];
  account.credits = { ...TEN_CREDITS };
  await fleet.ask();
  assertEquals(fleet.usageCalls(), 1, "what it knew is no fact any more");
  assertEquals(fleet.served(), ["alice$"], "and what it says now counts");
});

test("rotator.fetch() asks an account once after the clock jumped back, and trusts what it answers", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: { credits: { ...TEN_CREDITS } } },
  });
  fleet.clock.now -= 3 * HOUR;
  for (let n = 0; n < 3; n++) {
    assertEquals((await fleet.ask()).status, 200);
    fleet.clock.now += MINUTE;
  }
  const asked = kindsOf(fleet).filter((kind) => kind === "usage:alice");
  assertEquals(asked.length, 1);
});

test("token trouble holds the later pools for 15 minutes, also after the clock jumped back", async () => {
  await using fleet = await startKnown({
    accounts: { alice: {}, bob: CREDITED },
  });
  fleet.clock.now -= 3 * HOUR;
  await fleet.rotator.refresh();
  fleet.fake.account("alice").rejectAll = true;
  assertEquals((await fleet.ask()).status, 429);
  fleet.clock.now += 16 * MINUTE;
  assertEquals((await fleet.ask()).alias, "bob");
});

test("rotator.fetch() asks again when the clock jumped forward past the facts", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  await fleet.ask();
  fleet.fake.clearLog();
  fleet.clock.now += 16 * MINUTE;
  fleet.fake.account("alice").credits = { ...TEN_CREDITS };
  await fleet.ask();
  // without credits a wrong guess would have cost a 429, not money
  assertEquals(fleet.usageCalls(), 0);
  fleet.clock.now += 25 * HOUR;
  await fleet.ask();
  assertEquals(fleet.usageCalls(), 1);
});

test("rotator.fetch() gives everyone a turn when a use lies in the future", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: {} },
    records: { alice: { lastUsedAt: START + 300 * DAY, requests: 7 } },
  });
  for (let n = 0; n < 4; n++) await fleet.ask();
  assertEquals(fleet.served().toSorted(), ["alice", "alice", "bob", "bob"]);
});
