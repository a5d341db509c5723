/**
 * Linked accounts: the login file of another tool, kept in step so that both
 * tools go on working. The other tool knows of no lock, so the file is read
 * again before and after every renewal, and it is given time to finish its own.
 */
import { createHash } from "node:crypto";
import { unlink } from "node:fs/promises";
import { readClaims } from "../codex/tokens.ts";
import { messageOf } from "../errors.ts";
import { folderOf } from "../store/file.ts";
import { mayBeSameLogin } from "../store/state.ts";
import type {
  AccountRecord,
  AccountSource,
  PoolState,
  Tokens,
} from "../types.ts";
import { delay } from "../abort.ts";
import type { AccountContext } from "./context.ts";
import { accountsWithRefreshToken, isSameLogin } from "./identity.ts";
import { freshness, isSameTokens, takeLogin } from "./import.ts";
import { LinkedFile, type LinkSource, lossOf } from "./linked_file.ts";
import {
  type ImportedLogin,
  type LoginFileKind,
  withTokens,
} from "./login_files.ts";

/** An account that is linked to a file this version can keep in step. */
type LinkedAccount = AccountRecord & { source: LinkSource };

export type Look =
  | { kind: "newer"; login: ImportedLogin }
  /** Its tool may use the login that was in it elsewhere now; where it may be broken only, that may pass. */
  | { kind: "lost"; reason: string; mayPass?: true }
  | { kind: "nothing" };

const NOTHING: Look = { kind: "nothing" };

/** How often a file that is being written is read again, and after how long (ms). */
const WRITE_TURNS = 10;
const PAUSE_MS = 100;

