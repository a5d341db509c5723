import process from "node:process";
import { CLIENT_ID, tokenUrl } from "../codex/endpoints.ts";
import { oneLine } from "../codex/error_report.ts";
import { type IssuedTokens, readTokenAnswer } from "../codex/tokens.ts";
import { isDenied, messageOf } from "../errors.ts";
import { setCooldown } from "../pool/cooldowns.ts";
import type { AccountRecord } from "../types.ts";
import { type Access, type AccessTokens, GONE, RETRY_MS } from "./access.ts";
import { type AccountContext, postToIssuer } from "./context.ts";
import { accountsWithRefreshToken } from "./identity.ts";
import { takeIssued } from "./import.ts";
import type { AccountLinks } from "./link.ts";

/** How often the linked file is looked at, so that the other tool can finish first. */
const GRACE_TURNS = 10;
/** The same, after the issuer said that someone else was first. */
const LATE_TURNS = 20;

export class Renewal {
  readonly #context: AccountContext;
  readonly #links: AccountLinks;
  readonly #tokens: AccessTokens;
  readonly #alias: string;
  readonly #rejected: string | undefined;

  /** @param rejected An access token that the backend has just refused. */
  constructor(
    tokens: AccessTokens,
    links: AccountLinks,
    alias: string,
    rejected: string | undefined,
  ) {
    this.#context = tokens.context;
    this.#links = links;
    this.#tokens = tokens;
    this.#alias = alias;
    this.#rejected = rejected;
  }

  /** Whether new tokens may be in memory alone for a while: saving is tried again. */
  get mayKeepUnsaved(): boolean {
    const { cache, endsSoon, store } = this.#context;
    // another machine would show the spent token meanwhile
    return cache.hasSaved && !endsSoon && !store.remote;
  }

