/**
 * Windows and meters, which usage answers, headers and stream events spell in
 * three ways.
 */
import { flagged, indexOfLength, MAIN_METER } from "../meters.ts";
import type {
  NormalMeter,
  NormalUsage,
  NormalWindow,
} from "../normal_types.ts";
import {
  isRecord,
  readDecimal,
  readFlag,
  readPositive,
  recordOf,
} from "../values.ts";
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

/** Reads a window, whichever names its fields have; undefined when its use cannot be read. */
export function readWindow(
  fields: Record<string, unknown>,
  { observedAt, seenAt }: Observed,
): NormalWindow | undefined {
  const percent = readDecimal(fields.used_percent);
  if (percent === undefined) return undefined;
  const { reset_at: at, reset_after_seconds: after } = fields;
  return {
    usedPercent: Math.max(0, percent),
    windowSeconds: readPositive(fields.limit_window_seconds) ??
      readPositive((readPositive(fields.window_minutes) ?? 0) * 60),
    resetsAt: windowReset(at, after, observedAt),
    observedAt,
    seenAt,
  };
}

/** Reads a meter's flags and windows, whose slots' names say nothing; undefined when it has neither. */
export function readMeter(
  limits: unknown,
  observed: Observed,
): NormalMeter | undefined {
  if (!isRecord(limits)) return undefined;
  const windows = distinctWindows(
    Object.values(limits).map((slot) => readWindow(recordOf(slot), observed)),
  );
  const allowed = readFlag(limits.allowed);
  const limitReached = readFlag(limits.limit_reached);
  const saysNothing = allowed === null && limitReached === null;
  if (saysNothing && windows.length === 0) return undefined;
  const { observedAt } = observed;
  return flagged({ allowed, limitReached, windows, observedAt });
}

/** Windows that were told together; of two of one length the fuller one counts. */
export function distinctWindows(
  windows: readonly (NormalWindow | undefined)[],
): NormalWindow[] {
  const distinct: NormalWindow[] = [];
  for (const window of windows) {
    if (!window) continue;
    const at = indexOfLength(distinct, window.windowSeconds);
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
