/**
 * Random fleets, whose backend changes only by the rotator's own requests and
 * by the clock: what the backend charges must follow the rules of the pools.
 */
import process from "node:process";
import { assert, assertEquals } from "@std/assert";
import * as fc from "fast-check";
import { createRotator, memoryStore } from "../../mod.ts";
import { STRATEGIES } from "../../lib/pool/strategy.ts";
import type {
  FakeAccount,
  FakeAccountOptions,
  FakeCredits,
} from "../../lib/testing/fake_codex.ts";
import {
  DAY,
  type Fleet,
  HOUR,
  MINUTE,
  recordOf,
  requestBody,
  START,
  startFleet,
} from "../fleet.ts";
import { test } from "../test.ts";

/** How many fleets are tried; the environment asks for more. */
const RUNS = 30 * Number(process.env["PROPERTY_RUNS"] ?? 1);
const SPARK = "gpt-5.3-codex-spark";
const NAMES = ["a", "b", "c", "d", "e", "f"];

const purse: fc.Arbitrary<FakeCredits | null> = fc.constantFrom(
  null,
  { hasCredits: false, unlimited: false, balance: "0" },
  { hasCredits: true, unlimited: false, balance: "2" },
  { hasCredits: true, unlimited: false, balance: "50" },
  { hasCredits: true, unlimited: false, balance: null },
  { hasCredits: true, unlimited: true, balance: null },
  {
    hasCredits: true,
    unlimited: false,
    balance: "50",
    overageLimitReached: true,
  },
);

const someWindows = fc.record({
  short: fc.constantFrom(0, 60, 90, 100),
  long: fc.constantFrom(0, 60, 100),
  shortReset: fc.constantFrom(MINUTE / 2, 20 * MINUTE, 4 * HOUR),
  longReset: fc.constantFrom(10 * MINUTE, 3 * DAY),
}).map(({ short, long, shortReset, longReset }) => [
  { seconds: 18_000, usedPercent: short, resetAt: START + shortReset },
  { seconds: 604_800, usedPercent: long, resetAt: START + longReset },
]);

const account: fc.Arbitrary<FakeAccountOptions> = fc.record({
  plan: fc.constantFrom("plus", "plus", "pro", "business"),
  windows: fc.option(someWindows, { freq: 8 }),
  credits: purse,
  costPercent: fc.constantFrom(0, 10, 50),
  hasSpark: fc.boolean(),
  sparkUsed: fc.constantFrom(0, 90, 100),
  spendControl: fc.constantFrom(null, null, { reached: true }, {
    reached: false,
  }),
}).map(({ hasSpark, sparkUsed, ...options }) => ({
  ...options,
  // every request of an account without windows is charged, whatever its meters say
  meters: options.windows !== null && (hasSpark || options.plan === "pro")
    ? {
      codex_bengalfox: {
        windows: [{ seconds: 18_000, usedPercent: sparkUsed }],
      },
    }
    : {},
}));

interface Scene {
  accounts: FakeAccountOptions[];
  /** Indexes of those that may spend; null: all. */
  allowed: number[] | null;
  strategy: (typeof STRATEGIES)[number];
  steps: { wait: number; model: string }[];
}

const scene: fc.Arbitrary<Scene> = fc.record({
  accounts: fc.array(account, { minLength: 1, maxLength: NAMES.length }),
  allowed: fc.option(fc.uniqueArray(fc.nat({ max: 5 }), { maxLength: 3 })),
  strategy: fc.constantFrom(...STRATEGIES),
  steps: fc.array(
    fc.record({
      wait: fc.constantFrom(
        0,
        0,
        0,
        1_000,
        61_000,
        10 * MINUTE,
        16 * MINUTE,
        5 * HOUR,
      ),
      model: fc.constantFrom("gpt-5.5", "gpt-5.5", "gpt-5.5", SPARK),
    }),
    { minLength: 3, maxLength: 12 },
  ),
});

function isOpen(windows: FakeAccount["windows"], now: number): boolean {
  return windows !== null &&
    windows.every((window) =>
      window.usedPercent < 100 || (window.resetAt ?? Infinity) <= now
    );
}

/** Whether the backend would serve it on included usage. */
function isIncluded(account: FakeAccount, model: string, now: number): boolean {
  if (model !== SPARK) return isOpen(account.windows, now);
  const meter = account.meters["codex_bengalfox"];
  return meter !== undefined && isOpen(meter.windows, now);
}

