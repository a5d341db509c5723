/**
 * A request over the network, with its redirects followed as `fetch` follows
 * them, but without taking an account's headers along to another server.
 */
import { withAbort } from "./abort.ts";
import { type HeaderRecord, targetOf } from "./codex/request.ts";
import type { RotatorContext } from "./context.ts";
import type { ReplayableRequest } from "./request.ts";

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

export interface OutgoingInit extends Omit<RequestInit, "headers"> {
  headers: HeaderRecord;
}

/** A redirect that cannot be followed: sending again would not help. */
export class RedirectError extends TypeError {}

/**
 * Fetches, and follows redirects; those away from the backend `fetch` follows
 * itself.
 *
 * @returns The response, and whether another server than the backend gave it.
 */
export async function fetchFollowing(
  context: Pick<RotatorContext, "backend" | "fetch">,
  request: Pick<ReplayableRequest, "url" | "body" | "others" | "signal">,
  init: OutgoingInit,
): Promise<{ response: Response; isForeign: boolean }> {
  const { signal, body, others } = request;
  let { url } = request;
  let isForeign = false;
  for (let count = 0;; count++) {
    const response = await abortable(context.fetch(url, init), signal);
    const location = REDIRECTS.has(response.status)
      ? response.headers.get("location")
      : null;
    if (isForeign || location === null || others.redirect === "manual") {
      // of these `fetch` itself knows nothing
      if (count > 0) {
        Object.defineProperty(response, "redirected", { value: true });
      }
      return { response, isForeign };
    }
    await response.body?.cancel();
    if (others.redirect === "error") {
      throw new RedirectError('The backend redirects, and redirect is "error"');
    }
    if (count === MAX_REDIRECTS) {
      throw new RedirectError(
        `Too many redirects: ${MAX_REDIRECTS} were followed`,
      );
    }
    url = locationOf(location, url);
    init = redirected(init, response.status, body.replayable);
    isForeign = targetOf(url, context.backend) !== url;
    if (!isForeign) continue;
    for (const name of IDENTITY_HEADERS) delete init.headers[name];
    init.redirect = "follow";
  }
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

function locationOf(location: string, url: string): string {
  const target = URL.parse(location, url);
  if (target === null || !/^https?:$/.test(target.protocol)) {
    throw new RedirectError(
      "The backend redirects to something that is no URL",
    );
  }
  target.hash = "";
  return target.href;
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
