import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  AccountPool,
  type PooledAccount,
} from "../../lib/pool/account_pool.ts";
import {
  order,
  rivalsOf,
  select,
  type SelectQuery,
} from "../../lib/pool/select.ts";
import { settleWeights, STRATEGIES } from "../../lib/pool/strategy.ts";
import type { AccountRecord } from "../../lib/types.ts";
import { seeded } from "../bench/drain_simulation.ts";

const START = 1_800_000_000_000;
const NAMES = ["alice", "bob", "carol", "dave", "erin", "frank"];

/** An account with included usage, for as long as a test lasts. */
function open(more: Partial<AccountRecord> = {}): AccountRecord {
  return {
    tokens: { access: "-" },
    usage: { observedAt: START, meters: { codex: { windows: [] } } },
    credits: {
      observedAt: START,
      hasCredits: false,
      unlimited: false,
      balance: null,
    },
    ...more,
  };
}

function rosterOf(accounts: Record<string, AccountRecord>): AccountPool {
  const roster = new AccountPool();
  roster.load({ version: 1, settings: {}, accounts }, {
    allow: "all",
    source: "default",
  });
  return roster;
}

function rosterOfWeights(weights: readonly number[]): AccountPool {
  return rosterOf(Object.fromEntries(
    weights.map((weight, index) => [NAMES[index]!, open({ weight })]),
  ));
}

function query(more: Partial<SelectQuery> = {}): SelectQuery {
  return {
    model: "gpt-5.5",
    now: START,
    random: Math.random,
    strategy: "round-robin",
    preferPlans: new Set(["pro"]),
    tried: new Set(),
    retriable: new Set(),
    lastPool: "unconfirmed",
    knownOnly: false,
    sticky: undefined,
    ...more,
  };
}

/** Chooses and counts as a request does. */
function pick(
  roster: AccountPool,
  more: Partial<SelectQuery>,
  among: readonly PooledAccount[] = roster.all,
): string | undefined {
  const asked = query(more);
  const chosen = select(among, asked).choice?.runner;
  if (!chosen) return undefined;
  if (asked.strategy === "weighted") {
    settleWeights(rivalsOf(among, chosen, asked), chosen);
  }
  roster.use(chosen, asked.now);
  return chosen.alias;
}

function picks(
  roster: AccountPool,
  count: number,
  more: Partial<SelectQuery>,
): string[] {
  return Array.from({ length: count }, () => pick(roster, more)!);
}

function countsOf(picked: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const alias of picked) counts[alias] = (counts[alias] ?? 0) + 1;
  return counts;
}

const anyAccount = fc.record({
  plan: fc.constantFrom("plus", "pro", "free"),
  weight: fc.oneof(
    fc.constantFrom(0, 1, 0.5, 7),
    fc.double(),
  ),
  requests: fc.nat(1000),
  lastUsedAt: fc.option(fc.integer({ min: START - 9e9, max: START + 9e9 })),
  resetsAt: fc.option(fc.integer({ min: START - 9e9, max: START + 9e9 })),
}).map(({ resetsAt, ...more }) =>
  open({
    ...more,
    usage: {
      observedAt: START,
      meters: {
        codex: {
          windows: [{ usedPercent: 5, windowSeconds: 604_800, resetsAt }],
        },
      },
    },
  })
);

Deno.test("select() and order() bring every account of a pool to its turn, preferred plans first, by any strategy", () => {
  fc.assert(fc.property(
    fc.constantFrom(...STRATEGIES),
    fc.array(anyAccount, { minLength: 1, maxLength: 6 }),
    fc.nat(),
    (strategy, records, seed) => {
      const accounts = Object.fromEntries(
        records.map((record, index) => [NAMES[index]!, record]),
      );
      const { all: runners } = rosterOf(accounts);
      const random = seeded(seed);
      const ordered = order(runners, "first", query({ strategy, random }))
        .map((runner) => runner.alias);
      const tried = new Set<string>();
      for (;;) {
        const more = { strategy, random, tried };
        const alias = select(runners, query(more)).choice?.runner.alias;
        if (alias === undefined) break;
        tried.add(alias);
      }
      for (const turns of [ordered, [...tried]]) {
        assertEquals([...turns].sort(), Object.keys(accounts).sort());
        const plans = turns.map((alias) => accounts[alias]!.plan === "pro");
        assertEquals(plans, [...plans].sort().reverse());
      }
      if (strategy !== "random") assertEquals(ordered, [...tried]);
    },
  ));
});

