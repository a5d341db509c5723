/**
 * What becomes of a request after an attempt: its answer, the same account
 * again, or the next one.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";
import { withAbort } from "./account/abort.ts";
import { type Attempt, learnOutcome } from "./account/learn.ts";
import { TOKEN_REFUSED_MS } from "./account/usage_check.ts";
import { setCooldown } from "./pool/cooldowns.ts";
import { type Pool, poolOf } from "./pool/pools.ts";
import { removeForeignContent, type ReplayableRequest } from "./request.ts";
import type { RotatorContext } from "./context.ts";
import type { Answer, Failed } from "./send.ts";

/** Retries that transient failures of one request may cost. */
const MAX_RETRIES = 2;
/** The delay before the first of them, ms; it doubles. */
const BACKOFF_MS = 200;

/** How an attempt failed: with an unread answer, or with an error of the network. */
type Failure = { response: Response } | Failed;

/** The attempts of one request. */
export class Tries {
  /** Accounts that were tried. */
  readonly tried = new Set<string>();
  /** Those of them that failed transiently and may be tried again. */
  readonly transient = new Set<string>();
  /** Accounts whose token was renewed because the backend refused it. */
  readonly renewed = new Set<string>();
  /** A transient failure in this pool keeps the request from any later one. */
  lastPool: Pool = "unconfirmed";
  retries = 0;
  /** What another account wrote was left out of the conversation. */
  isCleaned = false;
  /** The account that was given up last, and why. */
  lastGivenUp: { alias: string; reason: string } | undefined;
  /** How the last attempt failed, and whose it was. */
  failure: { alias: string; how: Failure } | undefined;

  /** Gives an account up; a transient failure may be retried. */
  leave(alias: string, reason: string, isTransient = false): void {
    this.tried.add(alias);
    this.lastGivenUp = { alias, reason };
    if (isTransient) this.transient.add(alias);
    else this.transient.delete(alias);
  }

  /** Keeps a failure for the end, and discards the answer before. */
  fail(alias: string, how: Failure): void {
    this.discard();
    this.failure = { alias, how };
  }

  discard(): void {
    const how = this.failure?.how;
    this.failure = undefined;
    if (how && "response" in how) how.response.body?.cancel().catch(() => {});
  }
}

/** What comes next: an answer for the caller, the same account, or the next one. */
export type Step =
  | { kind: "return"; response: Response }
  | { kind: "again"; rejected?: string }
  | { kind: "next" };

const NEXT: Step = { kind: "next" };

/** Decides what comes next, and remembers what the answer says against its account. */
export async function nextStep(
  context: RotatorContext,
  call: ReplayableRequest,
  tries: Tries,
  attempt: Attempt,
  answer: Answer | Failed,
): Promise<Step> {
  if ("error" in answer) {
    return await onTransient(context, call, tries, attempt, answer, 502);
  }
  const { outcome, response } = answer;
  const { alias } = attempt.runner;
  switch (outcome.kind) {
    case "ok":
      if (response.ok) tellCharge(context, attempt);
      if (call.session !== undefined) {
        context.sessions.note(call.session, alias, context.now());
      }
      return { kind: "return", response };
    case "other":
      return { kind: "return", response };
    case "hiccup":
      return await onTransient(
        context,
        call,
        tries,
        attempt,
        { response },
        outcome.status,
      );
    case "encrypted-content":
      return onForeignContent(context, call, tries, attempt, response);
    case "token-rejected":
      return await onTokenRejected(context, call, tries, attempt, response);
    default: {
      const reason = await learnOutcome(context, attempt, outcome);
      if (outcome.kind === "usage-limit") askAfterLimit(context, attempt);
      return giveUp(call, tries, alias, response, reason);
    }
  }
}

/** The next account, if the body can be sent again. */
function giveUp(
  call: ReplayableRequest,
  tries: Tries,
  alias: string,
  response: Response,
  reason: string,
): Step {
  if (!call.body.replayable) return { kind: "return", response };
  tries.fail(alias, { response });
  tries.leave(alias, reason);
  return NEXT;
}

/** A usage check in the background, where credits may follow. */
function askAfterLimit(context: RotatorContext, { runner }: Attempt): void {
  const { alias, record: account, creditsAllowed } = runner;
  if (!creditsAllowed || !context.usage.mayAsk(alias, account)) return;
  context.usage.check(alias).catch(() => {});
}

