import { readAnswer } from "../codex/answer.ts";
import { usageUrls } from "../codex/endpoints.ts";
import { parseJson } from "../values.ts";
import { backendHeaders } from "../codex/request.ts";
import { readUsage } from "../codex/usage.ts";
import type { PooledAccount } from "../pool/account_pool.ts";
import { CHECK_INTERVAL_MS } from "../pool/standing.ts";
import type { RefreshReport } from "../report_types.ts";
import { deferred, withAbort, withTimeLimit } from "../abort.ts";
import { type AccountContext, fetchText } from "./context.ts";
import { identityOf } from "./identity.ts";
import {
  type AskedUsage,
  learnAsked,
  TOKEN_REFUSED_MS,
  type UsageQuestion,
} from "./learn_usage.ts";
import type { TokenManager } from "./token.ts";

/** A whole pass over accounts takes at most this long (ms). */
const PASS_LIMIT_MS = 5_000;
const AT_ONCE = 8;
const CANCELLED = "it was cancelled";

export type CheckResult = Pick<
  RefreshReport["accounts"][number],
  "alias" | "ok" | "tokenRefreshed" | "error"
>;

export interface CheckOptions {
  /** Ends the waiting; a check that nobody waits for any more is cancelled. */
  signal?: AbortSignal | null | undefined;
  /** The owner asked for it: then what it says of limits counts at once. */
  isExplicit?: boolean;
}

interface Check {
  readonly result: Promise<CheckResult>;
  readonly cancel: AbortController;
  waiting: number;
  isExplicit: boolean;
}

/** Asks accounts for their usage, each once at a time, and learns what they answer. */
export class UsageChecker {
  readonly #context: AccountContext;
  readonly #tokens: TokenManager;
  #checks = new Map<string, Check>();
  #askedAt = new Map<string, number>();
  #queue: (() => void)[] = [];
  #free = AT_ONCE;
  #isClosed = false;

  constructor(context: AccountContext, tokens: TokenManager) {
    this.#context = context;
    this.#tokens = tokens;
  }

  /** Whether an account may be asked now: once per minute, in all processes. */
  mayAsk({ alias, record }: PooledAccount): boolean {
    if (this.#checks.has(alias)) return true;
    const stored = record.usageCheck?.askedAt ?? -Infinity;
    const own = this.#askedAt.get(alias) ?? -Infinity;
    // a time that another clock wrote into the future holds nobody up
    const since = Math.abs(this.#context.now() - Math.max(stored, own));
    return since >= CHECK_INTERVAL_MS;
  }

  /**
   * Asks accounts together, in at most five seconds; what has not answered by
   * then counts as failed.
   *
   * @param isEnough Called after each account; true ends the waiting, the asking goes on.
   * @throws The reason of `signal`, when that aborts.
   */
  async ask(
    aliases: readonly string[],
    signal: AbortSignal | null | undefined,
    isEnough: (result: CheckResult) => boolean,
  ): Promise<void> {
    if (aliases.length === 0) return;
    const open = new Set(aliases);
    const { promise: enough, resolve, reject } = deferred<void>();
    try {
      await withTimeLimit({ ms: PASS_LIMIT_MS, signal }, (pass) => {
        for (const alias of aliases) {
          this.#join(alias, { signal: pass }).then((result) => {
            open.delete(alias);
            if (open.size === 0 || isEnough(result)) resolve();
          }, reject);
        }
        return enough;
      });
    } catch (error) {
      signal?.throwIfAborted();
      const isLate = error instanceof Error && error.name === "TimeoutError";
      if (!isLate) throw error;
      const askedAt = this.#context.now();
      const failed = { askedAt, limits: 0, error: error.message };
      await Promise.all([...open].map(async (alias) => {
        const account = this.#context.accounts.get(alias);
        if (!account) return;
        await learnAsked(this.#context, { ...failed, account }, false);
      }));
    }
  }

  /** Asks one account after any renewal that is due, or joins the check under way. */
  async check(
    alias: string,
    options: CheckOptions = {},
  ): Promise<CheckResult> {
    const renewal = this.#tokens.access(alias, undefined, true);
    const access = await withAbort(renewal, options.signal);
    const result = await this.#join(alias, options);
    const isRenewed = access.kind === "ok" && access.refreshed;
    return isRenewed ? { ...result, tokenRefreshed: true } : result;
  }

  async #join(
    alias: string,
    { signal, isExplicit = false }: CheckOptions,
  ): Promise<CheckResult> {
    const check = this.#checks.get(alias) ?? this.#start(alias);
    check.isExplicit ||= isExplicit;
    check.waiting++;
    try {
      return await withAbort(check.result, signal);
    } finally {
      check.waiting--;
      if (check.waiting === 0 && this.#checks.get(alias) === check) {
        this.#cancel(alias, check);
      }
    }
  }

