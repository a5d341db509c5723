/**
 * Who may come in: callers that know the key, under a name that is this
 * server's own, and no page that a browser shows. And the key itself, in a file
 * beside the store.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import {
  mkdir,
  readFile,
  rename,
  stat,
  unlink,
  writeFile,
} from "node:fs/promises";
import { isIP } from "node:net";
import { dirname, join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { isLoopback } from "../codex/endpoints.ts";
import { unlessMissing } from "../store/file.ts";
import { isHeaderText } from "../values.ts";

/** Holds the key instead of the file. */
export const KEY_VARIABLE = "CODEX_ROTATOR_SERVE_KEY";
/** A shorter key can be guessed (characters). */
const MIN_KEY_LENGTH = 16;

const MAX_HEADER_BYTES = 64 * 1024;
/** A server on one of these is reached under whatever address its machine has. */
const ANY_ADDRESS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);
/** A key in the path, for clients that send a token of their own. */
const PATH_KEY = /^\/+k\/([^/]*)(?=\/|$)/;

export interface Access {
  /** The bearer key; null: none. */
  readonly key: string | null;
  /** Names and addresses of the server besides those of the loopback. */
  readonly hosts: readonly string[];
}

/** Returns an error as clients of the OpenAI API read it. */
export function failure(
  status: number,
  type: string,
  message: string,
  headers: Record<string, string> = {},
): Response {
  const error = { type, code: type, message };
  return Response.json({ error }, { status, headers });
}

/** Returns a request's path without the key that may stand in it; at a wrong place it is masked. */
export function pathOf(request: Request): string {
  const path = new URL(request.url).pathname.replace(PATH_KEY, "") || "/";
  return path.replaceAll(/(\/k\/)[^/]+/gi, "$1…");
}

/** Returns why a caller is turned away, before anything of its body is read; undefined: it may come in. */
export function refusal(
  request: Request,
  access: Access,
): Response | undefined {
  const { headers } = request;
  if (sizeOf(headers) > MAX_HEADER_BYTES) {
    return failure(
      431,
      "headers_too_large",
      `The headers are larger than ${MAX_HEADER_BYTES} bytes; send fewer`,
    );
  }
  if (!isOwnHost(request, access.hosts)) {
    return failure(
      403,
      "foreign_host",
      "The Host header does not name this server; use the address it listens on, or start it with --allow-host NAME",
    );
  }
  if (isFromBrowser(headers)) {
    return failure(
      403,
      "browser_refused",
      "The request comes from a page in a browser, and those are not served; use a program of your own",
    );
  }
  if (headers.get("upgrade")?.toLowerCase().includes("websocket")) {
    return failure(
      426,
      "upgrade_refused",
      "WebSockets are not served; go on over HTTP",
      { upgrade: "HTTP/1.1" },
    );
  }
  if (access.key === null || knowsKey(request, access.key)) return undefined;
  return failure(
    401,
    "invalid_key",
    "The key of this server is missing or wrong; send it as a bearer token; who runs the server sees it with --show-key",
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

/** Pages in a browser send one of these, programs neither. */
function isFromBrowser(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  return headers.has("origin") || (site !== null && site !== "none");
}

/** Whether the key is in the path, or else is the bearer token. */
function knowsKey(request: Request, key: string): boolean {
  const inPath = PATH_KEY.exec(new URL(request.url).pathname)?.[1];
  const bearer = /^Bearer +(\S+) *$/i
    .exec(request.headers.get("authorization") ?? "")?.[1];
  const shown = inPath === undefined ? bearer : decoded(inPath);
  // compares in a time that tells nothing about the key
  return timingSafeEqual(digest(shown ?? ""), digest(key)) &&
    shown !== undefined;
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

/** Returns the key if a header can carry it, and throws a `TypeError` otherwise. */
export function usableKey(key: string, source: string): string {
  if (isHeaderText(key)) return key;
  throw new TypeError(
    `${source} holds characters that no header can carry; use letters, digits and punctuation, without spaces`,
  );
}

/** Returns what makes it easier than need be for others to spend the accounts' usage. */
export function dangersOf(key: string | null, hostname: string): string[] {
  const dangers: string[] = [];
  if (key !== null && key.length < MIN_KEY_LENGTH) {
    dangers.push(
      `The key has ${key.length} characters and can be guessed; use ${MIN_KEY_LENGTH} or more`,
    );
  }
  if (!isLoopback(hostname.includes(":") ? `[${hostname}]` : hostname)) {
    dangers.push(
      `--host ${hostname} is reached from other machines without encryption: whoever listens on the way reads the key; put a server with TLS in front`,
    );
  }
  return dangers;
}

export function keyFile(storePath: string): string {
  return join(dirname(storePath), "serve-key");
}

/**
 * Reads the key, and makes one where there is none yet: of several processes at
 * once the one that makes the other file.
 *
 * @throws {Error} When others may read the file, or it cannot be written.
 */
export async function readOrMakeKey(path: string): Promise<string> {
  const other = `${path}.new`;
  for (let tries = 0; tries < 40; tries++) {
    const key = await readKey(path);
    if (key !== "") return usableKey(key, path);
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const text = `${randomBytes(32).toString("base64url")}\n`;
      await writeFile(other, text, { mode: 0o600, flag: "wx" });
      // somebody else may have made it before this one was alone
      await ((await readKey(path)) ? unlink(other) : rename(other, path));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      if (code === "EEXIST") await sleep(50);
      else {
        throw new Error(
          `The key file ${path} cannot be written (${code}); make its folder writable, or name a key in ${KEY_VARIABLE}`,
        );
      }
    }
  }
  throw new Error(`There is no key in ${path}; delete it and ${other}`);
}

/** Returns "" where there is none. */
async function readKey(path: string): Promise<string> {
  const found = await unlessMissing(stat(path));
  if (found === undefined) return "";
  if (process.platform !== "win32" && (found.mode & 0o077) !== 0) {
    throw new Error(
      `Others than its owner may read the key in ${path}; delete the file, and a new key is made`,
    );
  }
  return (await readFile(path, "utf8")).trim();
}
