/**
 * How much may be spent, by account and by all together, in a UTC day or month.
 */
import { addAmounts, compareAmounts, multiplyAmount } from "../decimal.ts";
import type { CreditCaps } from "../spending_types.ts";
import type { NormalRecord } from "../normal_types.ts";
import { dayOf, isRecord, readDecimal } from "../values.ts";
import { isAlias } from "./credits.ts";
import { endForgotten, pendingEnds, type Spender } from "./spending.ts";
import { dearestOf } from "./dearest.ts";
import { spentIn } from "../spent.ts";

/** The name of the cap for all accounts together. */
const FLEET = "*";
const PERIODS = ["day", "month"] as const;
type Period = typeof PERIODS[number];

/** Caps that are in force, and what is wrong with those that cannot be read. */
export interface CapPolicy {
  caps: CreditCaps;
  warning?: string;
}

/** What a cap says of one more paid request. */
export type CapVerdict =
  | { kind: "open" }
  /** Only requests whose cost is not known yet keep it out. */
  | { kind: "wait" }
  /** `until` is epoch ms; null: it cannot be counted. */
  | { kind: "capped"; until: number | null };

/**
 * The caps in force: of the option and the store the lower one for each name
 * and period. One that cannot be read is 0.
 */
export function capPolicy(
  option: CreditCaps | undefined,
  store: unknown,
): CapPolicy {
  const stored = readCaps(store);
  if (!option) return stored;
  const caps: CreditCaps = {};
  for (
    const name of new Set([...Object.keys(option), ...Object.keys(stored.caps)])
  ) {
    caps[name] = {};
    for (const period of PERIODS) {
      const amounts = [option[name]?.[period], stored.caps[name]?.[period]]
        .filter((amount) => amount !== undefined);
      if (amounts.length > 0) caps[name][period] = Math.min(...amounts);
    }
  }
  return { ...stored, caps };
}

/** Whether caps are in the form that is wanted, for names that an account can bear. */
export function areCaps(caps: unknown): boolean {
  return readCaps(caps).warning === undefined &&
    Object.keys(caps ?? {}).every((name) => name === FLEET || isAlias(name));
}

function readCaps(value: unknown): CapPolicy {
  if (value === undefined || value === null) return { caps: {} };
  if (!isRecord(value)) {
    const what = "The caps on credits cannot be read, so nothing may be spent";
    const caps = { [FLEET]: { day: 0, month: 0 } };
    return { caps, warning: `${what}; ${mending([[FLEET, "day"]])}` };
  }
  const caps: CreditCaps = {};
  const odd: [name: string, period: string][] = [];
  for (const [name, limits] of Object.entries(value)) {
    // an amount without a period is none
    const entries: [string, unknown][] = isRecord(limits)
      ? Object.entries(limits)
      : [["", limits]];
    caps[name] = {};
    for (const [period, amount] of entries) {
      const isReadable = PERIODS.includes(period as Period) &&
        typeof amount === "number" && Number.isFinite(amount) && amount >= 0;
      if (isReadable) caps[name][period as Period] = amount;
      else {
        Object.assign(caps[name], { day: 0, month: 0 });
        odd.push([name, period]);
      }
    }
  }
  if (odd.length === 0) return { caps };
  const names = [...new Set(odd.map(([name]) => name))]
    .map((name) => name === FLEET ? "all together" : name).join(", ");
  const what = `The cap on credits for ${names} cannot be read, so it is 0`;
  return { caps, warning: `${what}; ${mending(odd)}` };
}

/** How to set caps anew that cannot be read. */
function mending(odd: readonly (readonly [string, string])[]): string {
  const caps = odd.map(([name, period]) => {
    const who = name === FLEET ? "" : `${name}=`;
    return ` --cap ${who}20/${period === "month" ? period : "day"}`;
  });
  const command = `codex-rotator credits${[...new Set(caps)].join("")}`;
  return `set it anew, for example with "${command}"`;
}

