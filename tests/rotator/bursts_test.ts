import { assert, assertEquals } from "@std/assert";
import {
  HOUR,
  MINUTE,
  rowOf,
  START,
  startFleet,
  startKnown,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";

const FIVE = ["a", "b", "c", "d", "e"];

/** Five accounts with room for ten requests each, which answer usage after so many ms. */
function roomy(usageDelays: readonly number[]) {
  return Object.fromEntries(FIVE.map((name, index) => [name, {
    windows: [{ seconds: 18_000, usedPercent: 0, resetAt: START + 5 * HOUR }],
    costPercent: 10,
    credits: { ...TEN_CREDITS },
    usageAlways: { delayMs: usageDelays[index]! },
  }]));
}

function countBy(names: readonly string[]): number[] {
  return FIVE.map((name) => names.filter((it) => it === name).length);
}

test("rotator.fetch() spreads a burst of requests when nothing is known, so that the account that answers first is not overfilled", async () => {
  await using fleet = await startFleet({
    credits: "none",
    accounts: roomy([0, 30, 60, 90, 120]),
  });
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => fleet.ask()),
  );
  assert(answers.every(({ status }) => status === 200));
  assertEquals(countBy(fleet.served()), [4, 4, 4, 4, 4]);
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() spreads a burst after 16 idle minutes", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: roomy([0, 30, 60, 90, 120]),
  });
  fleet.clock.now += 16 * MINUTE;
  await Promise.all(Array.from({ length: 20 }, () => fleet.ask()));
  assertEquals(countBy(fleet.served()), [4, 4, 4, 4, 4]);
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() goes on with the first account that answers when it is alone", async () => {
  const released = Promise.withResolvers<void>();
  const accounts = roomy([0, 0, 0, 0, 0]);
  const { a } = accounts;
  await using fleet = await startFleet({
    accounts: {
      ...accounts,
      a: { ...a!, usageAlways: { until: released.promise } },
    },
  });
  const { alias } = await fleet.ask();
  assert(alias !== "a");
  released.resolve();
});

test("a session whose account turns out used up goes on as soon as another one is included", async () => {
  const never = Promise.withResolvers<void>();
  await using fleet = await startKnown({
    credits: "none",
    accounts: { a: { credits: TEN_CREDITS }, b: {}, c: {} },
  });
  const ask = async () => (await fleet.ask({ prompt_cache_key: "k" })).alias;
  assertEquals(await ask(), "a");
  fleet.clock.now += 16 * MINUTE;
  fleet.fake.account("a").windows = [
    { seconds: 18_000, usedPercent: 100, resetAt: START + 5 * HOUR },
  ];
  fleet.fake.account("c").usageAlways = { until: never.promise };
  assertEquals(await ask(), "b");
  never.resolve();
});

test("a session waits for what its own account answers, though another one is included already", async () => {
  const released = Promise.withResolvers<void>();
  await using fleet = await startKnown({
    accounts: { a: { credits: TEN_CREDITS }, b: { credits: TEN_CREDITS } },
  });
  const body = { prompt_cache_key: "k" };
  assertEquals((await fleet.ask(body)).alias, "a");
  fleet.clock.now += 16 * MINUTE;
  fleet.fake.clearLog();
  fleet.fake.account("a").usageAlways = { until: released.promise };
  const asked = fleet.ask(body);
  while ((await rowOf(fleet, "b"))[0] !== "included") {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assertEquals((await fleet.ask()).alias, "b", "others need not wait");
  released.resolve();
  assertEquals((await asked).alias, "a");
});
