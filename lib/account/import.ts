/** Tokens on their way into an account's record: those of other tools, of a sign-in and of a renewal. */
import { type IssuedTokens, readClaims } from "../codex/tokens.ts";
import { isAlias } from "../pool/credits.ts";
import type {
  AccountRecord,
  AccountSource,
  PoolState,
  Tokens,
} from "../types.ts";
import { definedIn } from "../values.ts";
import { isSameLogin } from "./identity.ts";
import type { ImportedLogin } from "./login_files.ts";

export interface AddOptions {
  /** Its name if it is new; default: from its e-mail. */
  alias?: string | undefined;
  /** The file that it stays linked to; default: none, also where there was one. */
  source?: AccountSource | undefined;
  /** Its tokens were issued just now: they replace any others. */
  fresh?: boolean;
}

export interface AddedLogin {
  alias: string;
  added: boolean;
  /** Whether its tokens are the ones stored now; false when the stored ones are newer. */
  stored: boolean;
}

/**
 * Adds a login to the pool, to be called inside a store's `update`. A login of
 * a person and workspace that is known already updates that account.
 *
 * @param state Changed in place.
 * @throws {Error} When the alias is taken by another login.
 */
export function addLogin(
  state: PoolState,
  login: ImportedLogin,
  options: AddOptions = {},
): AddedLogin {
  const known = Object.keys(state.accounts)
    .find((alias) => isSameLogin(state.accounts[alias]!, login));
  if (known !== undefined) {
    const stored = updateLogin(state.accounts[known]!, login, options);
    return { alias: known, added: false, stored };
  }
  const alias = options.alias ?? freeAlias(state, login);
  if (!isAlias(alias)) throw new Error(`${alias} cannot be an alias`);
  if (Object.hasOwn(state.accounts, alias)) {
    throw new Error(
      `${alias} is another account already; give this one another name`,
    );
  }
  const account: AccountRecord = state.accounts[alias] = {};
  takeLogin(account, login);
  link(account, options.source);
  return { alias, added: true, stored: true };
}

/** Gives an account a login's tokens, and takes back what held against the old ones. */
export function takeLogin(account: AccountRecord, login: ImportedLogin): void {
  const { email, plan, userId, accountId, fedramp, tokens } = login;
  Object.assign(account, definedIn({ accountId, userId, email, tokens }));
  if (fedramp) account.fedramp = true;
  // without an id token nothing was said of it
  else if (tokens.id !== undefined) delete account.fedramp;
  delete account.usageCheck;
  takeClaims(account, plan);
}

/** Applies a token response; tokens that are absent in it are kept. */
export function takeIssued(
  account: AccountRecord,
  { access, refresh, id, lifetimeMs }: IssuedTokens,
  issuedAt: number,
): void {
  const { tokens } = account;
  const lifetime = lifetimeMs === null ? null : issuedAt + lifetimeMs;
  account.tokens = {
    ...tokens,
    access: access ?? tokens?.access ?? "",
    expiresAt: access === undefined
      ? tokens?.expiresAt ?? null
      : readClaims(access).expiresAt ?? lifetime,
    ...definedIn({ refresh, id }),
  };
  const { email, plan } = readClaims(id);
  if (email !== null) account.email = email;
  takeClaims(account, plan);
}

/** A renewal brings an outdated plan, which counts only while no other is known. */
function takeClaims(account: AccountRecord, plan: string | null): void {
  if (plan !== null) account.plan ??= plan;
  delete account.auth;
  delete account.tokenCallAt;
  delete account.cooldowns?.token;
}

/** Later for newer tokens, epoch ms; null when they do not tell. */
export function freshness(tokens: Tokens): number | null {
  return tokens.expiresAt ?? readClaims(tokens.access).expiresAt ??
    readClaims(tokens.id).expiresAt;
}

export function isSameTokens(before: Tokens | undefined, after: Tokens) {
  return before?.access === after.access && before.refresh === after.refresh;
}

/** Takes over a login's tokens unless those of the account are newer. */
function updateLogin(
  account: AccountRecord,
  login: ImportedLogin,
  { fresh = false, source }: AddOptions,
): boolean {
  const { tokens } = account;
  if (!isSameTokens(tokens, login.tokens)) {
    const before = tokens && freshness(tokens);
    const after = freshness(login.tokens);
    // the stored ones would be lost to ones that may be long spent
    const isOlder = after === null || (before ?? 0) > after;
    if (!fresh && tokens && isOlder) return false;
    if (login.plan !== null) account.plan = login.plan;
    takeLogin(account, login);
  }
  link(account, source);
  return true;
}

function link(account: AccountRecord, source: AccountSource | undefined) {
  if (source === undefined) delete account.source;
  else account.source = { ...source };
}

/** The e-mail's local part, then with the plan, then with a number. */
function freeAlias({ accounts }: PoolState, login: ImportedLogin): string {
  const isFree = (name: string) => !Object.hasOwn(accounts, name);
  const base = aliasFrom(login.email?.split("@")[0] ?? "");
  const plan = login.plan === null ? "" : `-${aliasFrom(login.plan)}`;
  const free = [base, base + plan].find(isFree);
  let n = 2;
  while (!free && !isFree(`${base}-${n}`)) n++;
  return free ?? `${base}-${n}`;
}

function aliasFrom(text: string): string {
  const name = text.replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+|-+$/g, "").slice(0, 40);
  return isAlias(name) ? name : "account";
}
