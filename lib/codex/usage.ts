/** The answer of the usage endpoint, as facts. */

import { isRefused, MAIN_METER } from "../meters.ts";
import type { ModelUsage } from "../types.ts";
import type {
  NormalCredits,
  NormalMeter,
  NormalUsage,
} from "../normal_types.ts";
import {
  isRecord,
  readDecimal,
  readFlag,
  readText,
  recordOf,
} from "../values.ts";
import { pointInTime } from "./times.ts";
import {
  displayName,
  distinctWindows,
  meterName,
  type Observed,
  readMeter,
} from "./windows.ts";

/** More meters are not kept. */
const MAX_METERS = 32;

/** What bounds the credits, whatever their balance. */
type CreditLimits = Pick<
  NormalCredits,
  | "overageLimitReached"
  | "spendControlReached"
  | "individualLimit"
  | "reachedType"
>;

export interface UsageAnswer {
  plan: string | null;
  usage: NormalUsage;
  /** null: the answer does not mention credits. */
  credits: NormalCredits | null;
  /** What bounds the credits, also when `credits` is null. */
  creditLimits: CreditLimits;
}

/** Reads a usage answer; undefined when the JSON is not one. */
export function readUsage(
  json: unknown,
  observed: Observed,
): UsageAnswer | undefined {
  const { observedAt } = observed;
  if (!isRecord(json)) return undefined;
  const known = typeof json.plan_type === "string" ||
    Object.hasOwn(json, "rate_limit");
  if (!known) return undefined;
  const main = readMeter(json.rate_limit, observed);
  const meters = readMeters(json.additional_rate_limits, observed);
  if (main !== undefined) meters.set(MAIN_METER, main);
  const creditLimits = readCreditLimits(json);
  return {
    plan: readText(json.plan_type),
    usage: {
      observedAt,
      answeredAt: observedAt,
      meters: safeRecord(meters),
      creditOnly: main === undefined && isChargedAlways(json),
      modelUsage: readModelUsage(json.model_usage),
      bankedResets: readBankedResets(json.rate_limit_reset_credits),
    },
    credits: readCredits(json.credits, creditLimits, observedAt),
    creditLimits,
  };
}

function readMeters(
  raw: unknown,
  observed: Observed,
): Map<string, NormalMeter> {
  const meters = new Map<string, NormalMeter>();
  if (!Array.isArray(raw)) return meters;
  for (const entry of raw) {
    if (!isRecord(entry)) continue;
    const feature = readText(entry.metered_feature);
    const name = feature === null ? MAIN_METER : meterName(feature);
    const meter = readMeter(entry.rate_limit, observed);
    if (name === MAIN_METER || !meter) continue;
    const label = displayName(readText(entry.limit_name));
    if (label !== undefined) meter.name = label;
    const known = meters.get(name);
    if (known) meters.set(name, stricter(known, meter));
    else if (meters.size < MAX_METERS) meters.set(name, meter);
  }
  return meters;
}

/** A meter that is listed twice is as full as its fuller entry. */
function stricter(first: NormalMeter, second: NormalMeter): NormalMeter {
  const worse = isRefused(second) ? second : first;
  const windows = distinctWindows([...first.windows, ...second.windows]);
  return { ...worse, windows };
}

/** Whether every request is charged where no rate limit was told; null when the answer does not say whether there are credits. */
function isChargedAlways(json: Record<string, unknown>): boolean | null {
  const credits = recordOf(json.credits);
  if (readFlag(credits.has_credits) || readFlag(credits.unlimited)) return true;
  const hasNone = credits.has_credits === false &&
    credits.unlimited === false &&
    readBalance(credits.balance).readable;
  return hasNone || !Object.hasOwn(json, "rate_limit") ? false : null;
}

function readModelUsage(raw: unknown): Record<string, ModelUsage> {
  const entries: [string, ModelUsage][] = [];
  for (const [model, value] of Object.entries(recordOf(raw))) {
    if (!isRecord(value) || typeof value.available !== "boolean") continue;
    entries.push([model, {
      available: value.available,
      availableAt: pointInTime(value.available_at),
      creditsWouldEnable: readBoolean(value.credits_would_enable),
    }]);
  }
  return safeRecord(entries);
}

/**
 * A map that takes any key the backend may name, except the one that would
 * change the prototype of whatever object it is copied into later.
 */
function safeRecord<T>(
  entries: Iterable<[string, T]>,
): Record<string, T> {
  const record: Record<string, T> = Object.create(null);
  for (const [key, value] of entries) {
    if (key !== "__proto__") record[key] = value;
  }
  return record;
}

function readBankedResets(raw: unknown): number | null {
  const count = isRecord(raw) ? readDecimal(raw.available_count) : undefined;
  return count !== undefined && count >= 0 ? count : null;
}

function readCredits(
  raw: unknown,
  limits: CreditLimits,
  observedAt: number,
): NormalCredits | null {
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
    malformed: !readable,
    limitsObservedAt: observedAt,
  };
}

/** Where money may be spent, only a real boolean counts as one. */
function readBoolean(value: unknown): boolean | null {
  return typeof value === "boolean" ? value : null;
}

function readBalance(raw: unknown): { text: string | null; readable: boolean } {
  if (raw === undefined || raw === null) return { text: null, readable: true };
  const text = typeof raw === "number" ? String(raw) : raw;
  if (typeof text !== "string") return { text: null, readable: false };
  return {
    text: text.slice(0, 64),
    readable: text.length <= 64 && readDecimal(text) !== undefined,
  };
}

/** Whatever cannot be read counts as a limit that was reached. */
function readCreditLimits(json: Record<string, unknown>): CreditLimits {
  const credits = recordOf(json.credits);
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
  const control: Record<string, unknown> = isRecord(raw)
    ? raw
    : { reached: raw };
  const { reached, individual_limit: limit } = control;
  if (limit === undefined || limit === null) {
    return { reached: isReached(reached), individualLimit: false };
  }
  if (!isRecord(limit)) return { reached: true, individualLimit: false };
  const remaining = readLeft(limit.remaining);
  const used = readLeft(limit.used_percent);
  const isOver = remaining === null || used === null ||
    (remaining ?? Infinity) <= 0 || (used ?? 0) >= 100;
  return { reached: isOver || isReached(reached), individualLimit: !isOver };
}

/** A number of a limit; undefined where it is not told, null where it cannot be read. */
function readLeft(value: unknown): number | null | undefined {
  if (value === undefined || value === null) return undefined;
  return readDecimal(value) ?? null;
}

/** null: nothing was reached; undefined: it cannot be read. */
function readReachedType(raw: unknown): string | null | undefined {
  const type = isRecord(raw) ? raw.type : raw;
  if (type === undefined || type === null) return null;
  return typeof type === "string" ? readText(type) : undefined;
}
