import type { Tokens } from "../types.ts";
import { accountOf } from "./holder.ts";
import {
  adopt,
  giveBack,
  isLinked,
  type LinkedAccount,
  noteSeen,
} from "./link.ts";
import type { ImportedLogin } from "./login_files.ts";
import type { AccountContext } from "./context.ts";

/** Keeps accounts and the files they are linked to in step, with the account's lock held. */
export class LinkKeeper {
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

  /** Takes newer tokens over from the file at `path`. */
  async adopt(
    alias: string,
    login: ImportedLogin,
    path: string,
  ): Promise<void> {
    const { cache: live, emit } = this.#context;
    const before = accountOf(live.state, alias)?.tokens;
    await live.save((state) => adopt(state, login, before));
    const reason = `Newer tokens were taken over from ${path}`;
    emit({ type: "token-refreshed", alias, reason });
  }

  /**
   * Gives new tokens to the tool whose file the account is linked to.
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
    const { cache: live, emit, now } = this.#context;
    const { path } = before.source;
    const given = await giveBack(before, tokens, now());
    switch (given.kind) {
      case "written":
        return await live.save((state) => noteSeen(state, tokens));
      case "newer":
        return await this.adopt(alias, given.login, path);
      case "left": {
        if (given.reason === undefined) return;
        const reason =
          `The tool of ${path} has to sign in again, as the renewed tokens could not be given to it: ${given.reason}`;
        return emit({ type: "warning", alias, reason });
      }
    }
  }
}