/** Whether any cap binds this account. */
export function isCapped(caps: CreditCaps, alias: string): boolean {
  return caps[FLEET] !== undefined || caps[alias] !== undefined;
}

export interface CapQuery {
  alias: string;
  caps: CreditCaps;
  now: number;
  /** Whether requests whose cost is not known yet count, as for an admission. */
  countsPending: boolean;
  /** What accounts had spent that were removed. */
  spentByRemoved?: Record<string, string> | undefined;
}

/** Whether an account may take one more paid request. */
export function capVerdict(
  accounts: Record<string, NormalRecord>,
  { alias, caps, now, countsPending, spentByRemoved = {} }: CapQuery,
): CapVerdict {
  const record = accounts[alias];
  if (!record || !isCapped(caps, alias)) return { kind: "open" };
  if (uncountable(record) !== null) return { kind: "capped", until: null };
  const verdicts: CapVerdict[] = [];
  for (
    const [name, records] of [
      [alias, [record]],
      [FLEET, [...Object.values(accounts), { spent: spentByRemoved }]],
    ] as const
  ) {
    for (const period of PERIODS) {
      const cap = caps[name]?.[period];
      if (cap === undefined) continue;
      verdicts.push(verdictOf(records, { cap, period, now, countsPending }));
    }
  }
  return verdicts.find(({ kind }) => kind === "capped") ??
    verdicts.find(({ kind }) => kind === "wait") ?? { kind: "open" };
}

/** Why a cap cannot be counted: only a balance that is told can; null: it can. */
export function uncountable({ credits, usage }: NormalRecord): string | null {
  const effect = "so a cap cannot be counted";
  // nothing known yet: the first answer tells
  if (!credits) {
    const isAnswered = (usage?.answeredAt ?? null) !== null;
    return isAnswered ? `Nothing is told of its credits, ${effect}` : null;
  }
  if (credits.unlimited) return `Its credits are unlimited, ${effect}`;
  if (readDecimal(credits.balance) !== undefined) return null;
  const problem = credits.balance === null ? "is not told" : "cannot be read";
  return `Its balance ${problem}, ${effect}`;
}

function verdictOf(
  records: readonly Spender[],
  { cap, period, now, countsPending }:
    & Pick<CapQuery, "now" | "countsPending">
    & {
      cap: number;
      period: Period;
    },
): CapVerdict {
  const limit = String(cap);
  const key = dayOf(now).slice(0, period === "day" ? 10 : 7);
  let spent = "0";
  let pending = 0;
  let dearest: string | undefined;
  for (const record of records) {
    spent = addAmounts(spent, spentIn(record, key));
    pending += pendingEnds(record).length;
    const own = dearestOf(record, now);
    if (own && (!dearest || compareAmounts(own, dearest) > 0)) dearest = own;
  }
  const fits = (requests: number) =>
    dearest === undefined
      ? requests === 1 && compareAmounts(spent, limit) < 0
      : compareAmounts(
        addAmounts(spent, multiplyAmount(dearest, requests)),
        limit,
      ) <= 0;
  const isFirst = cap > 0 && compareAmounts(spent, "0") === 0;
  const counted = countsPending ? pending : 0;
  if (fits(counted + 1) || (isFirst && counted === 0)) return { kind: "open" };
  return fits(1) || isFirst
    ? { kind: "wait" }
    : { kind: "capped", until: endOf(period, now) };
}

/** When the UTC day or month of a time is over, epoch ms. */
function endOf(period: Period, now: number): number {
  const date = new Date(now);
  return period === "day"
    ? Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() + 1)
    : Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1);
}

/** Ends paid requests of which nothing will be heard any more, before they are counted. */
export function endAllForgotten(
  accounts: Record<string, NormalRecord>,
  now: number,
): void {
  for (const record of Object.values(accounts)) endForgotten(record, now);
}
