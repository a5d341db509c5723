/** Accounts in every state, and what is asked about them, for tests of the pool. */
import { flagged, MAIN_METER } from "../../lib/meters.ts";
import { AccountPool } from "../../lib/pool/account_pool.ts";
import type { SelectQuery } from "../../lib/pool/select.ts";
import { assess, type Assessment } from "../../lib/pool/standing.ts";
import type { CreditPolicy, Standing } from "../../lib/report_types.ts";
import { normalRecord } from "../../lib/store/normal_form.ts";
import type {
  NormalCredits,
  NormalMeter,
  NormalRecord,
  NormalUsage,
  NormalWindow,
} from "../../lib/normal_types.ts";
import type {
  AccountRecord,
  Cooldown,
  MeterFacts,
  UsageFacts,
  UsageWindow,
} from "../../lib/types.ts";
import { test } from "../test.ts";

export const NOW = 1_800_000_000_000;
export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
export const SPARK = "gpt-5.3-codex-spark";
export const SPARK_METER = "codex_bengalfox";
export const RESERVE = "gpt-reserve";
export const RESERVE_METER = "base_model_inference";

/** What makes a window one of a week. */
export const WEEK = { windowSeconds: 604_800, resetsAt: NOW + 3 * DAY };

/** A window of five hours that resets in an hour. */
export function window(
  usedPercent: number,
  more: Partial<UsageWindow> = {},
): UsageWindow {
  return { usedPercent, windowSeconds: 18_000, resetsAt: NOW + HOUR, ...more };
}

/** Usage of the main meter, seen now, as a store written by hand holds it. */
export function usage(
  windows: UsageWindow[],
  more: Partial<UsageFacts> & { meter?: Partial<MeterFacts> } = {},
): UsageFacts {
  const { meter, ...rest } = more;
  return { observedAt: NOW, meters: { codex: { windows, ...meter } }, ...rest };
}

/** What is told of a meter besides its windows. */
export interface Told {
  allowed?: boolean;
  limitReached?: boolean;
  /** When it arrived, epoch ms; default: when it was asked for. */
  seenAt?: number;
  meter?: string;
}

/** A meter as it is told at that time (epoch ms). */
export function meter(
  at: number,
  windows: readonly UsageWindow[],
  { allowed, limitReached, seenAt = at }: Told = {},
): NormalMeter {
  return flagged({
    allowed: allowed ?? null,
    limitReached: limitReached ?? null,
    windows: windows.map((it): NormalWindow => ({
      ...it,
      observedAt: at,
      seenAt,
    })),
    observedAt: at,
  });
}

/** What a usage answer asked for at that time (epoch ms) says of one meter. */
export function answer(
  at: number,
  windows: readonly UsageWindow[],
  told: Told = {},
): NormalUsage {
  const { meter: name = MAIN_METER } = told;
  return {
    observedAt: at,
    answeredAt: at,
    meters: { [name]: meter(at, windows, told) },
    creditOnly: false,
    modelUsage: {},
    bankedResets: null,
  };
}

/** What headers or an event of that time (epoch ms) say of one meter. */
export function headers(
  at: number,
  windows: readonly UsageWindow[],
  told: Told = {},
): NormalUsage {
  return { ...answer(at, windows, told), answeredAt: null };
}

/** Ten credits, seen now. */
export function credits(more: Partial<NormalCredits> = {}): NormalCredits {
  const { observedAt = NOW } = more;
  return {
    observedAt,
    hasCredits: true,
    unlimited: false,
    balance: "10",
    overageLimitReached: false,
    spendControlReached: false,
    individualLimit: false,
    reachedType: null,
    malformed: false,
    limitsObservedAt: observedAt,
    ...more,
  };
}

/** No credits, seen now. */
export function noCredits(more: Partial<NormalCredits> = {}): NormalCredits {
  return credits({ hasCredits: false, balance: "0", ...more });
}

/** A signed-in account, as it is read from a store. */
export function account(more: AccountRecord = {}): NormalRecord {
  return normalRecord({ plan: "plus", tokens: { access: "a" }, ...more });
}

/** A cooldown set a second ago that ends then (epoch ms). */
export function until(time: number, more: Partial<Cooldown> = {}): Cooldown {
  return { until: time, setAt: NOW - SECOND, ...more };
}

/** What a verdict is asked for; allowed to spend, now, unless it says otherwise. */
export interface Query {
  model?: string;
  allowed?: boolean;
  now?: number;
  names?: ReadonlyMap<string, string>;
}

/** All that is known of an account's standing. */
export function assessed(
  record: NormalRecord,
  { model, allowed = true, now = NOW, names }: Query = {},
): Assessment {
  const query = { model, creditsAllowed: allowed, now };
  return assess(record, names ? { ...query, names } : query);
}

/** A verdict in a word: `included`, `credits`, `blocked:exhausted`, `unconfirmed:unknown`. */
export function verdict(record: NormalRecord, query: Query = {}): string {
  return inWords(assessed(record, query).standing);
}

/** A standing in a word, with its reason. */
export function inWords(standing: Standing): string {
  return "reason" in standing
    ? `${standing.kind}:${standing.reason}`
    : standing.kind;
}

/** The verdict on an account with these facts that may not spend, at a time. */
export function quota(facts: NormalUsage, now: number = NOW): string {
  const record = { ...account(), usage: facts };
  return verdict(record, { allowed: false, now });
}

/** Accounts as candidates under a policy. */
export function poolOf(
  accounts: Record<string, AccountRecord>,
  allow: CreditPolicy["allow"] = "all",
): AccountPool {
  const pool = new AccountPool();
  const records = Object.fromEntries(
    Object.entries(accounts).map(([alias, it]) => [alias, account(it)]),
  );
  pool.load(
    { version: 1, settings: { pinned: null }, accounts: records },
    { allow, source: "option" },
    NOW,
  );
  return pool;
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
    sticky: undefined,
    ...more,
  };
}

export type Row = [
  why: string,
  expected: string,
  record: NormalRecord,
  query?: Query | undefined,
];

/** Defines a test that compares verdicts, row by row. */
export function table(name: string, rows: readonly Row[]): void {
  test(name, () => {
    for (const [why, expected, record, query] of rows) {
      const found = verdict(record, query);
      if (found !== expected) {
        throw new Error(`${why}: ${found} instead of ${expected}`);
      }
    }
  });
}