  /** Asks an account that may be asked, without anybody waiting for it. */
  checkInBackground(account: PooledAccount): void {
    if (this.mayAsk(account)) this.check(account.alias).catch(() => {});
  }

  /** Cancels what is under way, and waits until nothing more can be learned from it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const checks = [...this.#checks];
    for (const [alias, check] of checks) this.#cancel(alias, check);
    await Promise.allSettled(checks.map(([, { result }]) => result));
  }

  /** Nothing was learned, so the next one may ask at once. */
  #cancel(alias: string, { cancel }: Check): void {
    cancel.abort(new Error(CANCELLED));
    this.#checks.delete(alias);
    this.#askedAt.delete(alias);
  }

  #start(alias: string): Check {
    const cancel = new AbortController();
    const result = this.#inTurn(() => this.#checkOne(alias, cancel.signal))
      .finally(() => {
        if (this.#checks.get(alias) === check) this.#checks.delete(alias);
      });
    const check: Check = { result, cancel, waiting: 0, isExplicit: false };
    if (this.#isClosed) cancel.abort(new Error(CANCELLED));
    this.#checks.set(alias, check);
    return check;
  }

  async #inTurn<T>(job: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((go) => this.#queue.push(go));
    try {
      return await job();
    } finally {
      const next = this.#queue.shift();
      if (next) next();
      else this.#free++;
    }
  }

  async #checkOne(alias: string, signal: AbortSignal): Promise<CheckResult> {
    const result = { alias, ok: false, tokenRefreshed: false };
    let rejected: string | undefined;
    for (;;) {
      if (signal.aborted) return { ...result, error: CANCELLED };
      const access = await this.#tokens.access(alias, rejected);
      // token trouble is no failed usage check: it has a cooldown of its own
      if (access.kind !== "ok") {
        // with new tokens it may be asked at once
        this.#askedAt.delete(alias);
        return { ...result, error: access.reason };
      }
      result.tokenRefreshed ||= access.refreshed;
      if (signal.aborted) return { ...result, error: CANCELLED };
      const asked = await this.#request(alias, access.access, signal);
      if (signal.aborted) return { ...result, error: CANCELLED };
      if (asked.cooldown?.cause === "token" && !rejected) {
        rejected = access.access;
        continue;
      }
      const isExplicit = this.#checks.get(alias)?.isExplicit === true;
      await learnAsked(this.#context, asked, isExplicit);
      const { error } = asked;
      return { ...result, ok: error === null, error };
    }
  }

  async #request(alias: string, access: string, signal: AbortSignal) {
    const { backend, accounts, now } = this.#context;
    const account = accounts.get(alias);
    if (!account) throw new Error("No account bears this name");
    const identity = identityOf(account.record, access);
    const accept = "application/json";
    const headers = backendHeaders({}, identity, { accept });
    const question = { askedAt: now(), account, limits: account.limits };
    this.#askedAt.set(alias, question.askedAt);
    let first: AskedUsage | undefined;
    for (const url of usageUrls(backend)) {
      const limits = { ms: PASS_LIMIT_MS, signal };
      const called = await fetchText(this.#context, { url, headers }, limits);
      if ("error" in called) return { ...question, ...called };
      const asked = readUsageAnswer(called, question, now());
      // the other path is tried where this one is not there, or not for us
      if (![403, 404].includes(called.response.status)) return asked;
      first ??= asked;
    }
    return first!;
  }
}

function readUsageAnswer(
  { response, text }: { response: Response; text: string },
  question: UsageQuestion,
  now: number,
): AskedUsage {
  const { status } = response;
  const times = { observedAt: question.askedAt, seenAt: now };
  if (status === 200) {
    const answer = readUsage(parseJson(text), times);
    return answer
      ? { ...question, answer, error: null }
      : { ...question, error: "the usage answer holds no usage" };
  }
  const error = `the usage endpoint answered ${status}`;
  if (status === 401) {
    const until = now + TOKEN_REFUSED_MS;
    return { ...question, error, cooldown: { cause: "token", until } };
  }
  const outcome = readAnswer(response, text, { model: "", ...times });
  // a 403 teaches nothing here: it is as likely to be about the endpoint
  if (outcome.kind !== "workspace" || status === 403) {
    return { ...question, error };
  }
  const { kind: cause, until, code, detail } = outcome;
  return { ...question, error: detail, cooldown: { cause, until, code } };
}