  /** Renews the tokens, with the account's lock held. */
  async run(): Promise<Access> {
    // another process may have renewed it while this one waited
    await this.#context.cache.reload();
    let kept = this.#kept();
    if (kept && kept.kind !== "ok") {
      // a sign-in with the other tool serves this account as well
      await this.#links.look(this.#alias, 1).catch(() => {});
      kept = this.#kept();
    }
    return kept ?? await this.#takeFromLink(1) ??
      await this.#links.hold(this.#alias, async (file) => {
        // the other tool, which knows no lock, may be renewing it
        const taken = await this.#takeFromLink(GRACE_TURNS);
        if (taken) return taken;
        await file?.tryWriting();
        return await this.#exchange();
      });
  }

  get #account(): AccountRecord | undefined {
    return this.#context.cache.state.accounts[this.#alias];
  }

  #kept(): Access | undefined {
    return this.#tokens.kept(this.#alias, this.#rejected);
  }

  /** What the linked file makes unnecessary to ask the issuer for. */
  async #takeFromLink(turns: number): Promise<Access | undefined> {
    const look = await this.#links.look(this.#alias, turns);
    if (look.kind === "newer") return this.#kept();
    if (look.kind !== "lost" || turns === 1) return undefined;
    // what it held may be in use elsewhere: it is not shown any more
    return look.mayPass
      ? await this.fail(look.reason)
      : await this.#refuse(look.reason);
  }

  /** The token call itself, with the account's lock held. */
  async #exchange(): Promise<Access> {
    const { issuer, cache } = this.#context;
    const unwritable = this.#account?.tokens?.refresh && await this.#tryStore();
    if (unwritable && !this.mayKeepUnsaved) return await this.fail(unwritable);
    // that has brought in what a process had on disk that died
    if (!unwritable) await cache.reload();
    const kept = this.#kept();
    if (kept) return kept;
    const spent = this.#account?.tokens?.refresh;
    if (!spent) return await this.#refuse("There is no refresh token");
    const called = await postToIssuer(this.#context, tokenUrl(issuer), {
      client_id: CLIENT_ID,
      grant_type: "refresh_token",
      refresh_token: spent,
    });
    if ("error" in called) return await this.fail(called.error);
    const answer = readTokenAnswer(called.response.status, called.text);
    if (answer.kind === "tokens") return await this.#save(spent, answer);
    if (answer.kind === "transient") return await this.fail(answer.reason);
    return await this.#takeFromLink(LATE_TURNS) ??
      await this.#needSignIn(spent, answer.reason);
  }

  /** Writes to the store, so that no token is spent whose successor could not be kept. */
  async #tryStore(): Promise<string | undefined> {
    const { store, now } = this.#context;
    const at = now();
    try {
      await store.update(({ accounts }) => {
        const has = Object.hasOwn(accounts, this.#alias);
        if (has) accounts[this.#alias]!.tokenCallAt = at;
      });
      return undefined;
    } catch (error) {
      if (isDenied(error)) throw error;
      return messageOf(error);
    }
  }

  async #save(spent: string, answer: IssuedTokens): Promise<Access> {
    const { cache, emit, now } = this.#context;
    const issuedAt = now();
    const { access, lifetimeMs } = answer;
    this.#tokens.noteIssued(this.#alias, access ?? "", lifetimeMs);
    const linked = this.#links.holding(spent);
    const saved = cache.save((state) =>
      accountsWithRefreshToken(state, this.#alias, spent)
        .forEach((it) => takeIssued(it, answer, issuedAt))
    );
    // at once, as the other tool would show the spent token meanwhile
    for (const [name, before] of linked) {
      const tokens = cache.state.accounts[name]?.tokens;
      if (tokens) await this.#links.giveBack(name, before, tokens);
    }
    await saved;
    if (cache.isBehind) this.#warnUnsaved();
    const reason = "The access token was renewed";
    emit({ type: "token-refreshed", alias: this.#alias, reason });
    const tokens = this.#account?.tokens;
    return tokens
      ? { kind: "ok", access: tokens.access, refreshed: true }
      : GONE;
  }

  /** Whoever ends this process now is locked out, so this is said where it is seen. */
  #warnUnsaved(): void {
    const reason = `The new tokens of "${
      oneLine(this.#alias)
    }" could not be saved and are only in this process; make the store writable before it ends, saving is tried again every 10 s`;
    this.#context.emit({ type: "warning", alias: this.#alias, reason });
    process.stderr.write(`codex-rotator: ${reason}\n`);
  }

  /** The refresh token is not to be shown: its access token goes on being used while it lives. */
  async #refuse(reason: string): Promise<Access> {
    const spent = this.#account?.tokens?.refresh;
    return this.#goOn(reason) ?? await this.#needSignIn(spent, reason);
  }

  /** The issuer refused for good, unless newer tokens came in meanwhile. */
  async #needSignIn(
    spent: string | undefined,
    reason: string,
  ): Promise<Access> {
    const { cache, now, emit } = this.#context;
    await cache.reload().catch(() => {});
    const tokens = this.#account?.tokens;
    if (tokens && tokens.refresh !== spent) {
      return { kind: "ok", access: tokens.access, refreshed: true };
    }
    const invalidAt = now();
    await cache.save((state) =>
      accountsWithRefreshToken(state, this.#alias, spent).forEach((it) => {
        it.auth = { invalidAt, reason };
        delete it.tokenCallAt;
      })
    );
    emit({ type: "login-required", alias: this.#alias, reason });
    return { kind: "login", reason };
  }

  /** The access token that could not be renewed early and goes on being used. */
  #goOn(reason: string): Access | undefined {
    const alias = this.#alias;
    const valid = this.#tokens.valid(alias, this.#rejected);
    this.#tokens.noteFailure(alias);
    if (valid) this.#context.emit({ type: "warning", alias, reason });
    return valid && { ...valid, refreshed: false };
  }

  /** It may work later; a token that is still valid goes on being used. */
  async fail(reason: string): Promise<Access> {
    const { cache, now, emit } = this.#context;
    const alias = this.#alias;
    const detail = `The token could not be renewed: ${reason}`;
    const valid = this.#goOn(detail);
    if (valid) return valid;
    const setAt = now();
    const until = setAt + RETRY_MS;
    const { access, refresh } = this.#account?.tokens ?? {};
    await cache.save((state) => {
      const account = state.accounts[alias];
      const { tokens } = account ?? {};
      // another process may have renewed them while this one waited
      if (tokens?.access !== access || tokens?.refresh !== refresh) return;
      if (account) setCooldown(account, "token", { until, setAt, detail });
    });
    const kept = this.#kept();
    if (kept?.kind === "ok") return kept;
    emit({ type: "cooldown", alias, cause: "token", until, reason: detail });
    return { kind: "unavailable", reason: detail };
  }
}
