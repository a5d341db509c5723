/**
 * One request over the network, and what its answer means. The account's
 * headers go nowhere but to the backend.
 */
import { withAbort } from "./abort.ts";
import { identityOf } from "./account/identity.ts";
import { learnFacts, learnOutcome } from "./account/learn.ts";
import { type Attempt, sentOnce } from "./account/context.ts";
import { eventHeaders, readAnswer, readStreamFailure } from "./codex/answer.ts";
import { needsBody, type Outcome } from "./codex/error_table.ts";
import { type AboutRequest, readHeaders } from "./codex/headers.ts";
import { parseJson } from "./values.ts";
import { backendHeaders, openAIModels } from "./codex/request.ts";
import {
  type EventMeaning,
  readRateLimitsEvent,
  readTokenUsage,
} from "./codex/stream.ts";
import type { RotatorContext } from "./context.ts";
import { meterFacts, meterOfModel } from "./meters.ts";
import { explained } from "./errors.ts";
import type { ReplayableRequest } from "./request.ts";
import {
  fetchFollowing,
  type OutgoingInit,
  RedirectError,
} from "./redirect.ts";
import { asJson, peek } from "./response.ts";
import { foldStream, guardStream, isEventStream } from "./stream_guard.ts";
import type { Answer, NetworkError } from "./tries.ts";

/** From this share on, an account with credits is asked for its usage after an answer, percent. */
const NEAR_FULL_PERCENT = 95;

/**
 * Sends a request, and learns what its answer says of usage and credits.
 *
 * @throws The reason of the caller's signal, when that aborts.
 */
export async function send(
  context: RotatorContext,
  request: ReplayableRequest,
  attempt: Attempt,
): Promise<Answer | NetworkError> {
  const init = initOf(context, request, attempt);
  const { signal } = request;
  let response: Response;
  try {
    const fetched = await fetchFollowing(context, request, init);
    ({ response } = fetched);
    // what another server says teaches nothing about the account
    if (fetched.isForeign) return { response, outcome: { kind: "other" } };
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof RedirectError) throw error;
    return { error: explained(error, request.url) };
  } finally {
    attempt.account.unanswered = 0;
  }
  const outcome = await learnAnswer(context, attempt, { response, signal });
  if (outcome.kind === "ok" && request.listsModels) {
    return await asModelList(response, request);
  }
  const isStream = outcome.kind === "ok" && request.isResponses &&
    isEventStream(response);
  if (!isStream) return { response, outcome };
  const watch = request.folds ? foldStream : guardStream;
  const answer = await watch(response, {
    about: () => aboutNow(context, attempt),
    onEvent: (meaning) => learnEvent(context, attempt, meaning),
    onHeaders: (headers) => learnHeaders(context, attempt, headers),
    onEnd: () => attempt.onEnd(),
    ...(request.refersBack && {
      onItem: (item: unknown) => context.learned.items.note(item),
    }),
    signal,
  });
  signal?.throwIfAborted();
  return "error" in answer
    ? { ...answer, error: explained(answer.error, request.url) }
    : answer;
}

/** The list of models as SDKs know one; what is none is told as it came. */
async function asModelList(
  response: Response,
  { signal, url }: ReplayableRequest,
): Promise<Answer | NetworkError> {
  try {
    const text = await withAbort(response.text(), signal);
    const list = openAIModels(parseJson(text));
    const body = list ? JSON.stringify(list) : text;
    return { response: asJson(response, body, 200), outcome: { kind: "ok" } };
  } catch (error) {
    signal?.throwIfAborted();
    return { error: explained(error, url) };
  }
}

/** Learns from the head of an answer, and tells what it means. */
async function learnAnswer(
  context: RotatorContext,
  attempt: Attempt,
  { response, signal }: Pick<ReplayableRequest, "signal"> & {
    response: Response;
  },
): Promise<Outcome> {
  const { headers, status } = response;
  const about = { ...aboutNow(context, attempt), observedAt: attempt.beganAt };
  const headerFacts = readHeaders(headers, about);
  const text = needsBody(status)
    ? await withAbort(peek(response), signal)
    : undefined;
  const outcome = readAnswer(response, text, about);
  const isAboutUsage = outcome.kind === "ok" ||
    outcome.kind === "usage-limit" || outcome.kind === "credits-refused";
  if (isAboutUsage) await learnFacts(context, attempt, headerFacts);
  if (outcome.kind === "ok") askNearFull(context, attempt);
  return outcome;
}

function aboutNow(
  context: RotatorContext,
  { account, model }: Attempt,
): AboutRequest {
  const now = context.now();
  return { model, names: account.names, observedAt: now, seenAt: now };
}

/** Asks an account that has credits whether its window is full, before a request is charged. */
function askNearFull(
  context: RotatorContext,
  { account, model }: Attempt,
): void {
  const { record } = account;
  if (!record.credits?.hasCredits && !record.credits?.unlimited) return;
  const meter = meterFacts(record, meterOfModel(model, account.names));
  const isNearFull = meter?.windows.some(({ usedPercent }) =>
    usedPercent >= NEAR_FULL_PERCENT
  );
  if (isNearFull) context.usage.checkInBackground(account);
}

function initOf(
  context: RotatorContext,
  request: ReplayableRequest,
  attempt: Attempt,
): OutgoingInit {
  const { record, alias } = attempt.account;
  const { body, replayable } = request.body;
  const headers = backendHeaders(
    request.headers,
    identityOf(record, attempt.access),
    {
      codexVersion: context.codexVersion,
      accept: request.isResponses ? "text/event-stream" : "application/json",
      keepTurnState: request.session !== undefined &&
        context.sessions.get(request.session, context.now())?.alias === alias,
    },
  );
  const { method } = request;
  const init: OutgoingInit = { ...request.others, method, headers };
  init.redirect = "manual";
  if (request.signal) init.signal = request.signal;
  if (body === undefined) return init;
  return replayable
    ? Object.assign(init, { body: sentOnce(body) })
    : Object.assign(init, { body, duplex: "half" });
}

/** Learns what a stream says about its account. */
function learnEvent(
  context: RotatorContext,
  attempt: Attempt,
  meaning: EventMeaning,
): void {
  const about = aboutNow(context, attempt);
  if (meaning.kind === "ended") {
    attempt.usage = readTokenUsage(meaning.response);
  } else if (meaning.kind === "rate-limits") {
    const facts = readRateLimitsEvent(meaning.json, about);
    void learnFacts(context, attempt, facts);
    askNearFull(context, attempt);
  } else if (meaning.kind === "failed") {
    learnHeaders(context, attempt, meaning.headers);
    const outcome = readStreamFailure(meaning, about);
    if (outcome.kind === "transient") attempt.account.fail(context.now());
    void learnOutcome(context, attempt, outcome);
  }
}

/** Learns from the headers that an error event carries. */
function learnHeaders(
  context: RotatorContext,
  attempt: Attempt,
  headers: unknown,
): void {
  if (headers === undefined) return;
  const about = aboutNow(context, attempt);
  void learnFacts(context, attempt, readHeaders(eventHeaders(headers), about));
}
