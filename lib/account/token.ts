import { isDenied, messageOf, RotatorError } from "../errors.ts";
import { withTimeLimit } from "../abort.ts";
import { type Access, AccessTokens, type Valid } from "./access.ts";
import type { AccountContext } from "./context.ts";
import { lockName } from "./identity.ts";
import { AccountLinks } from "./link.ts";
import { Renewal } from "./renewal.ts";

/** A token that expires within this is about to end (ms). */
const LAST_MS = 30_000;
/** A request with such a token waits so long for the next one (ms). */
const LAST_WAIT_MS = 2_000;
/** The linked files of accounts that need a sign-in are looked at this often (ms). */
const LOOK_AGAIN_MS = 1_000;

/**
 * Keeps access tokens valid: one renewal per account at a time in all
 * processes that share the store, and what the issuer gave is saved before it
 * is used.
 */
export class TokenManager {
  readonly #context: AccountContext;
  readonly #links: AccountLinks;
  readonly #tokens: AccessTokens;
  #renewals = new Map<string, Promise<Access>>();
  /** Renewals that a request has waited for in vain: no other does. */
  #late = new WeakSet<Promise<Access>>();
  /** The access tokens that took the place of refused ones. */
  #replacements = new Map<string, { access: string; at: number }>();
  #lookedAt = -Infinity;
  #finishing: Promise<unknown> | undefined;

  constructor(context: AccountContext) {
    this.#context = context;
    this.#links = new AccountLinks(context);
    this.#tokens = new AccessTokens(context);
  }

  /**
   * An access token that is believed to be valid, renewed where needed. One
   * that ends soon is renewed beside the request.
   *
   * @param rejected An access token that the backend has just refused.
   * @param isPatient Wait for a renewal in any case.
   */
  async access(alias: string, rejected?: string, isPatient = false) {
    this.#finishing ??= this.#finishLinks();
    const kept = this.#tokens.kept(alias, rejected);
    // its tool may have written newer ones
    const mayComeBack = kept?.kind !== "ok" && this.#links.of(alias);
    if (kept && !mayComeBack) return kept;
    const running = this.#renewals.get(alias);
    const renewal = running ?? this.#start(alias, rejected);
    const valid = isPatient ? undefined : this.#tokens.valid(alias, rejected);
    if (valid) return await this.#meanwhile(valid, renewal);
    const access = await renewal;
    // one that was under way did not know that this token is refused
    const isStale = running && access.kind === "ok" &&
      access.access === rejected;
    return isStale
      ? await (this.#renewals.get(alias) ?? this.#start(alias, rejected))
      : access;
  }

  /** Goes on with a valid token; waits a little for the next one when it is about to end. */
  async #meanwhile(valid: Valid, renewal: Promise<Access>) {
    // where it is not waited for, whoever needs the next token hears of it
    renewal.catch(() => {});
    if (valid.msLeft > LAST_MS || this.#late.has(renewal)) return valid;
    try {
      return await withTimeLimit({ ms: LAST_WAIT_MS }, () => renewal);
    } catch {
      this.#late.add(renewal);
      return valid;
    }
  }

  #start(alias: string, rejected: string | undefined): Promise<Access> {
    const at = this.#context.now();
    const renewal = this.#renew(alias, rejected).then((it) => {
      if (rejected !== undefined && it.kind === "ok") {
        this.#replacements.set(alias, { access: it.access, at });
      }
      return it;
    }).finally(() => this.#renewals.delete(alias));
    this.#renewals.set(alias, renewal);
    return renewal;
  }

  /** Whether an access token took the place of a refused one within so many ms. */
  isReplacement(alias: string, access: string, ms: number): boolean {
    const replacement = this.#replacements.get(alias);
    return replacement?.access === access &&
      Math.abs(this.#context.now() - replacement.at) < ms;
  }

  /**
   * Brings accounts back that need a sign-in, where the tool whose file they
   * are linked to has been signed in again: looks once per second.
   */
  async lookAgain(): Promise<void> {
    const now = performance.now();
    if (now - this.#lookedAt < LOOK_AGAIN_MS) return;
    this.#lookedAt = now;
    this.#finishing ??= this.#finishLinks();
    const { accounts } = this.#context.cache.state;
    for (const [alias, { tokens, auth }] of Object.entries(accounts)) {
      if (tokens && !auth) continue;
      // whoever sends with newer ones renews them where that is needed
      await this.#links.look(alias, 1).catch(() => {});
    }
  }

  /** Waits for the work under way: what it brings must be saved. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#renewals.values(), this.#finishing]);
  }

  /** Finishes what a process left half done that died while it gave tokens to a linked file. */
  async #finishLinks(): Promise<void> {
    const { cache, store } = this.#context;
    await Promise.allSettled(
      Object.keys(cache.state.accounts).map(async (alias) => {
        if (!await this.#links.isUnfinished(alias)) return;
        const name = lockName(alias, cache.state.accounts[alias]);
        await store.exclusive(name, async () => {
          await cache.reload();
          await this.#links.hold(alias, () => Promise.resolve());
        });
      }),
    );
  }

  async #renew(alias: string, rejected: string | undefined): Promise<Access> {
    const { store, cache } = this.#context;
    const name = lockName(alias, cache.state.accounts[alias]);
    const renewal = new Renewal(this.#tokens, this.#links, alias, rejected);
    const renew = () => renewal.run();
    try {
      return await store.exclusive(name, renew).catch((error) => {
        const isUnwritable = error instanceof RotatorError &&
          error.code === "store_unwritable";
        if (!isUnwritable || !renewal.mayKeepUnsaved) throw error;
        return renew();
      });
    } catch (error) {
      if (!isDenied(error)) {
        return await renewal.fail(messageOf(error));
      }
      this.#tokens.noteFailure(alias);
      throw error;
    }
  }
}
