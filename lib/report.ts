/** Reports: how all accounts stand and why, as known or after asking. */
import type { CheckResult } from "./account/usage_check.ts";
import type { RotatorContext } from "./context.ts";
import type { AccountPool, PooledAccount } from "./pool/account_pool.ts";
import { meterOfModel } from "./meters.ts";
import { uncountable } from "./pool/caps.ts";
import { ClockReading } from "./pool/clock.ts";
import { lastsUntil, meterLastsUntil } from "./pool/pace.ts";
import { spentIn } from "./spent.ts";
import { select } from "./pool/select.ts";
import { hasUsableCredits, reasonOf, untilOf } from "./pool/standing.ts";
import type {
  AccountStatus,
  RefreshReport,
  Standing,
  StatusReport,
} from "./report_types.ts";
import type { NormalRecord } from "./normal_types.ts";
import { dayOf, iso } from "./values.ts";

/** What a report is made from: a rotator, or a store that is only read. */
type Reported = Pick<
  RotatorContext,
  "accounts" | "storeName" | "preferPlans" | "strategy" | "random"
>;

interface ReportOptions {
  /** Verdicts are for this model; unknown by default. */
  model?: string | undefined;
  /** Epoch ms. */
  now: number;
}

/** All accounts with their standing; asks nobody. */
export function statusReport(
  reported: Reported,
  options: ReportOptions,
): StatusReport {
  const { accounts } = reported;
  const { policy } = accounts;
  return {
    version: 1,
    now: iso(options.now)!,
    store: reported.storeName,
    strategy: reported.strategy(),
    pinned: accounts.pinned,
    credits: {
      allow: typeof policy.allow === "string"
        ? policy.allow
        : [...policy.allow],
      source: policy.source,
      unknownAliases: unknownAliases(accounts),
      caps: accounts.caps,
      spentByRemoved: spentNow({ spent: accounts.spentByRemoved }, options),
      unknownCaps: Object.keys(accounts.caps)
        .filter((name) => name !== "*" && !accounts.get(name)),
      warning: [policy.warning, accounts.capPolicy.warning]
        .filter(Boolean).join("\n") || null,
    },
    next: nextOf(reported, options),
    lastsUntil: iso(fleetLastsUntil(accounts, options)),
    accounts: accounts.all.map((account) => accountStatus(account, options)),
  };
}

function spentNow(
  record: Parameters<typeof spentIn>[0],
  { now }: Pick<ReportOptions, "now">,
) {
  const day = dayOf(now);
  return {
    spentToday: spentIn(record, day),
    spentThisMonth: spentIn(record, day.slice(0, 7)),
  };
}

/** Names in the credit list that no account bears. */
function unknownAliases(accounts: AccountPool): string[] {
  const { allow } = accounts.policy;
  if (typeof allow === "string") return [];
  return [...new Set(allow)].filter((alias) => !accounts.get(alias));
}

/** Who would serve the next request without a session, as far as is known now. */
function nextOf(
  reported: Reported,
  { model, now }: ReportOptions,
): string | null {
  const none: ReadonlySet<string> = new Set();
  const { choice, isHeld } = select(reported.accounts.candidates, {
    model,
    now,
    random: reported.random,
    strategy: reported.strategy(),
    preferPlans: reported.preferPlans,
    tried: none,
    retriable: none,
    sticky: undefined,
  });
  return choice && !isHeld ? choice.account.alias : null;
}

/** When the last account of the first pool is full, epoch ms; null when one of them does not fill up. */
function fleetLastsUntil(
  accounts: AccountPool,
  { model, now }: ReportOptions,
): number | null {
  let last: number | null = null;
  for (const account of accounts.all) {
    if (account.assess(model, now).poolIndex !== 0) continue;
    const meter = meterOfModel(model, account.names);
    const end = meterLastsUntil(account.record, meter);
    if (end === null) return null;
    last = Math.max(last ?? 0, end);
  }
  return last;
}

