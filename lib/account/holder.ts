/**
 * Which account holds a token, and what a renewal makes of it.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readClaims } from "../codex/tokens.ts";
import type { TokenAnswer } from "../codex/tokens.ts";
import type { AccountRecord, PoolState } from "../types.ts";

/** The account of that name. */
export function accountOf(
  state: PoolState,
  alias: string,
): AccountRecord | undefined {
  return Object.hasOwn(state.accounts, alias)
    ? state.accounts[alias]
    : undefined;
}

/**
 * The accounts that hold a refresh token, also when one was renamed meanwhile:
 * a login may stand in a store twice, and can be renewed just once.
 */
export function accountsWithRefreshToken(
  state: PoolState,
  alias: string,
  spent: string | undefined,
): AccountRecord[] {
  const account = accountOf(state, alias);
  // those that have none have nothing in common
  if (!spent) return account && !account.tokens?.refresh ? [account] : [];
  return Object.values(state.accounts)
    .filter((other) => other.tokens?.refresh === spent);
}

/** What the answer holds replaces what is there; what it lacks stays. */
export function applyTokenResponse(
  account: AccountRecord,
  answer: TokenAnswer & { kind: "tokens" },
  issuedAt: number,
): void {
  const access = answer.access ?? account.tokens?.access ?? "";
  const expiresAt = answer.access === undefined
    ? account.tokens?.expiresAt ?? null
    : readClaims(access).expiresAt ??
      (answer.lifetimeMs === null ? null : issuedAt + answer.lifetimeMs);
  account.tokens = {
    ...account.tokens,
    access,
    expiresAt,
    ...(answer.refresh === undefined ? {} : { refresh: answer.refresh }),
    ...(answer.id === undefined ? {} : { id: answer.id }),
  };
  delete account.auth;
  if (account.cooldowns) delete account.cooldowns["token"];
  const claims = readClaims(answer.id);
  if (claims.email !== null) account.email = claims.email;
  if (claims.plan !== null) account.plan = claims.plan;
}

/** Accounts are told apart by identity, so that a renamed one keeps its lock. */
export function lockName(
  alias: string,
  account: AccountRecord | undefined,
): string {
  const identity = account?.userId || account?.accountId
    ? `${account.userId ?? ""}/${account.accountId ?? ""}`
    : `alias:${alias}`;
  return `token-${
    createHash("sha256").update(identity).digest("hex").slice(0, 16)
  }`;
}
