/** Whose an account is, and which accounts are the same. */
import { createHash } from "node:crypto";
import { type Claims, readLoginClaims } from "../codex/tokens.ts";
import type { Identity } from "../codex/request.ts";
import type { AccountRecord, PoolState, Tokens } from "../types.ts";
import type { ImportedLogin } from "./login_files.ts";

/** What tokens say: taking them apart for each request would cost as much as all else. */
const said = new WeakMap<Tokens, Claims>();
const NONE: Tokens = { access: "" };

function claimsOf(tokens: Tokens = NONE): Claims {
  const claims = said.get(tokens) ?? readLoginClaims(tokens);
  said.set(tokens, claims);
  return claims;
}

/** The workspace of an account: a record that was written by hand may leave that to its tokens. */
function accountIdOf({ accountId, tokens }: AccountRecord) {
  return accountId || (claimsOf(tokens).accountId ?? undefined);
}

/** What an account's requests say of whose they are. */
export function identityOf(account: AccountRecord, access: string): Identity {
  return {
    access,
    accountId: accountIdOf(account),
    fedramp: account.fedramp === true || claimsOf(account.tokens).fedramp,
  };
}

/**
 * Whether a login is of the account's person and workspace: one person can hold
 * several workspaces, and one workspace several people.
 */
export function isSameLogin(account: AccountRecord, login: ImportedLogin) {
  // a file that names no workspace may be of a login whose tokens do
  const own = login.accountId === null
    ? account.accountId
    : accountIdOf(account);
  if ((own ?? null) !== login.accountId) return false;
  if (account.userId !== undefined && login.userId !== null) {
    return account.userId === login.userId;
  }
  if (account.email !== undefined && login.email !== null) {
    return account.email === login.email;
  }
  return account.tokens?.access === login.tokens.access;
}

/**
 * The accounts that hold a refresh token, also when one was renamed meanwhile:
 * a login may be in a store twice, and can be renewed just once.
 */
export function accountsWithRefreshToken(
  state: PoolState,
  alias: string,
  spent: string | undefined,
): AccountRecord[] {
  const account = state.accounts[alias];
  // those that have none have nothing in common
  if (!spent) return account && !account.tokens?.refresh ? [account] : [];
  return Object.values(state.accounts)
    .filter(({ tokens }) => tokens?.refresh === spent);
}

/** Accounts are told apart by identity, so that a renamed one keeps its lock. */
export function lockName(alias: string, account: AccountRecord | undefined) {
  const { userId = "", accountId = "" } = account ?? {};
  const known = userId || accountId;
  const identity = known ? `${userId}/${accountId}` : `alias:${alias}`;
  const hash = createHash("sha256").update(identity).digest("hex");
  return `token-${hash.slice(0, 16)}`;
}
