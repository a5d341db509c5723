import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type {
  AccountPool,
  PooledAccount,
} from "../../lib/pool/account_pool.ts";
import {
  order,
  rivalsOf,
  select,
  type SelectQuery,
} from "../../lib/pool/select.ts";
import {
  isStrategy,
  settleWeights,
  STRATEGIES,
} from "../../lib/pool/strategy.ts";
import type { AccountRecord, UsageWindow } from "../../lib/types.ts";
import { Random } from "../simulation/random.ts";
import { test } from "../test.ts";
import {
  HOUR,
  noCredits,
  NOW,
  poolOf,
  query,
  SPARK,
  SPARK_METER,
  usage,
} from "./accounts.ts";

const NAMES = ["alice", "bob", "carol", "dave", "erin", "frank"];

/** An account with included usage, for as long as a test lasts. */
function open(more: AccountRecord = {}): AccountRecord {
  return { usage: usage([]), credits: noCredits(), ...more };
}

/** Accounts by the names above. */
function fleet(records: readonly AccountRecord[]): AccountPool {
  return poolOf(
    Object.fromEntries(records.map((record, n) => [NAMES[n]!, record])),
  );
}

function weighted(weights: readonly number[]): AccountPool {
  return fleet(weights.map((weight) => open({ weight })));
}

/** Chooses and counts as a request does. */
function pick(
  pool: AccountPool,
  more: Partial<SelectQuery>,
  among: readonly PooledAccount[] = pool.all,
): string | undefined {
  const asked = query(more);
  const chosen = select(among, asked).choice?.account;
  if (!chosen) return undefined;
  if (asked.strategy === "weighted") {
    settleWeights(rivalsOf(among, chosen, asked), chosen);
  }
  pool.use(chosen, asked.now);
  return chosen.alias;
}

function picks(
  pool: AccountPool,
  count: number,
  more: Partial<SelectQuery>,
): string[] {
  return Array.from({ length: count }, () => pick(pool, more)!);
}

function countsOf(picked: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const alias of picked) counts[alias] = (counts[alias] ?? 0) + 1;
  return counts;
}

/** Asserts that no two counts differ by more than one. */
function assertEven(counts: readonly number[], why = ""): void {
  assert(Math.max(...counts) - Math.min(...counts) <= 1, `${why}: ${counts}`);
}

const anyAccount = fc.record({
  plan: fc.constantFrom("plus", "pro", "free"),
  weight: fc.oneof(fc.constantFrom(0, 1, 0.5, 7), fc.double()),
  priority: fc.constantFrom(0, 0, 1, -1),
  requests: fc.nat(1000),
  lastUsedAt: fc.option(fc.integer({ min: NOW - 9e9, max: NOW + 9e9 })),
  windows: fc.array(
    fc.record({
      usedPercent: fc.constantFrom(0, 5, 99),
      windowSeconds: fc.constant(604_800),
      resetsAt: fc.option(fc.integer({ min: NOW - 9e9, max: NOW + 9e9 })),
    }),
    { maxLength: 1 },
  ),
}).map(({ windows, ...more }) => open({ ...more, usage: usage(windows) }));

test("every strategy brings every account of a pool to its turn, priorities and preferred plans first", () => {
  fc.assert(fc.property(
    fc.constantFrom(...STRATEGIES),
    fc.array(anyAccount, { minLength: 1, maxLength: 6 }),
    fc.nat(),
    (strategy, records, seed) => {
      const pool = fleet(records);
      const asked = { strategy, random: new Random(seed).next };
      const ordered = order(pool.all, "first", query(asked))
        .map(({ alias }) => alias);
      const tried = new Set<string>();
      for (;;) {
        const next = select(pool.all, query({ ...asked, tried }));
        if (!next.choice) break;
        tried.add(next.choice.account.alias);
      }
      for (const turns of [ordered, [...tried]]) {
        assertEquals([...turns].sort(), pool.all.map(({ alias }) => alias));
        const ranks = turns.map((alias) => {
          const { priority, plan } = pool.get(alias)!.record;
          return 2 * priority + (plan === "pro" ? 1 : 0);
        });
        assertEquals(ranks, ranks.toSorted((a, b) => b - a));
      }
      if (strategy !== "random") assertEquals(ordered, [...tried]);
    },
  ));
});

