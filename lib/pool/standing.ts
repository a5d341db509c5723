/** The verdict on one account for one model at one time, from facts alone. */
import {
  isSparkModel,
  MAIN_METER,
  meterFacts,
  meterOfModel,
} from "../meters.ts";
import type { Standing } from "../report_types.ts";
import type { NormalRecord } from "../normal_types.ts";
import { ClockReading } from "./clock.ts";
import { areUsable } from "./credits.ts";
import { runningUntil } from "./limits.ts";
import { assessQuota, type PoolIndex, type StandingQuery } from "./quota.ts";

export {
  CHECK_INTERVAL_MS,
  type PoolIndex,
  type StandingQuery,
} from "./quota.ts";

/** A throttle that ends within this, or token trouble that lasts no longer, says nothing about quota, ms. */
const TRANSIENT_MS = 15 * 60_000;

/** Accounts that are as good for a request: the first pool costs nothing, the others may. */
export type Pool = "first" | "likely" | "credits" | "unconfirmed";
/** The pools in the order in which they are used, cheapest first. */
export const POOLS: readonly Pool[] = [
  "first",
  "likely",
  "credits",
  "unconfirmed",
];

/** What a request is served on that goes to this pool. */
export function servedOn(pool: Pool): "included" | "credits" | "unconfirmed" {
  if (pool === "first") return "included";
  return pool === "credits" ? "credits" : "unconfirmed";
}

/** A standing with what choosing needs besides. */
export interface Assessment {
  standing: Standing;
  poolIndex: PoolIndex;
  /** The verdict on its quota alone. */
  quota: Standing;
  /** The pool that its quota alone puts it in: a failure that says nothing about quota never opens a later one. */
  quotaIndex: PoolIndex;
  /** A throttle or token trouble that will be over soon alone keeps it from the first pool. */
  isBlockedTransiently: boolean;
  /** Whether what costs nothing may be sent on it, whatever its quota. */
  servesFree: boolean;
  /** When it can serve again as far as is known, epoch ms; null when unknown: a cooldown may end before the quota is back. */
  availableAt: number | null;
  /** The verdict holds until then unless facts change, epoch ms. */
  validUntil: number;
}

/** Assesses an account; the result holds until `validUntil` unless facts change. */
export function assess(
  account: NormalRecord,
  query: StandingQuery,
): Assessment {
  const clock = new ClockReading(query.now);
  const quota = assessQuota(account, query, clock);
  const gone = blockedForAll(account, clock);
  const hard = gone ?? blockedForModel(account, query, clock);
  const pause = hard ? undefined : coolingDown(account, clock);
  const standing = hard ?? pause?.standing ?? quota.standing;
  const isBlocked = hard !== undefined || pause !== undefined;
  return {
    standing,
    poolIndex: isBlocked ? 4 : quota.poolIndex,
    quota: quota.standing,
    quotaIndex: hard ? 4 : quota.poolIndex,
    isBlockedTransiently: pause?.isTransient === true && quota.poolIndex === 0,
    servesFree: gone === undefined && pause === undefined,
    availableAt: !isBlocked
      ? quota.availableAt
      : quota.poolIndex === 4
      ? later(untilOf(standing), quota.availableAt)
      : untilOf(standing),
    validUntil: clock.validUntil,
  };
}

/** The later of two times; null where one of them is unknown. */
function later(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : Math.max(a, b);
}

/** Why an account's standing is what it is, in a word; null where nothing is wrong. */
export function reasonOf(standing: Standing): string | null {
  switch (standing.kind) {
    case "included":
      return null;
    case "unknown":
      return "unknown";
    case "credits":
      return "exhausted";
    case "unconfirmed":
    case "blocked":
      return standing.reason;
  }
}

/** When a standing ends, epoch ms; null when unknown or never by itself. */
export function untilOf(standing: Standing): number | null {
  return "until" in standing ? standing.until : null;
}

/** What keeps an account from serving anything, cooldowns apart. */
function blockedForAll(
  account: NormalRecord,
  clock: ClockReading,
): Standing | undefined {
  const { enabled, auth, tokens } = account;
  if (!enabled) return block("disabled", null);
  if (auth || !tokens) return block("login", null);
  const workspace = runningUntil(account, "workspace", clock);
  return workspace === undefined ? undefined : block("workspace", workspace);
}

/** What keeps it from serving this model, whatever may be spent. */
function blockedForModel(
  account: NormalRecord,
  { model, names }: StandingQuery,
  clock: ClockReading,
): Standing | undefined {
  const plan = runningUntil(account, "plan", clock);
  if (plan !== undefined) return block("plan", plan);
  if (model === undefined) return undefined;
  if (lacksMeter(account, model, meterOfModel(model, names))) {
    return block("plan", null);
  }
  const refused = runningUntil(account, `model:${model}`, clock);
  return refused === undefined ? undefined : block("model", refused);
}

function block(
  reason: "disabled" | "login" | "workspace" | "plan" | "model",
  until: number | null,
): Standing {
  return { kind: "blocked", reason, until };
}

/** Whether an account was asked and has no such meter; one that nothing is known of may still have it. */
function lacksMeter(
  account: NormalRecord,
  model: string,
  meter: string,
): boolean {
  if (meter === MAIN_METER || meterFacts(account, meter)) return false;
  const isAnswered = (account.usage?.answeredAt ?? null) !== null;
  if (!isSparkModel(model)) return isAnswered;
  if (account.plan === "pro") return false;
  return isAnswered || account.usageCheck !== undefined;
}

function coolingDown(
  account: NormalRecord,
  clock: ClockReading,
): { standing: Standing; isTransient: boolean } | undefined {
  const throttle = runningUntil(account, "throttle", clock);
  const token = runningUntil(account, "token", clock);
  if (throttle === undefined && token === undefined) return undefined;
  const isSoonOver = throttle === undefined ||
    !clock.isBefore(throttle - TRANSIENT_MS);
  // a token worked when usage was last observed
  const workedAt = account.usage?.observedAt ?? 0;
  const isNew = token === undefined || clock.isBefore(workedAt + TRANSIENT_MS);
  const until = Math.max(throttle ?? 0, token ?? 0);
  return {
    isTransient: isSoonOver && isNew,
    standing: {
      kind: "blocked",
      reason: "cooldown",
      until,
      cause: until === token ? "token" : "throttle",
    },
  };
}

/** Whether an account's credits could pay now; who allows it is another question. */
export function hasUsableCredits(
  account: NormalRecord,
  clock: ClockReading,
): boolean {
  const { credits } = account;
  return credits !== undefined && areUsable(credits, clock) &&
    runningUntil(account, "credits", clock) === undefined;
}
