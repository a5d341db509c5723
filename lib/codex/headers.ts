/**
 * What the headers of a response say about usage and credits. They are scanned
 * for every response, but understood only where they say anything new.
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
import { clampReset } from "./times.ts";

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

/** What a family of headers says: a value for each slot and field, in their order. */
type Family = (string | undefined)[];

/** What headers say, not understood yet. */
export interface SaidHeaders {
  contentType: string | null;
  /** The unprefixed family, and then the rest, in the order of their places. */
  values: Family;
  /** The families of other meters, by their names. */
  others: Map<string, Family> | undefined;
}

const SLOTS = ["-primary", "-secondary", "-tertiary"];
const FIELDS = [
  "-used-percent",
  "-window-minutes",
  "-reset-at",
  "-reset-after-seconds",
];
/** The unprefixed family. */
const MAIN = "x-codex";
const FAMILY = `${MAIN}-`;
/** What every answer has, and needs no taking apart: the unprefixed family, then the rest. */
const PLACES: ReadonlyMap<string, number> = new Map([
  ...SLOTS.flatMap((slot) => FIELDS.map((field) => MAIN + slot + field)),
  "x-codex-plan-type",
  "x-codex-active-limit",
  "x-codex-credits-has-credits",
  "x-codex-credits-unlimited",
  "x-codex-credits-balance",
].map((name, place) => [name, place]));
/** Where the rest begins. */
const REST = SLOTS.length * FIELDS.length;
/** Where the fields stand that name a reset, as a time and as a delay. */
const RESET_AT = FIELDS.indexOf("-reset-at");
const RESET_AFTER = FIELDS.indexOf("-reset-after-seconds");
const CONTENT_TYPE = "content-type";
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
  return understandHeaders(scanHeaders(headers), observedAt, model);
}

/** Picks out of a response's headers what {@linkcode understandHeaders} needs. */
export function scanHeaders(headers: Headers): SaidHeaders {
  const values: Family = Array(PLACES.size);
  let others: Map<string, Family> | undefined;
  let contentType: string | null = null;
  // for…of over Headers is quadratic on some runtimes, forEach() is not.
  headers.forEach((value, name) => {
    if (name.charCodeAt(0) !== X || name.charCodeAt(1) !== DASH) {
      if (name === CONTENT_TYPE) contentType = value;
    } else if (value !== "") {
      // names are new strings: looking one up takes a walk through it
      const place = name.startsWith(FAMILY) ? PLACES.get(name) : undefined;
      if (place !== undefined) values[place] = value;
      else others = noteWindow(others, name, value);
    }
  });
  return { contentType, values, others };
}

/** What scanned headers mean; the rest is as for {@linkcode readHeaders}. */
export function understandHeaders(
  { contentType, values, others }: SaidHeaders,
  observedAt: number,
  model: string | undefined,
): HeaderFacts {
  const activeName = readText(values[REST + 1]);
  const named = activeName === null ? null : meterName(activeName);
  return {
    contentType,
    plan: readText(values[REST]),
    usage: readFamilies(values, others, named, observedAt, model),
    credits: headerCredits(
      values[REST + 2],
      values[REST + 3],
      values[REST + 4],
      observedAt,
    ),
    activeMeter: activeMeter(named, others),
  };
}

/**
 * Until when the same headers would mean the same, epoch ms.
 *
 * @param observedAt When they were observed, epoch ms.
 * @returns undefined when they mean something else at any other time.
 */
export function sameUntil(
  { values, others }: SaidHeaders,
  observedAt: number,
): number | undefined {
  let until: number | undefined = Infinity;
  for (const family of [values, ...others?.values() ?? []]) {
    for (let at = 0; at < REST; at += FIELDS.length) {
      if (family[at] === undefined) continue;
      // a full one holds from when it is read, and makes verdicts worse
      if ((readNumber(family[at]) ?? 0) >= 100) return undefined;
      const said = family[at + RESET_AT] ?? family[at + RESET_AFTER];
      if (said === undefined) continue;
      const resetsAt = (readNumber(family[at + RESET_AT]) ?? NaN) * 1000;
      // one that cannot be believed is counted from the moment it is read
      if (clampReset(resetsAt, observedAt) !== resetsAt) return undefined;
      until = Math.min(until, resetsAt);
    }
  }
  return until;
}

