/**
 * Logins that other tools hold: reading them, and adding them to the pool.
 *
 * @module
 */
import { readClaims } from "../codex/jwt.ts";
import { isAlias } from "../pool/credits.ts";
import type { AccountRecord, PoolState, Tokens } from "../types.ts";

/** A login as read from another tool. */
export interface ImportedLogin {
  tokens: Tokens;
  email: string | null;
  plan: string | null;
  userId: string | null;
  accountId: string | null;
  fedramp: boolean;
}

/** What became of a login that was added. */
export interface AddedLogin {
  alias: string;
  /** Whether the account is new. */
  added: boolean;
  /** Whether its tokens are the ones stored now; false when the stored ones are newer. */
  stored: boolean;
}

/**
 * Reads the Codex CLI's login file.
 *
 * @param text The file's content.
 * @param path The file's path, for messages.
 * @throws {Error} When it holds no ChatGPT login.
 */
export function readCodexLogin(text: string, path: string): ImportedLogin {
  const file = parseObject(text, path);
  const tokens = isObject(file.tokens) ? file.tokens : undefined;
  const access = tokens && nonEmpty(tokens.access_token);
  if (tokens === undefined || access === undefined) {
    throw new Error(noLogin(file, path));
  }
  const id = nonEmpty(tokens.id_token);
  const refresh = nonEmpty(tokens.refresh_token);
  const claims = readClaims(id);
  const more = readClaims(access);
  return {
    tokens: {
      access,
      ...(refresh === undefined ? {} : { refresh }),
      ...(id === undefined ? {} : { id }),
      expiresAt: more.expiresAt,
    },
    email: claims.email ?? more.email,
    plan: claims.plan ?? more.plan,
    userId: claims.userId ?? more.userId,
    accountId: nonEmpty(tokens.account_id) ?? claims.accountId ??
      more.accountId,
    fedramp: claims.fedramp || more.fedramp,
  };
}

/**
 * Adds a login to the pool, to be called inside a store's `update`. A login of
 * a person and workspace that is known already updates that account.
 *
 * @param state Changed in place.
 * @param login The login to add.
 * @param options `alias`: its name if it is new; default: from its e-mail.
 * @throws {Error} When the alias is taken by another login.
 */
export function addLogin(
  state: PoolState,
  login: ImportedLogin,
  options: { alias?: string | undefined } = {},
): AddedLogin {
  const known = Object.keys(state.accounts)
    .find((alias) => isSameLogin(state.accounts[alias]!, login));
  if (known !== undefined) {
    const stored = updateLogin(state.accounts[known]!, login);
    return { alias: known, added: false, stored };
  }
  const alias = options.alias ?? freeAlias(state, login);
  if (!isAlias(alias)) throw new Error(`${alias} cannot be an alias`);
  if (Object.hasOwn(state.accounts, alias)) {
    throw new Error(
      `${alias} is another account already; give this one another name`,
    );
  }
  state.accounts[alias] = { ...describe(login), tokens: login.tokens };
  return { alias, added: true, stored: true };
}

/** One person can hold several workspaces, and one workspace several people. */
function isSameLogin(account: AccountRecord, login: ImportedLogin): boolean {
  if ((account.accountId ?? null) !== login.accountId) return false;
  if (account.userId !== undefined && login.userId !== null) {
    return account.userId === login.userId;
  }
  if (account.email !== undefined && login.email !== null) {
    return account.email === login.email;
  }
  return account.tokens?.access === login.tokens.access;
}

/** Takes over a login's tokens unless those of the account are newer. */
function updateLogin(account: AccountRecord, login: ImportedLogin): boolean {
  const before = account.tokens && freshness(account.tokens);
  const after = freshness(login.tokens);
  if (before && after && after < before) return false;
  if (isSameTokens(account.tokens, login.tokens)) return true;
  Object.assign(account, describe(login));
  account.tokens = login.tokens;
  delete account.auth;
  delete account.cooldowns?.token;
  return true;
}

function isSameTokens(before: Tokens | undefined, after: Tokens): boolean {
  return before?.access === after.access && before.refresh === after.refresh;
}

/** Later for newer tokens, epoch ms; null when they do not tell. */
function freshness(tokens: Tokens): number | null {
  return tokens.expiresAt ?? readClaims(tokens.access).expiresAt ??
    readClaims(tokens.id).expiresAt;
}

function describe(login: ImportedLogin): AccountRecord {
  const { email, plan, userId, accountId, fedramp } = login;
  return {
    ...(accountId === null ? {} : { accountId }),
    ...(userId === null ? {} : { userId }),
    ...(email === null ? {} : { email }),
    ...(plan === null ? {} : { plan }),
    ...(fedramp ? { fedramp } : {}),
  };
}

/** The e-mail's local part, then with the plan, then with a number. */
function freeAlias({ accounts }: PoolState, login: ImportedLogin): string {
  const isFree = (name: string) => !Object.hasOwn(accounts, name);
  const base = aliasFrom(login.email?.split("@")[0] ?? "");
  const names = login.plan === null
    ? [base]
    : [base, `${base}-${aliasFrom(login.plan)}`];
  const free = names.find(isFree);
  if (free !== undefined) return free;
  let n = 2;
  while (!isFree(`${base}-${n}`)) n++;
  return `${base}-${n}`;
}

function aliasFrom(text: string): string {
  const name = text.replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+|-+$/g, "").slice(0, 40);
  return isAlias(name) ? name : "account";
}

function noLogin(file: Record<string, unknown>, path: string): string {
  const next = "sign in to ChatGPT with that tool first, then import again";
  return nonEmpty(file.OPENAI_API_KEY) === undefined
    ? `${path} holds no ChatGPT login (no tokens.access_token); ${next}`
    : `${path} holds an API key only, which has no ChatGPT usage to share; ${next}`;
}

function parseObject(text: string, path: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch {
    // The parser's own message would quote the file, and so perhaps a token.
    json = undefined;
  }
  if (isObject(json)) return json;
  throw new Error(
    `${path} is not a login file of the Codex CLI: it holds no JSON object; name the right file, or sign in with that tool again`,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function nonEmpty(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
