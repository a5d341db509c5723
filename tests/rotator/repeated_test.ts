/** Answers that say what the one before said, which are learned from by a shorter way. */
import process from "node:process";
import { assertEquals } from "@std/assert";
import * as fc from "fast-check";
import type { PoolState, Store, UsageFacts } from "../../mod.ts";
import { memoryStore } from "../../mod.ts";
import type {
  FakeAccountOptions,
  FakeWindow,
} from "../../lib/testing/fake_codex.ts";
import {
  DAY,
  type Fleet,
  fullWindows,
  HOUR,
  MINUTE,
  START,
  startFleet,
  startKnown,
  TEN_CREDITS,
} from "../fleet.ts";

const RUNS = 60 * Number(process.env["PROPERTY_RUNS"] ?? 1);
const SPARK = "gpt-5.3-codex-spark";

const percent = fc.constantFrom(0, 12.5, 40, 99, 100);

const windows = fc.tuple(percent, percent).chain(([short, long]) =>
  fc.constantFrom<FakeWindow[][]>(
    [{ seconds: 18_000, usedPercent: short }, {
      seconds: 604_800,
      usedPercent: long,
      resetAt: START + 3 * DAY,
    }],
    [{ seconds: 18_000, usedPercent: short, resetAt: START + 5 * MINUTE }],
    [{ seconds: 604_800, usedPercent: long, resetAt: START + 90 * DAY }],
    [{ seconds: null, usedPercent: short }],
    [],
  )
);

const credits = fc.constantFrom(
  null,
  { hasCredits: false, unlimited: false, balance: "0" },
  TEN_CREDITS,
  { hasCredits: true, unlimited: true, balance: null },
);

/** What changes between two requests. */
interface Step {
  /** ms */
  wait: number;
  model: string;
  change: Partial<FakeAccountOptions> | undefined;
  /** How many are sent side by side. */
  count: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  wait: fc.constantFrom(
    0,
    0,
    1,
    900,
    30_000,
    4 * MINUTE,
    16 * MINUTE,
    25 * HOUR,
  ),
  model: fc.constantFrom("gpt-5.5", "gpt-5.5", "gpt-5.5", "gpt-5.4", SPARK),
  change: fc.option(
    fc.oneof(
      windows.map((windows) => ({ windows })),
      credits.map((credits) => ({ credits })),
      fc.constantFrom("plus", "pro").map((plan) => ({ plan })),
      percent.map((usedPercent) => ({
        meters: {
          codex_bengalfox: { windows: [{ seconds: 18_000, usedPercent }] },
        },
      })),
    ),
    { freq: 3, nil: undefined },
  ),
  count: fc.constantFrom(1, 1, 1, 2),
});

/** A window that is said to reset so long after each answer: the same words never mean the same. */
function withMoving(headers: Record<string, string>): Record<string, string> {
  return {
    ...headers,
    "x-moving-primary-used-percent": "1",
    "x-moving-primary-reset-after-seconds": "600",
  };
}

/** What is left in the store of what was learned. */
async function leftIn(fleet: Fleet): Promise<unknown> {
  await fleet.rotator.close();
  const { accounts } = await (fleet.store as Store).read();
  const { plan, requests, lastUsedAt, usage, credits, cooldowns } =
    structuredClone(accounts["alice"]!);
  // absent means the same as false
  const malformed = credits?.malformed ?? false;
  const purse = credits && { ...credits, malformed };
  return {
    ...{ plan, requests, lastUsedAt, purse, cooldowns },
    meters: usage && datedMeters(usage),
  };
}

/** All but the one that is only said to move, with the times that absent ones stand for. */
function datedMeters({ meters, ...usage }: UsageFacts): unknown {
  return Object.entries(meters)
    .filter(([name]) => name !== "moving")
    .map(([name, { observedAt = usage.observedAt, windows, limit }]) => [
      name,
      observedAt,
      windows.map((window) => ({ observedAt, ...window })),
      limit ?? null,
    ]);
}

