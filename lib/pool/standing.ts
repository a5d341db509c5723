/**
 * The verdict on one account for one model at one moment, from facts alone.
 *
 * @module
 */
import {
  isSparkModel,
  MAIN_METER,
  meterFacts,
  type MeterNames,
  meterOfModel,
} from "../meters.ts";
import type { Standing } from "../report_types.ts";
import type { AccountRecord, NormalRecord, NormalUsage } from "../types.ts";
import { isHeaderText } from "../values.ts";
import { ClockReading } from "./clock.ts";
import { areUsable, saidNone } from "./credits.ts";
import {
  isWithoutCredits,
  later,
  limitsOf,
  meterObservedAt,
  modelUsage,
  runningUntil,
} from "./limits.ts";

/** An account is asked for its usage at most this often, ms. */
export const CHECK_INTERVAL_MS = 60_000;
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
/** The position of a pool in that order; 4 is behind all of them. */
export type PoolIndex = 0 | 1 | 2 | 3 | 4;

/** What a standing is asked for. */
export interface StandingQuery {
  /** The model of the request; undefined when unknown. */
  model?: string | undefined;
  /** Whether the policy lets this account spend credits. */
  creditsAllowed: boolean;
  /** Epoch ms. */
  now: number;
  /** The meters that accounts of the pool were seen with. */
  names?: MeterNames;
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

/** What quota and credits say, cooldowns of the account apart. */
interface QuotaVerdict {
  standing: Standing;
  poolIndex: PoolIndex;
  /** Epoch ms; null when unknown. */
  availableAt: number | null;
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

/** When a standing ends, epoch ms; null when unknown or never by itself. */
export function untilOf(standing: Standing): number | null {
  return "until" in standing ? standing.until : null;
}

/** What keeps an account from serving anything, cooldowns apart. */
function blockedForAll(
  account: NormalRecord,
  clock: ClockReading,
): Standing | undefined {
  if (account.enabled === false) return block("disabled", null);
  if (account.auth || !account.tokens || isDamaged(account)) {
    return block("login", null);
  }
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

/** Whether the access token or the account's id cannot be written in a header, so that nothing can be sent. */
export function isDamaged(
  { tokens, accountId }: Pick<AccountRecord, "tokens" | "accountId">,
): boolean {
  // with a refresh token alone, one that can be sent is still to come
  const access = tokens?.access || undefined;
  return (access !== undefined && !isHeaderText(access)) ||
    (!!accountId && !isHeaderText(accountId));
}

/** Whether an account was asked and has no such meter; one that nothing is known of may still have it. */
function lacksMeter(
  account: NormalRecord,
  model: string,
  meter: string,
): boolean {
  if (meter === MAIN_METER || meterFacts(account, meter)) return false;
  const isAnswered = typeof account.usage?.answeredAt === "number";
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

function assessQuota(
  account: NormalRecord,
  query: StandingQuery,
  clock: ClockReading,
): QuotaVerdict {
  const meter = meterOfModel(query.model, query.names);
  const limits = limitsOf(account, meter, query.model, clock);
  if (limits.until !== undefined) {
    return onExhausted(account, query, meter, limits.until, clock);
  }
  // without credits a wrong guess costs a refusal, not money
  const isOpen = isWithoutCredits(account, clock)
    ? account.usage !== undefined
    : !limits.hasLapsed && isKnown(account, meter, clock);
  if (isOpen && !isDoubted(account.usage)) {
    const standing = { kind: "included" } as const;
    return { standing, poolIndex: 0, availableAt: null };
  }
  return onUnknown(account, query, !limits.hasLapsed, clock);
}

function isKnown(
  { usage }: NormalRecord,
  meter: string,
  clock: ClockReading,
): boolean {
  const observedAt = meterObservedAt(usage, meter);
  return observedAt !== null && clock.isFresh(observedAt);
}

/** Whether a charge was seen where none was expected, and usage was not asked for since. */
function isDoubted(usage: NormalUsage | undefined): boolean {
  return usage?.doubtedAt !== undefined &&
    (usage.answeredAt ?? 0) <= usage.doubtedAt;
}

/** When an account may be asked for its usage again, epoch ms. */
function askableAt(
  { usageCheck }: NormalRecord,
  { now }: ClockReading,
): number {
  const again = (usageCheck?.askedAt ?? -Infinity) + CHECK_INTERVAL_MS;
  // a time that another clock wrote into the future holds nobody up
  return again > now + 2 * CHECK_INTERVAL_MS ? -Infinity : again;
}

function onUnknown(
  account: NormalRecord,
  query: StandingQuery,
  wasOpen: boolean,
  clock: ClockReading,
): QuotaVerdict {
  const again = askableAt(account, clock);
  if (!clock.isBefore(again)) {
    const standing = { kind: "unknown" } as const;
    return { standing, poolIndex: 0, availableAt: null };
  }
  const { credits, usage } = account;
  const mayTry = query.creditsAllowed || credits === undefined ||
    saidNone(credits);
  if (mayTry && runningUntil(account, "credits", clock) === undefined) {
    const isLikely = wasOpen && usage !== undefined && !isDoubted(usage);
    return {
      standing: { kind: "unconfirmed", reason: "unknown", until: again },
      poolIndex: isLikely ? 1 : 3,
      availableAt: again,
    };
  }
  return {
    standing: { kind: "blocked", reason: "unknown", until: again },
    poolIndex: 4,
    availableAt: again,
  };
}

function onExhausted(
  account: NormalRecord,
  query: StandingQuery,
  meter: string,
  until: number | null,
  clock: ClockReading,
): QuotaVerdict {
  const blocked: QuotaVerdict = {
    standing: { kind: "blocked", reason: "exhausted", until },
    poolIndex: 4,
    // after its reset it is asked first
    availableAt: until === null || isWithoutCredits(account, clock)
      ? until
      : Math.max(until, askableAt(account, clock)),
  };
  if (meter !== MAIN_METER || !query.creditsAllowed) return blocked;
  const entry = modelUsage(account.usage, query.model);
  if (entry && !entry.available && entry.creditsWouldEnable === false) {
    return blocked;
  }
  const refusedUntil = runningUntil(account, "credits", clock);
  if (refusedUntil !== undefined) {
    const end = Math.min(refusedUntil, until ?? Infinity);
    return { ...blocked, availableAt: end };
  }
  const { credits } = account;
  if (!credits || !clock.isFresh(credits.observedAt)) {
    const standing = {
      kind: "unconfirmed",
      reason: "exhausted",
      until,
    } as const;
    return { standing, poolIndex: 3, availableAt: until };
  }
  if (!areUsable(credits, clock)) return blocked;
  return {
    standing: { kind: "credits", until },
    poolIndex: 2,
    availableAt: until,
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