function isLinked(account: AccountRecord): account is LinkedAccount {
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

/** Keeps accounts and the files they are linked to in step, with the account's lock held. */
export class AccountLinks {
  readonly #context: AccountContext;

  constructor(context: AccountContext) {
    this.#context = context;
  }

  of(alias: string): LinkedAccount | undefined {
    const account = this.#context.cache.state.accounts[alias];
    return account && isLinked(account) ? account : undefined;
  }

  /** The linked accounts that hold a refresh token, as they are now. */
  holding(refresh: string): [alias: string, account: LinkedAccount][] {
    return Object.keys(this.#context.cache.state.accounts).flatMap((alias) => {
      const linked = this.of(alias);
      return linked?.tokens?.refresh === refresh
        ? [[alias, { ...linked }]]
        : [];
    });
  }

  /** The file; beside the store there is another place for a copy of it. */
  #fileOf({ source }: LinkedAccount): LinkedFile {
    return new LinkedFile(source, folderOf(this.#context.store));
  }

  /**
   * Looks for newer tokens in the linked file, and takes them over.
   *
   * @param turns How often to look before there is nothing, 100 ms apart.
   * @throws {Error} When the file may not be read.
   */
  async look(alias: string, turns: number): Promise<Look> {
    const account = this.of(alias);
    if (!account) return NOTHING;
    const file = this.#fileOf(account);
    for (let turn = 1;; turn++) {
      const found = await file.read();
      const look = judge(account, found?.login);
      await this.#adopt(alias, look, file.path);
      if (look.kind !== "nothing") return look;
      if (turn >= turns) {
        // what was in it may be spent: its tool may have been cut off, or have moved
        return found?.login
          ? look
          : { kind: "lost", ...lossOf(file.path, found) };
      }
      await delay(PAUSE_MS);
    }
  }

  /**
   * Runs `job` while no other rotator works on the linked file, if there is
   * one, after what a dead one left is finished.
   */
  async hold<T>(alias: string, job: (file?: LinkedFile) => Promise<T>) {
    const linked = this.of(alias);
    if (!linked) return await job();
    const file = this.#fileOf(linked);
    return await file.hold(async () => {
      await this.#finish(alias, file);
      return await job(file);
    });
  }

  /** Takes tokens that are newer over from `path`: the linked file, or a copy on its way into it. */
  async #adopt(alias: string, look: Look, path: string) {
    if (look.kind !== "newer") return;
    const { login } = look;
    const { cache, emit } = this.#context;
    const spent = cache.state.accounts[alias]?.tokens?.refresh;
    await cache.save((state) => {
      // all that hold the same login get them
      for (const account of accountsWithRefreshToken(state, alias, spent)) {
        if (!isSameLogin(account, login)) continue;
        takeLogin(account, login);
        if (!isLinked(account) || account.source.path !== path) continue;
        account.source.seen = fingerprint(login.tokens);
      }
    });
    const reason = `Newer tokens were taken over from ${path}`;
    emit({ type: "token-refreshed", alias, reason });
  }

  /**
   * Gives new tokens to the tool whose file the account is linked to, unless
   * the file changed meanwhile. All else in it stays.
   *
   * @param before The account before the renewal.
   */
  async giveBack(alias: string, before: LinkedAccount, tokens: Tokens) {
    const { cache, emit } = this.#context;
    const file = this.#fileOf(before);
    const saveSeen = () => cache.save((state) => noteSeen(state, tokens));
    let reason = `${file.path} cannot be understood`;
    try {
      for (let turn = 1; turn <= WRITE_TURNS; turn++) {
        const found = await file.read();
        if (found === undefined) return;
        const { text, login } = found;
        if (isSameTokens(login?.tokens, tokens)) return await saveSeen();
        const look = judge(before, login);
        if (look.kind === "newer") {
          return await this.#adopt(alias, look, file.path);
        }
        if (login && !isSameLogin(before, login)) {
          reason = `${file.path} holds another login`;
          break;
        }
        const next = login && withTokens(text, before.source.kind, tokens);
        if (next && await file.replace(text, next)) return await saveSeen();
        await delay(PAUSE_MS);
      }
    } catch (error) {
      reason = messageOf(error);
    }
    emit({
      type: "warning",
      alias,
      reason:
        `The tool of ${file.path} has to sign in again, as the renewed tokens could not be given to it: ${reason}`,
    });
  }

  /** Whether a process died while it gave new tokens to the account's file. */
  async isUnfinished(alias: string): Promise<boolean> {
    const linked = this.of(alias);
    if (!linked) return false;
    const file = this.#fileOf(linked);
    if ((await file.leftovers()).length > 0) return true;
    const login = (await file.read())?.login;
    return login !== undefined && isBehind(linked, login);
  }

  /**
   * Finishes what a process left that died while it gave new tokens to the
   * file, which has to be held: newer ones are taken over from its copies, and
   * given to the file.
   */
  async #finish(alias: string, file: LinkedFile): Promise<void> {
    let linked = this.of(alias);
    if (!linked) return;
    const leftovers = (await file.leftovers()).filter((it) => !it.isLock);
    for (const { login, path } of leftovers) {
      await this.#adopt(alias, judge(linked, login), path);
      linked = this.of(alias) ?? linked;
    }
    const { tokens } = linked;
    const found = await file.read();
    if (tokens && found?.login && isBehind(linked, found.login)) {
      await this.giveBack(alias, linked, tokens);
    } else if (tokens && found && !found.login) {
      const copy = leftovers.find(({ login }) =>
        isSameTokens(login?.tokens, tokens)
      );
      if (copy) await file.replace(found.text, copy.text);
    }
    // whoever comes next may need what is not saved yet
    if (this.#context.cache.isBehind) return;
    for (const { path } of leftovers) await unlink(path).catch(() => {});
  }
}

/** Whether the file still holds tokens that were renewed and never given back to it. */
function isBehind({ source, tokens }: LinkedAccount, login: ImportedLogin) {
  return fingerprint(login.tokens) === source.seen &&
    tokens !== undefined && !isSameTokens(tokens, login.tokens);
}

/** Notes that the file holds these tokens now, to be called inside an `update`. */
export function noteSeen(state: PoolState, tokens: Tokens): void {
  for (const account of Object.values(state.accounts)) {
    if (!isLinked(account) || !isSameTokens(account.tokens, tokens)) continue;
    account.source.seen = fingerprint(tokens);
  }
}

/** What the login that a file holds means for its account. */
function judge(account: LinkedAccount, login: ImportedLogin | undefined): Look {
  if (!login) return NOTHING;
  const [before, after] = [account.tokens, login.tokens]
    .map((tokens) => ({ accountId: readClaims(tokens?.access).accountId }));
  // one that does not tell whose it is is merely not used
  if (!mayBeSameLogin(account, login) || !mayBeSameLogin(before!, after!)) {
    const who = login.email === null ? "" : ` (${login.email})`;
    const reason =
      `The linked file ${account.source.path} holds another person or workspace now${who}; sign in again to use this account without the file, or sign in to it with that tool`;
    return { kind: "lost", reason };
  }
  return isSameLogin(account, login) && isNewer(account, login.tokens)
    ? { kind: "newer", login }
    : NOTHING;
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
