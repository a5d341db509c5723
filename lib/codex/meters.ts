/**
 * Meters by name, and how their windows are put together. Shared by usage
 * answers, headers and stream events, which spell the same thing three ways.
 *
 * @module
 */

import type { MeterFacts, UsageWindow } from "../types.ts";
import { indexOfLength, MAIN_METER } from "../meters.ts";
import { readNumber, readPositive } from "./json.ts";
import { resetTime } from "./times.ts";

/** A meter's name as it is stored: lower case, with `_` for `-`. */
export function meterName(name: string): string {
  // nearly always, and not to be worked on
  if (name === MAIN_METER) return name;
  return name.trim().toLowerCase().replaceAll("-", "_");
}

/**
 * One window; undefined when its use cannot be read.
 *
 * @param used Percent.
 * @param seconds Its length.
 * @param resetAt Unix seconds.
 * @param resetAfter Seconds.
 * @param observedAt Epoch ms.
 */
export function makeWindow(
  used: unknown,
  seconds: unknown,
  resetAt: unknown,
  resetAfter: unknown,
  observedAt: number,
): UsageWindow | undefined {
  const percent = readNumber(used);
  if (percent === undefined) return undefined;
  return {
    usedPercent: Math.max(0, percent),
    windowSeconds: readPositive(seconds),
    resetsAt: resetTime(resetAt, resetAfter, observedAt),
    observedAt,
  };
}

/** Both lists as one; of two windows of one length the fuller one counts. */
export function mergeWindows(
  first: readonly UsageWindow[],
  second: readonly UsageWindow[],
): UsageWindow[] {
  const merged = first.slice();
  for (const window of second) {
    const at = indexOfLength(merged, window.windowSeconds);
    if (at < 0) merged.push(window);
    else if (isFuller(window, merged[at]!)) merged[at] = window;
  }
  return merged;
}

function isFuller(window: UsageWindow, known: UsageWindow): boolean {
  if (window.usedPercent !== known.usedPercent) {
    return window.usedPercent > known.usedPercent;
  }
  return (window.resetsAt ?? Infinity) > (known.resetsAt ?? Infinity);
}

/** The mark that a meter's limit was reached, with its windows as they stood. */
export function limitMark(
  windows: readonly UsageWindow[],
  observedAt: number,
): NonNullable<MeterFacts["limit"]> {
  return { observedAt, windows: windows.map((window) => ({ ...window })) };
}

/**
 * A map that takes any key the backend may name, except the one that would
 * change the prototype of whatever object it is copied into later.
 */
export function safeRecord<T>(
  entries: Iterable<[string, T]>,
): Record<string, T> {
  const record: Record<string, T> = Object.create(null);
  for (const [key, value] of entries) {
    if (key !== "__proto__") record[key] = value;
  }
  return record;
}
