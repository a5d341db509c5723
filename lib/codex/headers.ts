/**
 * What the headers of a response say about usage and credits.
 *
 * @module
 */

import type {
  HeaderCredits,
  MeterFacts,
  UsageFacts,
  UsageWindow,
} from "../types.ts";
import { readFlag, readNumber, readPositive, readText } from "./json.ts";
import { MAIN_METER, meterOfModel, SPARK_METER } from "../meters.ts";
import { makeWindow, mergeWindows, meterName } from "./meters.ts";

/** What the headers of one response say. */
export interface HeaderFacts {
  /** What the body is; null when not said. */
  contentType: string | null;
  plan: string | null;
  usage: UsageFacts | null;
  credits: HeaderCredits | null;
  /** The meter that was active for the request; null when not said. */
  activeMeter: string | null;
}

/** The headers of one window, by their last part, for example `used-percent`. */
type WindowHeaders = Record<string, string>;
/** The windows of one meter, by their slot. */
type Family = Map<string, WindowHeaders>;

const WINDOW_HEADER =
  /^x-(.+)-(primary|secondary|tertiary)-(used-percent|window-minutes|reset-at|reset-after-seconds)$/;

/**
 * Reads the headers of a response.
 *
 * @param headers Of any response; those of others than the backend say nothing.
 * @param observedAt When the request began, epoch ms.
 * @param model The model that was asked for, when known.
 */
export function readHeaders(
  headers: Headers,
  observedAt: number,
  model: string | undefined,
): HeaderFacts {
  const said: Record<string, string> = Object.create(null);
  const families = new Map<string, Family>();
  // for…of over Headers is quadratic on some runtimes, forEach() is not
  headers.forEach((value, name) => {
    if (value === "") return;
    if (name.startsWith("x-codex-") || name === "content-type") {
      said[name] = value;
    }
    // most names need no closer look
    const [, id, slot, field] = name.includes("ary-")
      ? WINDOW_HEADER.exec(name) ?? []
      : [];
    if (id === undefined) return;
    const meter = meterName(id);
    const family = families.get(meter) ?? new Map();
    const window = family.get(slot!) ?? {};
    window[field!] = value;
    families.set(meter, family.set(slot!, window));
  });
  const active = readText(said["x-codex-active-limit"]);
  const named = active === null ? null : meterName(active);
  return {
    contentType: said["content-type"] ?? null,
    plan: readText(said["x-codex-plan-type"]),
    usage: readUsage(families, named, observedAt, model),
    credits: headerCredits(
      said["x-codex-credits-has-credits"],
      said["x-codex-credits-unlimited"],
      said["x-codex-credits-balance"],
      observedAt,
    ),
    activeMeter:
      named === null || named === SPARK_METER || isPresent(families, named)
        ? named
        : MAIN_METER,
  };
}

function isPresent(families: Map<string, Family>, meter: string): boolean {
  return [...families.get(meter)?.values() ?? []]
    .some((window) => readNumber(window["used-percent"]) !== undefined);
}

function readUsage(
  families: Map<string, Family>,
  named: string | null,
  observedAt: number,
  model: string | undefined,
): UsageFacts | null {
  const meters: Record<string, MeterFacts> = {};
  for (const [id, family] of families) {
    const meter = id === MAIN_METER ? unprefixed(families, named, model) : id;
    if (meter === undefined || meter === "__proto__") continue;
    const windows = readWindows(family, observedAt);
    if (windows.length === 0) continue;
    const known = Object.hasOwn(meters, meter) ? meters[meter]!.windows : [];
    meters[meter] = { windows: mergeWindows(known, windows), observedAt };
  }
  if (Object.keys(meters).length === 0) return null;
  return { observedAt, answeredAt: null, meters };
}

/** Whose the unprefixed family is; undefined when it copies another one. */
function unprefixed(
  families: Map<string, Family>,
  named: string | null,
  model: string | undefined,
): string | undefined {
  if (named === null) return meterOfModel(model);
  if (named === MAIN_METER) return named;
  if (isPresent(families, named)) return undefined;
  // the limit of a Spark request, said to be Spark's, is not the main meter's
  return named === meterOfModel(model) ? named : MAIN_METER;
}

function readWindows(family: Family, observedAt: number): UsageWindow[] {
  const windows: UsageWindow[] = [];
  for (const headers of family.values()) {
    const resetAt = headers["reset-at"];
    const resetAfter = headers["reset-after-seconds"];
    const window = makeWindow(
      headers["used-percent"],
      (readPositive(headers["window-minutes"]) ?? 0) * 60,
      resetAt,
      resetAfter,
      observedAt,
    );
    if (window === undefined) continue;
    // nothing used of nothing, for no time: how an absent window is written
    const said = window.usedPercent > 0 || window.windowSeconds !== null ||
      readPositive(resetAt) !== null || readPositive(resetAfter) !== null;
    if (said) windows.push(window);
  }
  return windows;
}

/** Credits count only when both flags can be read. */
export function headerCredits(
  hasFlag: unknown,
  unlimitedFlag: unknown,
  balance: string | undefined,
  observedAt: number,
): HeaderCredits | null {
  const hasCredits = readFlag(hasFlag);
  const unlimited = readFlag(unlimitedFlag);
  if (hasCredits === null || unlimited === null) return null;
  const facts = { observedAt, hasCredits, unlimited };
  return balance === undefined ? facts : { ...facts, balance };
}