/** How a request finds the pool: who is away, how far the clock moved, ms. */
const anyStep = fc.record({
  away: fc.subarray(NAMES),
  tick: fc.constantFrom(0, 0, 1, 5, 700),
});

test("round-robin takes the longest unused, ties by alias", () => {
  const used = [NOW - 5, NOW - 9, null, NOW - 5, null];
  const pool = fleet(used.map((lastUsedAt) => open({ lastUsedAt })));
  const names = order(pool.all, "first", query()).map(({ alias }) => alias);
  assertEquals(names.join(" "), "carol erin bob alice dave");
});

test("round-robin stays within one request of fair for accounts that stay while others come and go", () => {
  fc.assert(fc.property(
    fc.array(anyStep, { minLength: 30, maxLength: 120 }),
    fc.integer({ min: 2, max: 4 }),
    (steps, staying) => {
      const pool = fleet(NAMES.map(() => open()));
      const residents = NAMES.slice(0, staying);
      const last = new Map<string, number>();
      const counts = new Map(residents.map((name) => [name, 0]));
      let now = NOW;
      for (const [index, { away, tick }] of steps.entries()) {
        now += tick;
        const present = pool.all.filter(({ alias }) =>
          residents.includes(alias) || !away.includes(alias)
        );
        const alias = pick(pool, { now }, present)!;
        // one who comes back gets one turn, not all that it missed
        for (const other of residents) {
          if (other === alias) continue;
          const waited = index - (last.get(other) ?? -1);
          assert(waited <= NAMES.length, `${other} waited ${waited} picks`);
        }
        last.set(alias, index);
        if (counts.has(alias)) counts.set(alias, counts.get(alias)! + 1);
        assertEven([...counts.values()]);
      }
    },
  ));
});

test("round-robin stays fair when the clock is set back", () => {
  for (const back of [1, 50, 30_000, 59_000, 61_000, HOUR]) {
    const pool = fleet([open(), open(), open()]);
    const at = (n: number) => n < 7 ? NOW + n : NOW - back + (n - 7) * 200;
    const run = Array.from(
      { length: 607 },
      (_, n) => pick(pool, { now: at(n) })!,
    );
    assertEven(Object.values(countsOf(run)), `back by ${back} ms`);
  }
});

test("round-robin goes to a use that another clock wrote into the future once, not for ever", () => {
  const used = [NOW + 9e9, NOW, NOW - 5];
  const pool = fleet(used.map((lastUsedAt) => open({ lastUsedAt })));
  assertEquals(
    picks(pool, 7, { now: NOW + 1 }).join(" "),
    "alice carol bob alice carol bob alice",
  );
});

/** Asserts shares within `tolerance` requests in all runs of sum-of-weights picks. */
function assertShares(
  run: readonly string[],
  weights: readonly number[],
  tolerance: number,
): void {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  for (let start = 0; start + total <= run.length; start++) {
    const counts = countsOf(run.slice(start, start + total));
    for (const [index, weight] of weights.entries()) {
      const count = counts[NAMES[index]!] ?? 0;
      assert(
        Math.abs(count - weight) <= tolerance,
        `${NAMES[index]} got ${count} of ${total} at weight ${weight}`,
      );
    }
  }
}

const weights = fc.array(fc.integer({ min: 1, max: 12 }), {
  minLength: 1,
  maxLength: 6,
});

test("weighted keeps to its weights over any run of sum-of-weights picks, wherever it began", () => {
  fc.assert(fc.property(weights, fc.nat(), (weights, seed) => {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const asked = {
      strategy: "weighted",
      random: new Random(seed).next,
    } as const;
    const run = picks(weighted(weights), total * 4, asked);
    assertShares(run, weights, 2);
  }));
});

test("weighted is smooth: a heavy account serves no burst", () => {
  const run = picks(weighted([5, 1, 1]), 70, { strategy: "weighted" });
  assertEquals(countsOf(run), { alice: 50, bob: 10, carol: 10 });
  assertEquals(run.slice(0, 7), run.slice(7, 14));
  const sequence = run.map((alias) => alias[0]).join("");
  assert(!sequence.includes("aaaaa"), sequence);
});

