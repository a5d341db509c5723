import { clearTimeout, setTimeout } from "node:timers";
import { usageUrls } from "../codex/endpoints.ts";
import { backendHeaders } from "../codex/request.ts";
import { setCooldown } from "../pool/cooldowns.ts";
import { CHECK_INTERVAL_MS } from "../pool/standing.ts";
import type { AccountRecord } from "../types.ts";
import { withAbort } from "./abort.ts";
import { identityOf } from "./identity.ts";
import { type AccountContext, fetchText } from "./context.ts";
import type { TokenManager } from "./token.ts";
import {
  type Answered,
  type Asked,
  type Failure,
  noteCheck,
  readFailure,
  readOk,
  takeAnswer,
} from "./usage_answer.ts";

/** A whole pass over accounts takes at most this long, ms. */
const PASS_LIMIT_MS = 5_000;
/** Why a pass ended that took too long. */
const OVER = new Error("The pass is over");
/** Accounts asked at the same time. */
const AT_ONCE = 8;
/** The pause after a token was refused although it was renewed, ms. */
export const TOKEN_REFUSED_MS = 5 * 60_000;

/** How a check ended. */
export interface CheckResult {
  alias: string;
  ok: boolean;
  tokenRefreshed: boolean;
  /** Why it failed, for people. */
  error: string | null;
}

/** How long to ask, and what to tell meanwhile. */
export interface AskOptions {
  /** Ends the waiting; what nobody else waits for is given up. */
  signal?: AbortSignal | null | undefined;
  /** Called after each account; true ends the waiting, the asking goes on. */
  isEnough?: (result: CheckResult) => boolean;
}

/** A check under way, and how many wait for it. */
interface Check {
  readonly done: Promise<CheckResult>;
  readonly givenUp: AbortController;
  waiting: number;
}

/** Asks accounts for their usage, and remembers what they say. */
export class UsageChecker {
  readonly #context: AccountContext;
  readonly #tokens: TokenManager;
  #checks = new Map<string, Check>();
  #askedAt = new Map<string, number>();
  #queue: (() => void)[] = [];
  #free = AT_ONCE;

  constructor(context: AccountContext, tokens: TokenManager) {
    this.#context = context;
    this.#tokens = tokens;
  }

  /** Whether an account may be asked now: once per minute, in all processes. */
  mayAsk(alias: string, account: AccountRecord): boolean {
    const running = this.#checks.get(alias);
    if (running && !running.givenUp.signal.aborted) return true;
    const stored = account.usageCheck?.askedAt ?? -Infinity;
    const own = this.#askedAt.get(alias) ?? -Infinity;
    const since = this.#context.now() - Math.max(stored, own);
    // a time that another clock wrote into the future holds nobody up
    return since >= CHECK_INTERVAL_MS || since < -CHECK_INTERVAL_MS;
  }

  /**
   * Asks accounts together, in at most five seconds; what has not answered by
   * then has failed.
   *
   * @param aliases Whom.
   * @param options When it is enough, and what ends it early.
   * @throws The reason of `signal`, when that aborts.
   */
  async ask(
    aliases: readonly string[],
    options: AskOptions = {},
  ): Promise<void> {
    const { signal, isEnough } = options;
    if (aliases.length === 0) return;
    const open = new Set(aliases);
    const pass = new AbortController();
    const leave = () => pass.abort(signal?.reason);
    const timer = setTimeout(() => pass.abort(OVER), PASS_LIMIT_MS);
    signal?.addEventListener("abort", leave, { once: true });
    if (signal?.aborted) leave();
    try {
      await new Promise<void>((resolve, reject) => {
        for (const alias of aliases) {
          this.check(alias, pass.signal).then((result) => {
            open.delete(alias);
            if (open.size === 0 || isEnough?.(result)) resolve();
          }, reject);
        }
      });
    } catch (error) {
      if (error !== OVER) throw error;
      await this.#timeOut(open);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", leave);
    }
  }

  /**
   * Asks one account, or joins the asking under way. Rejects only when
   * `signal` aborts.
   */
  check(alias: string, signal?: AbortSignal | null): Promise<CheckResult> {
    const running = this.#checks.get(alias);
    const check = running && !running.givenUp.signal.aborted
      ? running
      : this.#start(alias);
    check.waiting++;
    const leave = () => {
      if (--check.waiting > 0) return;
      check.givenUp.abort();
      // nothing was learned, so the next one may ask again
      this.#askedAt.delete(alias);
    };
    signal?.addEventListener("abort", leave, { once: true });
    if (signal?.aborted) leave();
    return withAbort(check.done, signal)
      .finally(() => signal?.removeEventListener("abort", leave));
  }

