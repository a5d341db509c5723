/**
 * What was served and paid, summed up from the ledger and from what the store
 * has booked by day.
 */
import { addAmounts, compareAmounts, subtractAmounts } from "../decimal.ts";
import type { LedgerEntry } from "../spending_types.ts";
import type { AccountRecord } from "../types.ts";
import { dayOf } from "../values.ts";

const DAY_MS = 24 * 3_600_000;

export const SPEND_KEYS = ["account", "model", "session", "day"] as const;
export type SpendKey = typeof SPEND_KEYS[number];

export interface SpendSum {
  requests: number;
  inputTokens: number;
  /** Those of the input that were cached. */
  cachedTokens: number;
  outputTokens: number;
  /** A decimal text. */
  credits: string;
  /** A part of the credits was shared between requests, or taken from the dearest one. */
  approximate: boolean;
}

/** Sums of the requests of one account, model, session or day. */
export interface SpendRow extends SpendSum {
  key: string;
}

export interface SpendReport {
  /** The form of the report. */
  version: 1;
  since: string;
  until: string;
  by: SpendKey;
  rows: SpendRow[];
  total: SpendSum;
  /** Lines of the ledger that cannot be read. */
  skippedLines: number;
}

/** One request, or what was booked without one of ours. */
export interface SpendItem extends Record<SpendKey, string>, SpendSum {}

/** What was booked without a request of ours, or by a process that died. */
const OTHER = "other";

/** The start of the UTC day of a time (epoch ms). */
export function startOfDay(time: number): number {
  return time - time % DAY_MS;
}

/** Requests that began before midnight may be booked behind it: the ledger is read from here on (epoch ms). */
export function readFrom(since: number): number {
  return since - DAY_MS;
}

/**
 * All that was served and paid since a time.
 *
 * @param entries The ledger from {@linkcode readFrom} on.
 * @param accounts The store's, with what is booked by UTC day.
 * @param since The start of a UTC day, epoch ms.
 */
export function spendItems(
  entries: readonly LedgerEntry[],
  accounts: Accounts,
  since: number,
): SpendItem[] {
  const first = dayOf(since);
  const items = entries.map((entry) => itemOf(entry, accounts));
  const others = Object.entries(accounts).flatMap(([account, { spent }]) =>
    otherItems(
      account,
      spent ?? {},
      items.filter((it) => it.account === account),
    )
  );
  return [...items, ...others].filter(({ day }) => day >= first);
}

type Accounts = Readonly<
  Record<string, Pick<AccountRecord, "spent" | "formerAliases">>
>;

/** What an account is called now that had this name at a time (epoch ms). */
function presentAlias(alias: string, at: number, accounts: Accounts): string {
  const bearers = Object.entries(accounts)
    .map(([name, { formerAliases }]) => ({
      name,
      until: formerAliases?.[alias] ?? -Infinity,
    }))
    // a process that runs may go on with a name that nobody bears any more
    .filter(({ until }) => until >= (accounts[alias] ? at : 0)).sort((a, b) =>
      a.until - b.until
    );
  return bearers[0]?.name ?? alias;
}

function itemOf(entry: LedgerEntry, accounts: Accounts): SpendItem {
  return {
    account: presentAlias(entry.alias, Date.parse(entry.at), accounts),
    model: entry.model ?? "unknown",
    session: entry.session ?? "none",
    day: entry.at.slice(0, 10),
    requests: 1,
    inputTokens: entry.inputTokens ?? 0,
    cachedTokens: entry.cachedTokens ?? 0,
    outputTokens: entry.outputTokens ?? 0,
    credits: entry.credits ?? "0",
    approximate: entry.approximate === true,
  };
}

/** What of an account's bookings none of its requests accounts for, by day. */
function otherItems(
  account: string,
  days: Readonly<Record<string, string>>,
  items: readonly SpendItem[],
): SpendItem[] {
  const sums = new Map<string, string>();
  for (const { day, credits } of items) {
    sums.set(day, addAmounts(sums.get(day) ?? "0", credits));
  }
  const others: SpendItem[] = [];
  // what a request of the day before cost may be booked behind midnight
  let early = "0";
  let before = "";
  for (
    const day of [...new Set([...Object.keys(days), ...sums.keys()])].sort()
  ) {
    if (Date.parse(day) - Date.parse(before) !== DAY_MS) early = "0";
    const paid = addAmounts(sums.get(day) ?? "0", early);
    const credits = subtractAmounts(days[day] ?? "0", paid);
    const isOther = compareAmounts(credits, "0") > 0;
    if (isOther) {
      const names = { account, model: OTHER, session: OTHER, day };
      others.push({ ...names, ...nothing(), credits });
    }
    early = isOther ? "0" : subtractAmounts("0", credits);
    // only what the day itself has too much goes on to the next one
    if (compareAmounts(early, sums.get(day) ?? "0") > 0) {
      early = sums.get(day) ?? "0";
    }
    before = day;
  }
  return others;
}

function nothing(): SpendSum {
  return {
    requests: 0,
    inputTokens: 0,
    cachedTokens: 0,
    outputTokens: 0,
    credits: "0",
    approximate: false,
  };
}

export function sumItems(items: readonly SpendSum[]): SpendSum {
  const sum = nothing();
  for (const item of items) {
    sum.requests += item.requests;
    sum.inputTokens += item.inputTokens;
    sum.cachedTokens += item.cachedTokens;
    sum.outputTokens += item.outputTokens;
    sum.credits = addAmounts(sum.credits, item.credits);
    sum.approximate ||= item.approximate;
  }
  return sum;
}

/** A row per key: days in order, all else the dearest first. */
export function spendRows(
  items: readonly SpendItem[],
  by: SpendKey,
): SpendRow[] {
  const rows = [...Map.groupBy(items, (item) => item[by])]
    .map(([key, own]) => ({ key, ...sumItems(own) }));
  return rows.sort((a, b) => {
    const order = a.key < b.key ? -1 : 1;
    if (by === "day") return order;
    return compareAmounts(b.credits, a.credits) || b.requests - a.requests ||
      order;
  });
}
