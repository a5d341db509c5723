import { assertEquals, assertMatch } from "@std/assert";
import { fullWindows, START, startFleet, TEN_CREDITS } from "../fleet.ts";
import { test } from "../test.ts";

test("rotator.fetch() asks unknown accounts before it sends anything", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  const answer = await fleet.ask();
  assertEquals(answer.status, 200);
  assertMatch(answer.text, /Hello from alice/);
  assertEquals(fleet.fake.log[0]?.kind, "usage");
  assertEquals(fleet.usageCalls(), 2);
  assertEquals(answer.alias, "alice");
});

test("rotator.fetch() takes turns between accounts with included usage", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: {}, carol: {} },
  });
  for (let n = 0; n < 6; n++) await fleet.ask();
  assertEquals(
    fleet.served(),
    ["alice", "bob", "carol", "alice", "bob", "carol"],
  );
});

test("rotator.fetch() uses up all included usage before it spends a credit", async () => {
  await using fleet = await startFleet({
    accounts: {
      alice: { costPercent: 50, credits: { ...TEN_CREDITS } },
      bob: { costPercent: 50 },
    },
  });
  for (let n = 0; n < 6; n++) await fleet.ask();
  assertEquals(
    fleet.served(),
    ["alice", "bob", "alice", "bob", "alice$", "alice$"],
  );
});

test("rotator.fetch() spends nothing when the policy forbids it, with the same set-up as served", async () => {
  await using fleet = await startFleet({
    credits: "none",
    accounts: {
      alice: { costPercent: 50, credits: { ...TEN_CREDITS } },
      bob: { costPercent: 50 },
    },
  });
  for (let n = 0; n < 4; n++) await fleet.ask();
  const answer = await fleet.ask();
  assertEquals(answer.status, 429);
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() costs one usage call per exhausted account and no backend call", async () => {
  await using fleet = await startFleet({
    accounts: {
      alice: { windows: fullWindows(START) },
      bob: { windows: fullWindows(START) },
    },
  });
  const answer = await fleet.ask();
  assertEquals(answer.status, 429);
  assertEquals(fleet.fake.log.map((entry) => entry.kind), ["usage", "usage"]);
});
