import { readClaims } from "../codex/tokens.ts";
import { ClockReading } from "../pool/clock.ts";
import { runningUntil } from "../pool/limits.ts";
import type { AccountContext } from "./context.ts";

/** Tokens are renewed when they expire within this (ms). */
const EARLY_MS = 5 * 60_000;
/** After a failed renewal a valid token is not renewed early for this long (ms). */
export const RETRY_MS = 60_000;

/** A token to send with, or why there is none. */
export type Access =
  | { kind: "ok"; access: string; refreshed: boolean }
  | { kind: "login" | "unavailable"; reason: string };

/** A token that can be sent, and for how long (ms). */
export type Valid = Access & { kind: "ok"; msLeft: number };

export const GONE: Access = {
  kind: "unavailable",
  reason: "The account is gone",
};

/** Which access tokens can be sent without a token call. */
export class AccessTokens {
  readonly context: AccountContext;
  /** After a failed renewal: when the next may be tried early (epoch ms). */
  #retryAt = new Map<string, number>();
  /** Until when tokens that were issued here are valid, by `performance.now()`. */
  #validUntil = new Map<string, number>();

  constructor(context: AccountContext) {
    this.context = context;
  }

  /**
   * What can be said without a token call; undefined: a renewal is due.
   *
   * @param rejected An access token that the backend has just refused.
   */
  kept(alias: string, rejected: string | undefined): Access | undefined {
    const { cache, now } = this.context;
    const account = cache.state.accounts[alias];
    if (!account) return GONE;
    const { tokens, auth, cooldowns } = account;
    const reason = auth?.reason ??
      (tokens ? undefined : "There are no usable tokens");
    if (reason !== undefined) return { kind: "login", reason };
    const valid = this.valid(alias, rejected);
    const isPaused = (this.#retryAt.get(alias) ?? 0) > now();
    if (valid && (valid.msLeft > EARLY_MS || isPaused)) return valid;
    const until = runningUntil(account, "token", new ClockReading(now()));
    return until === undefined ? undefined : {
      kind: "unavailable",
      reason: cooldowns["token"]?.detail ?? "The token could not be renewed",
    };
  }

  /** An access token that can be sent, however soon it ends. */
  valid(alias: string, rejected: string | undefined): Valid | undefined {
    const tokens = this.context.cache.state.accounts[alias]?.tokens;
    if (!tokens || tokens.access === rejected) return undefined;
    const { access, expiresAt } = tokens;
    // only a refresh token is there
    if (access === "") return undefined;
    const end = expiresAt || (readClaims(access).expiresAt ?? Infinity);
    // by its own lifetime where it was issued here, as the clock may be wrong
    const ownEnd = this.#validUntil.get(access) ?? -Infinity;
    const now = this.context.now();
    const msLeft = Math.max(end - now, ownEnd - performance.now());
    const refreshed = rejected !== undefined;
    return msLeft > 0 ? { kind: "ok", access, refreshed, msLeft } : undefined;
  }

  noteIssued(alias: string, access: string, lifetimeMs: number | null): void {
    this.#retryAt.delete(alias);
    if (lifetimeMs === null) return;
    const now = performance.now();
    for (const [token, until] of this.#validUntil) {
      if (until < now) this.#validUntil.delete(token);
    }
    this.#validUntil.set(access, now + lifetimeMs);
  }

  noteFailure(alias: string): void {
    this.#retryAt.set(alias, this.context.now() + RETRY_MS);
  }
}
