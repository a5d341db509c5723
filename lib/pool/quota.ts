/**
 * What an account's quota and credits say, cooldowns of the account apart.
 *
 * @module
 */
import { MAIN_METER, type MeterNames, meterOfModel } from "../meters.ts";
import type { Standing } from "../report_types.ts";
import type { NormalRecord, NormalUsage } from "../normal_types.ts";
import type { CapVerdict } from "./caps.ts";
import type { ClockReading } from "./clock.ts";
import { areUsable, saidNone } from "./credits.ts";
import {
  isWithoutCredits,
  limitsOf,
  meterObservedAt,
  modelUsage,
  runningUntil,
} from "./limits.ts";

/** An account is asked for its usage at most this often, ms. */
export const CHECK_INTERVAL_MS = 60_000;
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
  /** What the caps say of one more paid request. */
  cap?: CapVerdict | undefined;
}

/** What quota and credits say, cooldowns of the account apart. */
export interface QuotaVerdict {
  standing: Standing;
  poolIndex: PoolIndex;
  /** Epoch ms; null when unknown. */
  availableAt: number | null;
}

/** The verdict on an account's quota and credits. */
export function assessQuota(
  account: NormalRecord,
  query: StandingQuery,
  clock: ClockReading,
): QuotaVerdict {
  const meter = meterOfModel(query.model, query.names);
  const limits = limitsOf(account, meter, query.model, clock);
  if (limits.until !== undefined) {
    return onExhausted(account, query, limits.until, clock);
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
function askableAt({ usageCheck }: NormalRecord, clock: ClockReading): number {
  const again = (usageCheck?.askedAt ?? -Infinity) + CHECK_INTERVAL_MS;
  // a time that another clock wrote into the future holds nobody up
  return clock.isBefore(again - 2 * CHECK_INTERVAL_MS) ? -Infinity : again;
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
  const { cap } = query;
  const mayTry = query.creditsAllowed || credits === undefined ||
    saidNone(credits);
  if (mayTry && runningUntil(account, "credits", clock) === undefined) {
    if (cap?.kind === "capped") return capped(cap.until, null, clock);
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
  const meter = meterOfModel(query.model, query.names);
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
  const isUnconfirmed = !credits || !clock.isFresh(credits.observedAt);
  const mayPay = isUnconfirmed || areUsable(credits, clock);
  if (mayPay && query.cap?.kind === "capped") {
    return capped(query.cap.until, until, clock);
  }
  if (isUnconfirmed) {
    const standing = {
      kind: "unconfirmed",
      reason: "exhausted",
      until,
    } as const;
    return { standing, poolIndex: 3, availableAt: until };
  }
  if (!mayPay) return blocked;
  return {
    standing: { kind: "credits", until },
    poolIndex: 2,
    availableAt: until,
  };
}

/** The cap alone is in the way: until it ends, or the window that is full. */
function capped(
  capEnd: number | null,
  windowEnd: number | null,
  clock: ClockReading,
): QuotaVerdict {
  if (capEnd !== null) clock.isBefore(capEnd);
  const ends = [capEnd, windowEnd].filter((end) => end !== null);
  const until = ends.length > 0 ? Math.min(...ends) : null;
  return {
    standing: { kind: "blocked", reason: "capped", until },
    poolIndex: 4,
    availableAt: until,
  };
}
