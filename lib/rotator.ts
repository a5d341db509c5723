/** The one place where a request flows: choose, send, learn, and again. */
import { delay, withAbort } from "./abort.ts";
import { prepare } from "./attempt.ts";
import { type Choice, choose, chooseAgain } from "./choose.ts";
import { targetOf } from "./codex/request.ts";
import { createContext, type RotatorContext } from "./context.ts";
import type { RotatorOptions } from "./options.ts";
import { RotatorError } from "./errors.ts";
import {
  isLimit,
  type Refusal,
  refusalOf,
  refusalResponse,
  waitFor,
} from "./refusal.ts";
import { refresh, type RefreshOptions, statusReport } from "./report.ts";
import type { RefreshReport, StatusReport } from "./report_types.ts";
import {
  readRequest,
  type ReplayableRequest,
  RequestError,
} from "./request.ts";
import { record } from "./record.ts";
import { nextStep } from "./retry.ts";
import { type Sent, Tries } from "./tries.ts";
import { send } from "./send.ts";
import { quotedCommand } from "./store/paths.ts";
import type { FetchLike } from "./types.ts";

export type { RotatorOptions } from "./options.ts";
export type { RefreshOptions } from "./report.ts";

/** What to report on. */
export interface StatusOptions {
  /** Verdicts are for this model; unknown by default. */
  model?: string;
}

/** Several accounts behind one `fetch`. */
export interface Rotator extends AsyncDisposable {
  /**
   * As `fetch`. Requests to the Codex backend are served by the account that
   * should serve them; any other passes through untouched.
   */
  readonly fetch: FetchLike;
  /** The base URL to give a client that has one, `<backend>/codex`. */
  readonly baseURL: string;
  /** How all accounts stand; asks nobody. */
  status(options?: StatusOptions): Promise<StatusReport>;
  /** Renews the tokens that need it, then asks for usage, of all or the named accounts. */
  refresh(options?: RefreshOptions): Promise<RefreshReport>;
  /** The alias of the account that served a response. */
  accountOf(response: Response): string | undefined;
  /** Writes what is pending. */
  close(): Promise<void>;
}

/**
 * Makes one `fetch` out of several Codex accounts. Usage included in a plan is
 * used up first; purchased credits only where their owner allows it.
 *
 * @param options Store, strategy, credit policy and the rest; all have defaults.
 * @returns The rotator. Nothing is read or asked before the first request.
 * @throws {TypeError} When an option is not what it should be.
 *
 * @example
 * ```ts
 * import { createRotator, memoryStore } from "@codex-rotator/core";
 *
 * await using rotator = createRotator({ store: memoryStore(), credits: "none" });
 * const { accounts } = await rotator.status();
 * if (accounts.length !== 0) throw new Error("The store should be empty");
 * ```
 */
export function createRotator(options: RotatorOptions = {}): Rotator {
  return rotatorOf(createContext(options));
}

export function rotatorOf(context: RotatorContext): Rotator {
  const servedBy = new WeakMap<Response, string>();
  let requests = 0;
  const close = async () => {
    for (const end of context.open) end();
    await context.spending.close();
    await context.usage.close();
    await context.tokens.settled();
    await context.ledger.close();
    await context.sessionSync.flush();
    await context.cache.close();
  };
  return {
    baseURL: `${context.backend}/codex`,
    async fetch(input, init = {}) {
      const url = targetOf(input, context.backend);
      if (url === undefined) return await context.fetchElse(input, init);
      const given = { input, init, url, number: ++requests };
      try {
        const request = await readRequest(context, given);
        const { response, alias } = await serve(context, request);
        if (alias !== undefined) servedBy.set(response, alias);
        return response;
      } catch (error) {
        if (error instanceof RequestError) {
          const { message } = error;
          const body = { error: { type: "invalid_request_error", message } };
          return Response.json(body, { status: 400 });
        }
        // some SDKs tell no more of it than "Connection error."
        if (error instanceof RotatorError) context.warnProcess(error.message);
        throw error;
      }
    },
    async status({ model } = {}) {
      await context.cache.reloadIfReached();
      const about = { model, now: context.now() };
      return statusReport(context, about);
    },
    refresh: (about = {}) => refresh(context, about),
    accountOf: (response) => servedBy.get(response),
    close,
    [Symbol.asyncDispose]: close,
  };
}

