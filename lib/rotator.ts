/**
 * The one place where a request flows: choose, send, learn, and again.
 *
 * @module
 */
import { delay, withAbort } from "./account/abort.ts";
import type { Attempt } from "./account/learn.ts";
import type { CheckResult } from "./account/usage_check.ts";
import { type Choice, choose, lastAccountOf } from "./choose.ts";
import { targetOf } from "./codex/request.ts";
import { candidatesOf, createContext, type RotatorContext } from "./context.ts";
import { RotatorError } from "./errors.ts";
import type { RotatorOptions } from "./options.ts";
import { POOLS } from "./pool/standing.ts";
import { type Refusal, refusalOf, refusalResponse } from "./refusal.ts";
import { pinnedIn, reasonOf, statusReport } from "./report.ts";
import type { RefreshReport, StatusReport } from "./report_types.ts";
import {
  mendRequest,
  readRequest,
  removeForeignContent,
  type ReplayableRequest,
  RequestError,
  urlOf,
} from "./request.ts";
import { nextStep, Tries } from "./retry.ts";
import { send } from "./send.ts";
import type { FetchLike } from "./types.ts";

export type { RotatorOptions } from "./options.ts";

/** What to report on. */
export interface StatusOptions {
  /** Verdicts are for this model; unknown by default. */
  model?: string;
}

