import { unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { unlessMissing } from "../store/file.ts";
import type { Tokens } from "../types.ts";
import { delay } from "./abort.ts";
import type { AccountContext } from "./context.ts";
import { accountOf, isSameLogin } from "./identity.ts";
import { isSameTokens } from "./import.ts";
import {
  adopt,
  isBehind,
  isLinked,
  judge,
  type LinkedAccount,
  noteSeen,
  PAUSE_MS,
} from "./link.ts";
import { LinkedFile } from "./linked_file.ts";
import { type ImportedLogin, withTokens } from "./login_files.ts";

/** How often a file that is being written is read again. */
const WRITE_TURNS = 10;

/** Keeps accounts and the files they are linked to in step, with the account's lock held. */
export class AccountLinks {
  readonly #context: AccountContext;

  constructor(context: AccountContext) {
    this.#context = context;
  }

  /** The account, if it is linked. */
  of(alias: string): LinkedAccount | undefined {
    const account = accountOf(this.#context.cache.state, alias);
    return account && isLinked(account) ? account : undefined;
  }

  /** The linked accounts that hold a refresh token, as they are now. */
  holding(refresh: string): [alias: string, account: LinkedAccount][] {
    return Object.entries(this.#context.cache.state.accounts)
      .flatMap(([alias, account]) =>
        isLinked(account) && account.tokens?.refresh === refresh
          ? [[alias, { ...account }]]
          : []
      );
  }

  /** The file; beside the store there is another place for a copy of it. */
  #fileOf({ source }: LinkedAccount): LinkedFile {
    const { path } = this.#context.store as { path?: unknown };
    const spare = typeof path === "string" ? dirname(path) : undefined;
    return new LinkedFile(source, spare);
  }

  /** Runs `job` while no other rotator works on the linked file, after what a dead one left is finished. */
  async hold<T>(
    [alias, linked]: [string, LinkedAccount],
    job: (file: LinkedFile) => Promise<T>,
  ): Promise<T> {
    const file = this.#fileOf(linked);
    return await file.hold(async () => {
      await this.#finish(alias, file);
      return await job(file);
    });
  }

  /** Takes newer tokens over from the file at `path`. */
  async adopt(
    alias: string,
    login: ImportedLogin,
    path: string,
  ): Promise<void> {
    const { cache, emit } = this.#context;
    const before = accountOf(cache.state, alias)?.tokens;
    await cache.save((state) => adopt(state, alias, { login, path, before }));
    const reason = `Newer tokens were taken over from ${path}`;
    emit({ type: "token-refreshed", alias, reason });
  }

  /**
   * Gives new tokens to the tool whose file the account is linked to, unless
   * the file changed meanwhile. All else in it stays.
   *
   * @param alias Whose.
   * @param before The account before the renewal.
   * @param tokens The new ones.
   */
  async giveBack(
    alias: string,
    before: LinkedAccount,
    tokens: Tokens,
  ): Promise<void> {
    const file = this.#fileOf(before);
    let reason = `${file.path} cannot be understood`;
    try {
      for (let turn = 1; turn <= WRITE_TURNS; turn++) {
        const found = await file.read();
        if (found === undefined) return;
        const { text, login } = found;
        const look = judge(before, login);
        if (login && isSameTokens(login.tokens, tokens)) {
          return await this.#noteSeen(tokens);
        }
        if (look.kind === "newer") {
          return await this.adopt(alias, look.login, file.path);
        }
        if (login && !isSameLogin(before, login)) {
          reason = `${file.path} holds another login`;
          break;
        }
        const next = login && withTokens(text, before.source.kind, tokens);
        if (next && await file.replace(text, next)) {
          return await this.#noteSeen(tokens);
        }
        await delay(PAUSE_MS);
      }
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    this.#context.emit({
      type: "warning",
      alias,
      reason:
        `The tool of ${file.path} has to sign in again, as the renewed tokens could not be given to it: ${reason}`,
    });
  }

  async #noteSeen(tokens: Tokens): Promise<void> {
    await this.#context.cache.save((state) => noteSeen(state, tokens));
  }

  /** Whether a process died while it gave new tokens to the file. */
  async isUnfinished(linked: LinkedAccount): Promise<boolean> {
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
    const all = await file.leftovers();
    const leftovers = all.filter(({ isLock }) => !isLock);
    for (const { login, path } of leftovers) {
      const look = judge(linked, login);
      if (look.kind === "newer") await this.adopt(alias, look.login, path);
      linked = this.of(alias) ?? linked;
    }
    const { tokens } = linked;
    const found = await file.read();
    if (tokens && found?.login && isBehind(linked, found.login)) {
      await this.giveBack(alias, linked, tokens);
    } else if (tokens && found && !found.login) {
      const copy = leftovers.find(({ login }) =>
        login && isSameTokens(tokens, login.tokens)
      );
      if (copy) await file.replace(found.text, copy.text);
    }
    // whoever comes next may need what is not saved yet
    if (!this.#context.cache.isBehind) await removeAll(leftovers);
  }
}

async function removeAll(files: readonly { path: string }[]): Promise<void> {
  await Promise.all(
    files.map(({ path }) => unlessMissing(unlink(path)).catch(() => {})),
  );
}