/** One moment: who is away, how the clock moves (ms), who joins. */
const anyStep = fc.record({
  away: fc.subarray(NAMES),
  tick: fc.constantFrom(0, 0, 1, 5, 700),
});

Deno.test("round-robin stays within one request of fair for accounts that stay while others come and go", () => {
  fc.assert(fc.property(
    fc.array(anyStep, { minLength: 30, maxLength: 120 }),
    fc.integer({ min: 2, max: 4 }),
    (steps, staying) => {
      const roster = rosterOf(
        Object.fromEntries(NAMES.map((name) => [name, open()])),
      );
      const residents = NAMES.slice(0, staying);
      const last = new Map<string, number>();
      const counts = new Map(residents.map((name) => [name, 0]));
      let now = START;
      for (const [index, { away, tick }] of steps.entries()) {
        now += tick;
        const present = roster.all.filter(({ alias }) =>
          residents.includes(alias) || !away.includes(alias)
        );
        const alias = pick(roster, { now }, present)!;
        // one who comes back gets one turn, not all that it missed
        for (const other of residents) {
          if (other === alias) continue;
          const waited = index - (last.get(other) ?? -1);
          assert(waited <= NAMES.length, `${other} waited ${waited} picks`);
        }
        last.set(alias, index);
        if (counts.has(alias)) counts.set(alias, counts.get(alias)! + 1);
        const values = [...counts.values()];
        assert(Math.max(...values) - Math.min(...values) <= 1);
      }
    },
  ));
});

Deno.test("round-robin stays fair when the clock is set back", () => {
  for (const back of [1, 50, 30_000, 59_000, 61_000, 3_600_000]) {
    const roster = rosterOfWeights([1, 1, 1]);
    const before = Array.from(
      { length: 7 },
      (_, index) => pick(roster, { now: START + index })!,
    );
    const after = Array.from(
      { length: 600 },
      (_, index) => pick(roster, { now: START - back + index * 200 })!,
    );
    const counts = Object.values(countsOf([...before, ...after]));
    assert(
      Math.max(...counts) - Math.min(...counts) <= 1,
      `back by ${back} ms: ${counts}`,
    );
  }
});

Deno.test("round-robin goes to a use that another clock wrote into the future once, not for ever", () => {
  const accounts = {
    alice: open({ lastUsedAt: START + 9e9 }),
    bob: open({ lastUsedAt: START }),
    carol: open({ lastUsedAt: START - 5 }),
  };
  assertEquals(
    picks(rosterOf(accounts), 7, { now: START + 1 }).join(" "),
    "alice carol bob alice carol bob alice",
  );
});

Deno.test("round-robin keeps nobody waiting longer than a cycle when processes learn of each other late", () => {
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.nat(1), fc.integer({ min: 1, max: 900 })), {
      minLength: 100,
      maxLength: 300,
    }),
    (requests) => assertNobodyWaits(requests),
  ));
});

