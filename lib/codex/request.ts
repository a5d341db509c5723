/** How a caller's request becomes one to the backend. */

import { VERSION } from "../version.ts";
import { isHeaderText, isRecord, parseJson, readText } from "../values.ts";

const OPENAI_API = "https://api.openai.com";
const NOWHERE = "http://relative.invalid";
const MEANT = /^(?:\/v1)?(\/responses|\/responses\/compact|\/models)$/;
/** A rest of a URL in which nothing needs to be resolved. */
const PLAIN_REST = /^\/[\w\-/]*(?:\?[\w\-=&.%+]*)?$/;
/** A dot segment that the URL parser leaves alone and a server may resolve. */
const HIDDEN_DOTS = /(?:\/|%2f|%5c)(?:\.|%2e){1,2}(?:\/|%2f|%5c|$)/i;

/**
 * The URL at the backend that a request, its URL, or a path that begins with `/`
 * means; undefined when it is not meant for the backend and must pass through
 * untouched.
 */
export function targetOf(
  asked: RequestInfo | URL,
  backend: string,
): string | undefined {
  const input = typeof asked === "object" && "url" in asked
    ? asked.url
    : String(asked);
  if (
    input.startsWith(backend) && PLAIN_REST.test(input.slice(backend.length))
  ) return input;
  const url = URL.parse(input, input.startsWith("/") ? NOWHERE : undefined);
  if (url === null) return undefined;
  url.hash = "";
  if (isUnder(url, backend)) return url.href;
  const path = MEANT.exec(url.pathname)?.[1];
  const relative = input.startsWith("/") && url.origin === NOWHERE;
  const official = url.origin === OPENAI_API && url.username === "" &&
    url.password === "" && url.pathname.startsWith("/v1/");
  if (path === undefined || !(relative || official)) return undefined;
  return `${backend}/codex${path}${url.search}`;
}

function isUnder(url: URL, backend: string): boolean {
  if (!url.href.startsWith(backend)) return false;
  const next = url.href[backend.length];
  if (next !== undefined && next !== "/" && next !== "?") return false;
  return !HIDDEN_DOTS.test(url.pathname.replaceAll(/%(?:25)+/g, "%"));
}

const VERSION_PARAMETER = "client_version";

/** The URL of the list of models for a client of this version; undefined: it names one already, or is of something else. */
export function withClientVersion(
  url: string,
  version: string,
): string | undefined {
  if (!/\/codex\/models(\?|$)/.test(url)) return undefined;
  const versioned = new URL(url);
  if (versioned.searchParams.get(VERSION_PARAMETER)) return undefined;
  versioned.searchParams.set(VERSION_PARAMETER, version);
  return versioned.href;
}

/** The list in the shape of OpenAI's API; undefined when this is no list of models. */
export function openAIModels(
  json: unknown,
): Record<string, unknown> | undefined {
  if (!isRecord(json) || !Array.isArray(json.models)) return undefined;
  const data = json.models.flatMap((model) => {
    const id = isRecord(model) ? readText(model.slug) : null;
    // since when there is a model the backend does not tell
    return id === null
      ? []
      : [{ id, object: "model", created: 0, owned_by: "openai" }];
  });
  return { object: "list", data };
}

export interface Identity {
  access: string;
  accountId: string | undefined;
  fedramp: boolean;
}

export interface BackendHeadersOptions {
  /** The Codex client version whose protocol this speaks, where the caller names none. */
  codexVersion?: string;
  /** `Accept`, where the caller does not ask for something of its own. */
  accept: string;
  /** The account served this session last, so its turn state is its own. */
  keepTurnState?: boolean;
}

const DROPPED: ReadonlySet<string> = new Set([
  "authorization",
  "chatgpt-account-id",
  "connection",
  "content-length",
  "cookie",
  "host",
  "keep-alive",
  "openai-organization",
  "openai-project",
  "transfer-encoding",
  "x-api-key",
  "x-openai-fedramp",
  // where the caller's own account is served, not ours
  "x-openai-account-routing-override",
  "x-openai-internal-codex-residency",
]);
/** What runtimes and SDKs call themselves when nobody tells them otherwise. */
const DEFAULT_AGENT =
  /^(?:$|deno\/|bun\/|node(?:$|\/|\.js|-fetch)|undici|(?:async)?(?:azure)?openai\/|ai(?:-sdk)?\/|python(?:-requests|-httpx|-urllib)?\/|axios\/|got[ /]|go-http-client\/|agents\/(?:javascript|python)\b|langchain)/i;

/** Headers by their names in lower case: cheaper than `Headers`, for what every request does. */
export type HeaderRecord = Record<string, string>;

/**
 * A caller's headers, in whichever form they came.
 *
 * @throws {TypeError} When they are not headers.
 */
