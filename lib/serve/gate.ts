/**
 * Who may come in: callers that know the key, on a name that is this server's
 * own, and no page that a browser shows.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import { isLoopback } from "../codex/endpoints.ts";
import { failure } from "./failure.ts";

/** More bytes of headers are refused. */
const MOST_HEADER_BYTES = 64 * 1024;
/** A server on one of these is reached by whatever address its machine has. */
const ANY_ADDRESS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/** What a caller has to show. */
export interface Gate {
  /** The bearer key; null: none. */
  readonly key: string | null;
  /** Names and addresses of the server besides those of the loopback. */
  readonly hosts: readonly string[];
}

/**
 * Turns a caller away before anything of its request is read.
 *
 * @returns The answer it gets; undefined: it may come in.
 */
export function refusal(request: Request, gate: Gate): Response | undefined {
  const { headers } = request;
  if (sizeOf(headers) > MOST_HEADER_BYTES) {
    return failure(
      431,
      "headers_too_large",
      `The headers are larger than ${MOST_HEADER_BYTES} bytes; send fewer`,
    );
  }
  if (!isOwnHost(request, gate.hosts)) {
    return failure(
      403,
      "foreign_host",
      "The Host header does not name this server; use the address it listens on",
    );
  }
  if (isFromBrowser(headers)) {
    return failure(
      403,
      "browser_refused",
      "The request comes from a page in a browser, and those are not served; use a program of your own",
    );
  }
  if (gate.key === null || knowsKey(headers, gate.key)) return undefined;
  return failure(
    401,
    "invalid_key",
    "The key of this server is missing or wrong; send it as a bearer token, and see it with: codex-rotator serve --show-key",
    { "www-authenticate": "Bearer" },
  );
}

function sizeOf(headers: Headers): number {
  let size = 0;
  headers.forEach((value, name) => size += name.length + value.length + 4);
  return size;
}

/** A page whose name was made to point at this machine still says its own name here. */
function isOwnHost(request: Request, hosts: readonly string[]): boolean {
  const { host } = new URL(request.url);
  return [request.headers.get("host") ?? host, host].every((name) =>
    isOwnName(hostnameOf(name), hosts)
  );
}

function isOwnName(name: string | undefined, hosts: readonly string[]) {
  if (name === undefined) return false;
  const bare = name.replace(/^\[|\]$/g, "");
  if (isLoopback(name) || hosts.some((it) => it.toLowerCase() === bare)) {
    return true;
  }
  return isIP(bare) !== 0 && hosts.some((it) => ANY_ADDRESS.has(it));
}

function hostnameOf(host: string): string | undefined {
  if (/[/?#@\\\s]/.test(host)) return undefined;
  return URL.parse(`http://${host}`)?.hostname;
}

/** Pages fetched by a browser carry one of these, programs neither. */
function isFromBrowser(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  return headers.has("origin") || (site !== null && site !== "none");
}

/** Compares in a time that tells nothing about the key. */
function knowsKey(headers: Headers, key: string): boolean {
  const shown = /^Bearer +(\S+) *$/i.exec(headers.get("authorization") ?? "");
  return timingSafeEqual(digest(shown?.[1] ?? ""), digest(key)) &&
    shown !== null;
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