/** Two processes: uses are written every 10 s and read every second. */
function assertNobodyWaits(requests: readonly [number, number][]): void {
  const stored = new Map(NAMES.map((name) => [name, 0]));
  const processes = [0, 1].map(() => ({
    roster: rosterOf(Object.fromEntries(NAMES.map((name) => [name, open()]))),
    readAt: 0,
    writtenAt: 0,
    picks: [] as number[],
  }));
  const usedAt = new Map(NAMES.map((name) => [name, START]));
  let now = START;
  for (const [index, tick] of requests) {
    now += tick;
    const process = processes[index]!;
    for (const { alias, record: account } of process.roster.all) {
      const own = account.lastUsedAt ?? 0;
      if (now - process.writtenAt >= 10_000) {
        stored.set(alias, Math.max(stored.get(alias)!, own));
      }
      if (now - process.readAt >= 1_000) {
        account.lastUsedAt = Math.max(stored.get(alias)!, own);
      }
    }
    if (now - process.writtenAt >= 10_000) process.writtenAt = now;
    if (now - process.readAt >= 1_000) process.readAt = now;
    usedAt.set(pick(process.roster, { now })!, now);
    process.picks.push(now);
    // whoever of them went through all accounts last came by everybody
    const cycles = processes.map(({ picks }) =>
      now - (picks.at(-NAMES.length) ?? START)
    );
    const cycle = Math.min(...cycles);
    for (const [alias, at] of usedAt) {
      assert(now - at <= cycle + 10_000, `${alias} waited ${now - at} ms`);
    }
  }
}

Deno.test("weighted takes turns as smooth weighted round robin does", () => {
  const sequence = (weights: number[], count: number) =>
    picks(rosterOfWeights(weights), count, { strategy: "weighted" })
      .map((alias) => alias[0]).join("");
  assertEquals(sequence([5, 1, 1], 14), "aabacaaaabacaa");
  assertEquals(sequence([1, 2, 3], 12), "cbacbccbacbc");
  assertEquals(sequence([1, 1, 1], 6), "abcabc");
  assertEquals(sequence([0.5, 0.25, 0.25], 8), sequence([2, 1, 1], 8));
});

Deno.test("weighted is within one of its weights over any run of sum-of-weights picks", () => {
  fc.assert(fc.property(
    fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 6 }),
    (weights) => {
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      const roster = rosterOfWeights(weights);
      const run = picks(roster, total * 4, { strategy: "weighted" });
      assertWithinOne(run, weights);
      assertEquals(
        countsOf(run),
        Object.fromEntries(weights.map((w, index) => [NAMES[index]!, 4 * w])),
      );
    },
  ));
});

/** Asserts the share of each in all runs of sum-of-weights picks. */
function assertWithinOne(
  run: readonly string[],
  weights: readonly number[],
): void {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  for (let start = 0; start + total <= run.length; start++) {
    const counts = countsOf(run.slice(start, start + total));
    for (const [index, weight] of weights.entries()) {
      const count = counts[NAMES[index]!] ?? 0;
      assert(
        Math.abs(count - weight) <= 1,
        `${NAMES[index]} got ${count} of ${total} at weight ${weight}`,
      );
    }
  }
}

Deno.test("weighted owes nobody a burst when a heavy account goes away", () => {
  for (let gone = 1; gone < 120; gone++) {
    const roster = rosterOfWeights([1, 1, 100]);
    picks(roster, gone, { strategy: "weighted" });
    const left = roster.all.slice(0, 2);
    const run = Array.from(
      { length: 20 },
      () => pick(roster, { strategy: "weighted" }, left)!,
    );
    assertWithinOne(run, [1, 1]);
    const whole = picks(roster, 204, { strategy: "weighted" });
    assertWithinOne(whole, [1, 1, 100]);
  }
});

Deno.test("weighted comes back to its weights whoever came and went", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 5 }),
      fc.array(fc.subarray(NAMES.slice(0, 5)), { maxLength: 80 }),
      (weights, absences) => {
        const roster = rosterOfWeights(weights);
        for (const away of absences) {
          const present = roster.all
            .filter(({ alias }) => !away.includes(alias));
          pick(roster, { strategy: "weighted" }, present);
        }
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const run = picks(roster, total * 2, { strategy: "weighted" });
        assertWithinOne(run, weights);
      },
    ),
  );
});

Deno.test("weighted puts a weight of 0 last, and takes turns among several", () => {
  const roster = rosterOfWeights([0, 2, 1, 0]);
  const run = picks(roster, 300, { strategy: "weighted" });
  assertEquals(countsOf(run), { bob: 200, carol: 100 });
  const tried = new Set(["bob", "carol"]);
  const rest = picks(roster, 6, { strategy: "weighted", tried });
  assertEquals(rest.join(" "), "alice dave alice dave alice dave");
});

