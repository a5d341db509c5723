/** A caller's request, read once and sendable again. */
import { createHash } from "node:crypto";
import {
  decompressed,
  readBody,
  type ReplayBody,
  STRING_TYPE,
  whole,
} from "./body.ts";
import { adaptBody, type Learned, withoutCiphertext } from "./codex/adapt.ts";
import {
  type HeaderRecord,
  headerRecord,
  readRequestBody,
  sessionKey,
  withClientVersion,
} from "./codex/request.ts";
import type { RotatorContext } from "./context.ts";
import type { EventContext } from "./report_types.ts";
import { definedIn } from "./values.ts";

/** The header that keeps a request on included usage; it is never passed on. */
const MAX_CREDITS_HEADER = "x-codex-rotator-max-credits";

export interface ReplayableRequest {
  url: string;
  method: string;
  headers: HeaderRecord;
  body: ReplayBody;
  /** What else the caller passed, for the fetch underneath. */
  others: Omit<RequestInit, "method" | "headers" | "body" | "signal">;
  signal: AbortSignal | null | undefined;
  /** undefined when unknown */
  model: string | undefined;
  /** A hash that names the conversation; undefined when nothing does. */
  session: string | undefined;
  /** It asks for a response, so that a stream may come. */
  isResponses: boolean;
  /** It costs nothing. */
  isFree: boolean;
  /** It must not be paid for. */
  includedOnly: boolean;
  /** The caller did not ask for a stream, so it is to be folded into one response. */
  folds: boolean;
  /** The caller may go on from the items of the answer by their ids. */
  refersBack: boolean;
  /** It asks for the models as SDKs do, so they are to be told in OpenAI's shape. */
  listsModels: boolean;
  /** The body as sent, where it could be read. */
  json: Record<string, unknown> | undefined;
  about: EventContext;
  /** When it was made, epoch ms. */
  startedAt: number;
}

/** What the request asks for cannot be done; the message says what can. */
export class RequestError extends Error {}

interface FetchArguments {
  input: RequestInfo | URL;
  /** Its fields win over those of a `Request`. */
  init: RequestInit;
  /** The backend URL that it means. */
  url: string;
  /** Its number among the requests of the rotator. */
  number: number;
}

/**
 * Reads what `fetch` was given.
 *
 * @throws {RequestError} When it asks for something that cannot be done.
 */
export async function readRequest(
  context: RotatorContext,
  { input, init, url, number }: FetchArguments,
): Promise<ReplayableRequest> {
  const startedAt = context.now();
  const request = input instanceof Request ? input : undefined;
  const signal = init.signal === undefined ? request?.signal : init.signal;
  signal?.throwIfAborted();
  // read before the body: afterwards Bun does not know a form's type any more
  const headers = headerRecord(init.headers ?? request?.headers);
  const includedOnly = takeMaxCredits(headers);
  const given = init.body ?? request?.body;
  const body = await readBody(given, context.maxReplayBytes, signal);
  if (body.contentType !== null) headers["content-type"] ??= body.contentType;
  const { model, json } = await readContent(body, headers);
  const method = init.method ?? request?.method ?? "GET";
  const isResponses = /^POST$/i.test(method) && /\/responses(\?|$)/.test(url);
  const adapted = isResponses && json
    ? adaptBody(json, context.learned)
    : undefined;
  const versioned = /^GET$/i.test(method)
    ? withClientVersion(url, headers.version || context.codexVersion)
    : undefined;
  const key = sessionKey(json, headers);
  const session = key && hashOf(key);
  const read: ReplayableRequest = {
    url: versioned ?? url,
    method,
    headers,
    body,
    others: othersOf(init, request),
    signal,
    model,
    session,
    isResponses,
    isFree: /^(?:GET|HEAD)$/i.test(method),
    includedOnly,
    folds: adapted?.folds ?? false,
    refersBack: adapted?.refersBack ?? false,
    listsModels: versioned !== undefined,
    json,
    startedAt,
    about: { request: number, ...definedIn({ model, session }) },
  };
  if (adapted?.json) rewrite(read, adapted.json);
  const mark = session && context.sessions.get(session, startedAt)?.mark;
  if (mark) removeForeignContent(read, mark);
  return read;
}

/** A conversation's name goes nowhere as it is: it may say what it is about. */
function hashOf(name: string): string {
  return createHash("sha256").update(name).digest("hex").slice(0, 16);
}

/** Takes the header away that bounds what a request may cost. */
function takeMaxCredits(headers: HeaderRecord): boolean {
  const value = headers[MAX_CREDITS_HEADER];
  if (value === undefined) return false;
  delete headers[MAX_CREDITS_HEADER];
  if (value.trim() === "0") return true;
  throw new RequestError(
    `${MAX_CREDITS_HEADER} is "${value}"; the only value it takes is 0: served on included usage or not at all`,
  );
}

const NAMED: ReadonlySet<string> = new Set([
  "method",
  "headers",
  "body",
  "signal",
]);

/** What a request has no field of its own for. */
function othersOf(
  init: RequestInit,
  request: Request | undefined,
): ReplayableRequest["others"] {
  const others: Record<string, unknown> = request
    ? { redirect: request.redirect }
    : {};
  for (const name in init) {
    if (!NAMED.has(name)) others[name] = init[name as keyof RequestInit];
  }
  return others;
}

/** Reads what a body says; the content type that a runtime gives any string says nothing. */
async function readContent(body: ReplayBody, headers: HeaderRecord) {
  const type = headers["content-type"];
  const isTold = type?.toLowerCase() !== STRING_TYPE.toLowerCase();
  const text = await decompressed(body, headers["content-encoding"]);
  return readRequestBody(text, isTold ? type : undefined);
}

function rewrite(
  request: ReplayableRequest,
  json: Record<string, unknown>,
): void {
  const text = JSON.stringify(json);
  request.json = json;
  request.body = whole(text);
  request.headers["content-type"] = "application/json";
  delete request.headers["content-encoding"];
}

/** Mends what the backend's text refuses in a request, and remembers it for later ones; false where nothing can be mended. */
export function mendRequest(
  request: ReplayableRequest,
  learned: Learned,
  text: string,
): boolean {
  if (!request.isResponses || !request.json) return false;
  learned.refused.learn(text, request.json);
  const { json } = adaptBody(request.json, learned);
  if (json) rewrite(request, json);
  return json !== undefined;
}

/**
 * Leaves out of a request what only another account could read.
 *
 * @param mark As returned for an earlier turn: what has come since then stays.
 * @returns A mark of how far that went; undefined: there was nothing of that kind.
 */
export function removeForeignContent(
  request: ReplayableRequest,
  mark?: string,
): string | undefined {
  if (!request.json) return undefined;
  const isLast = mark === undefined
    ? undefined
    : (text: string) => hashOf(text) === mark;
  const readable = withoutCiphertext(request.json, isLast);
  if (!readable) return undefined;
  rewrite(request, readable.json);
  return hashOf(readable.last ?? "");
}
