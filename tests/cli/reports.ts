/** Reports to be rendered. */
import { suggestAs } from "../../lib/cli/format.ts";
import type { AccountStatus, StatusReport } from "../../lib/report_types.ts";

/** The time of {@linkcode report}. */
export const NOW = Date.parse("2026-03-01T12:00:00Z");

const HOUR = 3_600_000;

/** An ISO time so many ms from now. */
export function later(ms: number): string {
  return new Date(NOW + ms).toISOString();
}

/** A row of a plus account on included usage. */
export function row(
  alias: string,
  changes: Partial<AccountStatus> = {},
): AccountStatus {
  return {
    alias,
    email: `${alias}@example.com`,
    plan: "plus",
    enabled: true,
    standing: "included",
    reason: null,
    until: null,
    creditsAllowed: true,
    windows: windows(42, 12),
    credits: {
      hasCredits: false,
      unlimited: false,
      balance: "0",
      usable: false,
    },
    bankedResets: null,
    usageObservedAt: later(-60_000),
    tokenExpiresAt: later(HOUR),
    requests: 3,
    lastUsedAt: null,
    priority: 0,
    reserve: 0,
    weight: 1,
    spentToday: "0",
    spentThisMonth: "0",
    toppedUpAt: null,
    source: null,
    detail: null,
    ...changes,
  };
}

/** A five-hour and a weekly window, in percent. */
export function windows(
  fiveHours: number,
  week: number,
): AccountStatus["windows"] {
  return [{
    meter: "codex",
    name: null,
    windowSeconds: 18_000,
    usedPercent: fiveHours,
    resetsAt: later(2 * HOUR + 14 * 60_000),
    lastsUntil: null,
  }, {
    meter: "codex",
    name: null,
    windowSeconds: 604_800,
    usedPercent: week,
    resetsAt: later(76 * HOUR),
    lastsUntil: null,
  }];
}

/** Credits with a balance. */
export function credits(
  balance: string | null,
  usable = true,
): NonNullable<AccountStatus["credits"]> {
  return { hasCredits: true, unlimited: false, balance, usable };
}

/** Has commands that are suggested begin as the installed one does. */
export function suggestAsInstalled(): void {
  suggestAs({ program: () => "codex-rotator", isWindows: false });
}

/** A report of `accounts`; the first one is next. */
export function report(
  accounts: AccountStatus[],
  changes: Partial<StatusReport> = {},
): StatusReport {
  return {
    version: 1,
    now: later(0),
    store: "accounts.json",
    strategy: "round-robin",
    pinned: null,
    credits: {
      allow: "all",
      source: "default",
      unknownAliases: [],
      caps: {},
      unknownCaps: [],
      spentByRemoved: { spentToday: "0", spentThisMonth: "0" },
      warning: null,
    },
    next: accounts[0]?.alias ?? null,
    lastsUntil: null,
    accounts,
    ...changes,
  };
}

/** One account in every standing. */
export function everyStanding(): StatusReport {
  const until = later(2 * HOUR + 14 * 60_000);
  return report([
    row("alice"),
    row("bob", {
      standing: "credits",
      until,
      windows: windows(100, 40),
      credits: credits("12.50"),
      requests: 1234,
      lastUsedAt: later(-5 * 60_000),
    }),
    row("carol", {
      standing: "blocked",
      reason: "exhausted",
      until,
      creditsAllowed: false,
      windows: windows(100, 40),
      credits: credits("50"),
      usageObservedAt: later(-3 * HOUR),
    }),
    row("dora", {
      plan: "team",
      standing: "blocked",
      reason: "login",
      windows: [],
      credits: null,
      detail: "The sign-in was revoked",
    }),
    row("emil", {
      plan: "free",
      standing: "unknown",
      windows: [],
      credits: null,
      usageObservedAt: null,
    }),
    row("fay", {
      plan: "pro",
      standing: "unconfirmed",
      reason: "exhausted",
      until,
      bankedResets: 2,
      credits: { ...credits(null), unlimited: true },
      windows: [
        ...windows(100, 81).slice(1),
        { ...windows(3, 0)[0]!, meter: "codex_bengalfox" },
      ],
    }),
  ]);
}