async function play(fleet: Fleet, steps: readonly Step[]): Promise<unknown[]> {
  const seen: unknown[] = [];
  for (const { wait, model, change, count } of steps) {
    fleet.clock.now += wait;
    Object.assign(fleet.fake.account("alice"), structuredClone(change ?? {}));
    const answers = await Promise.all(
      Array.from({ length: count }, () => fleet.ask({ model })),
    );
    seen.push([
      answers.map(({ status, alias }) => [status, alias]).toSorted(),
      fleet.usageCalls(),
      fleet.fake.log.length,
      fleet.fake.charged.length,
    ]);
  }
  return seen;
}

/** Until the answers of both accounts say nothing new. */
async function askOften(fleet: Fleet): Promise<void> {
  for (let n = 0; n < 6; n++) {
    fleet.clock.now += 1;
    await fleet.ask();
  }
}

Deno.test("rotator.fetch() learns the same from answers that say what the one before said as from any others", async () => {
  // one alone: of several that are asked together, any may answer first
  const options = {
    accounts: { alice: { plan: "pro" } },
    // no usage check goes on behind a request
    credits: "none" as const,
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 2, maxLength: 12 }),
      async (steps) => {
        await using fleet = await startFleet(options);
        await using other = await startFleet(options);
        other.fake.account("alice").headers = withMoving;
        assertEquals(await play(fleet, steps), await play(other, steps));
        assertEquals(await leftIn(fleet), await leftIn(other));
      },
    ),
    { numRuns: RUNS, interruptAfterTimeLimit: 600_000 },
  );
});

Deno.test("rotator.fetch() keeps facts fresh by answers that say the same", async () => {
  await using fleet = await startKnown({
    accounts: { alice: { credits: TEN_CREDITS } },
    credits: "none",
  });
  for (let n = 0; n < 6; n++) {
    fleet.clock.now += 10 * MINUTE;
    assertEquals((await fleet.ask()).status, 200);
  }
  assertEquals(fleet.usageCalls(), 0);
  fleet.clock.now += 16 * MINUTE;
  await fleet.ask();
  assertEquals(fleet.usageCalls(), 1, "and without an answer they grow old");
});

Deno.test("rotator.fetch() notices at once when answers stop to say the same", async () => {
  const windows = [{ seconds: 18_000, usedPercent: 90, resetAt: START + HOUR }];
  await using fleet = await startKnown({
    accounts: {
      alice: { windows },
      bob: { windows: fullWindows(START), credits: TEN_CREDITS },
    },
  });
  await askOften(fleet);
  fleet.fake.account("alice").costPercent = 10;
  for (let n = 0; n < 2; n++) await fleet.ask();
  assertEquals(fleet.served().slice(-3), ["alice", "alice", "bob$"]);
  const refused = fleet.fake.log.filter(({ status }) => status === 429);
  assertEquals(refused, [], "nobody had to be told twice");
});

Deno.test("rotator.fetch() takes no refusal for an answer that says the same", async () => {
  await using fleet = await startKnown({ accounts: { alice: {}, bob: {} } });
  const alice = fleet.fake.account("alice");
  let headers: Record<string, string> = {};
  alice.headers = (defaults) => headers = defaults;
  await askOften(fleet);
  alice.queue.push({ status: 429, headers, body: "{}" });
  for (let n = 0; n < 2; n++) assertEquals((await fleet.ask()).alias, "bob");
});

Deno.test("rotator.fetch() is not disturbed by a store that freezes what it was given while it is slow", async () => {
  let release = () => {};
  let held = Promise.resolve();
  const slow = (initial: Partial<PoolState>): Store => {
    let state = { version: 1, settings: {}, accounts: {}, ...initial };
    return {
      ...memoryStore(),
      read: () => Promise.resolve(state),
      async update(change) {
        const next = structuredClone(state);
        change(next);
        freeze(next);
        await held;
        return state = next;
      },
    };
  };
  await using fleet = await startKnown({
    accounts: { alice: {} },
    store: slow,
  });
  await askOften(fleet);
  held = new Promise<void>((resolve) => release = resolve);
  const close = fleet.rotator.close();
  fleet.clock.now += 10;
  const { status } = await fleet.ask();
  release();
  await close;
  assertEquals(status, 200);
});

function freeze(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  Object.freeze(value);
  for (const part of Object.values(value)) freeze(part);
}
