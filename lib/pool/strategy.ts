import { meterFacts, meterOfModel } from "../meters.ts";
import type { StrategyName } from "../types.ts";
import type { NormalRecord, NormalWindow } from "../normal_types.ts";
import type { PooledAccount } from "./account_pool.ts";
import { FUTURE_TOLERANCE_MS } from "./clock.ts";

/** All strategies, the default first. */
export const STRATEGIES: readonly StrategyName[] = [
  "round-robin",
  "least-used",
  "random",
  "weighted",
  "drain",
];

/** Whether `name` is a strategy. */
export function isStrategy(name: unknown): name is StrategyName {
  return STRATEGIES.includes(name as StrategyName);
}

/** What ranking looks at besides the account. */
export interface RankContext {
  model: string | undefined;
  /** Epoch ms. */
  now: number;
  /** Uniform in [0, 1). */
  random: () => number;
  /** How many sessions an account has; given when the request is one's, which will stay where it goes. */
  sessionsOn?: ((alias: string) => number) | undefined;
}

/**
 * An account's position by a strategy: lower goes first; of equal ones the
 * longest unused.
 */
export function rank(
  strategy: StrategyName,
  account: PooledAccount,
  context: RankContext,
): number {
  switch (strategy) {
    case "round-robin":
      return lastUse(account.record, context.now);
    case "least-used":
      return account.record.requests ?? 0;
    case "random":
      return context.random();
    case "weighted": {
      const weight = weightOf(account.record);
      if (weight === 0) return Infinity;
      // begun at random, by weight: a process of one request follows them, too
      account.owed ??= context.random() ** (1 / weight);
      // no float noise decides between equals
      return -Math.round(account.owed * 1e9);
    }
    case "drain":
      return -urgency(account, context);
  }
}

/** Longest unused first; uses of one millisecond in their order. */
export function byLastUse(
  a: PooledAccount,
  b: PooledAccount,
  now: number,
): number {
  return lastUse(a.record, now) - lastUse(b.record, now) ||
    a.sequence - b.sequence;
}

/** A use that another clock wrote into the future would starve the account. */
function lastUse({ lastUsedAt }: NormalRecord, now: number): number {
  const usedAt = lastUsedAt ?? 0;
  return usedAt > now + FUTURE_TOLERANCE_MS ? 0 : usedAt;
}

/** The weight of an account; one that is no weight counts as the default 1. */
function weightOf({ weight = 1 }: NormalRecord): number {
  return Number.isFinite(weight) && weight >= 0 ? weight : 1;
}

/**
 * Settles a pick of smooth weighted round robin: the picked one pays it, and
 * all of its group gain their share of the next one. Counted in picks instead
 * of weights, so that nobody is owed a burst when a heavy account goes away.
 */
export function settleWeights(
  group: readonly PooledAccount[],
  picked: PooledAccount,
): void {
  let total = 0;
  for (const { record } of group) total += weightOf(record);
  if (total === 0) return;
  for (const account of group) {
    const share = weightOf(account.record) / total;
    account.owed = (account.owed ?? share) + share;
    if (account === picked) account.owed--;
  }
}

/** A window that began this short a time ago may as well not have begun, ms: the backend tells whole seconds. */
const BEGIN_TOLERANCE_MS = 60_000;

/** Before any share: none is as high, in percent per hour. */
const FIRST = 1e9;
const HOUR_MS = 3_600_000;

/**
 * How soon unused quota is lost, for each of those who share it. A window that
 * has not begun goes first: the sooner it begins, the sooner it is new again.
 * Of a session only the longest window counts there, as the whole session would
 * stay where one request is enough to begin a window.
 */
function urgency(
  { alias, unanswered, record, names }: PooledAccount,
  { model, now, sessionsOn }: RankContext,
): number {
  const windows = meterFacts(record, meterOfModel(model, names))?.windows ?? [];
  const longest = longestOf(windows);
  if (!longest) return -Infinity;
  const claims = 1 + unanswered + (sessionsOn?.(alias) ?? 0);
  const share = shareOf(longest, now) / claims;
  const toBegin = sessionsOn ? [longest] : windows;
  // what is on its way begins them
  const isFirst = unanswered === 0 && toBegin.some((it) => isIdle(it, now));
  return isFirst ? FIRST + Math.max(0, share) : share;
}

function longestOf(windows: readonly NormalWindow[]): NormalWindow | undefined {
  let longest: NormalWindow | undefined;
  for (const window of windows) {
    const isLonger = (window.windowSeconds ?? 0) >=
      (longest?.windowSeconds ?? -1);
    if (isLonger) longest = window;
  }
  return longest;
}

/** The unused share of a window per time left, percent per hour; -Infinity where its reset is unknown. */
function shareOf(
  { usedPercent, windowSeconds, resetsAt }: NormalWindow,
  now: number,
): number {
  if (resetsAt === null) return -Infinity;
  if (resetsAt > now) return (100 - usedPercent) * HOUR_MS / (resetsAt - now);
  // it will begin anew
  return windowSeconds === null ? 0 : 100 * 3600 / windowSeconds;
}

/** Whether a window has not begun: nothing is used, and its reset slides with the time; or it has reset. */
function isIdle(
  { usedPercent, windowSeconds, resetsAt, observedAt }: NormalWindow,
  now: number,
): boolean {
  if (resetsAt !== null && resetsAt <= now) return true;
  if (usedPercent > 0 || windowSeconds === null || resetsAt === null) {
    return false;
  }
  const beginsAt = resetsAt - windowSeconds * 1000;
  return beginsAt >= (observedAt ?? now) - BEGIN_TOLERANCE_MS;
}
