/** Two weeks of bursts on a few accounts, for comparing strategies; the same seed gives every strategy the same. */
import { Account, FIVE_HOURS, WEEK } from "./account.ts";
import { DAY, HOUR, START } from "./clock.ts";
import { Random } from "./random.ts";
import { MAIN } from "./told.ts";

export const DAYS = 14;

/** What strategies are compared on. */
export interface Scenario {
  name: string;
  /** How large the accounts are; 1 is a Plus plan. */
  sizes: readonly number[];
  /** Weeks are under way, each with another end; else none has begun. */
  isStaggered: boolean;
  /** How much there is to do; 1 asks for all weeks of all accounts. */
  load: number;
}

export const SCENARIOS: readonly Scenario[] = [
  { name: "3 fresh", sizes: [1, 1, 1], isStaggered: false, load: 0.9 },
  { name: "3 staggered", sizes: [1, 1, 1], isStaggered: true, load: 0.9 },
  { name: "3 mixed", sizes: [1, 1, 5], isStaggered: true, load: 0.9 },
  { name: "6 fresh", sizes: Array(6).fill(1), isStaggered: false, load: 0.9 },
  {
    name: "6 staggered",
    sizes: Array(6).fill(1),
    isStaggered: true,
    load: 0.9,
  },
  {
    name: "6 mixed",
    sizes: [1, 1, 1, 1, 2, 5],
    isStaggered: true,
    load: 0.9,
  },
  { name: "3 light", sizes: [1, 1, 1], isStaggered: true, load: 0.6 },
  { name: "3 heavy", sizes: [1, 1, 1], isStaggered: true, load: 1.3 },
];

/** What an ordinary request takes of a Plus plan's windows, percent. */
export const COSTS: Readonly<Record<number, number>> = {
  [FIVE_HOURS]: 2,
  [WEEK]: 0.4,
};

/** A request to come. */
export interface Arrival {
  /** Epoch ms. */
  at: number;
  /** Its number. */
  id: number;
  /** 1 is an ordinary one. */
  size: number;
  session: string;
}

/** The accounts of a scenario as they are when it begins; all have more credits than they can use. */
export function makeAccounts(scenario: Scenario, seed: number): Account[] {
  const random = new Random(seed * 31 + 7);
  return scenario.sizes.map((size, index) => {
    const week = scenario.isStaggered
      ? {
        used: random.between(0, 90),
        resetsAt: START + Math.floor(random.next() * WEEK) * 1000,
      }
      : { used: 0, resetsAt: null };
    return new Account({
      alias: `account-${index}`,
      plan: size > 1 ? "pro" : "plus",
      meters: [{
        id: MAIN,
        limitName: "codex",
        limit: 100,
        windows: [
          { seconds: FIVE_HOURS, used: 0, resetsAt: null },
          { seconds: WEEK, ...week },
        ],
      }],
      costs: {
        [FIVE_HOURS]: COSTS[FIVE_HOURS]! / size,
        [WEEK]: COSTS[WEEK]! / size,
      },
      credits: { hasCredits: true, unlimited: false, balance: 1e6, topUp: 0 },
      individual: null,
      settles: "start",
      cacheMs: 0,
      tellsCredits: true,
      tellsEvents: true,
      flipMs: 0,
      bankedResets: 0,
      minutesOff: 0,
      hidesUnused: false,
      hidesCredits: false,
      owner: { priority: 0, reserve: 0, weight: 1 },
    });
  });
}

/** Bursts of half an hour to three hours, most of them on working days, each of a few sessions. */
export function makeArrivals(scenario: Scenario, seed: number): Arrival[] {
  const random = new Random(seed);
  const bursts: { from: number; length: number; share: number }[] = [];
  for (let day = 0; day < DAYS; day++) {
    const count = random.whole(0, day % 7 < 5 ? 4 : 1);
    for (let burst = 0; burst < count; burst++) {
      bursts.push({
        from: START + day * DAY + random.between(8, 20) * HOUR,
        length: random.between(0.5, 3) * HOUR,
        share: random.between(1, 9),
      });
    }
  }
  const size = scenario.sizes.reduce((sum, it) => sum + it, 0);
  const capacity = size * (DAYS / 7) * 100 / COSTS[WEEK]!;
  const shares = bursts.reduce((sum, it) => sum + it.share, 0);
  const perShare = scenario.load * capacity / shares;
  const arrivals = bursts.flatMap(({ from, length, share }, burst) => {
    const sessions = random.whole(2, 8);
    return Array.from({ length: Math.round(share * perShare) }, () => ({
      at: Math.floor(from + random.next() * length),
      id: 0,
      size: random.between(0.5, 1.5),
      session: `${burst}-${random.whole(1, sessions)}`,
    }));
  }).sort((one, other) => one.at - other.at);
  return arrivals.map((arrival, index) => ({ ...arrival, id: index + 1 }));
}
