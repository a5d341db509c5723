/**
 * What follows an attempt: its answer for the caller, the same account again,
 * or the next one.
 */
import { delay, withAbort } from "./abort.ts";
import type { Attempt } from "./account/context.ts";
import { learnCharge, learnOutcome, setCooldowns } from "./account/learn.ts";
import { TOKEN_REFUSED_MS } from "./account/learn_usage.ts";
import { isStillIn } from "./attempt.ts";
import type { RotatorContext } from "./context.ts";
import { mendRequest, removeForeignContent } from "./request.ts";
import type { Answer, Failure, NetworkError, Sent, Tries } from "./tries.ts";

/** Retries that transient failures of one request may cost. */
const MAX_RETRIES = 2;
/** The delay before the first of them, ms; it doubles. */
const BACKOFF_MS = 200;

type Step =
  | { kind: "return"; response: Response }
  /** The same account; `rejected`: with another token than this one. */
  | { kind: "again"; rejected?: string }
  | { kind: "next" };

/**
 * Decides what comes next, and remembers what the answer says against its
 * account. An attempt that is given up has cost nothing.
 */
export async function nextStep(
  context: RotatorContext,
  sent: Sent,
  answer: Answer | NetworkError,
): Promise<Step> {
  const { account, paid } = sent.attempt;
  const step = await decide(context, sent, answer);
  if (paid !== undefined && step.kind !== "return") {
    context.spending.cancel(account, paid);
  }
  return step;
}

async function decide(
  context: RotatorContext,
  sent: Sent,
  answer: Answer | NetworkError,
): Promise<Step> {
  const { pool, isFree } = sent.attempt;
  if (answer.hasContent && pool !== "first" && !isFree) {
    return await onBegun(context, sent, answer);
  }
  if ("error" in answer) return await onTransient(context, sent, answer, 502);
  const { outcome, response } = answer;
  const { attempt, tries } = sent;
  const { account } = attempt;
  switch (outcome.kind) {
    case "ok":
      onServed(context, sent, response);
      return { kind: "return", response };
    case "other":
      return { kind: "return", response };
    case "transient":
      return await onTransient(context, sent, { response }, outcome.status);
    case "refused-body":
    case "encrypted-content":
      return mended(context, sent, answer);
    case "token-rejected":
      return await onTokenRejected(context, sent, response);
    case "model": {
      const { until, detail } = outcome;
      tries.refusedModel.push({ attempt, until, detail });
      await blameModel(context, tries, attempt.model);
      return giveUp(sent, response, detail);
    }
    default: {
      const reason = await learnOutcome(context, attempt, outcome);
      if (outcome.kind === "usage-limit" && account.creditsAllowed) {
        context.usage.checkInBackground(account);
      }
      return giveUp(sent, response, reason);
    }
  }
}

/** The same account, once its body is mended; not where sending again would cost more than the first time. */
function mended(
  context: RotatorContext,
  sent: Sent,
  { outcome, response }: Answer,
): Step {
  const { request, attempt, tries } = sent;
  const isMended = request.body.replayable && isStillIn(context, attempt) &&
    (outcome.kind === "refused-body"
      ? mendRequest(request, context.learned, outcome.text)
      : removeForeign(context, sent));
  if (!isMended) return { kind: "return", response };
  tries.fail(attempt.account.alias, { response });
  return { kind: "again" };
}

/** Leaves out of the conversation, once, what only another account can read. */
function removeForeign(
  context: RotatorContext,
  { request, attempt, tries }: Sent,
): boolean {
  const mark = tries.isCleaned ? undefined : removeForeignContent(request);
  if (mark === undefined) return false;
  tries.isCleaned = true;
  const { alias } = attempt.account;
  if (request.session !== undefined) {
    const usedAt = context.now();
    context.sessions.note(request.session, { alias, usedAt, mark });
  }
  const reason =
    "The conversation came from another account; it goes on without the reasoning that only that one can read";
  context.emit({ ...request.about, type: "warning", alias, reason });
  return true;
}

/** A response that failed after it had begun, on credits: it may have been charged, so no other account is. */
async function onBegun(
  context: RotatorContext,
  { attempt }: Sent,
  answer: Answer | NetworkError,
): Promise<Step> {
  attempt.hasBegun = true;
  tellCharge(context, attempt);
  if ("error" in answer) {
    attempt.account.fail(context.now());
    throw answer.error;
  }
  await learnOutcome(context, attempt, answer.outcome);
  return { kind: "return", response: answer.response };
}

