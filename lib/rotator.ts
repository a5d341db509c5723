/**
 * The one place where a request flows: choose, send, learn, and again.
 *
 * @module
 */
import { withAbort } from "./account/abort.ts";
import type { Attempt } from "./account/learn.ts";
import { candidatesOf, pinnedOf } from "./candidates.ts";
import { type Choice, choose, lastAccountOf } from "./choose.ts";
import { targetOf } from "./codex/request.ts";
import { type Ending, endingOf } from "./ending.ts";
import { RotatorError } from "./errors.ts";
import { poolOf } from "./pool/pools.ts";
import { reasonOf } from "./report.ts";
import {
  type RefreshOptions,
  refreshReport,
  type StatusOptions,
  statusReport,
} from "./reports.ts";
import {
  readRequest,
  removeForeignContent,
  type ReplayableRequest,
  urlOf,
} from "./request.ts";
import { delay, nextStep, Tries } from "./retry.ts";
import {
  createContext,
  type RotatorContext,
  type RotatorOptions,
} from "./context.ts";
import { send } from "./send.ts";
import type { FetchLike, RefreshReport, StatusReport } from "./types.ts";

export type { RotatorOptions } from "./context.ts";
export type { RefreshOptions, StatusOptions } from "./reports.ts";

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
  const close = async () => {
    context.holds.close();
    await context.usage.close();
    await context.tokens.settled();
    await context.cache.close();
  };
  return {
    baseURL: `${context.backend}/codex`,
    async fetch(input, init) {
      const url = targetOf(urlOf(input), context.backend);
      if (url === undefined) return await context.fetch(input, init);
      const read = readRequest(url, input, init ?? {}, context);
      const call = read instanceof Promise ? await read : read;
      const { response, alias } = await serve(context, call);
      if (alias !== undefined) servedBy.set(response, alias);
      return response;
    },
    status: (about = {}) => statusReport(context, about.model),
    refresh: (about = {}) => refreshReport(context, about),
    accountOf: (response) => servedBy.get(response),
    close,
    [Symbol.asyncDispose]: close,
  };
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
  call: ReplayableRequest,
): Promise<Served> {
  if (isFromElsewhere(context, call)) removeForeignContent(call);
  let tries = new Tries();
  let waitLeft = context.maxWait;
  let again: { choice: Choice; rejected?: string } | undefined;
  try {
    for (;;) {
      if (!again) await catchUp(context, call);
      const choice = again?.choice ?? await choose(context, call, tries);
      if (!choice) {
        const wait = waitFor(context, call, waitLeft);
        if (typeof wait !== "number") return finish(context, tries, wait);
        tries.discard();
        await delay(wait, call.signal);
        waitLeft -= wait;
        tries = new Tries();
        continue;
      }
      const { alias } = choice.runner;
      const access = await accessOf(
        context,
        call,
        tries,
        choice,
        again?.rejected,
      );
      if (access === undefined) {
        if (!again) context.accounts.release(choice.runner);
        if (!again) context.cache.markDirty(alias, -1);
        again = undefined;
        continue;
      }
      if (again) {
        context.accounts.use(choice.runner, context.now());
        context.cache.markDirty(alias, 1);
      }
      announce(context, choice);
      if (!again) tellSwitch(context, call, tries, alias);
      const attempt = attemptOf(context, call, choice, access);
      const answer = await send(context, call, attempt);
      const step = await nextStep(context, call, tries, attempt, answer);
      if (step.kind === "return") {
        tries.discard();
        return { response: step.response, alias };
      }
      again = step.kind === "again" ? { choice, ...step } : undefined;
    }
  } catch (error) {
    // the answer of an earlier attempt is of no use any more
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

/** An access token of the chosen account; undefined when another one has to be chosen. */
async function accessOf(
  context: RotatorContext,
  call: ReplayableRequest,
  tries: Tries,
  { runner, pool }: Choice,
  rejected: string | undefined,
): Promise<string | undefined> {
  const ready = rejected === undefined
    ? context.tokens.current(runner.record)
    : undefined;
  if (ready !== undefined) return ready;
  const access = await withAbort(
    context.tokens.access(runner.alias, rejected),
    call.signal,
  );
  if (access.kind !== "ok") {
    tries.leave(runner.alias, access.reason);
    return undefined;
  }
  // what was true when the account was chosen may not be any more
  const { standing } = runner.assess(call.model, context.now());
  return poolOf(standing) === pool && standing.kind !== "unknown"
    ? access.access
    : undefined;
}

function attemptOf(
  context: RotatorContext,
  { model }: ReplayableRequest,
  { runner, pool }: Choice,
  access: string,
): Attempt {
  const beganAt = context.now();
  const balanceBefore = runner.record.credits?.balance ?? null;
  const balanceAfter = null;
  return { runner, pool, model, access, beganAt, balanceBefore, balanceAfter };
}

/** How long to wait for the earliest reset, ms, or how the request ends where that is too long. */
function waitFor(
  context: RotatorContext,
  { model }: ReplayableRequest,
  waitLeft: number,
): number | Ending {
  const now = context.now();
  const ending = endingOf(candidatesOf(context), model, pinnedOf(context), now);
  const { type, resetsAt } = ending;
  if (type !== "usage_limit_reached" || resetsAt === null) return ending;
  // counted in waits of our own, so that a standing clock cannot hold us forever
  const wait = Math.max(1, resetsAt - now);
  return wait > waitLeft ? ending : wait;
}

/** The end of a request that nobody could serve. */
function finish(context: RotatorContext, tries: Tries, ending: Ending): Served {
  const { failure } = tries;
  // a transient failure says nothing about quota, so it is what the caller gets
  const isTransient = failure !== undefined &&
    tries.transient.has(failure.alias);
  if (isTransient && "error" in failure.how) throw failure.how.error;
  const isReal = isTransient || ending.type === "no_eligible_account";
  if (isReal && failure && "response" in failure.how) {
    return { response: failure.how.response, alias: failure.alias };
  }
  tries.discard();
  if (ending.type === "usage_limit_reached") {
    const { message, resetsAt } = ending;
    context.emit({ type: "exhausted", reason: message, until: resetsAt });
  }
  return { response: ending.respond(), alias: undefined };
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
  credits: "Nobody has included usage left, and it may spend its credits",
  unconfirmed:
    "Nobody is known to have included usage left, and it could not be asked",
};

function announce(
  context: RotatorContext,
  { runner: { alias }, pool }: Choice,
): void {
  const standing = pool === "first" ? "included" : pool;
  context.emit({ type: "selected", alias, standing, reason: REASONS[pool] });
  if (pool === "unconfirmed") {
    const reason =
      "This request may be charged: its account could not be asked";
    context.emit({ type: "warning", alias, reason });
  }
}

/** Tells that another account takes over, from the one before or from the session's. */
function tellSwitch(
  context: RotatorContext,
  call: ReplayableRequest,
  { lastGivenUp: left }: Tries,
  alias: string,
): void {
  const from = left?.alias ?? lastAccountOf(context, call);
  if (from === undefined || from === alias) return;
  const reason = left?.reason ?? whyLeft(context, call, from);
  context.emit({ type: "switched", alias, from, reason });
}

/** Why the session's account was not chosen again, in the words of `status`. */
function whyLeft(
  context: RotatorContext,
  call: ReplayableRequest,
  alias: string,
): string {
  const runner = context.accounts.get(alias);
  if (!runner) return "The session's account is gone";
  if (pinnedOf(context) !== null) return "Another account is pinned";
  const why = reasonOf(runner.assess(call.model, context.now()).standing);
  return `The session's account cannot serve it${why ? ` (${why})` : ""}`;
}