export function headerRecord(given: HeadersInit | undefined): HeaderRecord {
  const record: HeaderRecord = Object.create(null);
  if (given === undefined || given === null) return record;
  const isPlain = Object.getPrototypeOf(given) === Object.prototype;
  if (isPlain && !(Symbol.iterator in given)) {
    for (const name of Object.keys(given)) {
      const key = name.toLowerCase();
      // names that differ only in case are one header: that is for Headers to join
      if (key in record) return headerRecord(new Headers(given));
      record[key] = String((given as Record<string, string>)[name]);
    }
    return record;
  }
  const headers = given instanceof Headers ? given : new Headers(given);
  headers.forEach((value, name) => {
    record[name] = value;
  });
  return record;
}

/**
 * The headers of a request to the backend, made from those of the caller.
 *
 * @throws {TypeError} When the account's token or id cannot stand in a header.
 */
export function backendHeaders(
  caller: HeaderRecord,
  identity: Identity,
  options: BackendHeadersOptions,
): HeaderRecord {
  const { access, accountId, fedramp } = identity;
  if (!isHeaderText(access) || (accountId && !isHeaderText(accountId))) {
    // the runtime's own message would show the token
    throw new TypeError(
      "The account's token or id holds characters that no header can carry; sign in again",
    );
  }
  const headers: HeaderRecord = {};
  for (const name in caller) {
    if (DROPPED.has(name)) continue;
    if (name === "x-codex-turn-state" && !options.keepTurnState) continue;
    headers[name] = caller[name]!;
  }
  const agent = headers["user-agent"];
  if (agent === undefined || DEFAULT_AGENT.test(agent)) {
    headers["user-agent"] = `codex-rotator/${VERSION}`;
  }
  if (!headers["originator"]) headers["originator"] = "codex_rotator";
  if (!headers["version"] && options.codexVersion !== undefined) {
    headers["version"] = options.codexVersion;
  }
  if (isDefaultAccept(headers["accept"] ?? "", options.accept)) {
    headers["accept"] = options.accept;
  }
  headers["authorization"] = `Bearer ${access}`;
  if (accountId) headers["chatgpt-account-id"] = accountId;
  if (fedramp) headers["x-openai-fedramp"] = "true";
  return headers;
}

function isDefaultAccept(accept: string, wanted: string): boolean {
  if (accept === "" || accept.endsWith("*/*")) return true;
  return wanted === "text/event-stream" && accept === "application/json";
}

/** Reads a request's decompressed body; only JSON objects say anything. One without a content type is tried. */
export function readRequestBody(
  body: string | Uint8Array | undefined,
  contentType?: string | null,
): { model?: string; json?: Record<string, unknown> } {
  if (body === undefined) return {};
  if (contentType && !contentType.toLowerCase().includes("json")) return {};
  const text = typeof body === "string" ? body : new TextDecoder().decode(body);
  const json = parseJson(text);
  if (!isRecord(json)) return {};
  const model = readText(json.model);
  return model === null ? { json } : { json, model };
}

/** Headers that name the conversation, best first. */
const SESSION_HEADERS: readonly string[] = [
  "session-id",
  "session_id",
  "conversation_id",
  "thread-id",
];
/** Longer texts are looked at from both ends only, characters. */
const MAX_WHOLE = 256;
const MAX_DEPTH = 3;
/** More parts of a list or an object are not looked at. */
const MAX_PARTS = 8;

/** A name for the conversation, that its later requests share; undefined when nothing tells it from others. */
export function sessionKey(
  json: Record<string, unknown> | undefined,
  headers: Readonly<Record<string, string>>,
): string | undefined {
  const cacheKey = readText(json?.prompt_cache_key);
  if (cacheKey !== null) return `prompt_cache_key:${sketch(cacheKey, 0)}`;
  for (const name of SESSION_HEADERS) {
    const value = readText(headers[name]);
    if (value !== null) return `${name}:${sketch(value, 0)}`;
  }
  const input = json?.input;
  if (!Array.isArray(input) || input.length < 2) return undefined;
  return `input:${sketch(json?.instructions, 0)}:${sketch(input[0], 0)}`;
}

/**
 * Enough of a value to tell it from others, at a cost that does not grow with
 * it: lengths, and long texts only from both ends.
 */
function sketch(value: unknown, depth: number): string {
  if (typeof value === "string") return sketchText(value);
  if (Array.isArray(value)) {
    const parts = depth < MAX_DEPTH ? value.slice(0, MAX_PARTS) : [];
    return `[${value.length}:${
      parts.map((part) => sketch(part, depth + 1)).join()
    }]`;
  }
  if (!isRecord(value)) return String(value);
  const keys = Object.keys(value);
  const parts = depth < MAX_DEPTH ? keys.slice(0, MAX_PARTS) : [];
  return `{${keys.length}:${
    parts.map((key) => `${sketchText(key)}=${sketch(value[key], depth + 1)}`)
      .join()
  }}`;
}

function sketchText(text: string): string {
  if (text.length <= MAX_WHOLE) return `${text.length}:${text}`;
  return `${text.length}:${text.slice(0, MAX_WHOLE / 2)}…${
    text.slice(-MAX_WHOLE / 2)
  }`;
}