/** The next account, if the body can be sent again. */
function giveUp(
  { tries, attempt, request }: Sent,
  response: Response,
  reason: string,
): Step {
  if (!request.body.replayable) return { kind: "return", response };
  const { alias } = attempt.account;
  tries.fail(alias, { response });
  tries.leave(alias, reason);
  return { kind: "next" };
}

/** Whatever follows from an answer that served the request. */
function onServed(
  context: RotatorContext,
  { attempt, tries }: Sent,
  response: Response,
): void {
  const { account, about, model } = attempt;
  account.serve();
  if (about.session !== undefined) {
    const { alias } = account;
    context.sessions.note(about.session, { alias, usedAt: context.now() });
  }
  if (!response.ok) return;
  tellCharge(context, attempt);
  learnCharge(context, attempt);
  if (model === undefined) return;
  context.servedModels.note(model, account.alias);
  void blameModel(context, tries, model);
}

/** Remembers that accounts lack a model, once another one has served it: what all say is about the client. */
async function blameModel(
  context: RotatorContext,
  tries: Tries,
  model: string | undefined,
): Promise<void> {
  const isServed = ({ attempt }: Tries["refusedModel"][number]) =>
    model !== undefined &&
    context.servedModels.isServedBesides(model, attempt.account.alias);
  const blamed = tries.refusedModel.filter(isServed);
  for (const refused of blamed) {
    tries.refusedModel.splice(tries.refusedModel.indexOf(refused), 1);
  }
  // all at once, so that the next request finds them
  await Promise.all(
    blamed.map(({ attempt, until, detail }) =>
      learnOutcome(context, attempt, { kind: "model", until, detail })
    ),
  );
}

/** The token is renewed once; refused again, the account pauses. */
async function onTokenRejected(
  context: RotatorContext,
  sent: Sent,
  response: Response,
): Promise<Step> {
  const { attempt, tries, request } = sent;
  const { signal, body: { replayable } } = request;
  const { access, account: { alias } } = attempt;
  const isRenewed = tries.renewed.has(alias) || !replayable &&
      context.tokens.isReplacement(alias, access, TOKEN_REFUSED_MS);
  if (!isRenewed) {
    tries.renewed.add(alias);
    if (replayable) {
      tries.fail(alias, { response });
      return { kind: "again", rejected: access };
    }
    // for the next request
    await withAbort(context.tokens.access(alias, access), signal);
    return { kind: "return", response };
  }
  const until = context.now() + TOKEN_REFUSED_MS;
  const detail = "The backend refuses a token that was just renewed";
  await setCooldowns(context, attempt, [{ cause: "token", until, detail }]);
  return giveUp(sent, response, detail);
}

/**
 * The network or an overloaded server: tried again in the same pool, never in
 * one that costs more. What was sent on credits may have been charged, so only
 * a plain "overloaded" is repeated there.
 */
async function onTransient(
  context: RotatorContext,
  { attempt, tries, request }: Sent,
  how: Failure,
  status: number,
): Promise<Step> {
  const { account } = attempt;
  account.fail(context.now());
  const { signal, body: { replayable } } = request;
  const isRepeatable = replayable &&
    (attempt.pool === "first" || status === 503);
  if (!isRepeatable || ++tries.retries > MAX_RETRIES) {
    if ("error" in how) throw how.error;
    if (how.response.ok) tellCharge(context, attempt);
    return { kind: "return", response: how.response };
  }
  tries.fail(account.alias, how);
  const backoff = BACKOFF_MS * 2 ** (tries.retries - 1);
  await delay(backoff * (0.5 + context.random()), signal);
  const reason = "error" in how
    ? "The network failed"
    : `The backend answered ${status}`;
  tries.leave(account.alias, reason, true);
  return { kind: "next" };
}

function tellCharge(context: RotatorContext, attempt: Attempt): void {
  const { pool, balanceBefore, balanceAfter, account } = attempt;
  if (pool === "first") return;
  const certain = pool === "credits";
  if (context.accounts.policy.source === "default") {
    context.warnOnce(
      "No credit policy is set, so every account may spend its purchased credits, and this request was served on them; set who may with the credits option or CODEX_ROTATOR_CREDIT_ACCOUNTS",
    );
  }
  const reason = certain
    ? "Served on purchased credits"
    : "Served by an account that could not be asked; it may have been charged";
  context.emit({
    ...attempt.about,
    type: "credits-spent",
    alias: account.alias,
    certain,
    balanceBefore,
    balanceAfter,
    reason,
  });
}
