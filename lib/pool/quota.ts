/** What an account's quota and credits say, cooldowns of the account apart. */
import { MAIN_METER, type MeterNames, meterOfModel } from "../meters.ts";
import type { Standing } from "../report_types.ts";
import type { NormalRecord, NormalUsage } from "../normal_types.ts";
import type { CapVerdict } from "./caps.ts";
import type { ClockReading } from "./clock.ts";
import { areUsable, isWithoutCredits, saidNone } from "./credits.ts";
import {
  limitsOf,
  meterObservedAt,
  modelUsage,
  runningUntil,
} from "./limits.ts";

/** An account is asked for its usage at most this often, ms. */
export const CHECK_INTERVAL_MS = 60_000;
/** The position of a pool in that order; 4 is behind all of them. */
export type PoolIndex = 0 | 1 | 2 | 3 | 4;

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

export interface QuotaVerdict {
  standing: Standing;
  poolIndex: PoolIndex;
  /** Epoch ms; null when unknown. */
  availableAt: number | null;
}

function verdict(
  standing: Extract<Standing, { until: number | null }>,
  poolIndex: PoolIndex,
  availableAt = standing.until,
): QuotaVerdict {
  return { standing, poolIndex, availableAt };
}

export function assessQuota(
  account: NormalRecord,
  query: StandingQuery,
  clock: ClockReading,
): QuotaVerdict {
  const meter = meterOfModel(query.model, query.names);
  const limits = limitsOf(account, meter, query.model, clock);
  if (limits.until !== undefined) {
    const until = limits.until === Infinity ? null : limits.until;
    return onExhausted(account, query, until, clock);
  }
  // without credits a wrong guess costs a refusal, not money
  const isOpen = isWithoutCredits(account, clock)
    ? account.usage !== undefined
    : !limits.hasLapsed && isKnown(account, meter, clock);
  return isOpen && !isDoubted(account.usage)
    ? { standing: { kind: "included" }, poolIndex: 0, availableAt: null }
    : onUnknown(account, query, !limits.hasLapsed, clock);
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
  { creditsAllowed, cap }: StandingQuery,
  wasOpen: boolean,
  clock: ClockReading,
): QuotaVerdict {
  const until = askableAt(account, clock);
  if (!clock.isBefore(until)) {
    return { standing: { kind: "unknown" }, poolIndex: 0, availableAt: null };
  }
  const { credits, usage } = account;
  const mayTry = creditsAllowed || credits === undefined || saidNone(credits);
  if (!mayTry || runningUntil(account, "credits", clock) !== undefined) {
    return verdict({ kind: "blocked", reason: "unknown", until }, 4);
  }
  if (cap?.kind === "capped") return capped(cap.until, null, clock);
  const isLikely = wasOpen && usage !== undefined && !isDoubted(usage);
  const pool = isLikely ? 1 : 3;
  return verdict({ kind: "unconfirmed", reason: "unknown", until }, pool);
}

function onExhausted(
  account: NormalRecord,
  { model, names, creditsAllowed, cap }: StandingQuery,
  until: number | null,
  clock: ClockReading,
): QuotaVerdict {
  const blocked = verdict(
    { kind: "blocked", reason: "exhausted", until },
    4,
    // after its reset it is asked first
    until === null || isWithoutCredits(account, clock)
      ? until
      : Math.max(until, askableAt(account, clock)),
  );
  const { credits, usage } = account;
  const isMain = meterOfModel(model, names) === MAIN_METER;
  const entry = modelUsage(usage, model);
  const isBeyondCredits = entry?.available === false &&
    entry.creditsWouldEnable === false;
  if (!isMain || !creditsAllowed || isBeyondCredits) return blocked;
  const refusedUntil = runningUntil(account, "credits", clock);
  if (refusedUntil !== undefined) {
    const availableAt = Math.min(refusedUntil, until ?? Infinity);
    return { ...blocked, availableAt };
  }
  const isUnconfirmed = !credits || !clock.isFresh(credits.observedAt);
  if (!isUnconfirmed && !areUsable(credits, clock)) return blocked;
  if (cap?.kind === "capped") return capped(cap.until, until, clock);
  return isUnconfirmed
    ? verdict({ kind: "unconfirmed", reason: "exhausted", until }, 3)
    : verdict({ kind: "credits", until }, 2);
}

/** The cap alone is in the way: until it ends, or the window that is full. */
function capped(
  capEnd: number | null,
  windowEnd: number | null,
  clock: ClockReading,
): QuotaVerdict {
  if (capEnd !== null) clock.isBefore(capEnd);
  const end = Math.min(capEnd ?? Infinity, windowEnd ?? Infinity);
  const until = end === Infinity ? null : end;
  return verdict({ kind: "blocked", reason: "capped", until }, 4);
}