/** Whether the backend would draw its credits. */
function isPayable({ credits, spendControl }: FakeAccount): boolean {
  if (!credits || !(credits.hasCredits || credits.unlimited)) return false;
  if (credits.overageLimitReached || spendControl?.reached) return false;
  return credits.balance === null || Number(credits.balance) > 0;
}

async function open(
  scene: Scene,
  more: Partial<FakeAccountOptions> = {},
): Promise<Fleet> {
  const accounts = Object.fromEntries(
    scene.accounts.map((
      options,
      index,
    ) => [NAMES[index]!, { ...options, ...more }]),
  );
  let dice = 1;
  return await startFleet({
    accounts,
    credits: scene.allowed?.map((index) => NAMES[index]!) ?? "all",
    strategy: scene.strategy,
    random: () => (dice = dice * 48_271 % 2_147_483_647) / 2_147_483_647,
  });
}

function maySpend(scene: Scene, name: string): boolean {
  return scene.allowed === null ||
    scene.allowed.some((index) => NAMES[index] === name);
}

async function run(
  property: (scene: Scene) => Promise<void>,
  runs = RUNS,
): Promise<void> {
  await fc.assert(fc.asyncProperty(scene, property), {
    numRuns: runs,
    interruptAfterTimeLimit: 600_000,
  });
}

test("rotator.fetch() is charged only where the policy allows it and no included usage is left", async () => {
  await run(async (scene) => {
    await using fleet = await open(scene);
    const { fake, clock } = fleet;
    for (const { wait, model } of scene.steps) {
      clock.now += wait;
      const all = scene.accounts.map((_, index) => fake.account(NAMES[index]!));
      const included = all.filter((one) => isIncluded(one, model, clock.now));
      const payable = model === SPARK
        ? []
        : all.filter((one) => !included.includes(one) && isPayable(one));
      const affordable = payable.filter((one) => maySpend(scene, one.name));
      const chargedBefore = fake.charged.length;
      const { status, alias } = await fleet.ask({ model });
      const charged = fake.charged.slice(chargedBefore).map((entry) =>
        entry.account
      );
      if (included.length > 0) {
        assertEquals([status, charged], [200, []]);
        assert(included.some((one) => one.name === alias));
      } else if (affordable.length > 0) {
        assertEquals([status, charged], [200, [alias]]);
        assert(affordable.some((one) => one.name === alias));
      } else {
        assertEquals([status === 429 || status === 403, charged], [true, []]);
        if (model !== SPARK) await expectTwin(fleet, payable.length > 0);
      }
    }
    assertEquals(fake.violations, []);
    // where usage says nothing of windows or credits, only trying tells
    const vain = fake.log.filter(({ kind, status, account }) => {
      const { windows, credits } = fake.account(account!);
      const isTold = windows !== null && credits !== null;
      return kind === "responses" && status !== 200 && isTold;
    }).map(({ n, account, status }) => ({ n, account, status }));
    assertEquals(vain, []);
  });
});

/** The same accounts under the other policy: served when there is anything to spend. */
async function expectTwin(
  { fake, clock }: Fleet,
  serves: boolean,
): Promise<void> {
  const names = NAMES.filter((name) =>
    fake.log.some((entry) => entry.account === name)
  );
  const accounts = Object.fromEntries(
    names.map((name) => [name, recordOf(fake, name)]),
  );
  const purses = names.map((name) =>
    structuredClone(fake.account(name).credits)
  );
  await using twin = createRotator({
    store: memoryStore({ accounts }),
    credits: "all",
    backend: fake.backend,
    issuer: fake.issuer,
    now: () => clock.now,
  });
  const response = await twin.fetch(`${twin.baseURL}/responses`, {
    method: "POST",
    body: JSON.stringify(requestBody()),
  });
  await response.body?.cancel();
  assertEquals(response.status === 200, serves);
  names.forEach((name, index) => fake.account(name).credits = purses[index]!);
}

