import type { StrategyName } from "../types.ts";
import { FUTURE_TOLERANCE_MS } from "./clock.ts";
import { meterOfModel } from "../meters.ts";
import type { PooledAccount } from "./account_pool.ts";

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
 * An account's place by a strategy: lower goes first; equal places are ordered
 * by {@linkcode byLastUse}.
 */
export function rank(
  strategy: StrategyName,
  runner: PooledAccount,
  context: RankContext,
): number {
  switch (strategy) {
    case "round-robin":
      return lastUse(runner, context.now);
    case "least-used":
      return runner.record.requests ?? 0;
    case "random":
      return context.random();
    case "weighted": {
      const weight = weightOf(runner);
      if (weight === 0) return Infinity;
      // of newcomers the heaviest goes first; no float noise decides between equals
      return -Math.round((runner.owed ?? weight / (1 + weight)) * 1e9);
    }
    case "drain":
      return longestReset(runner, context) ?? Infinity;
  }
}

/** Longest unused first; uses of one millisecond in their order. */
export function byLastUse(
  a: PooledAccount,
  b: PooledAccount,
  now: number,
): number {
  return lastUse(a, now) - lastUse(b, now) || a.sequence - b.sequence;
}

/** A use that another clock wrote into the future would starve the account. */
function lastUse(runner: PooledAccount, now: number): number {
  const usedAt = runner.record.lastUsedAt ?? 0;
  return usedAt > now + FUTURE_TOLERANCE_MS ? 0 : usedAt;
}

/** The weight of an account; one that is no weight counts as the default 1. */
export function weightOf(runner: PooledAccount): number {
  const weight = runner.record.weight ?? 1;
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
  for (const runner of group) total += weightOf(runner);
  if (total === 0) return;
  for (const runner of group) {
    const share = weightOf(runner) / total;
    runner.owed = (runner.owed ?? share) + share;
    if (runner === picked) runner.owed--;
  }
}

/** When the longest window that still runs resets, epoch ms. */
function longestReset(
  runner: PooledAccount,
  context: RankContext,
): number | undefined {
  const usage = runner.record.usage;
  const meter = meterOfModel(context.model);
  if (!usage || !Object.hasOwn(usage.meters, meter)) return undefined;
  let longest = -1;
  let resetsAt: number | undefined;
  for (const window of usage.meters[meter]!.windows) {
    const seconds = window.windowSeconds ?? 0;
    if (seconds <= longest) continue;
    longest = seconds;
    const running = window.resetsAt !== null && window.resetsAt > context.now;
    resetsAt = running ? window.resetsAt! : undefined;
  }
  return resetsAt;
}