/** Whether headers say of plan, usage and credits what others said, that name all resets as times. */
export function saySame(said: SaidHeaders, before: SaidHeaders): boolean {
  if (!areSame(said.values, before.values)) return false;
  if (!said.others || !before.others) return said.others === before.others;
  if (said.others.size !== before.others.size) return false;
  for (const [meter, family] of said.others) {
    const other = before.others.get(meter);
    if (!other || !areSame(family, other)) return false;
  }
  return true;
}

function areSame(a: Family, b: Family): boolean {
  for (let n = 0; n < PLACES.size; n++) {
    // where the reset is named as a time, how long it takes until then says nothing
    const isIdle = n < REST && n % FIELDS.length === RESET_AFTER &&
      a[n - RESET_AFTER + RESET_AT] !== undefined;
    if (!isIdle && a[n] !== b[n]) return false;
  }
  return true;
}

/** `x-<id>-<slot>-<field>`; the id may itself hold dashes. */
function noteWindow(
  others: Map<string, Family> | undefined,
  name: string,
  value: string,
): Map<string, Family> | undefined {
  const last = name.charCodeAt(name.length - 1);
  if (last !== LAST_T && last !== LAST_S) return others;
  const field = FIELDS.findIndex((suffix) => name.endsWith(suffix));
  if (field < 0) return others;
  const rest = name.slice(2, -FIELDS[field]!.length);
  const slot = SLOTS.findIndex((it) => rest.endsWith(it));
  if (slot < 0 || rest === SLOTS[slot]) return others;
  const id = meterName(rest.slice(0, -SLOTS[slot]!.length));
  const families = others ?? new Map<string, Family>();
  const family = families.get(id) ?? [];
  family[slot * FIELDS.length + field] = value;
  return families.set(id, family);
}

function isPresent(family: Family | undefined): boolean {
  for (let at = 0; family && at < REST; at += FIELDS.length) {
    if (readNumber(family[at]) !== undefined) return true;
  }
  return false;
}

function activeMeter(
  named: string | null,
  others: Map<string, Family> | undefined,
): string | null {
  if (named === null || named === SPARK_METER) return named;
  return isPresent(others?.get(named)) ? named : MAIN_METER;
}

function readFamilies(
  main: Family,
  others: Map<string, Family> | undefined,
  named: string | null,
  observedAt: number,
  model: string | undefined,
): UsageFacts | null {
  const meters: Record<string, MeterFacts> = {};
  let isAny = false;
  for (const [meter, family] of others ?? []) {
    isAny = addMeter(meters, meter, family, observedAt) || isAny;
  }
  const meter = unprefixed(others, named, model);
  if (meter !== undefined) {
    isAny = addMeter(meters, meter, main, observedAt) || isAny;
  }
  return isAny ? { observedAt, answeredAt: null, meters } : null;
}

/** @returns Whether the family says anything. */
function addMeter(
  meters: Record<string, MeterFacts>,
  meter: string,
  family: Family,
  observedAt: number,
): boolean {
  if (meter === "__proto__") return false;
  const windows = readWindows(family, observedAt);
  if (windows.length === 0) return false;
  const known = Object.hasOwn(meters, meter) ? meters[meter]!.windows : [];
  meters[meter] = { windows: mergeWindows(known, windows), observedAt };
  return true;
}

/** Whose the unprefixed family is; undefined when it copies another one. */
function unprefixed(
  others: Map<string, Family> | undefined,
  named: string | null,
  model: string | undefined,
): string | undefined {
  if (named === null) return meterOfModel(model);
  if (named === MAIN_METER) return named;
  const isNamed = isPresent(others?.get(named));
  // the limit of a Spark request, said to be Spark's, is not the main meter's
  if (!isNamed && named === meterOfModel(model)) return named;
  return isNamed ? undefined : MAIN_METER;
}

function readWindows(family: Family, observedAt: number): UsageWindow[] {
  const windows: UsageWindow[] = [];
  for (let at = 0; at < REST; at += FIELDS.length) {
    const used = family[at];
    if (used === undefined) continue;
    const resetAt = family[at + RESET_AT];
    const resetAfter = family[at + RESET_AFTER];
    const seconds = (readPositive(family[at + 1]) ?? 0) * 60;
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
