/**
 * The answer of the usage endpoint, as facts.
 *
 * @module
 */

import { MAIN_METER } from "../meters.ts";
import type {
  CreditFacts,
  MeterFacts,
  ModelUsage,
  UsageFacts,
  UsageWindow,
} from "../types.ts";
import { isRecord, readFlag, readNumber, readText } from "./json.ts";
import { limitMark, makeWindow, mergeWindows, safeRecord } from "./meters.ts";
import { unixTime } from "./times.ts";

/** What bounds the credits, whatever their balance. */
export type CreditLimits = Pick<
  CreditFacts,
  | "overageLimitReached"
  | "spendControlReached"
  | "individualLimit"
  | "reachedType"
>;

/** What a usage answer says. */
export interface UsageAnswer {
  plan: string | null;
  usage: UsageFacts;
  /** null: the answer does not mention credits. */
  credits: CreditFacts | null;
  /** What bounds the credits, also when `credits` is null. */
  creditLimits: CreditLimits;
}

/**
 * Reads a usage answer; undefined when the JSON is not one.
 *
 * @param json The parsed body.
 * @param observedAt When the request began, epoch ms.
 */
export function readUsage(
  json: unknown,
  observedAt: number,
): UsageAnswer | undefined {
  if (!isRecord(json)) return undefined;
  const known = typeof json.plan_type === "string" ||
    Object.hasOwn(json, "rate_limit");
  if (!known) return undefined;
  const main = readMeter(json.rate_limit, observedAt);
  const meters = readMeters(json.additional_rate_limits, observedAt);
  if (main !== undefined) meters.set(MAIN_METER, main);
  const creditLimits = readCreditLimits(json);
  return {
    plan: readText(json.plan_type),
    usage: {
      observedAt,
      answeredAt: observedAt,
      meters: safeRecord(meters),
      creditOnly: main === undefined && mentionsCredits(json.credits),
      modelUsage: readModelUsage(json.model_usage),
      bankedResets: readBankedResets(json.rate_limit_reset_credits),
    },
    credits: readCredits(json.credits, creditLimits, observedAt),
    creditLimits,
  };
}

function readMeter(raw: unknown, observedAt: number): MeterFacts | undefined {
  if (!isRecord(raw)) return undefined;
  const windows = readWindows(raw, observedAt);
  const allowed = readFlag(raw.allowed);
  const limitReached = readFlag(raw.limit_reached);
  const silent = allowed === null && limitReached === null;
  if (silent && windows.length === 0) return undefined;
  const meter: MeterFacts = { allowed, limitReached, windows, observedAt };
  if (limitReached === true || allowed === false) {
    meter.limit = limitMark(windows, observedAt);
  }
  return meter;
}

/** The slots' names say nothing about the windows in them, so any will do. */
function readWindows(
  raw: Record<string, unknown>,
  observedAt: number,
): UsageWindow[] {
  const windows: UsageWindow[] = [];
  for (const [slot, value] of Object.entries(raw)) {
    if (!slot.endsWith("_window") || !isRecord(value)) continue;
    const window = makeWindow(
      value.used_percent,
      value.limit_window_seconds,
      value.reset_at,
      value.reset_after_seconds,
      observedAt,
    );
    if (window !== undefined) windows.push(window);
  }
  return mergeWindows([], windows);
}

function readMeters(raw: unknown, observedAt: number): Map<string, MeterFacts> {
  const meters = new Map<string, MeterFacts>();
  if (!Array.isArray(raw)) return meters;
  for (const entry of raw) {
    if (!isRecord(entry)) continue;
    const name = readText(entry.metered_feature);
    const meter = readMeter(entry.rate_limit, observedAt);
    if (name === null || name === MAIN_METER || meter === undefined) continue;
    const known = meters.get(name);
    meters.set(name, known === undefined ? meter : stricter(known, meter));
  }
  return meters;
}