test("weighted follows its weights in processes of one request each", () => {
  const random = new Random(4).next;
  const run = Array.from(
    { length: 6000 },
    () => pick(weighted([3, 2, 1]), { strategy: "weighted", random })!,
  );
  const counts = countsOf(run);
  for (
    const [name, share] of [["alice", 3], ["bob", 2], ["carol", 1]] as const
  ) {
    const count = counts[name]!;
    assert(Math.abs(count - share * 1000) < 120, `${name}: ${count}`);
  }
});

test("weighted owes nobody a burst when a heavy account goes away, nor after it came back", () => {
  for (let gone = 1; gone < 120; gone++) {
    const pool = weighted([1, 1, 100]);
    picks(pool, gone, { strategy: "weighted" });
    const left = pool.all.slice(0, 2);
    const run = Array.from(
      { length: 20 },
      () => pick(pool, { strategy: "weighted" }, left)!,
    );
    assertShares(run, [1, 1], 1);
    assertShares(picks(pool, 204, { strategy: "weighted" }), [1, 1, 100], 2);
  }
});

test("weighted puts a weight of 0 last, and takes turns among several", () => {
  const pool = weighted([0, 2, 1, 0]);
  const run = picks(pool, 300, { strategy: "weighted" });
  assertEquals(countsOf(run), { bob: 200, carol: 100 });
  const tried = new Set(["bob", "carol"]);
  const rest = picks(pool, 6, { strategy: "weighted", tried });
  assertEquals(rest.join(" "), "alice dave alice dave alice dave");
});

test("weighted keeps to its weights inside the preferred plans and inside the others", () => {
  const pool = fleet([
    open({ weight: 3, plan: "pro" }),
    open({ weight: 1, plan: "pro" }),
    open({ weight: 9 }),
    open({ weight: 1 }),
  ]);
  const asked = { strategy: "weighted" } as const;
  assertEquals(countsOf(picks(pool, 40, asked)), { alice: 30, bob: 10 });
  const preferPlans = new Set(["plus"]);
  const run = picks(pool, 100, { ...asked, preferPlans });
  assertEquals(countsOf(run), { carol: 90, dave: 10 });
});

test("least-used evens out the counts, a new account first, then the longest unused", () => {
  fc.assert(fc.property(
    fc.array(fc.nat(20), { minLength: 2, maxLength: 6 }),
    (counts) => {
      const pool = fleet(counts.map((requests) => open({ requests })));
      const most = Math.max(...counts);
      const missing = counts.reduce((sum, count) => sum + most - count, 0);
      const run = picks(pool, missing + 12, { strategy: "least-used" });
      assertEquals(counts[NAMES.indexOf(run[0]!)], Math.min(...counts));
      assertEven(pool.all.map(({ record }) => record.requests));
    },
  ));
  const equal = [NOW - 1, NOW - 2].map((lastUsedAt) =>
    open({ lastUsedAt, requests: 2 })
  );
  const pool = fleet([...equal, open({ requests: 1, lastUsedAt: NOW })]);
  const [first, second] = picks(pool, 2, { strategy: "least-used" });
  assertEquals([first, second], ["carol", "bob"]);
});

/** Chi-squared at 5 degrees of freedom that one in a thousand exceeds. */
const CHI_SQUARED_LIMIT = 20.5;

test("random is uniform over its pool, first or after others were tried", () => {
  for (const seed of [1, 2, 3]) {
    const pool = weighted([1, 2, 3, 4, 5, 6]);
    const asked = {
      strategy: "random",
      random: new Random(seed).next,
    } as const;
    const counts = countsOf(picks(pool, 12_000, asked));
    const chi = NAMES.reduce(
      (sum, name) => sum + ((counts[name] ?? 0) - 2000) ** 2 / 2000,
      0,
    );
    assert(chi < CHI_SQUARED_LIMIT, `chi-squared is ${chi}`);
    assert(chi > 0.1, "a rotation is no chance");
    const tried = new Set(NAMES.slice(0, 4));
    const rest = countsOf(picks(pool, 2000, { ...asked, tried }));
    assertEquals(Object.keys(rest).sort(), ["erin", "frank"]);
    assert(Math.abs(rest["erin"]! - 1000) < 150);
  }
});

