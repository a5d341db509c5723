import process from "node:process";
import type { AccountRecord } from "../types.ts";
import { CLIENT_ID, tokenUrl } from "../codex/endpoints.ts";
import { oneLine } from "../codex/error_report.ts";
import { readTokenAnswer, type TokenAnswer } from "../codex/tokens.ts";
import { RotatorError } from "../errors.ts";
import { setCooldown } from "../pool/cooldowns.ts";
import { isDamaged } from "../pool/standing.ts";
import { sentOnce } from "./body.ts";
import {
  accountOf,
  accountsWithRefreshToken,
  applyTokenResponse,
  lockName,
} from "./holder.ts";
import { type Access, EARLY_MS, expiryOf, keptAccess } from "./kept_access.ts";
import { holdLink, isLinked, type LinkedAccount, lookAtLink } from "./link.ts";
import { LinkKeeper } from "./link_keeper.ts";
import { type AccountContext, fetchText, isDenied } from "./context.ts";

/** After a transient failure no token call is made for this long, ms. */
const RETRY_MS = 60_000;
/** A token call may take this long, ms. */
const CALL_LIMIT_MS = 20_000;
/** How often the linked file is looked at, so that the other tool can finish first. */
const GRACE_TURNS = 10;
/** The same, after the issuer said that someone else was first. */
const LATE_TURNS = 20;
/** The linked files of accounts that need a sign-in are looked at this often, ms. */
const LOOK_AGAIN_MS = 1_000;

/**
 * Keeps access tokens valid: one renewal per account at a time in all
 * processes that share the store, and what the issuer gave is saved before it
 * is used.
 */
export class TokenManager {
  readonly #context: AccountContext;
  readonly #links: LinkKeeper;
  #renewals = new Map<string, Promise<Access>>();
  /** After a failed early renewal: when the next may be tried, epoch ms. */
  #retryAt = new Map<string, number>();
  #lookedAt = -Infinity;
  /** The access tokens that took the place of refused ones. */
  #replacements = new Map<string, { access: string; at: number }>();

  constructor(context: AccountContext) {
    this.#context = context;
    this.#links = new LinkKeeper(context);
  }

  /**
   * The access token of an account when it can be sent as it is, without any
   * waiting; undefined when that has to be looked into.
   */
  current(account: AccountRecord): string | undefined {
    const { tokens } = account;
    if (!tokens || account.auth) return undefined;
    const now = this.#context.now();
    return expiryOf(tokens) > now + EARLY_MS && !isDamaged(account)
      ? tokens.access
      : undefined;
  }

  /**
   * An access token that is believed to be valid, renewed where needed.
   *
   * @param alias Whose.
   * @param rejected An access token that the backend has just refused.
   */
  access(alias: string, rejected?: string): Promise<Access> {
    const kept = this.#kept(alias, rejected);
    const isLost = kept?.kind === "login" && this.#links.of(alias);
    if (kept && !isLost) return Promise.resolve(kept);
    let renewal = this.#renewals.get(alias);
    if (!renewal) {
      renewal = this.#renew(alias, rejected)
        .finally(() => this.#renewals.delete(alias));
      if (rejected !== undefined) this.#noteReplacement(alias, renewal);
      this.#renewals.set(alias, renewal);
    }
    return renewal;
  }

  #noteReplacement(alias: string, renewal: Promise<Access>): void {
    const at = this.#context.now();
    renewal.then((it) => {
      if (it.kind !== "ok") return;
      this.#replacements.set(alias, { access: it.access, at });
    }, () => {});
  }

  /** Whether an access token took the place of a refused one within so many ms. */
  isReplacement(alias: string, access: string, ms: number): boolean {
    const replacement = this.#replacements.get(alias);
    return replacement?.access === access &&
      Math.abs(this.#context.now() - replacement.at) < ms;
  }

  /**
   * Brings accounts back that need a sign-in, where the tool whose file they
   * are linked to has been signed in again.
   *
   * @param at As `performance.now()` tells the time, ms.
   * @returns undefined when that was done just now.
   */
  lookAgain(at: number): Promise<void> | undefined {
    const since = at - this.#lookedAt;
    return since < LOOK_AGAIN_MS ? undefined : this.#lookAgain();
  }

  async #lookAgain(): Promise<void> {
    this.#lookedAt = performance.now();
    const { accounts } = this.#context.cache.state;
    for (const [alias, account] of Object.entries(accounts)) {
      if ((account.tokens && !account.auth) || !isLinked(account)) continue;
      const look = await lookAtLink(account, 1).catch(() => undefined);
      // whoever sends with them renews them where that is needed
      if (look?.kind !== "newer") continue;
      await this.#links.adopt(alias, look.login, account.source.path);
    }
  }

