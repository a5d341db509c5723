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
  /** Values of the names in FIXED, at their places. */
  fixed: (string | undefined)[];
  families: Map<string, Family> | undefined;
}

const SLOTS = ["-primary", "-secondary", "-tertiary"];
const FIELDS = [
  "-used-percent",
  "-window-minutes",
  "-reset-at",
  "-reset-after-seconds",
];
/** Names that every answer has and that need no taking apart. */
const FIXED = new Map([
  "x-codex-plan-type",
  "x-codex-active-limit",
  "x-codex-credits-has-credits",
  "x-codex-credits-unlimited",
  "x-codex-credits-balance",
  ...SLOTS.flatMap((slot) => FIELDS.map((field) => `x-codex${slot}${field}`)),
].map((name, index) => [name, index]));
/** Where the unprefixed family begins in FIXED. */
const MAIN_AT = 5;
const X = 120;
const DASH = 45;
/** How the names of all fields end: most other headers need no closer look. */
const LAST_T = 116;
const LAST_S = 115;

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
  const scan: Scan = { fixed: [], families: undefined };
  // for…of over Headers is quadratic on some runtimes, forEach() is not.
  headers.forEach((value, name) => {
    if (name.charCodeAt(0) !== X || name.charCodeAt(1) !== DASH) return;
    if (value === "") return;
    const index = FIXED.get(name);
    if (index !== undefined) scan.fixed[index] = value;
    else noteWindow(scan, name, value);
  });
  const [plan, active, hasCredits, unlimited, balance] = scan.fixed;
  const families = familiesOf(scan);
  const activeName = readText(active);
  const named = activeName === null ? null : meterName(activeName);
  return {
    plan: readText(plan),
    usage: families.size === 0
      ? null
      : readFamilies(families, named, observedAt, model),
    credits: headerCredits(hasCredits, unlimited, balance, observedAt),
    activeMeter: activeMeter(named, families),
  };
}

/** All families, the unprefixed one under the main meter's name. */
function familiesOf(scan: Scan): Map<string, Family> {
  const families = scan.families ?? new Map<string, Family>();
  const { fixed } = scan;
  if (fixed.length <= MAIN_AT) return families;
  const main = families.get(MAIN_METER) ?? new Map<string, Slot>();
  for (const [index, slot] of SLOTS.entries()) {
    const at = MAIN_AT + index * FIELDS.length;
    const values = fixed.slice(at, at + FIELDS.length);
    if (values.length > 0) main.set(slot, values);
  }
  return families.set(MAIN_METER, main);
}

/** `x-<id>-<slot>-<field>`; the id may itself hold dashes. */
function noteWindow(scan: Scan, name: string, value: string): void {
  const last = name.charCodeAt(name.length - 1);
  if (last !== LAST_T && last !== LAST_S) return;
  const field = FIELDS.findIndex((suffix) => name.endsWith(suffix));
  const suffix = FIELDS[field];
  if (suffix === undefined) return;
  const rest = name.slice(2, -suffix.length);
  const slotName = SLOTS.find((slot) => rest.endsWith(slot));
  if (slotName === undefined || rest === slotName) return;
  const id = meterName(rest.slice(0, -slotName.length));
  const families = scan.families ??= new Map<string, Family>();
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
  const isNamed = isPresent(families.get(named));
  // the limit of a Spark request, said to be Spark's, is not the main meter's
  if (!isNamed && named === meterOfModel(model)) return named;
  const copy = named !== MAIN_METER && isNamed;
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