/** A model that has a meter of its own. */
const NEXT = "next-model";

const short = (usedPercent: number, left: number): UsageWindow => ({
  usedPercent,
  windowSeconds: 18_000,
  resetsAt: NOW + left,
});
const long = (usedPercent: number, left: number | null): UsageWindow => ({
  usedPercent,
  windowSeconds: 604_800,
  resetsAt: left === null ? null : NOW + left,
});

/** Accounts with these windows of the model's meter, and none of the others. */
function fleetOf(all: readonly UsageWindow[][], model?: string): AccountPool {
  return fleet(all.map((windows) => {
    const of = (own?: string) => ({ windows: model === own ? windows : [] });
    const meters = {
      codex: of(),
      [SPARK_METER]: of(SPARK),
      next: { ...of(NEXT), name: NEXT },
    };
    return open({ plan: "pro", usage: usage([], { meters }) });
  }));
}

/** Their order by `drain`. */
function drained(
  all: readonly UsageWindow[][],
  more: Partial<SelectQuery> = {},
): string {
  const asked = query({ strategy: "drain", ...more });
  return order(fleetOf(all, more.model).all, "first", asked)
    .map(({ alias }) => alias).join(" ");
}

test("drain goes by the unused share per time left of the longest window of the model's meter, unknown resets last", () => {
  const fleet = [
    [short(1, HOUR), long(1, 20 * HOUR)],
    [long(1, 10 * HOUR), short(90, HOUR)],
    [short(1, HOUR), long(60, 10 * HOUR)],
    [long(1, null)],
    [],
  ];
  for (const model of [undefined, SPARK, NEXT]) {
    assertEquals(drained(fleet, { model }), "bob alice carol dave erin");
  }
});

test("drain begins windows that have not begun, of several those whose share is lost first", () => {
  const week = 7 * 24 * HOUR;
  const fleet = [
    [long(1, HOUR)],
    [long(0, week)],
    [long(1, HOUR), short(0, 5 * HOUR)],
    [long(0, week - 2 * 60_000)],
    [long(100, 0)],
  ];
  assertEquals(drained(fleet), "carol bob erin alice dave");
});

test("drain places a session by its longest window, as it stays where a request only begins a shorter one", () => {
  const fleet = [
    [short(0, 5 * HOUR), long(90, 50 * HOUR)],
    [short(50, HOUR), long(10, 50 * HOUR)],
    [short(50, HOUR), long(0, 7 * 24 * HOUR)],
  ];
  assertEquals(drained(fleet), "carol alice bob");
  const sessionsOn = () => 0;
  assertEquals(drained(fleet, { sessionsOn }), "carol bob alice");
});

test("drain divides the share of an account among the sessions on it", () => {
  const fleet = [[long(40, 10 * HOUR)], [long(70, 10 * HOUR)]];
  for (
    const [sessions, expected] of [[0, "alice bob"], [2, "bob alice"]] as const
  ) {
    const sessionsOn = (alias: string) => alias === "alice" ? sessions : 0;
    assertEquals(drained(fleet, { sessionsOn }), expected);
  }
});

test("drain spreads requests side by side by their share, and none while each is answered", () => {
  const windows = [40, 70, 90].map((used) => [long(used, 10 * HOUR)]);
  const asked = { strategy: "drain" } as const;
  const pool = fleetOf(windows);
  const counts = countsOf(picks(pool, 100, asked));
  assertEquals(counts, { alice: 60, bob: 30, carol: 10 });
  for (let n = 0; n < 10; n++) {
    for (const account of pool.all) account.unanswered = 0;
    assertEquals(pick(pool, asked), "alice");
  }
  const idle = fleetOf([[short(1, HOUR)], [short(0, 5 * HOUR)]]);
  assertEquals(picks(idle, 3, asked), ["bob", "alice", "alice"]);
});

test("isStrategy() knows the five, and nothing else", () => {
  assertEquals(STRATEGIES.filter(isStrategy).length, 5);
  assertEquals(["", "Drain", "toString", null].filter(isStrategy), []);
});
