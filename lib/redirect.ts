/**
 * Redirects of the backend, followed as `fetch` follows them, but without
 * taking an account's headers along to another server.
 */
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

/** What `fetch` is given beside the URL. */
export interface OutgoingInit extends Omit<RequestInit, "headers"> {
  headers: HeaderRecord;
}

/** A redirect that cannot be followed: sending again would not help. */
export class RedirectError extends TypeError {}

/** Whether a response asks to be followed. */
export function isRedirect({ status, headers }: Response): boolean {
  return REDIRECTS.has(status) && headers.has("location");
}

/** Follows redirects as `fetch` does, which follows those away from the backend itself. */
export async function follow(
  context: Pick<RotatorContext, "backend" | "fetch">,
  request: Pick<ReplayableRequest, "url" | "body" | "others">,
  first: { init: OutgoingInit; response: Response },
): Promise<{ response: Response; isForeign: boolean }> {
  if (request.others.redirect === "error") {
    await first.response.body?.cancel();
    throw new RedirectError('The backend redirects, and redirect is "error"');
  }
  let { response, init } = first;
  let url = request.url;
  for (let count = 0; isRedirect(response); count++) {
    await response.body?.cancel();
    if (count === MAX_REDIRECTS) {
      throw new RedirectError(
        `Too many redirects: ${MAX_REDIRECTS} were followed`,
      );
    }
    const target = URL.parse(response.headers.get("location")!, url);
    if (target === null || !/^https?:$/.test(target.protocol)) {
      throw new RedirectError(
        "The backend redirects to something that is no URL",
      );
    }
    target.hash = "";
    url = target.href;
    init = redirected(
      init,
      response.status,
      request.body.replayable,
    );
    if (targetOf(url, context.backend) !== url) {
      for (const name of IDENTITY_HEADERS) delete init.headers[name];
      response = await context.fetch(url, { ...init, redirect: "follow" });
      return { response: marked(response), isForeign: true };
    }
    response = await context.fetch(url, init);
  }
  return { response: marked(response), isForeign: false };
}

/** Tells of the redirects that `fetch` did not follow itself. */
function marked(response: Response): Response {
  return Object.defineProperty(response, "redirected", { value: true });
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
