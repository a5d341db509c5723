/**
 * The words of this toolkit as types: what is stored, what is derived, what is
 * reported. Times in the store and in the library are milliseconds since the
 * epoch; the reports carry ISO strings.
 *
 * @module
 */

/** How accounts are ordered inside a pool. */
export type StrategyName =
  | "round-robin"
  | "least-used"
  | "random"
  | "weighted"
  | "drain";

/** One window of a meter, named by its length, never by its slot. */
export interface UsageWindow {
  /** Used share in percent; 100 or more is used up. */
  usedPercent: number;
  /** Length in seconds; null when the backend did not say. */
  windowSeconds: number | null;
  /** When it starts afresh, epoch ms; null when the backend did not say. */
  resetsAt: number | null;
  /** When it was observed, epoch ms; absent: with its meter. */
  observedAt?: number;
}

/** One usage counter of an account. */
export interface MeterFacts {
  /** `allowed` as last observed; speaks of the plan's allowance only. */
  allowed?: boolean | null;
  /** `limit_reached` as last observed. */
  limitReached?: boolean | null;
  windows: UsageWindow[];
  /** When any part of this meter was observed last, epoch ms; absent: with the account's usage. */
  observedAt?: number;
  /**
   * The last observation of `limit_reached: true` or `allowed: false`, with the
   * windows as they stood then; absent while none was observed since the last
   * usage answer. Later headers may replace the windows, but not this.
   */
  limit?: { observedAt: number; windows: UsageWindow[] } | null;
}

/** What `model_usage` says of one model. */
export interface ModelUsage {
  available: boolean;
  /** Epoch ms, or null when unknown. */
  availableAt: number | null;
  creditsWouldEnable: boolean | null;
}

/** What was observed of an account's usage. */
export interface UsageFacts {
  /** When any part was observed last, epoch ms. */
  observedAt: number;
  /** When the last whole usage answer was observed; null: never; absent: at `observedAt`. */
  answeredAt?: number | null;
  meters: Record<string, MeterFacts>;
  /** The last usage answer had no rate limit but credits: every request is charged. */
  creditOnly?: boolean;
  modelUsage?: Record<string, ModelUsage>;
  /** Resets in the bank, shown and never redeemed. */
  bankedResets?: number | null;
}

/** What was observed of an account's purchased credits. */
export interface CreditFacts {
  observedAt: number;
  /** null when the backend sent something that is not a boolean. */
  hasCredits: boolean | null;
  unlimited: boolean | null;
  /** Decimal string as the backend sent it, or null when unknown. */
  balance: string | null;
  overageLimitReached?: boolean;
  spendControlReached?: boolean;
  /** A spend limit of this person backs the credits, so the balance does not count. */
  individualLimit?: boolean;
  /** `rate_limit_reached_type`, for example `workspace_member_credits_depleted`. */
  reachedType?: string | null;
  /** The backend sent credits that cannot be read: never usable. */
  malformed?: boolean;
  /** When all but `hasCredits`, `unlimited` and `balance` was observed, epoch ms; absent: at `observedAt`. */
  limitsObservedAt?: number;
}

/** Credits as response headers and stream events tell them: nothing about what bounds them. */
export interface HeaderCredits {
  /** Epoch ms. */
  observedAt: number;
  hasCredits: boolean;
  unlimited: boolean;
  /** As sent, also when it is no number; absent when it was not said. */
  balance?: string;
}

/** "Not now", said by the backend. */
export interface Cooldown {
  /** Epoch ms. */
  until: number;
  /** Epoch ms. */
  setAt: number;
  /** A later usage answer said that the meter is open. */
  clearedAt?: number;
  /** The backend limited again right after it was cleared: usage cannot clear it any more. */
  firm?: boolean;
  /** What the backend said, short, for people. */
  detail?: string;
}

/** The last time an account was asked for its usage. */
export interface UsageCheck {
  /** When it was asked, epoch ms. */
  askedAt: number;
  /** When that failed, epoch ms; absent when it did not. */
  failedAt?: number;
  /** Why, for people; never holds a secret. */
  error?: string;
}

/** The tokens of one login. */
export interface Tokens {
  access: string;
  refresh?: string;
  id?: string;
  /** Epoch ms; null or absent when unknown. */
  expiresAt?: number | null;
}

