/**
 * A caller's request, taken apart once and put together for each attempt.
 *
 * @module
 */
import { readBody, type ReplayBody, STRING_TYPE } from "./account/body.ts";
import { adaptBody, withoutCiphertext } from "./codex/adapt.ts";
import {
  type HeaderRecord,
  headerRecord,
  readRequestBody,
  sessionKey,
} from "./codex/request.ts";

/** What the caller wants sent to the backend. */
export interface ReplayableRequest {
  /** The backend URL it means. */
  url: string;
  method: string;
  headers: HeaderRecord;
  body: ReplayBody;
  /** What else the caller passed, for the fetch underneath. */
  others: Omit<RequestInit, "method" | "headers" | "body" | "signal">;
  signal: AbortSignal | null | undefined;
  /** undefined when unknown */
  model: string | undefined;
  /** Names the conversation; undefined when nothing does. */
  session: string | undefined;
  /** It asks for a response, so that a stream may come. */
  isResponses: boolean;
  /** The caller did not ask for a stream, so it is to be folded into one response. */
  folds: boolean;
  /** The body as sent, where it could be read. */
  json: Record<string, unknown> | undefined;
}

/** How a call is read. */
export interface ReadCallOptions {
  maxReplayBytes: number;
}

/** The URL that `fetch` was given. */
export function urlOf(input: RequestInfo | URL): string {
  if (typeof input === "string") return input;
  return input instanceof URL ? input.href : input.url;
}

/**
 * Reads what `fetch` was given.
 *
 * @param url The backend URL that it means.
 * @param input As for `fetch`.
 * @param init As for `fetch`; its fields win over those of a `Request`.
 * @param options Bounds.
 */
export function readRequest(
  url: string,
  input: RequestInfo | URL,
  init: RequestInit,
  options: ReadCallOptions,
): ReplayableRequest | Promise<ReplayableRequest> {
  const request = input instanceof Request ? input : undefined;
  const signal = init.signal === undefined ? request?.signal : init.signal;
  signal?.throwIfAborted();
  // read before the body: afterwards Bun does not know a form's type any more
  const headers = headerRecord(init.headers ?? request?.headers);
  const given = init.body ?? request?.body;
  const { maxReplayBytes } = options;
  const taken = readBody(given, maxReplayBytes, signal);
  const finish = (body: ReplayBody) =>
    callOf({ url, request, init, signal, headers, body });
  return taken instanceof Promise ? taken.then(finish) : finish(taken);
}

/** What a call is made of. */
interface Parts {
  url: string;
  request: Request | undefined;
  init: RequestInit;
  signal: AbortSignal | null | undefined;
  headers: HeaderRecord;
  body: ReplayBody;
}

function callOf(
  { url, request, init, signal, headers, body }: Parts,
): ReplayableRequest {
  if (body.contentType !== null) headers["content-type"] ??= body.contentType;
  const { model, json } = readRequestBody(
    body.readable,
    declaredType(headers),
    headers["content-encoding"],
  );
  const method = init.method ?? request?.method ?? "GET";
  const isResponses = method.toUpperCase() === "POST" &&
    /\/responses(\?|$)/.test(url);
  const others = othersOf(init);
  const call: ReplayableRequest = {
    url,
    method,
    headers,
    body,
    others: request ? { redirect: request.redirect, ...others } : others,
    signal,
    model,
    session: sessionKey(json, headers),
    isResponses,
    folds: false,
    json,
  };
  if (!isResponses || !json) return call;
  const adapted = adaptBody(json);
  call.folds = adapted.folds;
  if (adapted.json) rewrite(call, adapted.json);
  return call;
}

const NAMED: ReadonlySet<string> = new Set([
  "method",
  "headers",
  "body",
  "signal",
]);

/** What a call has no field of its own for. */
function othersOf(init: RequestInit): ReplayableRequest["others"] {
  const others: Record<string, unknown> = {};
  for (const name in init) {
    if (!NAMED.has(name)) others[name] = init[name as keyof RequestInit];
  }
  return others;
}

/** The content type, but for the one that a runtime gives any string: that says nothing. */
function declaredType(headers: HeaderRecord): string | undefined {
  const type = headers["content-type"];
  return type?.toLowerCase() === STRING_TYPE.toLowerCase() ? undefined : type;
}

/** Gives a call another body. */
function rewrite(call: ReplayableRequest, json: Record<string, unknown>): void {
  const text = JSON.stringify(json);
  call.json = json;
  call.body = {
    body: text,
    readable: text,
    contentType: null,
    replayable: true,
  };
  call.headers["content-type"] = "application/json";
}

/**
 * Leaves out of a call what only another account could read.
 *
 * @returns Whether there was anything of that kind.
 */
export function removeForeignContent(call: ReplayableRequest): boolean {
  const cleaned = call.json && withoutCiphertext(call.json);
  if (!cleaned) return false;
  rewrite(call, cleaned);
  return true;
}
