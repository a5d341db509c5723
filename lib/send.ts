/**
 * One request over the network, and what its answer means. The account's
 * headers go nowhere but to the backend.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";
import { withAbort } from "./account/abort.ts";
import { sentOnce } from "./account/body.ts";
import { identityOf } from "./account/identity.ts";
import { type Attempt, learnFacts, learnOutcome } from "./account/learn.ts";
import { needsBody, type Outcome, readAnswer } from "./codex/answer.ts";
import { readHeaders } from "./codex/headers.ts";
import {
  backendHeaders,
  type HeaderRecord,
  targetOf,
} from "./codex/request.ts";
import {
  type EventMeaning,
  readRateLimitsEvent,
  readStreamFailure,
} from "./codex/stream.ts";
import { foldStream } from "./fold_stream.ts";
import { type Guarded, guardStream, isEventStream } from "./stream_guard.ts";
import type { ReplayableRequest } from "./request.ts";
import type { RotatorContext } from "./context.ts";

/** More of an error's body is not looked at, bytes. */
const MAX_ERROR_BYTES = 64 * 1024;
/** An error's body that takes longer is not waited for, ms. */
const ERROR_BODY_MS = 5_000;
const MAX_REDIRECTS = 20;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** Headers that name or prove the account. */
const IDENTITY_HEADERS = [
  "authorization",
  "chatgpt-account-id",
  "x-openai-fedramp",
  "x-codex-turn-state",
  "cookie",
];

/** What came back, and what it means. */
export interface Answer {
  response: Response;
  outcome: Outcome;
}

/** An error of the network. */
export interface Failed {
  error: unknown;
}

/** What `fetch` is given beside the URL. */
interface OutgoingInit extends Omit<RequestInit, "headers"> {
  headers: HeaderRecord;
}

/**
 * Sends a request, and learns what its answer says of usage and credits.
 *
 * @throws The reason of the caller's signal, when that aborts.
 */
export async function send(
  context: RotatorContext,
  call: ReplayableRequest,
  attempt: Attempt,
): Promise<Answer | Failed> {
  const init = initOf(context, call, attempt);
  let response: Response;
  try {
    response = await abortable(context.fetch(call.url, init), call.signal);
    if (isRedirect(response) && call.others.redirect !== "manual") {
      const end = await follow(context, call, init, response);
      response = end.response;
      // what another server says teaches nothing about the account
      if (end.isForeign) return { response, outcome: { kind: "other" } };
    }
  } catch (error) {
    call.signal?.throwIfAborted();
    if (error instanceof RedirectError) throw error;
    return { error };
  }
  const { model, signal } = call;
  const { headers, status } = response;
  const headerFacts = readHeaders(headers, attempt.beganAt, model);
  const bodyText = needsBody(status)
    ? await withAbort(peek(response), signal)
    : undefined;
  const now = context.now();
  const outcome = readAnswer({
    status,
    headers,
    bodyText,
    now,
    model,
    headerFacts,
  });
  const isAboutUsage = outcome.kind === "ok" ||
    outcome.kind === "usage-limit" || outcome.kind === "credits-refused";
  if (isAboutUsage) await learnFacts(context, attempt, headerFacts);
  const isStream = outcome.kind === "ok" && call.isResponses &&
    isEventStream(response, headerFacts.contentType);
  if (!isStream) return { response, outcome };
  const watch = call.folds ? foldStream : guardStream;
  const guarded = await watch(response, {
    model,
    now: context.now,
    onEvent: (meaning) => learnEvent(context, attempt, meaning),
    deadlines: context.holds,
    signal,
  });
  signal?.throwIfAborted();
  return answerOf(call, guarded);
}

/** The request as `fetch` is given it. */
function initOf(
  context: RotatorContext,
  call: ReplayableRequest,
  attempt: Attempt,
): OutgoingInit {
  const { record: account, alias } = attempt.runner;
  const { body, replayable } = call.body;
  const headers = backendHeaders(
    call.headers,
    identityOf(account, attempt.access),
    {
      version: context.version,
      accept: /\/responses(\?|$)/.test(call.url)
        ? "text/event-stream"
        : "application/json",
      keepTurnState: call.session !== undefined &&
        context.sessions.get(call.session, context.now())?.alias === alias,
    },
  );
  const { method } = call;
  const init: OutgoingInit = { ...call.others, method, headers };
  init.redirect = "manual";
  if (call.signal) init.signal = call.signal;
  if (body === undefined) return init;
  if (!replayable) return Object.assign(init, { body, duplex: "half" });
  // what may be charged must not be sent twice by the runtime itself
  return Object.assign(
    init,
    attempt.pool === "first" ? { body } : sentOnce(body),
  );
}

