/**
 * What a standing means, in words, and the state as a report.
 *
 * @module
 */
import { ClockReading } from "./pool/clock.ts";
import type { PooledAccount } from "./pool/account_pool.ts";
import { hasUsableCredits, untilOf } from "./pool/standing.ts";
import type { AccountRecord, AccountStatus, Standing } from "./types.ts";

/** An epoch time (ms) as an ISO string; null when it is none. */
export function iso(time: number | null | undefined): string | null {
  if (typeof time !== "number") return null;
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** Why an account stands as it does, in a word; null where nothing is wrong. */
export function reasonOf(standing: Standing): string | null {
  switch (standing.kind) {
    case "included":
      return null;
    case "unknown":
      return "unknown";
    case "credits":
      return "exhausted";
    case "unconfirmed":
    case "blocked":
      return standing.reason;
  }
}

/** One account's row for `model` at `now` (epoch ms). */
export function accountStatus(
  runner: PooledAccount,
  model: string | undefined,
  now: number,
): AccountStatus {
  const { record: account, alias, creditsAllowed } = runner;
  const { standing } = runner.assess(model, now);
  const { usage, tokens } = account;
  return {
    alias,
    email: account.email ?? null,
    plan: account.plan ?? null,
    enabled: account.enabled !== false,
    standing: standing.kind,
    reason: reasonOf(standing),
    until: iso(untilOf(standing)),
    creditsAllowed,
    windows: windowsOf(runner),
    credits: creditsStatus(account, now),
    bankedResets: usage?.bankedResets ?? null,
    usageObservedAt: iso(usage?.observedAt),
    tokenExpiresAt: iso(tokens?.expiresAt),
    requests: account.requests ?? 0,
    lastUsedAt: account.lastUsedAt ? iso(account.lastUsedAt) : null,
    weight: account.weight ?? 1,
    source: sourceOf(runner),
    detail: detailOf(runner, standing, now),
  };
}

function sourceOf({ record: account }: PooledAccount): AccountStatus["source"] {
  const { source } = account;
  return source ? { kind: source.kind, path: source.path } : null;
}

/** The main meter's windows first, shorter ones before longer ones. */
function windowsOf(runner: PooledAccount): AccountStatus["windows"] {
  const meters = Object.entries(runner.record.usage?.meters ?? {});
  meters.sort(([a], [b]) => a === "codex" ? -1 : b === "codex" ? 1 : 0);
  return meters.flatMap(([meter, facts]) =>
    [...facts.windows]
      .sort((a, b) => (a.windowSeconds ?? 0) - (b.windowSeconds ?? 0))
      .map((window) => ({
        meter,
        windowSeconds: window.windowSeconds,
        usedPercent: window.usedPercent,
        resetsAt: iso(window.resetsAt),
      }))
  );
}

function creditsStatus(
  account: AccountRecord,
  now: number,
): AccountStatus["credits"] {
  if (!account.credits) return null;
  const { hasCredits, unlimited, balance } = account.credits;
  const usable = hasUsableCredits(account, new ClockReading(now));
  return { hasCredits, unlimited, balance: balance ?? null, usable };
}

function detailOf(
  runner: PooledAccount,
  standing: Standing,
  now: number,
): string | null {
  const { auth, cooldowns, usageCheck } = runner.record;
  if (standing.kind === "blocked" && standing.reason === "login") {
    return auth?.reason ?? "There are no tokens";
  }
  if (reasonOf(standing) === "unknown" && usageCheck?.failedAt !== undefined) {
    return usageCheck.error ?? null;
  }
  if (standing.kind !== "blocked") return null;
  const running = Object.values(cooldowns ?? {}).find((entry) =>
    entry.until === standing.until && entry.until > now
  );
  return running?.detail ?? null;
}
