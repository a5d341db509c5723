/**
 * Linked accounts: the login file of another tool, kept in step so that both
 * tools go on working. The other tool knows of no lock, so the file is read
 * again before and after every renewal, and it is given time to finish its own.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readClaims } from "../codex/tokens.ts";
import type {
  AccountRecord,
  AccountSource,
  PoolState,
  Tokens,
} from "../types.ts";
import { delay } from "./abort.ts";
import { accountsWithRefreshToken, isSameLogin } from "./identity.ts";
import { freshness, isSameTokens, takeLogin } from "./import.ts";
import { LinkedFile, type LinkSource } from "./linked_file.ts";
import {
  type ImportedLogin,
  KEYRING_ADVICE,
  type LoginFileKind,
} from "./login_files.ts";

/** An account that is linked to a file this version can keep in step. */
export interface LinkedAccount extends AccountRecord {
  source: LinkSource;
}

/** What a look at the linked file found. */
export type Look =
  | { kind: "newer"; login: ImportedLogin }
  | { kind: "other"; reason: string }
  /** The tool may keep its login elsewhere now. */
  | { kind: "gone"; reason: string }
  | { kind: "nothing" };

/** The delay between two looks at a file (ms). */
export const PAUSE_MS = 100;

/** Whether an account is kept in step with another tool's file. */
export function isLinked(account: AccountRecord): account is LinkedAccount {
  const kind = account.source?.kind;
  return kind === "codex" || kind === "opencode";
}

/** The link to a file, as it is stored. */
export function sourceOf(
  kind: LoginFileKind,
  path: string,
  login: ImportedLogin,
): AccountSource {
  return { kind, path, seen: fingerprint(login.tokens) };
}

/**
 * Looks for newer tokens in the linked file.
 *
 * @param account Whose.
 * @param turns How often to look before there is nothing, 100 ms apart.
 * @throws {Error} When the file may not be read.
 */
export async function lookAtLink(
  account: LinkedAccount,
  turns: number,
): Promise<Look> {
  const file = new LinkedFile(account.source);
  for (let turn = 1;; turn++) {
    const found = await file.read();
    const look = judge(account, found?.login);
    if (look.kind !== "nothing") return look;
    if (turn >= turns) return found ? look : gone(file.path);
    await delay(PAUSE_MS);
  }
}

/** Whether the file still holds tokens that were renewed and never given back to it. */
export function isBehind(
  { source, tokens }: LinkedAccount,
  login: ImportedLogin,
): boolean {
  return fingerprint(login.tokens) === source.seen &&
    tokens !== undefined && !isSameTokens(tokens, login.tokens);
}

/** Newer tokens, and where they were found. */
export interface Adoption {
  readonly login: ImportedLogin;
  /** The linked file, or a copy on its way into it. */
  readonly path: string;
  /** The tokens that they replace; any others stay. */
  readonly before: Tokens | undefined;
}

/**
 * Takes newer tokens over, to be called inside an `update`.
 *
 * @param alias Whose they are; all that hold the same login get them.
 */
export function adopt(
  state: PoolState,
  alias: string,
  { login, path, before }: Adoption,
): void {
  const holders = accountsWithRefreshToken(state, alias, before?.refresh);
  for (const account of holders) {
    if (!isSameLogin(account, login)) continue;
    takeLogin(account, login, { isSignIn: false });
    if (!isLinked(account) || account.source.path !== path) continue;
    account.source.seen = fingerprint(login.tokens);
  }
}

/** Notes that the file holds these tokens now, to be called inside an `update`. */
export function noteSeen(state: PoolState, tokens: Tokens): void {
  for (const account of Object.values(state.accounts)) {
    if (!isLinked(account) || !isSameTokens(account.tokens, tokens)) continue;
    account.source.seen = fingerprint(tokens);
  }
}

/** What the login that a file holds means for its account. */
export function judge(
  account: LinkedAccount,
  login: ImportedLogin | undefined,
): Look {
  if (!login) return { kind: "nothing" };
  if (isOther(account, login)) {
    const who = login.email === null ? "" : ` (${login.email})`;
    return {
      kind: "other",
      reason:
        `The linked file ${account.source.path} holds another person or workspace now${who}; sign in again to use this account without the file, or sign in to it with that tool`,
    };
  }
  return isSameLogin(account, login) && isNewer(account, login.tokens)
    ? { kind: "newer", login }
    : { kind: "nothing" };
}

function gone(path: string): Look {
  const reason =
    `The linked file ${path} is gone, and its tool may use the login that was in it from elsewhere now; sign in again to use this account without the file, or ${KEYRING_ADVICE}`;
  return { kind: "gone", reason };
}

/** Only what is known to differ is another's: a file that does not tell is merely not used. */
function isOther(account: LinkedAccount, login: ImportedLogin): boolean {
  const before = readClaims(account.tokens?.access).accountId;
  const after = readClaims(login.tokens.access).accountId;
  return differ(account.userId, login.userId) ||
    differ(account.accountId, login.accountId) || differ(before, after);
}

function differ(
  a: string | null | undefined,
  b: string | null | undefined,
): boolean {
  return Boolean(a) && Boolean(b) && a !== b;
}

/**
 * Whether the other tool wrote tokens that are newer than the account's. Of
 * tokens that expire in the same second those win that were not seen before.
 */
function isNewer({ tokens, source }: LinkedAccount, found: Tokens): boolean {
  if (found.refresh === undefined || isSameTokens(tokens, found)) return false;
  if (fingerprint(found) === source.seen) return false;
  const before = tokens && freshness(tokens);
  const after = freshness(found);
  return !before || !after || after >= before;
}

/** Tells tokens from others without holding them. */
function fingerprint({ access, refresh }: Tokens): string {
  return createHash("sha256").update(`${access}\n${refresh ?? ""}`)
    .digest("hex").slice(0, 16);
}
