/**
 * A request over the network, and what its answer means.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";
import { withAbort } from "./account/abort.ts";
import { sentOnce } from "./account/body.ts";
import { identityOf } from "./account/identity.ts";
import { type Attempt, learnFacts, learnOutcome } from "./account/learn.ts";
import { confirm, remember } from "./account/repeated.ts";
import { needsBody, type Outcome, readAnswer } from "./codex/answer.ts";
import {
  type HeaderFacts,
  type SaidHeaders,
  scanHeaders,
  understandHeaders,
} from "./codex/headers.ts";
import { backendHeaders, type HeaderRecord } from "./codex/request.ts";
import {
  type EventMeaning,
  readRateLimitsEvent,
  readStreamFailure,
} from "./codex/stream.ts";
import { foldStream } from "./fold_stream.ts";
import { type Guarded, guardStream, isEventStream } from "./guard.ts";
import type { Call } from "./request.ts";
import type { House } from "./runtime.ts";
import {
  type Followed,
  followed,
  isRedirect,
  isSendable,
  type OutgoingInit,
  RedirectError,
  withoutRedirects,
} from "./send.ts";

/** More of an error's body is not looked at, bytes. */
const MOST_ERROR_BYTES = 64 * 1024;
/** An error's body that takes longer is not waited for, ms. */
const ERROR_BODY_MS = 5_000;
const OK: Outcome = { kind: "ok" };

/** What came back, and what it means. */
export interface Answer {
  response: Response;
  outcome: Outcome;
}

/**
 * Sends a request, and reads what the answer means and teaches.
 *
 * @returns The answer, or the error of the network.
 * @throws The reason of the caller's signal, when that aborts.
 */
export async function exchange(
  house: House,
  call: Call,
  sent: Attempt,
): Promise<Answer | { error: unknown }> {
  const { account, alias } = sent.runner;
  const identity = identityOf(account, sent.access);
  const headers = backendHeaders(call.headers, identity, {
    version: house.version,
    accept: acceptOf(call),
    keepTurnState: servedLast(house, call) === alias,
  });
  const init = outgoing(call, sent, headers);
  const redirect = withoutRedirects(init);
  let response: Response;
  try {
    response = await abortable(house.fetch(call.url, init), call.signal);
  } catch (error) {
    return failed(call, init, error);
  }
  if (redirect !== "manual" && isRedirect(response)) {
    const end = await afterRedirects(house, call, init, redirect, response);
    if ("error" in end) return end;
    response = end.response;
    // what another server says teaches nothing about the account
    if (end.isForeign) return { response, outcome: { kind: "other" } };
  }
  const said = scanHeaders(response.headers);
  const outcome = response.ok && confirm(house, sent, said)
    ? OK
    : await learned(house, call, sent, response, said);
  const isWatched = outcome.kind === "ok" && call.isResponses &&
    isEventStream(response, said.contentType);
  if (!isWatched) return { response, outcome };
  const guarded = await watched(house, call, sent, response);
  call.signal?.throwIfAborted();
  return answerOf(call, guarded);
}

/** What an answer means; what it says of its account is learned. */
async function learned(
  house: House,
  call: Call,
  sent: Attempt,
  response: Response,
  said: SaidHeaders,
): Promise<Outcome> {
  const facts = understandHeaders(said, sent.beganAt, call.model);
  const bodyText = needsBody(response.status)
    ? await withAbort(peek(response), call.signal)
    : undefined;
  const outcome = meaningOf(house, call, response, bodyText, facts);
  if (
    outcome.kind === "ok" || outcome.kind === "usage-limit" ||
    outcome.kind === "credits-refused"
  ) {
    const written = learnFacts(house, sent, facts);
    remember(sent, said, facts);
    if (written) await written;
  }
  return outcome;
}

/** The answer at the end of all redirects, or the error of the network. */
async function afterRedirects(
  { fetch, backend }: House,
  call: Call,
  init: OutgoingInit,
  redirect: RequestRedirect,
  response: Response,
): Promise<Followed | { error: unknown }> {
  try {
    const replayable = init.body === call.body.body;
    const outgoing = { url: call.url, init, redirect, replayable };
    return await followed(fetch, outgoing, backend, response);
  } catch (error) {
    return failed(call, init, error);
  }
}