/** The conversation came from another account: it goes on without what that one wrote. */
function onForeignContent(
  context: RotatorContext,
  call: ReplayableRequest,
  tries: Tries,
  { runner, pool }: Attempt,
  response: Response,
): Step {
  const { standing } = runner.assess(call.model, context.now());
  if (
    tries.isCleaned || poolOf(standing) !== pool || !removeForeignContent(call)
  ) {
    return { kind: "return", response };
  }
  tries.isCleaned = true;
  const { alias } = runner;
  if (call.session !== undefined) {
    context.sessions.markCleaned(call.session, alias, context.now());
  }
  const reason =
    "The conversation came from another account; it goes on without the reasoning that only that one can read";
  context.emit({ type: "warning", alias, reason });
  tries.fail(alias, { response });
  return { kind: "again" };
}

/** The token is renewed once; refused again, the account pauses. */
async function onTokenRejected(
  context: RotatorContext,
  call: ReplayableRequest,
  tries: Tries,
  { runner: { alias }, access }: Attempt,
  response: Response,
): Promise<Step> {
  const { replayable } = call.body;
  const isRenewed = tries.renewed.has(alias) || !replayable &&
      context.tokens.isReplacement(alias, access, TOKEN_REFUSED_MS);
  if (!isRenewed) {
    tries.renewed.add(alias);
    if (replayable) {
      tries.fail(alias, { response });
      return { kind: "again", rejected: access };
    }
    // for the next request
    await withAbort(context.tokens.access(alias, access), call.signal);
    return { kind: "return", response };
  }
  const setAt = context.now();
  const until = setAt + TOKEN_REFUSED_MS;
  const reason = "The backend refuses a token that was just renewed";
  await context.cache.write(({ accounts }) => {
    if (!Object.hasOwn(accounts, alias)) return;
    setCooldown(accounts[alias]!, "token", { until, setAt, detail: reason });
  });
  context.emit({ type: "cooldown", alias, cause: "token", until, reason });
  return giveUp(call, tries, alias, response, reason);
}

/**
 * The network or an overloaded server: tried again in the same pool, never in
 * one that costs more. What was sent on credits may have been charged, so only
 * a plain "overloaded" is repeated there.
 */
async function onTransient(
  context: RotatorContext,
  call: ReplayableRequest,
  tries: Tries,
  attempt: Attempt,
  how: Failure,
  status: number,
): Promise<Step> {
  const { alias } = attempt.runner;
  const isRepeatable = call.body.replayable &&
    (attempt.pool === "first" || status === 503);
  if (!isRepeatable || ++tries.retries > MAX_RETRIES) {
    if ("error" in how) throw how.error;
    if (how.response.ok) tellCharge(context, attempt);
    return { kind: "return", response: how.response };
  }
  tries.fail(alias, how);
  tries.lastPool = attempt.pool;
  const backoff = BACKOFF_MS * 2 ** (tries.retries - 1);
  await delay(backoff * (0.5 + context.random()), call.signal);
  const reason = "error" in how
    ? "The network failed"
    : `The backend answered ${status}`;
  tries.leave(alias, reason, true);
  return NEXT;
}

/** Timers hold no more, ms. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Waits, ms, unless the caller aborts. */
export async function delay(
  ms: number,
  signal: AbortSignal | null | undefined,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    for (let left = ms; left > 0; left -= MAX_TIMER_MS) {
      const waiting = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, Math.min(left, MAX_TIMER_MS));
      });
      await withAbort(waiting, signal);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Tells what was spent, or may have been. */
function tellCharge(context: RotatorContext, attempt: Attempt): void {
  const { pool, balanceBefore, balanceAfter, runner: { alias } } = attempt;
  if (pool === "first") return;
  const certain = pool === "credits";
  if (context.policy().source === "default") {
    context.warnOnce(
      "No credit policy is set, so every account may spend its purchased credits, and this request was served on them; set who may with the credits option or CODEX_ROTATOR_CREDIT_ACCOUNTS",
    );
  }
  const reason = certain
    ? "Served on purchased credits"
    : "Served by an account that could not be asked; it may have been charged";
  const type = "credits-spent";
  context.emit({ type, alias, certain, balanceBefore, balanceAfter, reason });
}
