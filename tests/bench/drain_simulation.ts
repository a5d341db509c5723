/**
 * A month of bursty load on a few accounts, to see how much included quota
 * each strategy lets expire. Run it for the table:
 * `deno run tests/bench/drain_simulation.ts`
 */
import {
  AccountPool,
  type PooledAccount,
} from "../../lib/pool/account_pool.ts";
import { rivalsOf, select } from "../../lib/pool/select.ts";
import { settleWeights, STRATEGIES } from "../../lib/pool/strategy.ts";
import type {
  AccountRecord,
  StrategyName,
  UsageWindow,
} from "../../lib/types.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const START = 1_800_000_000_000;
const FIVE_HOURS = 18_000;
const WEEK = 604_800;
/** What a request takes of a window, percent. */
const COST: Record<number, number> = { [FIVE_HOURS]: 0.8, [WEEK]: 0.12 };

/** A month to simulate. */
export interface MonthOptions {
  strategy: StrategyName;
  /** The same seed gives every strategy the same load. */
  seed: number;
  /** @default {28} */
  days?: number;
  /** @default {6} */
  accounts?: number;
  /**
   * How much there is to do; 1 asks for about 70 % of all weeks.
   * @default {1}
   */
  load?: number;
  /** A window begins with its first request, or by the calendar. */
  begins: "on-use" | "fixed";
}

/** What became of the month. */
export interface MonthResult {
  /** Requests served on included usage. */
  served: number;
  /** Requests that found nobody with included usage: they would cost money, or wait. */
  refused: number;
  /** Weekly quota that expired unused, in whole weeks of one account. */
  wasted: number;
}

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Simulates a month with the choosing that the rotator uses. */
export function simulateMonth(options: MonthOptions): MonthResult {
  const { strategy, seed, days = 28, accounts = 6, load = 1, begins } = options;
  const random = seeded(seed + 1);
  const roster = rosterOf(accounts, begins, seeded(seed + 2));
  const result: MonthResult = { served: 0, refused: 0, wasted: 0 };
  const none: ReadonlySet<string> = new Set();
  for (const now of arrivals(days, load, seeded(seed))) {
    for (const runner of roster.all) {
      result.wasted += expire(runner, now, begins);
    }
    const query = {
      model: "gpt-5.5",
      now,
      random,
      strategy,
      preferPlans: none,
      tried: none,
      retriable: none,
      lastPool: "unconfirmed" as const,
      knownOnly: false,
      sticky: undefined,
    };
    const chosen = select(roster.all, query).choice?.runner;
    if (!chosen) {
      result.refused++;
      continue;
    }
    if (strategy === "weighted") {
      settleWeights(rivalsOf(roster.all, chosen, query), chosen);
    }
    roster.use(chosen, now);
    useUp(chosen, now);
    result.served++;
  }
  return result;
}

/** When requests come, epoch ms: bursts, most of them on working days. */
function arrivals(
  days: number,
  load: number,
  random: () => number,
): number[] {
  const times: number[] = [];
  for (let day = 0; day < days; day++) {
    const bursts = Math.floor(random() * (day % 7 < 5 ? 5 : 2));
    for (let burst = 0; burst < bursts; burst++) {
      const from = START + day * DAY + (8 + random() * 12) * HOUR;
      const length = (0.5 + random() * 2.5) * HOUR;
      const count = Math.floor(load * (60 + random() * 500));
      for (let n = 0; n < count; n++) {
        times.push(Math.floor(from + random() * length));
      }
    }
  }
  return times.sort((a, b) => a - b);
}

function rosterOf(
  count: number,
  begins: MonthOptions["begins"],
  random: () => number,
): AccountPool {
  const accounts: Record<string, AccountRecord> = {};
  for (let index = 0; index < count; index++) {
    const windows = [FIVE_HOURS, WEEK].map((windowSeconds): UsageWindow => ({
      usedPercent: 0,
      windowSeconds,
      resetsAt: begins === "fixed"
        ? START + Math.floor(random() * windowSeconds * 1000)
        : null,
    }));
    accounts[`account-${index}`] = {
      tokens: { access: "-" },
      usage: { observedAt: START, meters: { codex: { windows } } },
    };
  }
  const roster = new AccountPool();
  const policy = { allow: "none", source: "option" } as const;
  roster.load({ version: 1, settings: {}, accounts }, policy);
  return roster;
}

function windowsOf(runner: PooledAccount): UsageWindow[] {
  return runner.record.usage!.meters["codex"]!.windows;
}

/** Starts afresh the windows that are over; how much of a week went to waste. */
function expire(
  runner: PooledAccount,
  now: number,
  begins: MonthOptions["begins"],
): number {
  let wasted = 0;
  for (const window of windowsOf(runner)) {
    while (window.resetsAt !== null && window.resetsAt <= now) {
      if (window.windowSeconds === WEEK) {
        wasted += (100 - window.usedPercent) / 100;
      }
      window.usedPercent = 0;
      window.resetsAt = begins === "fixed"
        ? window.resetsAt + window.windowSeconds! * 1000
        : null;
    }
  }
  // facts stay fresh here: how they are kept so is not what is looked at
  runner.record.usage!.observedAt = now;
  runner.invalidate();
  return wasted;
}

/** Books a request, as the headers of its answer tell it. */
function useUp(runner: PooledAccount, now: number): void {
  for (const window of windowsOf(runner)) {
    const seconds = window.windowSeconds!;
    window.resetsAt ??= now + seconds * 1000;
    window.usedPercent = Math.min(100, window.usedPercent + COST[seconds]!);
  }
  runner.invalidate();
}

/** The means over some months, as rows of a table. */
export function table(months: number): string[] {
  const rows = ["load  begins  strategy     served  refused  weeks wasted"];
  for (const load of [0.5, 1]) {
    for (const begins of ["on-use", "fixed"] as const) {
      for (const strategy of STRATEGIES) {
        const mean = meanMonth(months, { strategy, load, begins });
        rows.push([
          String(load).padEnd(5),
          begins.padEnd(7),
          strategy.padEnd(11),
          mean.served.toFixed(0).padStart(7),
          mean.refused.toFixed(0).padStart(8),
          mean.wasted.toFixed(2).padStart(13),
        ].join(" "));
      }
    }
  }
  return rows;
}

/** The mean over months of different load. */
export function meanMonth(
  months: number,
  options: Omit<MonthOptions, "seed">,
): MonthResult {
  const total: MonthResult = { served: 0, refused: 0, wasted: 0 };
  for (let month = 0; month < months; month++) {
    const result = simulateMonth({ ...options, seed: month * 97 });
    total.served += result.served / months;
    total.refused += result.refused / months;
    total.wasted += result.wasted / months;
  }
  return total;
}

if (import.meta.main) {
  // deno-lint-ignore no-console
  console.log(table(20).join("\n"));
}
