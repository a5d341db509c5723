/**
 * How a caller's request becomes one to the backend.
 *
 * @module
 */

import { isRecord, parseJson, readText } from "./json.ts";

const OPENAI_API = "https://api.openai.com";
const NOWHERE = "http://relative.invalid";
const MEANT = /^(?:\/v1)?(\/responses|\/responses\/compact|\/models)$/;
/** A rest of a URL in which nothing needs to be resolved. */
const PLAIN_REST = /^\/[\w\-/]*(?:\?[\w\-=&.%+]*)?$/;
/** A dot segment that the URL parser leaves alone and a server may resolve. */
const HIDDEN_DOTS = /(?:\/|%2f|%5c)(?:\.|%2e){1,2}(?:\/|%2f|%5c|$)/i;

/**
 * The URL at the backend that a request means; undefined when it is not meant
 * for the backend and must pass through untouched.
 *
 * @param input The request's URL, or a path that begins with `/`.
 * @param backend A base URL as `checkedBase()` returns it.
 */
export function targetOf(input: string, backend: string): string | undefined {
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

/** Whose request it is. */
export interface Identity {
  access: string;
  accountId: string | undefined;
  fedramp: boolean;
}

/** How the headers are to be made. */
export interface BackendHeadersOptions {
  /** The version of this toolkit, for `User-Agent`. */
  version: string;
  /** `Accept`, where the caller does not ask for something of its own. */
  accept: string;
  /** The account served this session last, so its turn state is its own. */
  keepTurnState: boolean;
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
]);
/** What runtimes and SDKs call themselves when nobody tells them otherwise. */
const DEFAULT_AGENT =
  /^(?:$|deno\/|bun\/|node(?:$|\/|\.js|-fetch)|undici|(?:async)?(?:azure)?openai\/|ai(?:-sdk)?\/|python(?:-requests|-httpx|-urllib)?\/|axios\/|got[ /]|go-http-client\/)/i;

/**
 * The headers of a request to the backend.
 *
 * @param caller What the caller sent.
 * @throws {TypeError} When a value cannot stand in a header.
 */
export function backendHeaders(
  caller: Headers | Record<string, string> | [string, string][] | undefined,
  identity: Identity,
  options: BackendHeadersOptions,
): Headers {
  const headers = new Headers();
  const given = caller instanceof Headers ? caller : new Headers(caller);
  given.forEach((value, name) => {
    if (DROPPED.has(name)) return;
    if (name === "x-codex-turn-state" && !options.keepTurnState) return;
    headers.append(name, value);
  });
  if (DEFAULT_AGENT.test(headers.get("user-agent") ?? "")) {
    headers.set("user-agent", `codex-rotator/${options.version}`);
  }
  if (!headers.get("originator")) headers.set("originator", "codex_rotator");
  if (isDefaultAccept(headers.get("accept") ?? "", options.accept)) {
    headers.set("accept", options.accept);
  }
  identify(headers, identity);
  return headers;
}

function isDefaultAccept(accept: string, wanted: string): boolean {
  if (accept === "" || accept.endsWith("*/*")) return true;
  return wanted === "text/event-stream" && accept === "application/json";
}

function identify(headers: Headers, identity: Identity): void {
  try {
    headers.set("authorization", `Bearer ${identity.access}`);
    if (identity.accountId) {
      headers.set("chatgpt-account-id", identity.accountId);
    }
  } catch {
    // The runtime's own message would show the token.
    throw new TypeError(
      "The account's token or id holds characters that no header can carry; sign in again",
    );
  }
  if (identity.fedramp) headers.set("x-openai-fedramp", "true");
}

/** What a request's body says, as far as it can be read. */
export interface RequestBody {
  model?: string;
  json?: Record<string, unknown>;
}

/**
 * Reads a request's body; only JSON objects that are not compressed say anything.
 *
 * @param contentType As the caller set it; a body without one is tried.
 * @param contentEncoding As the caller set it.
 */
export function readRequestBody(
  body: string | Uint8Array | undefined,
  contentType?: string | null,
  contentEncoding?: string | null,
): RequestBody {
  if (body === undefined) return {};
  if (contentType && !contentType.toLowerCase().includes("json")) return {};
  if (contentEncoding && contentEncoding.toLowerCase() !== "identity") {
    return {};
  }
  const text = typeof body === "string" ? body : new TextDecoder().decode(body);
  const json = parseJson(text);
  if (!isRecord(json)) return {};
  const model = readText(json.model);
  return model === null ? { json } : { json, model };
}
export { sessionKey } from "./session.ts";