Deno.test("weighted keeps to its weights inside the preferred plans and inside the others", () => {
  const roster = rosterOf({
    alice: open({ weight: 3, plan: "pro" }),
    bob: open({ weight: 1, plan: "pro" }),
    carol: open({ weight: 9, plan: "plus" }),
    dave: open({ weight: 1, plan: "plus" }),
  });
  assertEquals(countsOf(picks(roster, 40, { strategy: "weighted" })), {
    alice: 30,
    bob: 10,
  });
  const preferPlans = new Set(["plus"]);
  const run = picks(roster, 100, { strategy: "weighted", preferPlans });
  assertEquals(countsOf(run), { carol: 90, dave: 10 });
});

Deno.test("least-used evens out the counts, and a new account is first", () => {
  fc.assert(fc.property(
    fc.array(fc.nat(20), { minLength: 2, maxLength: 6 }),
    (counts) => {
      const roster = rosterOf(Object.fromEntries(
        counts.map((requests, i) => [NAMES[i]!, open({ requests })]),
      ));
      const most = Math.max(...counts);
      const missing = counts.reduce((sum, count) => sum + most - count, 0);
      const run = picks(roster, missing + 12, { strategy: "least-used" });
      assertEquals(counts[NAMES.indexOf(run[0]!)], Math.min(...counts));
      const after = roster.all.map(({ record: account }) => account.requests!);
      assert(Math.max(...after) - Math.min(...after) <= 1);
    },
  ));
});

/** Chi-squared at 5 degrees of freedom that one in a thousand exceeds. */
const CHI_SQUARED_LIMIT = 20.5;

Deno.test("random is uniform over its pool, first or after others were tried", () => {
  for (const seed of [1, 2, 3]) {
    const roster = rosterOfWeights([1, 2, 3, 4, 5, 6]);
    const random = seeded(seed);
    const run = picks(roster, 12_000, { strategy: "random", random });
    const counts = countsOf(run);
    const chi = NAMES.reduce(
      (sum, name) => sum + ((counts[name] ?? 0) - 2000) ** 2 / 2000,
      0,
    );
    assert(chi < CHI_SQUARED_LIMIT, `chi-squared is ${chi}`);
    assert(chi > 0.1, "a rotation is no chance");
    const tried = new Set(NAMES.slice(0, 4));
    const rest = countsOf(
      picks(roster, 2000, { strategy: "random", random, tried }),
    );
    assertEquals(Object.keys(rest).sort(), ["erin", "frank"]);
    assert(Math.abs(rest["erin"]! - 1000) < 150);
  }
});

Deno.test("drain goes by the longest window of the model's meter, unknown resets last", () => {
  const hour = 3_600_000;
  const windows = (short: number | null, long: number | null) => [
    { usedPercent: 1, windowSeconds: 18_000, resetsAt: short },
    { usedPercent: 1, windowSeconds: 604_800, resetsAt: long },
  ];
  const meters = (main: number | null, spark: number | null) =>
    open({
      plan: "pro",
      usage: {
        observedAt: START,
        meters: {
          codex: { windows: windows(START + hour, main) },
          codex_bengalfox: { windows: windows(START + 9 * hour, spark) },
        },
      },
    });
  const { all: runners } = rosterOf({
    alice: meters(START + 9 * hour, START + hour),
    bob: meters(START + 5 * hour, START + 2 * hour),
    carol: meters(null, START + 3 * hour),
    dave: meters(START - hour, START + 4 * hour),
    erin: open({ plan: "pro", lastUsedAt: START - 1 }),
  });
  const drained = (model: string) =>
    order(runners, "first", query({ strategy: "drain", model }))
      .map(({ alias }) => alias).join(" ");
  assertEquals(drained("gpt-5.5"), "bob alice carol dave erin");
  assertEquals(drained("gpt-5.3-codex-spark"), "alice bob carol dave erin");
});