/**
 * Waits no longer than the caller wants, also for a fetch that does not listen
 * to the signal; what still comes of it is discarded.
 */
function abortable(
  work: Promise<Response>,
  signal: ReplayableRequest["signal"],
): Promise<Response> {
  if (!signal) return work;
  work.then(({ body }) => {
    if (signal.aborted) body?.cancel().catch(() => {});
  }, () => {});
  return withAbort(work, signal);
}

/** A redirect that cannot be followed: sending again would not help. */
class RedirectError extends TypeError {}

function isRedirect({ status, headers }: Response): boolean {
  return REDIRECTS.has(status) && headers.has("location");
}

/** Follows redirects as `fetch` does, which follows those away from the backend itself. */
async function follow(
  context: RotatorContext,
  call: ReplayableRequest,
  given: OutgoingInit,
  first: Response,
): Promise<{ response: Response; isForeign: boolean }> {
  if (call.others.redirect === "error") {
    await first.body?.cancel();
    throw new RedirectError('The backend redirects, and redirect is "error"');
  }
  let [response, init, url] = [first, given, call.url];
  for (let count = 0; isRedirect(response); count++) {
    await response.body?.cancel();
    if (count === MAX_REDIRECTS) {
      throw new RedirectError(
        `Too many redirects: ${MAX_REDIRECTS} were followed`,
      );
    }
    const target = URL.parse(response.headers.get("location")!, url);
    if (target === null || !/^https?:$/.test(target.protocol)) {
      throw new RedirectError(
        "The backend redirects to something that is no URL",
      );
    }
    target.hash = "";
    url = target.href;
    init = redirected(init, response.status, init.body === call.body.body);
    if (targetOf(url, context.backend) !== url) {
      for (const name of IDENTITY_HEADERS) delete init.headers[name];
      response = await context.fetch(url, { ...init, redirect: "follow" });
      return { response: marked(response), isForeign: true };
    }
    response = await context.fetch(url, init);
  }
  return { response: marked(response), isForeign: false };
}

/** Tells of the redirects that `fetch` did not follow itself. */
function marked(response: Response): Response {
  return Object.defineProperty(response, "redirected", { value: true });
}

/** Method and body after a redirect, by the rules of the fetch standard. */
function redirected(
  init: OutgoingInit,
  status: number,
  replayable: boolean,
): OutgoingInit {
  const method = (init.method ?? "GET").toUpperCase();
  const headers = { ...init.headers };
  const becomesGet = (status === 303 && method !== "GET" &&
    method !== "HEAD") || (status < 303 && method === "POST");
  if (!becomesGet) {
    if (init.body && !replayable) {
      throw new RedirectError(
        "The backend redirects a request whose body cannot be sent again",
      );
    }
    return { ...init, headers };
  }
  const { body: _dropped, ...rest } = init;
  for (const name of ["content-type", "content-encoding", "content-length"]) {
    delete headers[name];
  }
  return { ...rest, method: "GET", headers };
}

/** Learns what a stream says about its account. */
function learnEvent(
  context: RotatorContext,
  attempt: Attempt,
  meaning: EventMeaning,
): void {
  const now = context.now();
  if (meaning.kind === "rate-limits") {
    const facts = readRateLimitsEvent(meaning.json, now, attempt.model);
    void learnFacts(context, attempt, facts);
  } else if (meaning.kind === "failed") {
    const outcome = readStreamFailure(meaning, now, attempt.model);
    void learnOutcome(context, attempt, outcome);
  }
}

function answerOf(call: ReplayableRequest, guarded: Guarded): Answer | Failed {
  const { response } = guarded;
  switch (guarded.kind) {
    case "open":
      return { response, outcome: { kind: "ok" } };
    case "failed":
      return { response, outcome: guarded.outcome };
    case "broken":
      // it may have been served, and charged, like one that a gateway lost
      return call.folds
        ? { error: guarded.error }
        : { response, outcome: { kind: "hiccup", status: 502 } };
  }
}

/** The beginning of a body as text, leaving it unread for the caller. */
async function peek(response: Response): Promise<string> {
  const reader = response.clone().body?.getReader();
  if (!reader) return "";
  const timer = setTimeout(() => void reader.cancel(), ERROR_BODY_MS);
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (let size = 0; size < MAX_ERROR_BYTES;) {
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
