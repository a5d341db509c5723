/**
 * Which access token an account can send with as it stands.
 *
 * @module
 */
import { readClaims } from "../codex/tokens.ts";
import { ClockReading } from "../pool/clock.ts";
import { isDamaged } from "../pool/standing.ts";
import type { AccountRecord, Tokens } from "../types.ts";

/** Tokens are renewed when they expire within this, ms. */
export const EARLY_MS = 5 * 60_000;

/** A token to send with, or why there is none. */
export type Access =
  | { kind: "ok"; access: string; refreshed: boolean }
  | { kind: "login"; reason: string }
  | { kind: "unavailable"; reason: string };

/** When an access token expires, epoch ms; Infinity when unknown. */
export function expiryOf(tokens: Tokens): number {
  // only a refresh token is there
  if (tokens.access === "") return 0;
  const stored = tokens.expiresAt;
  if (typeof stored === "number" && stored > 0) return stored;
  return readClaims(tokens.access).expiresAt ?? Infinity;
}

/**
 * What can be said of an account's access token without a token call.
 *
 * @param account undefined: it is gone.
 * @param rejected An access token that the backend has just refused.
 * @param now Epoch ms.
 * @param retryAt Until then a valid token is not renewed early, epoch ms.
 * @returns undefined: it has to be renewed.
 */
export function keptAccess(
  account: AccountRecord | undefined,
  rejected: string | undefined,
  now: number,
  retryAt: number,
): Access | undefined {
  if (!account) {
    return { kind: "unavailable", reason: "The account is gone" };
  }
  const { tokens, auth } = account;
  if (auth) return { kind: "login", reason: auth.reason };
  if (!tokens) return { kind: "login", reason: "There are no tokens" };
  if (isDamaged(account)) {
    const reason = "The stored access token or account id is damaged";
    return { kind: "login", reason };
  }
  if (tokens.access !== rejected) {
    const ok: Access = {
      kind: "ok",
      access: tokens.access,
      refreshed: rejected !== undefined,
    };
    const expiry = expiryOf(tokens);
    if (expiry > now + EARLY_MS) return ok;
    if (expiry > now && retryAt > now) return ok;
  }
  const pause = account.cooldowns?.["token"];
  if (pause && new ClockReading(now).isRunning(pause.until)) {
    const reason = pause.detail ?? "The token could not be renewed";
    return { kind: "unavailable", reason };
  }
  return undefined;
}