  /** Gives up what is under way, and waits until nothing more can be learned from it. */
  async close(): Promise<void> {
    const checks = [...this.#checks.values()];
    for (const { givenUp } of checks) givenUp.abort();
    await Promise.allSettled(checks.map(({ done }) => done));
  }

  #start(alias: string): Check {
    const givenUp = new AbortController();
    const done = this.#inTurn(alias, givenUp.signal);
    const check: Check = { done, givenUp, waiting: 0 };
    this.#checks.set(alias, check);
    done.finally(() => {
      if (this.#checks.get(alias) === check) this.#checks.delete(alias);
    }).catch(() => {}); // whoever waits for it is told
    return check;
  }

  async #inTurn(alias: string, givenUp: AbortSignal): Promise<CheckResult> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((go) => this.#queue.push(go));
    try {
      return await this.#checkOne(alias, givenUp);
    } finally {
      const next = this.#queue.shift();
      if (next) next();
      else this.#free++;
    }
  }

  async #checkOne(alias: string, givenUp: AbortSignal): Promise<CheckResult> {
    const result = { alias, ok: false, tokenRefreshed: false };
    let rejected: string | undefined;
    for (;;) {
      if (givenUp.aborted) return { ...result, error: "it was given up" };
      const access = await this.#tokens.access(alias, rejected);
      // token trouble is no failed usage check: it has a cooldown of its own
      if (access.kind !== "ok") {
        // with new tokens it may be asked at once
        this.#askedAt.delete(alias);
        return { ...result, error: access.reason };
      }
      result.tokenRefreshed ||= access.refreshed;
      if (givenUp.aborted) return { ...result, error: "it was given up" };
      const asked = await this.#request(alias, access.access, givenUp);
      if (givenUp.aborted) return { ...result, error: "it was given up" };
      if (!("error" in asked)) {
        await this.#learn(alias, asked);
        return { ...result, ok: true, error: null };
      }
      if (asked.tokenRejected && rejected === undefined) {
        rejected = access.access;
        continue;
      }
      await this.#learnFailure(alias, asked);
      return { ...result, error: asked.error };
    }
  }

  async #request(
    alias: string,
    access: string,
    givenUp: AbortSignal,
  ): Promise<Asked> {
    const { backend, version, accounts: roster, now } = this.#context;
    const runner = roster.get(alias);
    const identity = identityOf(runner?.record ?? {}, access);
    const headers = backendHeaders(undefined, identity, {
      version,
      accept: "application/json",
      keepTurnState: false,
    });
    const askedAt = now();
    this.#askedAt.set(alias, askedAt);
    const about = { askedAt, limits: runner?.limits ?? 0 };
    const init = { headers };
    let failure: Failure = { ...about, error: "there is no usage address" };
    for (const url of usageUrls(backend)) {
      const called = await fetchText(
        this.#context,
        url,
        init,
        PASS_LIMIT_MS,
        givenUp,
      );
      if ("error" in called) return { ...about, error: called.error };
      const { status } = called.response;
      if (status === 200) return readOk(called.text, about);
      failure = readFailure(called, about, now());
      if (status !== 404) return failure;
    }
    return failure;
  }

  /** A usage answer replaces what was known, and may end limits set before it was asked for. */
  async #learn(alias: string, asked: Answered): Promise<void> {
    const { cache: live, now, emit, accounts: roster } = this.#context;
    const { askedAt } = asked;
    // a limit that came in while this was under way is newer than the answer
    const limitedSince = roster.get(alias)?.limits !== asked.limits;
    const clearsUntil = limitedSince ? askedAt - 1 : askedAt;
    const at = now();
    await live.write((state) => {
      if (!Object.hasOwn(state.accounts, alias)) return;
      takeAnswer(state.accounts[alias]!, asked, clearsUntil, at);
    });
    emit({ type: "usage-refreshed", alias, reason: "The usage was asked for" });
  }

  async #learnFailure(alias: string, failure: Failure): Promise<void> {
    const { cache: live, now, emit } = this.#context;
    const at = now();
    const { askedAt, error, workspaceUntil, tokenRejected } = failure;
    const cause = tokenRejected ? "token" : "workspace";
    const until = tokenRejected ? at + TOKEN_REFUSED_MS : workspaceUntil;
    await live.write((state) => {
      if (!Object.hasOwn(state.accounts, alias)) return;
      const account = state.accounts[alias]!;
      noteCheck(
        account,
        tokenRejected ? { askedAt } : { askedAt, failedAt: at, error },
        at,
      );
      if (until === undefined) return;
      setCooldown(account, cause, { until, setAt: at, detail: error });
    });
    if (until === undefined) return;
    emit({ type: "cooldown", alias, cause, until, reason: error });
  }

  /** What has not answered when the pass is over counts as failed. */
  async #timeOut(open: ReadonlySet<string>): Promise<void> {
    const at = this.#context.now();
    const error = `no answer within ${PASS_LIMIT_MS / 1000} s`;
    await Promise.all(
      [...open].map((alias) =>
        this.#learnFailure(alias, { askedAt: at, limits: 0, error })
      ),
    );
  }
}