  /** Waits for the renewals under way: what they bring must be saved. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#renewals.values());
  }

  /** What can be said without a token call. */
  #kept(alias: string, rejected: string | undefined): Access | undefined {
    const account = accountOf(this.#context.cache.state, alias);
    const retryAt = this.#retryAt.get(alias) ?? 0;
    return keptAccess(account, rejected, this.#context.now(), retryAt);
  }

  async #renew(alias: string, rejected: string | undefined): Promise<Access> {
    const { store, cache: live } = this.#context;
    const account = accountOf(live.state, alias);
    const renew = async () => {
      // another process may have renewed it while this one waited
      await live.reload();
      const linked = this.#links.of(alias);
      const kept = this.#kept(alias, rejected);
      if (kept?.kind === "login" && linked) {
        return await this.#recover(alias, rejected, linked) ?? kept;
      }
      if (kept) return kept;
      return linked
        ? await this.#renewLinked(alias, rejected, linked)
        : await this.#exchange(alias, rejected);
    };
    try {
      return await store.exclusive(lockName(alias, account), renew)
        // where nothing can be written, no other process can renew it either
        .catch((error) => {
          if (!isUnwritable(error)) throw error;
          return renew();
        });
    } catch (error) {
      if (isDenied(error)) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      return await this.#transient(alias, rejected, reason);
    }
  }