/** What to refresh. */
export interface RefreshOptions {
  /** Only these; all by default. */
  aliases?: readonly string[];
  /** Ends it early. */
  signal?: AbortSignal;
  /** Called after each account. */
  onProgress?: (done: number, total: number) => void;
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
 * import { createRotator, memoryStore } from "../mod.ts";
 *
 * await using rotator = createRotator({ store: memoryStore(), credits: "none" });
 * const { accounts } = await rotator.status();
 * if (accounts.length !== 0) throw new Error("The store should be empty");
 * ```
 */
export function createRotator(options: RotatorOptions = {}): Rotator {
  const context = createContext(options);
  const servedBy = new WeakMap<Response, string>();
  let requests = 0;
  const close = async () => {
    await context.usage.close();
    await context.tokens.settled();
    await context.cache.close();
  };
  return {
    baseURL: `${context.backend}/codex`,
    async fetch(input, init = {}) {
      const url = targetOf(urlOf(input), context.backend);
      if (url === undefined) return await context.fetch(input, init);
      const read = { ...context, number: ++requests };
      try {
        const request = await readRequest(url, { input, init }, read);
        const { response, alias } = await serve(context, request);
        if (alias !== undefined) servedBy.set(response, alias);
        return response;
      } catch (error) {
        if (error instanceof RequestError) return badRequest(error);
        // some SDKs tell no more of it than "Connection error."
        if (error instanceof RotatorError) context.warnProcess(error.message);
        throw error;
      }
    },
    async status({ model } = {}) {
      await context.cache.reload();
      const about = { model, now: context.now() };
      return statusReport(context.cache.state, context, about);
    },
    refresh: (about = {}) => refresh(context, about),
    accountOf: (response) => servedBy.get(response),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A request that cannot be sent as it is. */
function badRequest({ message }: RequestError): Response {
  const error = { type: "invalid_request_error", message };
  return Response.json({ error }, { status: 400 });
}

/** A request that has its answer. */
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
  const { signal } = request;
  if (isFromElsewhere(context, request)) removeForeignContent(request);
  let tries = new Tries();
  let waitLeft = context.maxWait;
  let again: { choice: Choice; rejected?: string } | undefined;
  try {
    for (;;) {
      if (!again) await catchUp(context, request);
      const choice = again?.choice ??
        await choose(context, { ...request, ...tries });
      if (!choice) {
        const refusal = refusalFor(context, request);
        const wait = waitFor(refusal, context.now());
        if (wait === undefined || wait > waitLeft) {
          return finish(context, request, { tries, refusal });
        }
        tries.discard();
        await delay(wait, signal);
        waitLeft -= wait;
        tries = new Tries();
        continue;
      }
      const access = await accessOf(context, request, {
        choice,
        tries,
        rejected: again?.rejected,
      });
      if (access === undefined) {
        if (!again) choice.release();
        again = undefined;
        continue;
      }
      if (again) countAgain(context, choice);
      else announce(context, request, { choice, tries });
      const attempt = attemptOf(context, request, { choice, access });
      const answer = await send(context, request, attempt);
      const { replayable } = request.body;
      const query = { attempt, tries, replayable, signal };
      const step = await nextStep(context, query, answer);
      again = undefined;
      switch (step.kind) {
        case "return":
          tries.discard();
          return { response: step.response, alias: choice.account.alias };
        case "again":
          again = { choice, ...step };
          break;
        case "mend":
          if (!mend(context, request, { attempt, tries, ...step })) {
            tries.discard();
            return { response: step.response, alias: choice.account.alias };
          }
          tries.fail(choice.account.alias, { response: step.response });
          again = { choice };
          break;
        case "next":
          break;
      }
    }
  } catch (error) {
    // the response of an earlier attempt is of no use any more
    tries.discard();
    throw error;
  }
}

/** Brings in what other processes and tools wrote. */
async function catchUp(
  context: RotatorContext,
  { signal }: ReplayableRequest,
): Promise<void> {
  await withAbort(context.cache.sync(), signal);
  const look = context.tokens.lookAgain(performance.now());
  if (look) await withAbort(look, signal);
  signal?.throwIfAborted();
  if (context.accounts.all.length > 0) return;
  throw new RotatorError(
    "no_accounts",
    `No account is in ${context.storeName}; add one with "cli.ts login" or "cli.ts import"`,
  );
}

/** What a chosen account needs to be sent to. */
interface Sendable {
  choice: Choice;
  tries: Tries;
  /** A token that the backend refused. */
  rejected: string | undefined;
}

/** An access token of the chosen account; undefined when another one has to be chosen. */
async function accessOf(
  context: RotatorContext,
  { signal, model, isFree }: ReplayableRequest,
  { choice, tries, rejected }: Sendable,
): Promise<string | undefined> {
  const { account, pool } = choice;
  const ready = rejected === undefined
    ? context.tokens.current(account.record)
    : undefined;
  if (ready !== undefined) return ready;
  const access = await withAbort(
    context.tokens.access(account.alias, rejected),
    signal,
  );
  if (access.kind !== "ok") {
    tries.leave(account.alias, access.reason);
    return undefined;
  }
  if (isFree) return access.access;
  // what was true when the account was chosen may not be any more
  return isStillIn(context, { account, pool, model })
    ? access.access
    : undefined;
}

/** Whether an account is still in the pool that it was chosen from, and known to be. */
function isStillIn(
  context: RotatorContext,
  { account, pool, model }: Pick<Attempt, "account" | "pool" | "model">,
): boolean {
  if (context.accounts.get(account.alias) !== account) return false;
  const { standing, poolIndex } = account.assess(model, context.now());
  return POOLS[poolIndex] === pool && standing.kind !== "unknown";
}

/** Counts another use of the same account. */
function countAgain(context: RotatorContext, { account }: Choice): void {
  context.accounts.use(account, context.now());
  context.cache.markDirty(account.alias, 1);
}

function attemptOf(
  context: RotatorContext,
  { model, isFree, about }: ReplayableRequest,
  { choice, access }: { choice: Choice; access: string },
): Attempt {
  const { account, pool } = choice;
  return {
    account,
    pool,
    model,
    isFree,
    about,
    access,
    beganAt: context.now(),
    balanceBefore: account.record.credits?.balance ?? null,
    balanceAfter: null,
  };
}

/**
 * Mends what was refused in a body, or leaves out of the conversation what only
 * another account can read; not where sending again would cost more than the
 * first time.
 */
function mend(
  context: RotatorContext,
  request: ReplayableRequest,
  { attempt, tries, refused }: {
    attempt: Attempt;
    tries: Tries;
    refused?: string;
  },
): boolean {
  if (!attempt.isFree && !isStillIn(context, attempt)) return false;
  if (refused !== undefined) {
    return mendRequest(request, context.refused, refused);
  }
  if (!removeForeignContent(request)) return false;
  tries.isCleaned = true;
  const { alias } = attempt.account;
  if (request.session !== undefined) {
    context.sessions.markCleaned(request.session, alias, context.now());
  }
  const reason =
    "The conversation came from another account; it goes on without the reasoning that only that one can read";
  context.emit({ ...request.about, type: "warning", alias, reason });
  return true;
}

/** How a request ends that nobody can serve now. */
function refusalFor(
  context: RotatorContext,
  { model }: ReplayableRequest,
): Refusal {
  const pinned = pinnedIn(context.cache.state);
  const query = { model, pinned, now: context.now() };
  return refusalOf(candidatesOf(context), query);
}

/** How long it is until somebody can serve again, ms; undefined when nobody knows. */
function waitFor(
  { type, resetsAt }: Refusal,
  now: number,
): number | undefined {
  const isLimited = type === "usage_limit_reached" ||
    type === "rate_limit_exceeded";
  if (!isLimited || resetsAt === null) return undefined;
  // counted in waits of our own, so that a standing clock cannot hold us forever
  return Math.max(1, resetsAt - now);
}

/** The end of a request that nobody could serve. */
function finish(
  context: RotatorContext,
  request: ReplayableRequest,
  { tries, refusal }: { tries: Tries; refusal: Refusal },
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
  if (waitFor(refusal, 0) !== undefined || refusal.type.endsWith("reached")) {
    context.emit({ ...request.about, type: "exhausted", reason, until });
  }
  const response = refusalResponse(refusal, context.now());
  return { response, alias: undefined };
}

/** Whether an earlier turn of the conversation was found to hold what another account wrote. */
function isFromElsewhere(
  context: RotatorContext,
  { session }: ReplayableRequest,
): boolean {
  return session !== undefined &&
    context.sessions.get(session, context.now())?.cleaned === true;
}

const REASONS: Record<Choice["pool"], string> = {
  first: "It has included usage left",
  likely:
    "It had included usage left when it was last asked, and cannot be asked now",
  credits: "Nobody has included usage left, and it may spend its credits",
  unconfirmed:
    "Nobody is known to have included usage left, and it could not be asked",
};

/** Tells who was chosen, and whom it takes over from. */
function announce(
  context: RotatorContext,
  request: ReplayableRequest,
  { choice, tries }: { choice: Choice; tries: Tries },
): void {
  const { account: { alias }, pool } = choice;
  const { about, isFree } = request;
  const isCertain = pool === "first" || isFree;
  const standing = isCertain
    ? "included"
    : pool === "credits"
    ? pool
    : "unconfirmed";
  const chosen = isFree ? "It costs nothing" : REASONS[pool];
  context.emit({ ...about, type: "selected", alias, standing, reason: chosen });
  if (standing === "unconfirmed") {
    const reason =
      "This request may be charged: its account could not be asked";
    context.emit({ ...about, type: "warning", alias, reason });
  }
  const { lastGivenUp } = tries;
  const from = lastGivenUp?.alias ?? lastAccountOf(context, request);
  if (from === undefined || from === alias) return;
  const reason = lastGivenUp?.reason ?? whyLeft(context, request, from);
  context.emit({ ...about, type: "switched", alias, from, reason });
}

/** Why the session's account was not chosen again, in the words of `status`. */
function whyLeft(
  context: RotatorContext,
  { model }: ReplayableRequest,
  alias: string,
): string {
  const account = context.accounts.get(alias);
  if (!account) return "The session's account is gone";
  if (pinnedIn(context.cache.state) !== null) {
    return "Another account is pinned";
  }
  const why = reasonOf(account.assess(model, context.now()).standing);
  return `The session's account cannot serve it${why ? ` (${why})` : ""}`;
}

/** Renews tokens that need it and asks for usage. */
async function refresh(
  context: RotatorContext,
  { aliases, signal, onProgress }: RefreshOptions,
): Promise<RefreshReport> {
  signal?.throwIfAborted();
  await context.cache.reload();
  const names = aliases ?? context.accounts.all.map(({ alias }) => alias);
  let done = 0;
  const accounts = await Promise.all(
    [...new Set(names)].sort().map(async (alias) => {
      const result = context.accounts.get(alias)
        ? await context.usage.check(alias, { signal, isExplicit: true })
        : missing(alias);
      onProgress?.(++done, names.length);
      return refreshed(context, result);
    }),
  );
  return { version: 1, accounts };
}

function missing(alias: string): CheckResult {
  const error = "No account bears this name";
  return { alias, ok: false, tokenRefreshed: false, error };
}

function refreshed(
  context: RotatorContext,
  { alias, ok, tokenRefreshed, error }: CheckResult,
): RefreshReport["accounts"][number] {
  const standing = context.accounts.get(alias)
    ?.assess(undefined, context.now()).standing.kind ?? "blocked";
  return { alias, ok, tokenRefreshed, standing, error };
}
