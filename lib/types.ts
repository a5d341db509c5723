/** What is observed and stored. Times are milliseconds since the epoch. */
import type { LedgerEntry, SpendingFacts } from "./spending_types.ts";

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
  /** When the request that told it began, epoch ms; absent: with its meter. */
  observedAt?: number;
  /** When it arrived, epoch ms; absent: when it was observed. */
  seenAt?: number;
  /**
   * What the flags beside it meant for it: `allowed` (`allowed: true` and no
   * reached limit: it is open whatever its percentage), `refused` (a limit was
   * reached, and this window was full or the fullest). Absent: no flags came.
   */
  flags?: "allowed" | "refused";
}

/** One usage counter of an account. */
export interface MeterFacts {
  /** `allowed` as last observed; speaks of the plan's allowance only. */
  allowed?: boolean | null;
  /** `limit_reached` as last observed. */
  limitReached?: boolean | null;
  /** Its windows, each named by its length. */
  windows: UsageWindow[];
  /** When any part of this meter was observed last, epoch ms; absent: with the account's usage. */
  observedAt?: number;
  /** What people call it: the backend's `limit_name`. */
  name?: string;
  /** When it was refused without any window to blame, epoch ms. */
  refusedAt?: number;
}

/** What `model_usage` says of one model. */
export interface ModelUsage {
  /** Whether the plan serves the model now. */
  available: boolean;
  /** Epoch ms, or null when unknown. */
  availableAt: number | null;
  /** Whether credits would let it be used; null when not told. */
  creditsWouldEnable: boolean | null;
}

/** What was observed of an account's usage. */
export interface UsageFacts {
  /** When any part was observed last, epoch ms. */
  observedAt: number;
  /** When the last whole usage answer was observed; null: never; absent: at `observedAt`. */
  answeredAt?: number | null;
  /** All meters by their name; `codex` is the main one. */
  meters: Record<string, MeterFacts>;
  /**
   * The last usage answer had no rate limit: every request is charged. `null`:
   * it did not say either that there are credits.
   */
  creditOnly?: boolean | null;
  /** A balance fell over a request thought included: only a usage answer asked for later is believed, epoch ms. */
  doubtedAt?: number;
  /** What was told of single models, by their name. */
  modelUsage?: Record<string, ModelUsage>;
  /** Resets in the bank, shown and never redeemed. */
  bankedResets?: number | null;
}

/** What was observed of an account's purchased credits. */
export interface CreditFacts {
  /** When the amounts were observed, epoch ms. */
  observedAt: number;
  /** null when the backend sent something that is not a boolean. */
  hasCredits: boolean | null;
  /** Whether they never run out; null as for `hasCredits`. */
  unlimited: boolean | null;
  /** Decimal string as the backend sent it, or null when unknown. */
  balance: string | null;
  /** The limit on spending beyond the plan is reached. */
  overageLimitReached?: boolean;
  /** A spend control is reached. */
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
  /** Whether there are any. */
  hasCredits: boolean;
  /** Whether they never run out. */
  unlimited: boolean;
  /** As sent, also when it is no number; absent when it was not told. */
  balance?: string;
}

/** "Not now", told by the backend. */
export interface Cooldown {
  /** Epoch ms. */
  until: number;
  /** Epoch ms. */
  setAt: number;
  /** When a later usage answer told that the meter is open, epoch ms. */
  clearedAt?: number;
  /** How often it came back right after it was cleared. */
  returns?: number;
  /** The code that set it, where that decides what may lift it. */
  code?: string;
  /** What the backend told, short, for people. */
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
  /** What requests carry; empty when only a refresh token is known. */
  access: string;
  /** What a new access token is got with; serves once. */
  refresh?: string;
  /** Tells who signed in. */
  id?: string;
  /** Epoch ms; null or absent when unknown. */
  expiresAt?: number | null;
}

/** A login file of another tool that this account stays linked to. */
export interface AccountSource {
  /** Whose file it is, for example `codex`. */
  kind: string;
  /** Where it is. */
  path: string;
  /** A fingerprint of the tokens that the file is known to have held last. */
  seen?: string;
}

