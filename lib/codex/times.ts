/**
 * When something ends, from what the backend says about it, as epoch ms: ends
 * of limits lie between one second and 35 days ahead.
 */

import { readDecimal } from "../values.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const MAX_AHEAD = 35 * 24 * 60 * MINUTE;

/** A reset that can be believed: one in the past means a minute from now, one beyond 35 days means 35 days. */
export function clampReset(at: number, now: number): number {
  return at > now ? Math.min(at, now + MAX_AHEAD) : now + MINUTE;
}

/**
 * The end of a limit from a point in time (unix seconds) or else from a delay
 * (seconds); null when neither is told.
 */
export function resetTime(
  at: unknown,
  after: unknown,
  now: number,
): number | null {
  const reset = windowReset(at, after, now);
  return reset === null ? null : clampReset(reset, now);
}

/**
 * The reset of a window, told as the end of a limit is. It may lie in the past:
 * such a window tells that the backend goes on counting it.
 */
export function windowReset(
  at: unknown,
  after: unknown,
  now: number,
): number | null {
  const point = readDecimal(at);
  const delay = readDecimal(after);
  if (point === undefined && delay === undefined) return null;
  const reset = point === undefined ? now + delay! * SECOND : point * SECOND;
  return Math.min(reset, now + MAX_AHEAD);
}

/** A time as ISO 8601 text or unix seconds, as epoch ms; null when it cannot be read. */
export function pointInTime(value: unknown): number | null {
  const seconds = unixTime(value);
  if (seconds !== null || typeof value !== "string") return seconds;
  const isIso = /^\d{4}-\d\d-\d\dT/.test(value);
  const time = isIso ? Date.parse(value) : NaN;
  return Number.isNaN(time) ? null : time;
}

/** Unix seconds as epoch ms; null when they cannot be read. */
export function unixTime(seconds: unknown): number | null {
  const number = readDecimal(seconds);
  return readDecimal(number === undefined ? null : number * SECOND) ?? null;
}

/** A delay of zero means "at once", which still deserves a second of rest. */
function afterDelay(ms: number, now: number): number {
  return ms === 0 ? now + SECOND : clampReset(now + ms, now);
}

/** `Retry-After` (seconds or an HTTP date) or `retry-after-ms`, as epoch ms; undefined when neither can be read. */
export function parseRetryAfter(
  headers: Headers,
  now: number,
): number | undefined {
  const ms = readDecimal(headers.get("retry-after-ms"));
  if (ms !== undefined) return afterDelay(ms, now);
  const text = headers.get("retry-after");
  const seconds = readDecimal(text);
  if (seconds !== undefined) return afterDelay(seconds * SECOND, now);
  // Date.parse() makes a date out of nearly any text with a digit in it.
  const date = text?.endsWith("GMT") ? Date.parse(text) : NaN;
  return Number.isNaN(date) ? undefined : clampReset(date, now);
}

const UNIT = "(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?" +
  "|d|days?)(?![a-z])";
const TRY_AGAIN = new RegExp(
  `try again in ((?:[\\d.]+ ?${UNIT}[, ]*(?:and )?)+)`,
  "i",
);
const PART = /([\d.]+) ?([a-z]+)/gi;

/** "Try again in 1.3s", "in 250 ms", "in 2 minutes" or "in 6m0s", as epoch ms; undefined when the text does not say so. */
export function parseTryAgain(text: string, now: number): number | undefined {
  const told = TRY_AGAIN.exec(text)?.[1];
  if (told === undefined) return undefined;
  let ms = 0;
  for (const [, amount, unit] of told.matchAll(PART)) {
    ms += Number(amount) * unitLength(unit ?? "");
  }
  return Number.isFinite(ms) ? afterDelay(ms, now) : undefined;
}

function unitLength(unit: string): number {
  const name = unit.toLowerCase();
  if (name.startsWith("ms") || name.startsWith("mil")) return 1;
  if (name.startsWith("m")) return MINUTE;
  if (name.startsWith("h")) return 60 * MINUTE;
  return name.startsWith("d") ? 24 * 60 * MINUTE : SECOND;
}
