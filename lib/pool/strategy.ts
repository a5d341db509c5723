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
      return -urgency(account.record, context);
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

/** How soon unused quota is lost: a window that has not begun first, as the sooner it begins the sooner it is new again. */
function urgency(
  record: NormalRecord,
  { model, now }: RankContext,
): number {
  const windows = meterFacts(record, meterOfModel(model))?.windows ?? [];
  let longest: NormalWindow | undefined;
  for (const window of windows) {
    if (isIdle(window, now)) return Infinity;
    const isLonger = (window.windowSeconds ?? 0) >=
      (longest?.windowSeconds ?? -1);
    if (isLonger) longest = window;
  }
  if (!longest || longest.resetsAt === null) return -Infinity;
  return (100 - longest.usedPercent) / (longest.resetsAt - now);
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
