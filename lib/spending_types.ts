/** What is spent: how it is measured, bounded and recorded. */

/** How many credits may be spent, by alias; `*` is for all accounts together. */
export type CreditCaps = Record<string, {
  /** Per UTC day. */
  day?: number;
  /** Per UTC month. */
  month?: number;
}>;

/** A request that may cost credits, until its cost is known. */
export interface PaidRequest {
  /** When it was sent, epoch ms. */
  startedAt: number;
  /** When its answer ended, epoch ms; absent: it runs. */
  endedAt?: number;
  /** What its answer told that it used; absent: not known. */
  tokens?: number;
  /** What was booked on it so far: a decimal text. */
  credits?: string;
  /** The amount was shared with other requests, or taken from the dearest one. */
  approximate?: boolean;
  /** The balance rose over it before any price was known. */
  isHidden?: boolean;
  /** A balance asked for after its end is known, so that nothing more can come. */
  isSettled?: boolean;
}

/** What was observed of an account's balance, to tell what was spent. */
export interface SpendingFacts {
  /** The balance that was observed last: a decimal text; absent: none yet. */
  balance?: string;
  /** When the request that told it began, epoch ms. */
  observedAt: number;
  /** When it arrived, epoch ms. */
  seenAt: number;
  /** Balances that usage answers told lately, by when they were asked for (epoch ms): a cache tells them again. */
  asked?: Record<string, number>;
  /** Requests whose cost is not known yet, by a name of their own. */
  paid: Record<string, PaidRequest>;
  /** What the dearest requests of the last day cost: decimal texts by when (epoch ms) they were booked. */
  dearest: Record<string, string>;
  /** When the balance rose by itself, epoch ms; absent: never seen. */
  toppedUpAt?: number;
}

/** One answered request. Holds no prompt, no answer, no token and no e-mail. */
export interface LedgerEntry {
  /** When the request was made: an ISO string. */
  at: string;
  /** Counts the requests of its rotator. */
  request: number;
  /** Who answered. */
  alias: string;
  /** null when unknown. */
  model: string | null;
  /** A hash of the conversation's name; null when it had none. */
  session: string | null;
  /** What the account's standing was when it was chosen. */
  standing: "included" | "credits" | "unconfirmed";
  /** HTTP status. */
  status: number;
  /** From the request to the end of its answer, ms. */
  ms: number;
  /** How often it was sent. */
  attempts: number;
  /** From the answer's own `usage`; null when it told none. */
  inputTokens: number | null;
  /** Those of the input that were cached. */
  cachedTokens: number | null;
  /** What the answer had; null when it told none. */
  outputTokens: number | null;
  /** The balance as known before and after; null when unknown. */
  balanceBefore: string | null;
  /** The same afterwards. */
  balanceAfter: string | null;
  /** What it cost: a decimal text; null when nothing was paid or nobody told. */
  credits: string | null;
  /** The cost was shared with other requests, or taken from the dearest one. */
  approximate: boolean;
}