/** A login file of another tool that this account stays linked to. */
export interface AccountSource {
  kind: string;
  path: string;
  /** A fingerprint of the tokens that the file is known to have held last. */
  seen?: string;
}

/** One account as stored. Fields this version does not know are kept. */
export interface AccountRecord {
  accountId?: string;
  userId?: string;
  email?: string;
  plan?: string;
  /** The token's claims ask for the FedRAMP header. */
  fedramp?: boolean;
  /** Absent: true. */
  enabled?: boolean;
  /** Absent: 1. */
  weight?: number;
  tokens?: Tokens;
  source?: AccountSource;
  usage?: UsageFacts;
  credits?: CreditFacts;
  /** Keys: throttle, token, usage-limit:METER, credits, plan, workspace, model:SLUG. */
  cooldowns?: Record<string, Cooldown>;
  /** Set while only a sign-in helps. */
  auth?: { invalidAt: number; reason: string } | null;
  usageCheck?: UsageCheck;
  requests?: number;
  /** Epoch ms. */
  lastUsedAt?: number | null;
}

/** What the owner set. */
export interface Settings {
  strategy?: string;
  /** "all", "none" or aliases; absent or null: unset. */
  creditAccountAliases?: unknown;
  pinned?: string | null;
}

/** All that is remembered. Fields this version does not know are kept. */
export interface PoolState {
  version: number;
  settings: Settings;
  accounts: Record<string, AccountRecord>;
}

/** Where the state lives. */
export interface Store {
  /**
   * The state now, to be read only. A store that can tell cheaply that nothing
   * changed returns the same object again.
   */
  read(): Promise<PoolState>;
  /** Atomic read-modify-write, across processes (and machines, for a shared store). */
  update(change: (state: PoolState) => void): Promise<PoolState>;
  /** Runs `job` while no one else, in any process, holds `name`. */
  exclusive<T>(name: string, job: () => Promise<T>): Promise<T>;
}

/** Why an account cannot serve, in a word. */
export type BlockReason =
  | "disabled"
  | "login"
  | "workspace"
  | "plan"
  | "model"
  | "cooldown"
  | "exhausted"
  | "unknown";

/** The verdict on one account for one model at one moment. */
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
  allow: "all" | "none" | readonly string[];
  source: "option" | "environment" | "store" | "default";
  /** What is wrong with the setting, when money therefore fails closed. */
  warning?: string;
}

/** One row of {@linkcode StatusReport}. */
export interface AccountStatus {
  alias: string;
  email: string | null;
  plan: string | null;
  enabled: boolean;
  standing: Standing["kind"];
  reason: string | null;
  until: string | null;
  creditsAllowed: boolean;
  windows: {
    meter: string;
    windowSeconds: number | null;
    usedPercent: number;
    resetsAt: string | null;
  }[];
  credits: {
    hasCredits: boolean | null;
    unlimited: boolean | null;
    balance: string | null;
    usable: boolean;
  } | null;
  bankedResets: number | null;
  usageObservedAt: string | null;
  tokenExpiresAt: string | null;
  requests: number;
  lastUsedAt: string | null;
  weight: number;
  source: AccountSource | null;
  /** Why a sign-in is needed or the last check failed, for people. */
  detail: string | null;
}

/** The answer of `status`. Times are ISO strings. */
export interface StatusReport {
  version: 1;
  now: string;
  store: string;
  strategy: StrategyName;
  pinned: string | null;
  credits: {
    allow: "all" | "none" | string[];
    source: CreditPolicy["source"];
    unknownAliases: string[];
    warning: string | null;
  };
  /** Who would serve the next request. */
  next: string | null;
  accounts: AccountStatus[];
}

/** The answer of `refresh`. */
export interface RefreshReport {
  version: 1;
  accounts: {
    alias: string;
    ok: boolean;
    tokenRefreshed: boolean;
    standing: Standing["kind"];
    error: string | null;
  }[];
}

/** What a rotator tells while it works. No event ever holds a token. */
export type RotatorEvent =
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
  | { type: "exhausted"; reason: string; until: number | null }
  | { type: "warning"; alias?: string; reason: string };

/** Anything that fetches as `fetch` does. */
export type FetchLike = (
  input: RequestInfo | URL,
  init?: RequestInit,
) => Promise<Response>;
