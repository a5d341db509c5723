/**
 * What the headers of a response say about usage and credits. This runs for
 * every response, so one scan must do.
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
import { makeWindow, mergeWindows, meterName, safeRecord } from "./meters.ts";

/** What the headers of one response say. */
export interface HeaderFacts {
  plan: string | null;
  usage: UsageFacts | null;
  credits: HeaderCredits | null;
  /** The meter that was active for the request; null when not said. */
  activeMeter: string | null;
}

/** Values of one slot, in the order of FIELDS. */
type Slot = (string | undefined)[];
type Family = Map<string, Slot>;

interface Scan {
  families: Map<string, Family>;
  plan?: string;
  active?: string;
  hasCredits?: string;
  unlimited?: string;
  balance?: string;
}

const SLOTS = ["-primary", "-secondary", "-tertiary"];
const FIELDS = [
  "-used-percent",
  "-window-minutes",
  "-reset-at",
  "-reset-after-seconds",
];

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
  const scan: Scan = { families: new Map() };
  // for…of over Headers is quadratic on some runtimes, forEach() is not.
  headers.forEach((value, name) => {
    if (name.startsWith("x-") && value !== "") note(scan, name, value);
  });
  const active = readText(scan.active);
  const named = active === null ? null : meterName(active);
  return {
    plan: readText(scan.plan),
    usage: scan.families.size === 0
      ? null
      : readFamilies(scan.families, named, observedAt, model),
    credits: headerCredits(
      scan.hasCredits,
      scan.unlimited,
      scan.balance,
      observedAt,
    ),
    activeMeter: activeMeter(named, scan.families),
  };
}

function note(scan: Scan, name: string, value: string): void {
  switch (name) {
    case "x-codex-plan-type":
      scan.plan = value;
      return;
    case "x-codex-active-limit":
      scan.active = value;
      return;
    case "x-codex-credits-has-credits":
      scan.hasCredits = value;
      return;
    case "x-codex-credits-unlimited":
      scan.unlimited = value;
      return;
    case "x-codex-credits-balance":
      scan.balance = value;
      return;
    default:
      noteWindow(scan.families, name, value);
  }
}

/** `x-<id>-<slot>-<field>`; the id may itself hold dashes. */
function noteWindow(
  families: Map<string, Family>,
  name: string,
  value: string,
): void {
  const field = FIELDS.findIndex((suffix) => name.endsWith(suffix));
  const suffix = FIELDS[field];
  if (suffix === undefined) return;
  const rest = name.slice(2, -suffix.length);
  const slotName = SLOTS.find((slot) => rest.endsWith(slot));
  if (slotName === undefined || rest === slotName) return;
  const id = meterName(rest.slice(0, -slotName.length));
  const family = families.get(id) ?? new Map<string, Slot>();
  const slot = family.get(slotName) ?? [];
  slot[field] = value;
  family.set(slotName, slot);
  families.set(id, family);
}

function isPresent(family: Family | undefined): boolean {
  if (family === undefined) return false;
  for (const [used] of family.values()) {
    if (readNumber(used) !== undefined) return true;
  }
  return false;
}

function activeMeter(
  named: string | null,
  families: Map<string, Family>,
): string | null {
  if (named === null || named === SPARK_METER) return named;
  return isPresent(families.get(named)) ? named : MAIN_METER;
}

function readFamilies(
  families: Map<string, Family>,
  named: string | null,
  observedAt: number,
  model: string | undefined,
): UsageFacts | null {
  const meters = new Map<string, MeterFacts>();
  for (const [id, family] of families) {
    const meter = id === MAIN_METER ? unprefixed(families, named, model) : id;
    if (meter === undefined) continue;
    const windows = readWindows(family, observedAt);
    if (windows.length === 0) continue;
    const known = meters.get(meter)?.windows ?? [];
    meters.set(meter, { windows: mergeWindows(known, windows), observedAt });
  }
  if (meters.size === 0) return null;
  return { observedAt, answeredAt: null, meters: safeRecord(meters) };
}

/** Whose the unprefixed family is; undefined when it copies another one. */
function unprefixed(
  families: Map<string, Family>,
  named: string | null,
  model: string | undefined,
): string | undefined {
  if (named === null) return meterOfModel(model);
  const copy = named !== MAIN_METER && isPresent(families.get(named));
  return copy ? undefined : MAIN_METER;
}

function readWindows(family: Family, observedAt: number): UsageWindow[] {
  const windows: UsageWindow[] = [];
  for (const [used, minutes, resetAt, resetAfter] of family.values()) {
    const seconds = (readPositive(minutes) ?? 0) * 60;
    const window = makeWindow(used, seconds, resetAt, resetAfter, observedAt);
    if (window === undefined) continue;
    // Nothing used of nothing, for no time: how an absent window is written.
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