  /** Gives the other tool, which knows no lock, time to finish a renewal of its own. */
  async #renewLinked(
    alias: string,
    rejected: string | undefined,
    linked: LinkedAccount,
  ): Promise<Access> {
    return await this.#takeFromLink(alias, rejected, 1) ??
      await holdLink(
        linked,
        async () =>
          await this.#takeFromLink(alias, rejected, GRACE_TURNS) ??
            await this.#exchange(alias, rejected),
      );
  }

  /** What the linked file makes unnecessary to ask the issuer for. */
  async #takeFromLink(
    alias: string,
    rejected: string | undefined,
    turns: number,
  ): Promise<Access | undefined> {
    const linked = this.#links.of(alias);
    if (!linked) return undefined;
    const look = await lookAtLink(linked, turns);
    switch (look.kind) {
      case "newer":
        await this.#links.adopt(alias, look.login, linked.source.path);
        return this.#kept(alias, rejected);
      case "other":
        return await this.#refused(alias, linked.tokens?.refresh, look.reason);
      case "nothing":
        return undefined;
    }
  }

  /** A sign-in with the other tool serves this account as well. */
  async #recover(
    alias: string,
    rejected: string | undefined,
    linked: LinkedAccount,
  ): Promise<Access | undefined> {
    const look = await lookAtLink(linked, 1).catch(() => undefined);
    if (look?.kind !== "newer") return undefined;
    await this.#links.adopt(alias, look.login, linked.source.path);
    return this.#kept(alias, rejected) ??
      await this.#renewLinked(alias, rejected, linked);
  }

  /** The token call itself, with the account's lock held. */
  async #exchange(
    alias: string,
    rejected: string | undefined,
  ): Promise<Access> {
    const { issuer, version } = this.#context;
    const spent = accountOf(this.#context.cache.state, alias)?.tokens?.refresh;
    if (!spent) {
      const reason = "There is no refresh token";
      return this.#stillValid(alias, rejected) ??
        await this.#refused(alias, spent, reason);
    }
    const called = await fetchText(this.#context, {
      url: tokenUrl(issuer),
      method: "POST",
      headers: {
        "content-type": "application/json",
        "accept": "application/json",
        "user-agent": `codex-rotator/${version}`,
      },
      // a refresh token that is shown twice locks its owner out
      ...sentOnce(JSON.stringify({
        client_id: CLIENT_ID,
        grant_type: "refresh_token",
        refresh_token: spent,
      })),
    }, { ms: CALL_LIMIT_MS });
    if ("error" in called) {
      return await this.#transient(alias, rejected, called.error);
    }
    const answer = readTokenAnswer(called.response.status, called.text);
    switch (answer.kind) {
      case "tokens":
        return await this.#save(alias, spent, answer);
      case "refused":
        return await this.#takeFromLink(alias, rejected, LATE_TURNS) ??
          await this.#refused(alias, spent, answer.reason);
      case "transient":
        return await this.#transient(alias, rejected, answer.reason);
    }
  }

  async #save(
    alias: string,
    spent: string,
    answer: TokenAnswer & { kind: "tokens" },
  ): Promise<Access> {
    const { cache: live, emit, now } = this.#context;
    const issuedAt = now();
    const linked = this.#links.holding(spent);
    const saved = live.save((state) => {
      for (const account of accountsWithRefreshToken(state, alias, spent)) {
        applyTokenResponse(account, answer, issuedAt);
      }
    });
    // at once, as the other tool would show the spent token meanwhile
    for (const [name, before] of linked) {
      const tokens = accountOf(live.state, name)?.tokens;
      if (tokens) await this.#links.giveBack(name, before, tokens);
    }
    await saved;
    this.#retryAt.delete(alias);
    if (live.isBehind) this.#warnUnsaved(alias);
    emit({
      type: "token-refreshed",
      alias,
      reason: "The access token was renewed",
    });
    const access = accountOf(live.state, alias)?.tokens?.access;
    return access === undefined
      ? { kind: "unavailable", reason: "The account is gone" }
      : { kind: "ok", access, refreshed: true };
  }

  /** Whoever ends this process now is locked out, so this is said where it is seen. */
  #warnUnsaved(alias: string): void {
    const reason = `The new tokens of "${
      oneLine(alias)
    }" could not be saved and are only in this process; make the store writable before it ends, saving is tried again every 10 s`;
    this.#context.emit({ type: "warning", alias, reason });
    process.stderr.write(`codex-rotator: ${reason}\n`);
  }

  /** The issuer refused for good, unless newer tokens came in meanwhile. */
  async #refused(
    alias: string,
    spent: string | undefined,
    reason: string,
  ): Promise<Access> {
    const { cache: live, now, emit } = this.#context;
    await live.reload();
    const account = accountOf(live.state, alias);
    if (account?.tokens && account.tokens.refresh !== spent) {
      return {
        kind: "ok",
        access: account.tokens.access,
        refreshed: true,
      };
    }
    const invalidAt = now();
    await live.save((state) => {
      for (const holder of accountsWithRefreshToken(state, alias, spent)) {
        holder.auth = { invalidAt, reason };
      }
    });
    emit({ type: "login-required", alias, reason });
    return { kind: "login", reason };
  }

  /** The access token that could not be renewed early and goes on being used. */
  #stillValid(
    alias: string,
    rejected: string | undefined,
  ): Access | undefined {
    const { cache: live, now } = this.#context;
    const at = now();
    const tokens = accountOf(live.state, alias)?.tokens;
    if (!tokens || tokens.access === rejected || expiryOf(tokens) <= at) {
      return undefined;
    }
    this.#retryAt.set(alias, at + RETRY_MS);
    return { kind: "ok", access: tokens.access, refreshed: false };
  }

  /** It may work later; a token that is still valid goes on being used. */
  async #transient(
    alias: string,
    rejected: string | undefined,
    reason: string,
  ): Promise<Access> {
    const { cache: live, now, emit } = this.#context;
    const text = `The token could not be renewed: ${reason}`;
    const valid = this.#stillValid(alias, rejected);
    if (valid) {
      emit({ type: "warning", alias, reason: text });
      return valid;
    }
    const at = now();
    const until = at + RETRY_MS;
    await live.save((state) => {
      const account = accountOf(state, alias);
      if (account) {
        setCooldown(account, "token", { until, setAt: at, detail: text });
      }
    });
    emit({ type: "cooldown", alias, cause: "token", until, reason: text });
    return { kind: "unavailable", reason: text };
  }
}

function isUnwritable(error: unknown): boolean {
  return error instanceof RotatorError && error.code === "store_unwritable";
}