test("rotator.fetch() charges nobody whom the policy forbids, although usage cannot be asked", async () => {
  await run(async (scene) => {
    await using fleet = await open(scene);
    const { fake, clock } = fleet;
    await fleet.rotator.refresh();
    const seen = new Set(
      scene.accounts.flatMap((one, index) =>
        one.credits?.hasCredits || one.credits?.unlimited ? [NAMES[index]!] : []
      ),
    );
    for (const [index] of scene.accounts.entries()) {
      fake.account(NAMES[index]!).usageAlways = { status: 500 };
    }
    for (const { wait, model } of scene.steps) {
      clock.now += wait;
      await fleet.ask({ model });
    }
    for (const { account } of fake.charged) {
      assert(maySpend(scene, account!) || !seen.has(account!));
    }
  });
});

test("rotator.fetch() charges a forbidden account of which nothing was ever seen once at most", async () => {
  await run(async (scene) => {
    await using fleet = await open({ ...scene, allowed: [] }, {
      usageAlways: { status: 500 },
    });
    const { fake, clock } = fleet;
    for (const { wait, model } of scene.steps) {
      clock.now += wait;
      await fleet.ask({ model });
    }
    const charged = fake.charged.map((entry) => entry.account);
    assertEquals(charged.length, new Set(charged).size);
  });
});

test("rotator.fetch() moves an account into the first pool by a reset, not by usage that shows none", async () => {
  await run(async (scene) => {
    const full = [{
      seconds: 604_800,
      usedPercent: 100,
      resetAt: START + 6 * DAY,
    }];
    await using fleet = await open(scene, { windows: full });
    const { fake, clock } = fleet;
    for (const { wait } of scene.steps.slice(0, 4)) {
      clock.now += wait;
      const before = fake.charged.length;
      const { status } = await fleet.ask();
      assertEquals(fake.charged.length - before, status === 200 ? 1 : 0);
    }
    clock.now += 2 * MINUTE;
    fake.account("a").windows = [{
      seconds: 604_800,
      usedPercent: 0,
      resetAt: START + 6 * DAY,
    }];
    const before = fake.charged.length;
    const { status, alias } = await fleet.ask();
    assertEquals([status, alias, fake.charged.length], [200, "a", before]);
  });
});

test("rotator.fetch() keeps to the pools when requests come side by side", async () => {
  await run(async (scene) => {
    const accounts = scene.accounts.map((options) => ({
      ...options,
      costPercent: 0,
      credits: options.credits
        ? { ...options.credits, costPerRequest: 0 }
        : null,
    }));
    await using fleet = await open({ ...scene, accounts });
    const { fake, clock } = fleet;
    for (const { wait } of scene.steps.slice(0, 5)) {
      clock.now += wait;
      const all = accounts.map((_, index) => fake.account(NAMES[index]!));
      const included = all.some((one) => isIncluded(one, "", clock.now));
      const affordable = all.some((one) =>
        isPayable(one) && maySpend(scene, one.name)
      );
      const before = fake.charged.length;
      const answers = await Promise.all([1, 2, 3, 4].map(() => fleet.ask()));
      const served = answers.filter(({ status }) => status === 200).length;
      assertEquals(
        [served, fake.charged.length - before],
        included ? [4, 0] : affordable ? [4, 4] : [0, 0],
      );
    }
  });
});

test("rotator.fetch() keeps to the pools when two programs share a store", async () => {
  await run(async (scene) => {
    await using fleet = await open(scene);
    const { fake, clock } = fleet;
    await using other = createRotator({
      store: fleet.store,
      credits: scene.allowed?.map((index) => NAMES[index]!) ?? "all",
      strategy: scene.strategy,
      backend: fake.backend,
      issuer: fake.issuer,
      now: () => clock.now,
    });
    for (const [turn, { wait, model }] of scene.steps.entries()) {
      // what one writes, the other honours within a second; what a reset
      // opens may be asked for a minute after it was asked last
      clock.now += Math.max(wait, MINUTE);
      const all = scene.accounts.map((_, index) => fake.account(NAMES[index]!));
      const included = all.some((one) => isIncluded(one, model, clock.now));
      const before = fake.charged.length;
      const { status } = await fleet.ask(
        { model },
        {},
        turn % 2 === 0 ? fleet.rotator : other,
      );
      if (included) assertEquals([status, fake.charged.length], [200, before]);
      const charged = fake.charged.slice(before);
      assert(charged.every(({ account }) => maySpend(scene, account!)));
    }
  });
});