interface Served {
  response: Response;
  /** Whose answer it is; undefined when it is the rotator's own. */
  alias: string | undefined;
}

/**
 * Tries account after account until one serves. When nobody can, waits for the
 * earliest reset where the owner wants that.
 */
async function serve(
  context: RotatorContext,
  request: ReplayableRequest,
): Promise<Served> {
  let tries = new Tries();
  let waitLeft = context.maxWait;
  let again: Choice | undefined;
  try {
    for (;;) {
      if (!again) await catchUp(context, request);
      const choice = again ?? await choose(context, { ...request, ...tries });
      again = undefined;
      if (!choice) {
        const refusal = refusalOf(context, request, tries);
        const wait = waitFor(refusal, context.now());
        if (wait === Infinity || wait > waitLeft) {
          return finish(context, request, tries, refusal);
        }
        tries.discard();
        await delay(wait, request.signal);
        waitLeft -= wait;
        tries = new Tries();
        continue;
      }
      const attempt = await prepare(context, request, choice, tries);
      if (!attempt) continue;
      const sent = { request, attempt, tries };
      const { answer, step } = await trySending(context, sent);
      if (step.kind === "return") {
        tries.discard();
        const response = record(context, sent, answer, step.response);
        return { response, alias: choice.account.alias };
      }
      if (step.kind === "again") {
        again = chooseAgain(context, choice, step.rejected);
      }
    }
  } catch (error) {
    // the response of an earlier attempt is of no use any more
    tries.discard();
    throw error;
  }
}

/** Sends a request, and decides what comes next; one that is broken off may have been charged. */
async function trySending(context: RotatorContext, sent: Sent) {
  const { request, attempt } = sent;
  try {
    const answer = await send(context, request, attempt);
    return { answer, step: await nextStep(context, sent, answer) };
  } catch (error) {
    if (attempt.paid !== undefined) {
      void context.spending.end(attempt.paid, null);
    }
    throw error;
  }
}

/** Brings in what other processes and tools wrote. */
async function catchUp(
  context: RotatorContext,
  { signal }: ReplayableRequest,
): Promise<void> {
  await withAbort(context.cache.sync(), signal);
  await withAbort(context.sessionSync.load(), signal);
  await withAbort(context.tokens.lookAgain(), signal);
  signal?.throwIfAborted();
  if (context.accounts.all.length > 0) return;
  const { storeName, namedStore } = context;
  const [login, take] = ["login", "import"].map((it) =>
    quotedCommand(it, namedStore)
  );
  throw new RotatorError(
    "no_accounts",
    `No account is in ${storeName}; add one with ${login} or ${take}`,
  );
}

/** The end of a request that nobody could serve. */
function finish(
  context: RotatorContext,
  request: ReplayableRequest,
  tries: Tries,
  refusal: Refusal,
): Served {
  const { failure } = tries;
  // a transient failure says nothing about quota, so it is what the caller gets
  const isTransient = failure !== undefined &&
    tries.retriable.has(failure.alias);
  if (isTransient && "error" in failure.how) throw failure.how.error;
  const isReal = isTransient || refusal.type === "no_eligible_account";
  if (isReal && failure && "response" in failure.how) {
    return { response: failure.how.response, alias: failure.alias };
  }
  tries.discard();
  const { message: reason, resetsAt: until } = refusal;
  if (isLimit(refusal)) {
    context.emit({ ...request.about, type: "exhausted", reason, until });
  }
  const response = refusalResponse(refusal, context.now());
  return { response, alias: undefined };
}
