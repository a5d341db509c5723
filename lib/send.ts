/**
 * One request over the network, redirects included: the account's headers go
 * nowhere but to the backend.
 *
 * @module
 */
import { type HeaderRecord, targetOf } from "./codex/request.ts";
import type { FetchLike } from "./types.ts";

const MOST_REDIRECTS = 20;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** Headers that name or prove the account. */
const IDENTITY_HEADERS = [
  "authorization",
  "chatgpt-account-id",
  "x-openai-fedramp",
  "x-codex-turn-state",
  "cookie",
];

/** What `fetch` is given beside the URL. */
export interface OutgoingInit extends Omit<RequestInit, "headers"> {
  headers: HeaderRecord;
}

/** A request as it goes out. */
export interface Outgoing {
  url: string;
  /** As {@linkcode withoutRedirects} made it. */
  init: OutgoingInit;
  /** The body can be sent again. */
  replayable: boolean;
}

/**
 * Has `fetch` show redirects instead of following them with all headers.
 *
 * @returns Whether they are to be followed by {@linkcode followed}.
 */
export function withoutRedirects(init: OutgoingInit): boolean {
  if ((init.redirect ?? "follow") !== "follow") return false;
  init.redirect = "manual";
  return true;
}

/** Whether a response sends the request elsewhere. */
export function isRedirect({ status }: Response): boolean {
  return REDIRECTS.has(status);
}

/**
 * Follows a redirect, and those that it leads to, as `fetch` does.
 *
 * @param fetch The fetch to send with.
 * @param outgoing The request, with the account's headers.
 * @param backend Base URL under which those headers may go.
 * @param first What the request was answered.
 */
export async function followed(
  fetch: FetchLike,
  outgoing: Outgoing,
  backend: string,
  first: Response,
): Promise<Response> {
  let { url, init } = outgoing;
  let response = first;
  for (let count = 0;; count++) {
    const location = redirectOf(response, url);
    if (location === undefined) {
      return count === 0 ? response : marked(response);
    }
    if (count === MOST_REDIRECTS) {
      throw new TypeError(
        `Too many redirects: ${MOST_REDIRECTS} were followed`,
      );
    }
    await response.body?.cancel();
    init = redirected(init, response.status, outgoing.replayable);
    if (targetOf(location.href, backend) !== location.href) {
      for (const name of IDENTITY_HEADERS) delete init.headers[name];
    }
    url = location.href;
    response = await fetch(url, init);
  }
}

/** Tells of the redirects that `fetch` did not follow itself. */
function marked(response: Response): Response {
  return Object.defineProperty(response, "redirected", { value: true });
}

function redirectOf(response: Response, url: string): URL | undefined {
  if (!isRedirect(response)) return undefined;
  const location = response.headers.get("location");
  if (location === null) return undefined;
  const target = URL.parse(location, url);
  if (target === null || !/^https?:$/.test(target.protocol)) {
    throw new TypeError("The backend redirects to something that is no URL");
  }
  target.hash = "";
  return target;
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
      throw new TypeError(
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
