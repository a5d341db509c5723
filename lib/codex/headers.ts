/** What the headers of a response say about usage and credits. */
import {
  MAIN_METER,
  type MeterNames,
  meterOfModel,
  SPARK_METER,
} from "../meters.ts";
import type { HeaderCredits } from "../types.ts";
import type { NormalMeter, NormalUsage } from "../normal_types.ts";
import { readDecimal, readFlag, readPositive, readText } from "../values.ts";
import {
  displayName,
  distinctWindows,
  meterName,
  type Observed,
  partialUsage,
  readWindow,
} from "./windows.ts";

export interface HeaderFacts {
  plan: string | null;
  usage: NormalUsage | null;
  credits: HeaderCredits | null;
  /** The meter that was active for the request; null when not told. */
  activeMeter: string | null;
}

/** What is known of a request whose answer is read. */
export interface AboutRequest extends Observed {
  /** The model that was asked for, when known. */
  model: string | undefined;
  /** The meters that accounts were seen with. */
  names?: MeterNames;
}

/** The headers of one prefix: its windows by slot, their fields as usage answers name them. */
interface Family {
  name: string | null;
  slots: Map<string, Record<string, string>>;
}

const WINDOW_HEADER =
  /^x-(.+)-(primary|secondary|tertiary)-(used-percent|window-minutes|reset-at|reset-after-seconds)$/;
const NAME_HEADER = /^x-(.+)-limit-name$/;
/** More meters are not read. */
const MAX_FAMILIES = 32;

/** Reads the headers of a response; those of others than the backend say nothing. */
export function readHeaders(
  headers: Headers,
  about: AboutRequest,
): HeaderFacts {
  const codex: Record<string, string> = Object.create(null);
  const families = new Map<string, Family>();
  // for…of over Headers is quadratic on some runtimes, forEach() is not
  headers.forEach((value, name) => {
    if (value === "" || !name.startsWith("x-")) return;
    if (name.startsWith("x-codex-")) codex[name] = value;
    const [, id, slot, field] = WINDOW_HEADER.exec(name) ??
      NAME_HEADER.exec(name) ?? [];
    const family = id === undefined ? undefined : familyOf(families, id);
    if (!family) return;
    if (slot === undefined) family.name = readText(value);
    else windowOf(family, slot)[field!.replaceAll("-", "_")] = value;
  });
  const active = readText(codex["x-codex-active-limit"]);
  const named = active === null ? null : meterName(active);
  return {
    plan: readText(codex["x-codex-plan-type"]),
    usage: readUsage(families, named, about),
    credits: readAmounts({
      has_credits: codex["x-codex-credits-has-credits"],
      unlimited: codex["x-codex-credits-unlimited"],
      balance: codex["x-codex-credits-balance"],
    }, about.observedAt),
    activeMeter: named === null || isMeter(families, named)
      ? named
      : MAIN_METER,
  };
}

function familyOf(
  families: Map<string, Family>,
  id: string,
): Family | undefined {
  if (meterName(id) === "__proto__") return undefined;
  let family = families.get(id);
  if (!family && families.size < MAX_FAMILIES) {
    families.set(id, family = { name: null, slots: new Map() });
  }
  return family;
}

function windowOf({ slots }: Family, slot: string): Record<string, string> {
  let window = slots.get(slot);
  if (!window) slots.set(slot, window = Object.create(null));
  return window!;
}

/** Whether a name is that of a meter; the backend also names limits that have none. */
function isMeter(families: Map<string, Family>, name: string): boolean {
  return name === MAIN_METER || name === SPARK_METER ||
    isPresent(families, name);
}

function isPresent(families: Map<string, Family>, meter: string): boolean {
  return [...families].some(([id, { slots }]) =>
    meterName(id) === meter &&
    [...slots.values()]
      .some((window) => readDecimal(window.used_percent) !== undefined)
  );
}

function readUsage(
  families: Map<string, Family>,
  named: string | null,
  about: AboutRequest,
): NormalUsage | null {
  const { observedAt } = about;
  const meters: Record<string, NormalMeter> = {};
  for (const [id, family] of families) {
    const meter = id === MAIN_METER
      ? unprefixed(families, named, about)
      : meterName(id);
    if (meter === undefined) continue;
    // two prefixes may be of one meter
    const told = Object.hasOwn(meters, meter) ? meters[meter] : undefined;
    const windows = distinctWindows([
      ...told?.windows ?? [],
      ...readWindows(family, about),
    ]);
    if (windows.length === 0) continue;
    const name = id === MAIN_METER ? undefined : displayName(family.name);
    meters[meter] = {
      ...told,
      allowed: null,
      limitReached: null,
      windows,
      observedAt,
      ...(name !== undefined && { name }),
    };
  }
  return partialUsage(meters, observedAt);
}

/** Whose the unprefixed family is; undefined when it copies another one. */
function unprefixed(
  families: Map<string, Family>,
  named: string | null,
  { model, names }: AboutRequest,
): string | undefined {
  const meter = meterOfModel(model, names);
  if (named === null) return meter === SPARK_METER ? meter : MAIN_METER;
  if (named === MAIN_METER) return named;
  if (isPresent(families, named)) return undefined;
  // the limit of a Spark request, told as Spark's, is not the main meter's
  return named === meter ? named : MAIN_METER;
}

function readWindows({ slots }: Family, observed: Observed) {
  return [...slots.values()].map((fields) => {
    const window = readWindow(fields, observed);
    // nothing used of nothing, for no time: how an absent window is written
    const isTold = window && (window.usedPercent > 0 ||
      window.windowSeconds !== null || readPositive(fields.reset_at) !== null ||
      readPositive(fields.reset_after_seconds) !== null);
    return isTold ? window : undefined;
  });
}

/** Reads credits as headers and events tell them; they count only when both flags can be read. */
export function readAmounts(
  credits: Record<string, unknown>,
  observedAt: number,
): HeaderCredits | null {
  const hasCredits = readFlag(credits.has_credits);
  const unlimited = readFlag(credits.unlimited);
  if (hasCredits === null || unlimited === null) return null;
  const { balance } = credits;
  const amounts = { observedAt, hasCredits, unlimited };
  if (balance === undefined || balance === null || balance === "") {
    return amounts;
  }
  // one that is no number stays unreadable
  const text = typeof balance === "string" || typeof balance === "number"
    ? String(balance)
    : "NaN";
  return { ...amounts, balance: text.slice(0, 64) };
}