/** The usage of a window at a time. */
export interface UsageSample {
  /** Epoch ms. */
  at: number;
  /** Used share in percent. */
  percent: number;
}

/** One account as stored. Fields this version does not know are kept. */
export interface AccountRecord {
  /** The ChatGPT account or workspace. */
  accountId?: string;
  /** The person. */
  userId?: string;
  /** The address that the login was made with. */
  email?: string;
  /** The plan as the backend calls it. */
  plan?: string;
  /** The token's claims ask for the FedRAMP header. */
  fedramp?: boolean;
  /** Absent: true. */
  enabled?: boolean;
  /** Its share by the strategy `weighted`; absent: 1. */
  weight?: number;
  /** Accounts with a higher one serve first inside a pool; absent: 0. */
  priority?: number;
  /** What is to be left of its fullest window (percent): below it, others serve first; absent: 0. */
  reserve?: number;
  /** The login itself; absent: a sign-in is needed. */
  tokens?: Tokens;
  /** The file of another tool that the login is shared with, while it is. */
  source?: AccountSource;
  /** What was observed of its usage; absent: nothing yet. */
  usage?: UsageFacts;
  /** What was observed of its credits; absent: nothing yet. */
  credits?: CreditFacts;
  /** Samples of the usage of windows, by meter and length (seconds), to tell how long they last. */
  samples?: Record<string, UsageSample[]>;
  /** Credits spent by UTC day (YYYY-MM-DD) as decimal texts, of the last 62 days. */
  spent?: Record<string, string>;
  /** Names that it bore, and until when, epoch ms: the ledger goes on calling it so. */
  formerAliases?: Record<string, number>;
  /** What tells what is spent next. */
  spending?: SpendingFacts;
  /** Keys: throttle, token, usage-limit:METER, credits, plan, workspace, model:SLUG. */
  cooldowns?: Record<string, Cooldown>;
  /** A renewal is under way or was cut off: when it began (epoch ms). */
  tokenCallAt?: number;
  /** Set while only a sign-in helps. */
  auth?: { invalidAt: number; reason: string } | null;
  /** How asking it for its usage went last. */
  usageCheck?: UsageCheck;
  /** How many requests were sent on it, each attempt counted. */
  requests?: number;
  /** Epoch ms. */
  lastUsedAt?: number | null;
}

/** What the owner set. */
export interface Settings {
  /** Name of the strategy; absent: round-robin. */
  strategy?: string;
  /** "all", "none" or aliases; absent or null: unset. */
  creditAccountAliases?: unknown;
  /** {@linkcode CreditCaps}, where it can be read; absent or null: no cap. */
  creditCaps?: unknown;
  /** What accounts had spent that were removed, by UTC day: it counts for the cap of all. */
  spentByRemoved?: Record<string, string>;
  /** The only account that may serve; absent or null: all may. */
  pinned?: string | null;
}

/** All that is remembered. Fields this version does not know are kept. */
export interface PoolState {
  /** The form of the state; this is 1. */
  version: number;
  /** What the owner set. */
  settings: Settings;
  /** All accounts by alias. */
  accounts: Record<string, AccountRecord>;
}

/** Which account served which session last: texts by the hash of the session's name. */
export interface SessionStore {
  /** All that are remembered. */
  read(): Promise<Record<string, string>>;
  /** Adds those that changed to what is remembered. */
  write(changed: Record<string, string>): Promise<void>;
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
  /** Where it has it, the memory of sessions is in the store itself. */
  sessions?: SessionStore;
  /** Where it has one, the ledger is in the store itself. */
  ledger?: {
    append(entries: LedgerEntry[]): Promise<void>;
    /** Entries from `since` (epoch ms) on. */
    read(since: number): AsyncIterable<LedgerEntry>;
  };
  /**
   * Present where the store is behind a network, and may be out of reach for a
   * while: a rotator goes on with what it read last, but gets no new tokens that
   * it cannot keep.
   */
  remote?: {
    /** Whether what was read last is known to be the newest, without asking. */
    isCurrent(): boolean;
  };
}

/** Anything that fetches as `fetch` does. */
export type FetchLike = (
  input: RequestInfo | URL,
  init?: RequestInit,
) => Promise<Response>;
