/**
 * Linked accounts: the login file of another tool, kept in step so that both
 * tools go on working. The other tool knows of no lock, so the file is read
 * again before and after every renewal, and it is given time to finish its own.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readClaims } from "../codex/tokens.ts";
import { realFile, sleep } from "../store/file.ts";
import { withLock } from "../store/lock.ts";
import type {
  AccountRecord,
  AccountSource,
  PoolState,
  Tokens,
} from "../types.ts";
import { freshness, isSameLogin, isSameTokens, takeLogin } from "./import.ts";
import {
  linkError,
  readLinked,
  type ReadLogin,
  replaceLinked,
  withTokens,
} from "./link_file.ts";
import type { ImportedLogin, LoginFileKind } from "./login_files.ts";

/** An account that is linked to a file this version can keep in step. */
export interface LinkedAccount extends AccountRecord {
  source: AccountSource & { kind: "codex" | "opencode" };
}

/** What a look at the linked file found. */
export type Look =
  | { kind: "newer"; login: ImportedLogin }
  | { kind: "other"; reason: string }
  | { kind: "nothing" };

/** What became of giving new tokens back to the file. */
export type GivenBack =
  | { kind: "written" }
  /** The other tool signed in or renewed meanwhile. */
  | { kind: "newer"; login: ImportedLogin }
  | { kind: "left"; reason?: string };

/** The pause between two looks, ms. */
const PAUSE_MS = 100;
/** How often a file that is being written is read again. */
const WRITE_TURNS = 10;

/** Whether an account stays in step with another tool's file. */
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
  for (let turn = 1;; turn++) {
    const found = await readLinked(account.source);
    if (found === "missing") return { kind: "nothing" };
    const look = found === "unreadable" ? undefined : judge(account, found);
    if (look && look.kind !== "nothing") return look;
    if (turn >= turns) return { kind: "nothing" };
    await sleep(PAUSE_MS);
  }
}

/**
 * Runs `job` while no other rotator, whatever its store, works on the linked
 * file. A file whose folder cannot be written is found out before a token is
 * spent that could not be given back.
 *
 * @throws {Error} When the folder may not be written.
 */
export async function holdLink<T>(
  { source }: LinkedAccount,
  job: () => Promise<T>,
): Promise<T> {
  if (await readLinked(source) === "missing") return await job();
  let settle: (() => Promise<T>) | undefined;
  try {
    await withLock(
      `${await realFile(source.path)}.codex-rotator.lock`,
      async () => {
        const done = job();
        await done.catch(() => {});
        settle = () => done;
      },
    );
  } catch (error) {
    throw linkError(error, source.path, "written");
  }
  return await settle!();
}

/**
 * Gives new tokens back to the file, unless it changed meanwhile. All else in
 * it, the order of its keys and its mode stay.
 *
 * @param account As it was before the renewal.
 * @param tokens The new ones.
 * @param now Epoch ms.
 */
export async function giveBack(
  account: LinkedAccount,
  tokens: Tokens,
  now: number,
): Promise<GivenBack> {
  const { source } = account;
  try {
    for (let turn = 1; turn <= WRITE_TURNS; turn++) {
      const found = await readLinked(source);
      if (found === "missing") return { kind: "left" };
      if (found !== "unreadable") {
        if (isSameTokens(found.login.tokens, tokens)) {
          return { kind: "written" };
        }
        const look = judge(account, found);
        if (look.kind === "newer") return look;
        if (look.kind === "other" || !isSameLogin(account, found.login)) {
          return { kind: "left", reason: `${source.path} holds another login` };
        }
        const text = withTokens(found.text, source.kind, tokens, now);
        if (await replaceLinked(source.path, found.text, text)) {
          return { kind: "written" };
        }
      }
      await sleep(PAUSE_MS);
    }
  } catch (error) {
    const { message } = linkError(error, source.path, "written");
    return { kind: "left", reason: message };
  }
  return { kind: "left", reason: `${source.path} cannot be understood` };
}

/**
 * Takes a linked file's newer tokens over, to be called inside an `update`.
 *
 * @param before The tokens that they replace; any others stay.
 */
export function adopt(
  state: PoolState,
  login: ImportedLogin,
  before: Tokens | undefined,
): void {
  const account = Object.values(state.accounts).find((it) =>
    isLinked(it) && it.tokens?.refresh === before?.refresh &&
    isSameLogin(it, login)
  );
  if (!account?.source) return;
  takeLogin(account, login);
  account.source.seen = fingerprint(login.tokens);
}

/** Notes that the file holds these tokens now, to be called inside an `update`. */
export function noteSeen(state: PoolState, tokens: Tokens): void {
  for (const account of Object.values(state.accounts)) {
    if (!isLinked(account) || !isSameTokens(account.tokens, tokens)) continue;
    account.source.seen = fingerprint(tokens);
  }
}

function judge(account: LinkedAccount, { login }: ReadLogin): Look {
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
