/**
 * What is derived and reported: verdicts, reports and events. Reports carry
 * times as ISO strings, verdicts and events as milliseconds since the epoch.
 */
import type { CreditCaps } from "./spending_types.ts";
import type { AccountSource, StrategyName } from "./types.ts";

/** Why an account cannot serve, in a word. */
export type BlockReason =
  | "disabled"
  | "login"
  | "workspace"
  | "plan"
  | "model"
  | "cooldown"
  | "exhausted"
  | "capped"
  | "unknown";

/** The verdict on one account for one model at one time. */
export type Standing =
  | { readonly kind: "included" }
  | { readonly kind: "unknown" }
  | { readonly kind: "credits"; readonly until: number | null }
  | {
    readonly kind: "unconfirmed";
    readonly reason: "exhausted" | "unknown";
    readonly until: number | null;
  }
  | {
    readonly kind: "blocked";
    readonly reason: BlockReason;
    /** When it ends, epoch ms; null when unknown or when only a person can end it. */
    readonly until: number | null;
    /** For `cooldown`: which one. */
    readonly cause?: "throttle" | "token";
  };

/** Who may spend purchased credits. */
export interface CreditPolicy {
  /** Everybody, nobody, or these aliases. */
  allow: "all" | "none" | readonly string[];
  /** Where that was set. */
  source: "option" | "environment" | "store" | "default";
  /** What is wrong with the setting, when money therefore fails closed. */
  warning?: string;
}

/** One row of {@linkcode StatusReport}. */
export interface AccountStatus {
  /** Its name. */
  alias: string;
  /** The address that the login was made with. */
  email: string | null;
  /** The plan as the backend calls it. */
  plan: string | null;
  /** Whether the owner lets it serve. */
  enabled: boolean;
  /** The verdict. */
  standing: Standing["kind"];
  /** Why, in a word; null where nothing is wrong. */
  reason: string | null;
  /** When that ends; null when unknown, or never by itself. */
  until: string | null;
  /** Whether the policy lets it spend credits. */
  creditsAllowed: boolean;
  /** All windows of all meters, the main meter first. */
  windows: {
    meter: string;
    /** The backend's `limit_name`; null for the main meter. */
    name: string | null;
    windowSeconds: number | null;
    usedPercent: number;
    resetsAt: string | null;
    /** When it will be full at the pace of the last hours; null when it does not move or resets before. */
    lastsUntil: string | null;
  }[];
  /** Its credits as last observed; null when never. */
  credits: {
    hasCredits: boolean | null;
    unlimited: boolean | null;
    balance: string | null;
    usable: boolean;
  } | null;
  /** Resets in the bank; null when not told. */
  bankedResets: number | null;
  /** When anything of its usage was observed last. */
  usageObservedAt: string | null;
  /** When its access token expires. */
  tokenExpiresAt: string | null;
  /** How many requests were sent on it. */
  requests: number;
  /** When the last one was. */
  lastUsedAt: string | null;
  /** Higher ones go first inside a pool. */
  priority: number;
  /** Percent of its fullest window that is to be left. */
  reserve: number;
  /** Its weight for the strategy `weighted`. */
  weight: number;
  /** Credits spent in this UTC day: a decimal text. */
  spentToday: string;
  /** Credits spent in this UTC month: a decimal text. */
  spentThisMonth: string;
  /** When its balance rose by itself last; null when never seen. */
  toppedUpAt: string | null;
  /** The file of another tool that the login is shared with. */
  source: AccountSource | null;
  /** Why a sign-in is needed, the last check failed or a cap cannot be counted, for people. */
  detail: string | null;
}

/** The answer of `status`. Times are ISO strings. */
export interface StatusReport {
  /** The form of the report. */
  version: 1;
  /** When it was made. */
  now: string;
  /** The store that it speaks of. */
  store: string;
  /** The strategy in force. */
  strategy: StrategyName;
  /** The only account that may serve; null: all may. */
  pinned: string | null;
  /** The credit policy in force, and names in it that no account bears. */
  credits: {
    allow: "all" | "none" | string[];
    source: CreditPolicy["source"];
    unknownAliases: string[];
    /** How much may be spent, by account or `*` for all. */
    caps: CreditCaps;
    /** Names in the caps that no account bears. */
    unknownCaps: string[];
    /** What accounts had spent that were removed: it counts for the cap of all together. */
    spentByRemoved: Pick<AccountStatus, "spentToday" | "spentThisMonth">;
    /** What of policy and caps cannot be read, so that less may be spent: a line each. */
    warning: string | null;
  };
  /** Who would serve the next request. */
  next: string | null;
  /** When the last account with included usage is used up at the present pace; null when that is not to be seen. */
  lastsUntil: string | null;
  /** All accounts, sorted by alias. */
  accounts: AccountStatus[];
}

/** The answer of `refresh`. */
export interface RefreshReport {
  /** The form of the report. */
  version: 1;
  /** How it went, sorted by alias; `error` is null where it went well. */
  accounts: {
    alias: string;
    ok: boolean;
    tokenRefreshed: boolean;
    standing: Standing["kind"];
    error: string | null;
    /** All windows as they are known now. */
    windows: AccountStatus["windows"];
  }[];
}

/** What an event tells of the request that it belongs to. */
export interface EventContext {
  /** Counts the requests of a rotator. */
  request?: number;
  /** The model that was asked for, where it is known. */
  model?: string;
  /** A hash of the conversation's name, where it has one. */
  session?: string;
}

/** What a rotator tells while it works. No event ever holds a token. */
export type RotatorEvent =
  & EventContext
  & (
    | {
      type: "selected";
      alias: string;
      standing: "included" | "credits" | "unconfirmed";
      reason: string;
    }
    | { type: "switched"; alias: string; from: string; reason: string }
    | {
      type: "cooldown";
      alias: string;
      /** The key of the cooldown, for example `usage-limit:codex`. */
      cause: string;
      until: number;
      reason: string;
    }
    | {
      type: "credits-spent";
      alias: string;
      reason: string;
      /** False when it may have been included usage after all. */
      certain: boolean;
      balanceBefore: string | null;
      balanceAfter: string | null;
    }
    | { type: "usage-refreshed"; alias: string; reason: string }
    | { type: "token-refreshed"; alias: string; reason: string }
    | { type: "login-required"; alias: string; reason: string }
    | {
      type: "exhausted";
      /** Only one that watches the store names it; absent: nobody can serve. */
      alias?: string;
      reason: string;
      until: number | null;
    }
    | { type: "warning"; alias?: string; reason: string }
  );