/** A meter that is listed twice is as full as its fuller entry. */
function stricter(first: MeterFacts, second: MeterFacts): MeterFacts {
  const windows = mergeWindows(first.windows, second.windows);
  const worse = second.limit ? second : first;
  return {
    ...worse,
    windows,
    ...(worse.limit && {
      limit: limitMark(windows, worse.limit.observedAt),
    }),
  };
}

function mentionsCredits(raw: unknown): boolean {
  if (!isRecord(raw)) return false;
  return readFlag(raw.has_credits) === true || readFlag(raw.unlimited) === true;
}

function readModelUsage(raw: unknown): Record<string, ModelUsage> {
  const entries: [string, ModelUsage][] = [];
  for (const [model, value] of Object.entries(isRecord(raw) ? raw : {})) {
    if (!isRecord(value) || typeof value.available !== "boolean") continue;
    const enable = value.credits_would_enable;
    entries.push([model, {
      available: value.available,
      availableAt: unixTime(value.available_at),
      creditsWouldEnable: typeof enable === "boolean" ? enable : null,
    }]);
  }
  return safeRecord(entries);
}

function readBankedResets(raw: unknown): number | null {
  const count = isRecord(raw) ? readNumber(raw.available_count) : undefined;
  return count !== undefined && count >= 0 ? count : null;
}

function readCredits(
  raw: unknown,
  limits: CreditLimits,
  observedAt: number,
): CreditFacts | null {
  if (raw === undefined || raw === null) return null;
  const fields = isRecord(raw) ? raw : {};
  const hasCredits = readBoolean(fields.has_credits);
  const unlimited = readBoolean(fields.unlimited);
  const balance = readBalance(fields.balance);
  const readable = hasCredits !== null && unlimited !== null &&
    balance.readable;
  return {
    observedAt,
    hasCredits,
    unlimited,
    balance: balance.text,
    ...limits,
    ...(readable ? {} : { malformed: true }),
  };
}

/** Where money may be spent, only a real boolean counts as one. */
function readBoolean(value: unknown): boolean | null {
  return typeof value === "boolean" ? value : null;
}

const DECIMAL = /^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*$/i;

function readBalance(raw: unknown): { text: string | null; readable: boolean } {
  if (raw === undefined || raw === null) return { text: null, readable: true };
  const text = typeof raw === "number" ? String(raw) : raw;
  if (typeof text !== "string") return { text: null, readable: false };
  const readable = DECIMAL.test(text) && Number.isFinite(Number(text));
  return { text, readable };
}

/** Whatever cannot be read counts as a limit that was reached. */
function readCreditLimits(json: Record<string, unknown>): CreditLimits {
  const credits = isRecord(json.credits) ? json.credits : {};
  const control = readSpendControl(json.spend_control);
  const reached = readReachedType(json.rate_limit_reached_type);
  return {
    overageLimitReached: isReached(credits.overage_limit_reached),
    spendControlReached: control.reached || reached === undefined,
    individualLimit: control.individualLimit,
    reachedType: reached ?? null,
  };
}

function isReached(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false;
}

function readSpendControl(
  raw: unknown,
): { reached: boolean; individualLimit: boolean } {
  if (!isRecord(raw)) {
    return { reached: isReached(raw), individualLimit: false };
  }
  const limit = raw.individual_limit;
  if (!isRecord(limit)) {
    const odd = limit !== undefined && limit !== null;
    return { reached: odd || isReached(raw.reached), individualLimit: false };
  }
  const left = limit.remaining ?? undefined;
  const remaining = readNumber(left);
  const unreadable = left !== undefined && remaining === undefined;
  return {
    reached: unreadable || isReached(raw.reached),
    individualLimit: !unreadable && (remaining === undefined || remaining > 0),
  };
}

/** null: nothing was reached; undefined: it cannot be read. */
function readReachedType(raw: unknown): string | null | undefined {
  const type = isRecord(raw) ? raw.type : raw;
  if (type === undefined || type === null) return null;
  return typeof type === "string" ? readText(type) : undefined;
}
