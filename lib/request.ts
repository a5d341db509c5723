/**
 * A caller's request, taken apart once and put together for each attempt.
 *
 * @module
 */
import { readBody, type ReplayBody } from "./account/body.ts";
import { readRequestBody, sessionKey } from "./codex/request.ts";

/** What the caller wants sent to the backend. */
export interface Call {
  /** The backend URL it means. */
  url: string;
  method: string;
  headers: Headers;
  body: ReplayBody;
  /** What else the caller passed, for the fetch underneath. */
  init: RequestInit;
  signal: AbortSignal | null | undefined;
  /** undefined when unknown */
  model: string | undefined;
  /** Names the conversation; undefined when nothing does. */
  session: string | undefined;
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
export async function readCall(
  url: string,
  input: RequestInfo | URL,
  init: RequestInit,
  options: ReadCallOptions,
): Promise<Call> {
  const request = input instanceof Request ? input : undefined;
  const signal = init.signal === undefined ? request?.signal : init.signal;
  signal?.throwIfAborted();
  const given = init.body === undefined ? request?.body : init.body;
  const { maxReplayBytes } = options;
  const taken = readBody(given, maxReplayBytes, signal);
  const body = taken instanceof Promise ? await taken : taken;
  const headers = new Headers(init.headers ?? request?.headers);
  if (body.contentType !== null && !headers.has("content-type")) {
    headers.set("content-type", body.contentType);
  }
  const { model, json } = readRequestBody(
    body.readable,
    // the text/plain that a runtime gives a bare string says nothing
    headers.get("content-type"),
    headers.get("content-encoding"),
  );
  return {
    url,
    method: init.method ?? request?.method ?? "GET",
    headers,
    body,
    init: request ? { redirect: request.redirect, ...init } : init,
    signal,
    model,
    session: sessionKey(json, headers),
  };
}
