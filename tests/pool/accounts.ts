/** Accounts in every state, for tests of the verdicts on them. */
import type {
  AccountRecord,
  CreditFacts,
  MeterFacts,
  UsageFacts,
  UsageWindow,
} from "../../lib/types.ts";
import type { CreditPolicy, Standing } from "../../lib/report_types.ts";
import { AccountPool } from "../../lib/pool/account_pool.ts";
import type { SelectQuery } from "../../lib/pool/select.ts";
import { assess, type StandingQuery } from "../../lib/pool/standing.ts";

/** The verdict alone. */
export function standing(
  record: AccountRecord,
  query: StandingQuery,
): Standing {
  return assess(record, query).standing;
}

export const NOW = 1_800_000_000_000;
export const SECOND = 1_000;
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** A window of five hours, seen now, that resets in an hour. */
export function window(
  usedPercent: number,
  more: Partial<UsageWindow> = {},
): UsageWindow {
  return { usedPercent, windowSeconds: 18_000, resetsAt: NOW + HOUR, ...more };
}

/** Usage of the main meter as a store written by hand holds it. */
export function usage(
  windows: UsageWindow[],
  more: Partial<UsageFacts> & { meter?: Partial<MeterFacts> } = {},
): UsageFacts {
  const { meter, ...rest } = more;
  return { observedAt: NOW, meters: { codex: { windows, ...meter } }, ...rest };
}

/** What makes a window one of a week. */
export const WEEK = { windowSeconds: 604_800, resetsAt: NOW + 3 * DAY };

/** What a usage answer at that time says of the main meter. */
export function answer(at: number, windows: UsageWindow[]): UsageFacts {
  return { ...usage(windows), observedAt: at, answeredAt: at };
}

/** Ten credits, seen now. */
export function credits(more: Partial<CreditFacts> = {}): CreditFacts {
  return {
    observedAt: NOW,
    hasCredits: true,
    unlimited: false,
    balance: "10",
    ...more,
  };
}

/** No credits, seen now. */
export function noCredits(more: Partial<CreditFacts> = {}): CreditFacts {
  return credits({ hasCredits: false, balance: "0", ...more });
}

/** A signed-in account. */
export function account(more: Partial<AccountRecord> = {}): AccountRecord {
  return { plan: "plus", tokens: { access: "a" }, ...more };
}

/** A cooldown set a second ago. */
export function until(time: number): { until: number; setAt: number } {
  return { until: time, setAt: NOW - SECOND };
}

/** What a verdict is asked for; allowed to spend, now, unless it says otherwise. */
export interface Query {
  model?: string;
  allowed?: boolean;
  now?: number;
}

/** A verdict in a word: `included`, `credits`, `blocked:exhausted`, `unconfirmed:unknown`. */
export function verdict(record: AccountRecord, query: Query = {}): string {
  const found = judge(record, query);
  return "reason" in found ? `${found.kind}:${found.reason}` : found.kind;
}

/** The whole verdict. */
export function judge(record: AccountRecord, query: Query = {}): Standing {
  const { model, allowed = true, now = NOW } = query;
  return standing(record, { model, creditsAllowed: allowed, now });
}

/** Accounts as candidates under a policy. */
export function roster(
  accounts: Record<string, AccountRecord>,
  allow: CreditPolicy["allow"] = "all",
): AccountPool {
  const made = new AccountPool();
  const state = { version: 1, settings: {}, accounts };
  made.load(state, { allow, source: "option" });
  return made;
}

/** A choice without anything special about it. */
export function query(more: Partial<SelectQuery> = {}): SelectQuery {
  return {
    model: undefined,
    now: NOW,
    random: () => 0.5,
    strategy: "round-robin",
    preferPlans: new Set(["pro"]),
    tried: new Set(),
    retriable: new Set(),
    lastPool: "unconfirmed",
    knownOnly: false,
    sticky: undefined,
    ...more,
  };
}