/**
 * What `fetch` failed with, as an error of the network.
 *
 * @throws Whatever it would fail with again, and the reason of the caller's signal.
 */
function failed(
  { url, signal }: Call,
  init: OutgoingInit,
  error: unknown,
): { error: unknown } {
  signal?.throwIfAborted();
  if (error instanceof RedirectError || !isSendable(url, init)) throw error;
  return { error };
}

/**
 * Waits no longer than the caller wants, also for a fetch that does not listen
 * to the signal; what still comes of it is let go.
 */
function abortable(
  work: Promise<Response>,
  signal: Call["signal"],
): Promise<Response> {
  if (!signal) return work;
  const letGo = ({ body }: Response) => {
    if (signal.aborted) body?.cancel().catch(() => {});
  };
  work.then(letGo, () => {});
  return withAbort(work, signal);
}

/** A stream as far as it decides what becomes of the request. */
function watched(
  house: House,
  call: Call,
  sent: Attempt,
  response: Response,
): Promise<Guarded> {
  const watch = call.folds ? foldStream : guardStream;
  return watch(response, {
    model: call.model,
    now: house.now,
    onEvent: (meaning) => learnEvent(house, sent, meaning),
    deadlines: house.holds,
    signal: call.signal,
  });
}

function answerOf(call: Call, guarded: Guarded): Answer | { error: unknown } {
  switch (guarded.kind) {
    case "open":
      return { response: guarded.response, outcome: { kind: "ok" } };
    case "failed":
      return { response: guarded.response, outcome: guarded.outcome };
    case "broken":
      if (call.folds) return { error: guarded.error };
      return {
        response: guarded.response,
        // it may have been served, and charged, like one that a gateway lost
        outcome: { kind: "hiccup", status: 502 },
      };
  }
}

/** Learns what a stream says about its account. */
function learnEvent(
  house: House,
  sent: Attempt,
  meaning: EventMeaning,
): void {
  const now = house.now();
  if (meaning.kind === "rate-limits") {
    const facts = readRateLimitsEvent(meaning.json, now, sent.model);
    void learnFacts(house, sent, facts);
  } else if (meaning.kind === "failed") {
    const outcome = readStreamFailure(meaning, now, sent.model);
    void learnOutcome(house, sent, outcome);
  }
}

/** The request as `fetch` is given it. */
function outgoing(
  call: Call,
  sent: Attempt,
  headers: HeaderRecord,
): OutgoingInit {
  const { method, body: { body, replayable } } = call;
  const init: OutgoingInit = {
    ...call.others,
    method,
    headers,
  };
  if (call.signal) init.signal = call.signal;
  if (body === undefined) return init;
  if (!replayable) return Object.assign(init, { body, duplex: "half" });
  // what may be charged must not be sent twice by the runtime itself
  return Object.assign(init, sent.pool === "first" ? { body } : sentOnce(body));
}

/** The account whose turn state this session carries. */
function servedLast(house: House, call: Call): string | undefined {
  if (call.session === undefined) return undefined;
  return house.sessions.get(call.session, house.now())?.alias;
}

function acceptOf(call: Call): string {
  return /\/responses(\?|$)/.test(call.url)
    ? "text/event-stream"
    : "application/json";
}

function meaningOf(
  house: House,
  { model }: Call,
  { status, headers }: Response,
  bodyText: string | undefined,
  headerFacts: HeaderFacts,
): Outcome {
  const now = house.now();
  return readAnswer({ status, headers, bodyText, now, model, headerFacts });
}

/** The beginning of a body as text, leaving it unread for the caller. */
async function peek(response: Response): Promise<string> {
  const reader = response.clone().body?.getReader();
  if (!reader) return "";
  const timer = setTimeout(() => void reader.cancel(), ERROR_BODY_MS);
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (let size = 0; size < MOST_ERROR_BYTES;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.length;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // what came until then is what there is
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
  return text;
}
