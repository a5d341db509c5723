/** Random fleets: accounts of all kinds, and the rotators in front of them. */
import type { RotatorOptions, StrategyName } from "../../mod.ts";
import {
  Account,
  FIVE_HOURS,
  MONTH,
  type TrueCredits,
  type TrueMeter,
  type TrueWindow,
  WEEK,
} from "./account.ts";
import { DAY, HOUR, MINUTE, SECOND, START } from "./clock.ts";
import type { Random } from "./random.ts";
import { MAIN, RESERVE, SPARK } from "./told.ts";
import type { Process } from "./witness.ts";

/** Who may spend. */
export interface Policy {
  maySpend(alias: string): boolean;
}

export interface Fleet {
  accounts: Account[];
  processes: Process[];
  /** How far clocks are apart at most, ms. */
  skew: number;
  policy: Policy;
  options: RotatorOptions;
  days: number;
  /** How often a connection breaks. */
  breaks: number;
  /** Clocks are set back or ahead while it runs. */
  setsClocks: boolean;
  /** How much goes wrong: 0 is a backend without any trouble. */
  roughness: number;
}

const STRATEGIES: readonly StrategyName[] = [
  "round-robin",
  "least-used",
  "random",
  "weighted",
  "drain",
];
/** How much larger than a Plus plan these are. */
const SIZES: Record<string, number> = {
  plus: 1,
  team: 1.2,
  business: 1.5,
  prolite: 1.5,
  pro: 2,
};
const PLANS = ["plus", "plus", "plus", "pro", "prolite", "team", "business"];

/** A fleet by chance. */
export function makeFleet(random: Random, days: number): Fleet {
  const count = random.whole(2, 5);
  const aliases = ["anna", "bert", "cleo", "dora", "emil"].slice(0, count);
  const roughness = random.pick([0, 1, 1, 2, 4]);
  const accounts = aliases.map((alias) =>
    makeAccount(alias, random, roughness)
  );
  const names = random.chance(0.4) ? ["p", "q"] : ["p"];
  const processes = names.map((name): Process => ({
    name,
    skew: random.pick([0, 0, 0, 2, -2, 50, -50]) * SECOND,
    isRefreshing: false,
  }));
  const setsClocks = roughness > 0 && random.chance(0.2);
  const credits = makePolicy(aliases, random);
  return {
    accounts,
    processes,
    skew: spreadOf(processes) + (setsClocks ? 20 * SECOND : 0),
    setsClocks,
    policy: {
      maySpend: (alias) =>
        credits === "all" || (credits !== "none" && credits.includes(alias)),
    },
    options: {
      credits,
      strategy: random.pick(STRATEGIES),
      affinity: random.chance(0.8),
      maxWait: random.pick([0, 0, 0, 2 * MINUTE]),
    },
    days,
    breaks: roughness * 0.004,
    roughness,
  };
}

/** How far the clocks of processes are apart, ms. */
function spreadOf(processes: readonly Process[]): number {
  const skews = processes.map(({ skew }) => skew);
  return Math.max(...skews) - Math.min(...skews);
}

function makePolicy(aliases: readonly string[], random: Random) {
  const kind = random.pick(["all", "none", "some"] as const);
  return kind === "some" ? aliases.filter(() => random.chance(0.5)) : kind;
}

function makeAccount(alias: string, random: Random, roughness: number) {
  const plan = random.pick(PLANS);
  const isCreditOnly = plan === "business" && random.chance(0.5);
  const credits = makeCredits(random, isCreditOnly);
  const isOdd = roughness > 0;
  return new Account({
    alias,
    plan,
    meters: makeMeters(plan, isCreditOnly, random),
    credits,
    individual: credits?.balance === null
      ? { limit: random.pick([10, 50, 5000]), used: random.between(0, 20) }
      : null,
    costs: costsOf(SIZES[plan] ?? 1),
    settles: random.pick(["start", "end"]),
    cacheMs: isOdd ? random.pick([0, 0, 20, 40, 60]) * SECOND : 0,
    tellsCredits: random.chance(0.7),
    tellsEvents: random.chance(0.6),
    flipMs: isOdd && random.chance(0.1) ? random.pick([-3, 3]) * HOUR : 0,
    bankedResets: random.whole(0, 2),
    minutesOff: isOdd ? random.pick([0, 1]) : 0,
    hidesUnused: isOdd && random.chance(0.2),
    hidesCredits: isOdd && random.chance(0.1),
    owner: {
      priority: random.pick([0, 0, 0, 1]),
      reserve: random.pick([0, 0, 0, 20]),
      weight: random.pick([1, 1, 3]),
    },
  });
}

function makeCredits(
  random: Random,
  isCreditOnly: boolean,
): TrueCredits | null {
  const topUp = random.pick([0, 0, 0, 40]);
  const some = { hasCredits: true, unlimited: false, topUp };
  const none = { hasCredits: false, unlimited: false, balance: 0, topUp: 0 };
  if (isCreditOnly) return { ...some, balance: random.pick([null, 80]) };
  return random.pick<TrueCredits | null>([
    null,
    none,
    none,
    { ...some, balance: 3 },
    { ...some, balance: 30 },
    { ...some, balance: 300 },
    { ...some, balance: 300 },
    { ...some, balance: null },
    { ...some, unlimited: true, balance: 0 },
  ]);
}

function makeMeters(
  plan: string,
  isCreditOnly: boolean,
  random: Random,
): TrueMeter[] {
  const shapes = [[FIVE_HOURS, WEEK], [FIVE_HOURS, WEEK], [WEEK], [MONTH]];
  const meters: TrueMeter[] = [];
  const limit = random.pick([100, 100, 100, 100, 100, 115]);
  const meter = (id: string, limitName: string, lengths: number[]) => {
    const windows = lengths.map((it) => makeWindow(it, random));
    meters.push({ id, limitName, windows, limit: id === MAIN ? limit : 100 });
  };
  if (!isCreditOnly) meter(MAIN, "codex", random.pick(shapes));
  if (plan === "pro" || random.chance(0.15)) {
    meter(SPARK, "GPT-5.3-Codex-Spark", [FIVE_HOURS, WEEK]);
  }
  if (/^(plus|pro)/.test(plan) && random.chance(0.3)) {
    meter(RESERVE, "gpt-reserve", [WEEK]);
  }
  return meters;
}

/** What an ordinary request takes of the windows of a plan of this size, percent. */
function costsOf(size: number): Record<number, number> {
  return { [FIVE_HOURS]: 10 / size, [WEEK]: 2 / size, [MONTH]: 1.5 / size };
}

function makeWindow(seconds: number, random: Random): TrueWindow {
  if (random.chance(0.4)) return { seconds, used: 0, resetsAt: null };
  const used = random.pick([5, 40, 80, 95, 100, 100]);
  // soon enough for most to reset while the simulation runs
  const left = Math.min(seconds * 1000, 3 * DAY) * random.next();
  return { seconds, used, resetsAt: START + MINUTE + Math.floor(left) };
}
