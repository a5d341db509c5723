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
  /** What it returned. */
  redirect: RequestRedirect;
  /** The body can be sent again. */
  replayable: boolean;
}

/**
 * Has `fetch` show redirects instead of following them with all headers.
 *
 * @returns What is to be done with them.
 */
export function withoutRedirects(init: OutgoingInit): RequestRedirect {
  const { redirect = "follow" } = init;
  init.redirect = "manual";
  return redirect;
}

/** Whether `fetch` could send a request at all; asked when it did not. */
export function isSendable(url: string, init: OutgoingInit): boolean {
  // a stream would be used up by this
  const body = init.body instanceof ReadableStream ? null : init.body ?? null;
  try {
    new Request(url, { ...init, body } as RequestInit);
    return true;
  } catch {
    return false;
  }
}

/** A redirect that cannot be followed: sending again would not help. */
export class RedirectError extends TypeError {}

/** What following redirects came to. */
export interface Followed {
  response: Response;
  /** Somebody else than the backend answered. */
  isForeign: boolean;
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
): Promise<Followed> {
  let { url, init } = outgoing;
  let response = first;
  let isForeign = false;
  for (let count = 0;; count++) {
    const said = isRedirect(response) ? response.headers.get("location") : null;
    if (said === null) {
      return { response: count === 0 ? response : marked(response), isForeign };
    }
    await response.body?.cancel();
    if (outgoing.redirect === "error") {
      throw new RedirectError('The backend redirects, and redirect is "error"');
    }
    if (count === MOST_REDIRECTS) {
      throw new RedirectError(
        `Too many redirects: ${MOST_REDIRECTS} were followed`,
      );
    }
    const location = resolved(said, url);
    init = redirected(init, response.status, outgoing.replayable);
    // also where it leads back: then the account's headers are gone
    isForeign ||= targetOf(location.href, backend) !== location.href;
    if (isForeign) {
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

function resolved(location: string, url: string): URL {
  const target = URL.parse(location, url);
  if (target === null || !/^https?:$/.test(target.protocol)) {
    throw new RedirectError(
      "The backend redirects to something that is no URL",
    );
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
