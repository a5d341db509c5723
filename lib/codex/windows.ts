/**
 * Windows and meters, which usage answers, headers and stream events spell in
 * three ways.
 *
 * @module
 */
import { isSameLength, MAIN_METER } from "../meters.ts";
import type {
  NormalMeter,
  NormalUsage,
  NormalWindow,
} from "../normal_types.ts";
import { readNumber, readPositive } from "./json.ts";
import { windowReset } from "./times.ts";

/** More windows of one meter are not kept. */
const MAX_WINDOWS = 8;
/** Longer names are cut, characters. */
const MAX_NAME_LENGTH = 64;

/** When a fact was observed, epoch ms. */
export interface Observed {
  /** When the request that told it began; of a stream event, when it came. */
  observedAt: number;
  /** When it arrived. */
  seenAt: number;
}

/** A meter's name as it is stored: lower case, with `_` for `-`; `premium` is the main one. */
export function meterName(name: string): string {
  if (name === MAIN_METER) return name;
  const meter = name.trim().toLowerCase().replaceAll("-", "_");
  return meter === "premium" ? MAIN_METER : meter.slice(0, MAX_NAME_LENGTH);
}

/** A name for people; undefined when there is none. */
export function displayName(name: string | null): string | undefined {
  return name?.slice(0, MAX_NAME_LENGTH);
}

/** A window as the backend tells it, whatever it calls the fields. */
export interface WindowFields {
  /** Percent. */
  used: unknown;
  /** Its length, seconds. */
  seconds: unknown;
  /** Unix seconds. */
  resetAt: unknown;
  /** Seconds. */
  resetAfter: unknown;
}

/** Reads a window; undefined when its use cannot be read. */
export function makeWindow(
  { used, seconds, resetAt, resetAfter }: WindowFields,
  { observedAt, seenAt }: Observed,
): NormalWindow | undefined {
  const percent = readNumber(used);
  if (percent === undefined) return undefined;
  return {
    usedPercent: Math.max(0, percent),
    windowSeconds: readPositive(seconds),
    resetsAt: windowReset(resetAt, resetAfter, observedAt),
    observedAt,
    seenAt,
  };
}

/** Windows that were told together; of two of one length the fuller one counts. */
export function distinctWindows(
  windows: readonly (NormalWindow | undefined)[],
): NormalWindow[] {
  const distinct: NormalWindow[] = [];
  for (const window of windows) {
    if (!window) continue;
    const at = distinct.findIndex((other) =>
      isSameLength(other.windowSeconds, window.windowSeconds)
    );
    if (at >= 0) {
      if (isFuller(window, distinct[at]!)) distinct[at] = window;
    } else if (distinct.length < MAX_WINDOWS) distinct.push(window);
  }
  return distinct;
}

function isFuller(window: NormalWindow, known: NormalWindow): boolean {
  if (window.usedPercent !== known.usedPercent) {
    return window.usedPercent > known.usedPercent;
  }
  return (window.resetsAt ?? Infinity) > (known.resetsAt ?? Infinity);
}

/** Usage as headers and events tell it, which never speak of all meters; null when they told of none. */
export function partialUsage(
  meters: Record<string, NormalMeter>,
  observedAt: number,
): NormalUsage | null {
  if (Object.keys(meters).length === 0) return null;
  return {
    observedAt,
    answeredAt: null,
    meters,
    creditOnly: false,
    modelUsage: {},
    bankedResets: null,
  };
}

/** A meter of which nothing but windows was told. */
export function meterOf(
  windows: NormalWindow[],
  observedAt: number,
): NormalMeter {
  return { allowed: null, limitReached: null, windows, observedAt };
}