function accountStatus(
  account: PooledAccount,
  { model, now }: ReportOptions,
): AccountStatus {
  const { record, alias, creditsAllowed } = account;
  const { standing } = account.assess(model, now);
  const { usage, tokens, source } = record;
  return {
    alias,
    email: record.email ?? null,
    plan: record.plan ?? null,
    enabled: record.enabled,
    standing: standing.kind,
    reason: reasonOf(standing),
    until: iso(untilOf(standing)),
    creditsAllowed,
    windows: windowsOf(record),
    credits: creditsStatus(record, now),
    bankedResets: usage?.bankedResets ?? null,
    usageObservedAt: iso(usage?.observedAt),
    tokenExpiresAt: iso(tokens?.expiresAt),
    requests: record.requests,
    lastUsedAt: record.lastUsedAt ? iso(record.lastUsedAt) : null,
    priority: record.priority,
    reserve: record.reserve,
    weight: record.weight,
    ...spentNow(record, { now }),
    toppedUpAt: iso(record.spending?.toppedUpAt),
    source: source ? { kind: source.kind, path: source.path } : null,
    detail: detailOf(record, standing, now),
  };
}

/** The main meter's windows first, shorter ones before longer ones. */
export function windowsOf(
  { usage, samples = {} }: NormalRecord,
): AccountStatus["windows"] {
  const meters = Object.entries(usage?.meters ?? {});
  meters.sort(([a], [b]) => a === "codex" ? -1 : b === "codex" ? 1 : 0);
  return meters.flatMap(([meter, facts]) =>
    [...facts.windows]
      .sort((a, b) => (a.windowSeconds ?? 0) - (b.windowSeconds ?? 0))
      .map((window) => ({
        meter,
        name: facts.name ?? null,
        windowSeconds: window.windowSeconds,
        usedPercent: window.usedPercent,
        resetsAt: iso(window.resetsAt),
        lastsUntil: iso(lastsUntil({ samples }, meter, window)),
      }))
  );
}

function creditsStatus(
  record: NormalRecord,
  now: number,
): AccountStatus["credits"] {
  if (!record.credits) return null;
  const { hasCredits, unlimited, balance } = record.credits;
  const usable = hasUsableCredits(record, new ClockReading(now));
  return { hasCredits, unlimited, balance, usable };
}

function detailOf(
  record: NormalRecord,
  standing: Standing,
  now: number,
): string | null {
  const { auth, cooldowns, usageCheck } = record;
  if (reasonOf(standing) === "capped") return uncountable(record);
  if (standing.kind === "blocked" && standing.reason === "login") {
    return auth?.reason ?? "There are no tokens";
  }
  if (reasonOf(standing) === "unknown" && usageCheck?.failedAt !== undefined) {
    return usageCheck.error ?? null;
  }
  if (standing.kind !== "blocked") return null;
  const running = Object.values(cooldowns).find((entry) =>
    entry.until === standing.until && entry.until > now
  );
  return running?.detail ?? null;
}

/** What to refresh. */
export interface RefreshOptions {
  /** Only these; all by default. */
  aliases?: readonly string[];
  /** Ends it early. */
  signal?: AbortSignal;
  /** Called after each account. */
  onProgress?: (done: number, total: number) => void;
}

/** Renews tokens that need it and asks for usage. */
export async function refresh(
  context: RotatorContext,
  { aliases, signal, onProgress }: RefreshOptions,
): Promise<RefreshReport> {
  signal?.throwIfAborted();
  await context.cache.reload();
  const names = aliases ?? context.accounts.all.map(({ alias }) => alias);
  let done = 0;
  const accounts = await Promise.all(
    [...new Set(names)].sort().map(async (alias) => {
      const result = context.accounts.get(alias)
        ? await context.usage.check(alias, { signal, isExplicit: true })
        : {
          alias,
          ok: false,
          tokenRefreshed: false,
          error: "No account bears this name",
        };
      done++;
      try {
        onProgress?.(done, names.length);
      } catch {
        // a callback that fails disturbs nothing
      }
      return refreshed(context, result);
    }),
  );
  return { version: 1, accounts };
}

function refreshed(
  context: RotatorContext,
  { alias, ok, tokenRefreshed, error }: CheckResult,
): RefreshReport["accounts"][number] {
  const account = context.accounts.get(alias);
  const standing = account?.assess(undefined, context.now()).standing.kind ??
    "blocked";
  const windows = account ? windowsOf(account.record) : [];
  return { alias, ok, tokenRefreshed, standing, error, windows };
}
