import type { AccountPool } from "../pool/account_pool.ts";
import type { StateCache } from "../store/state_cache.ts";
import { shortText } from "../codex/error_report.ts";
import { isDenied, networkErrorText } from "../errors.ts";
import type { FetchLike, Store } from "../types.ts";
import type { TokenUsage } from "../codex/stream.ts";
import type { PooledAccount } from "../pool/account_pool.ts";
import type { Pool } from "../pool/standing.ts";
import type { EventContext, RotatorEvent } from "../report_types.ts";
import { type Limits, withTimeLimit } from "../abort.ts";
import { VERSION } from "../version.ts";

export interface AccountContext {
  readonly store: Store;
  readonly cache: StateCache;
  readonly accounts: AccountPool;
  /** Backend URL without a trailing slash. */
  readonly backend: string;
  /** Issuer URL without a trailing slash. */
  readonly issuer: string;
  /** The process ends by itself before long, so nothing may be in memory alone. */
  readonly endsSoon: boolean;
  readonly fetch: FetchLike;
  /** Epoch ms. */
  readonly now: () => number;
  /** Tells the owner; never throws. */
  readonly emit: (event: RotatorEvent) => void;
}

export interface Attempt {
  readonly account: PooledAccount;
  readonly pool: Pool;
  readonly model: string | undefined;
  /** It costs nothing, whatever the account's quota. */
  readonly isFree: boolean;
  /** What its events tell of the request. */
  readonly about: EventContext;
  readonly access: string;
  /** When it began, epoch ms. */
  readonly beganAt: number;
  /** The balance of its credits as known before. */
  readonly balanceBefore: string | null;
  /** The balance that its answer told; null while it told none. */
  balanceAfter: string | null;
  /** What it used, as its answer told; null while it told nothing. */
  usage: TokenUsage | null;
  /** Names it among the paid requests; undefined when it costs nothing. */
  readonly paid: string | undefined;
  /** It failed after content had come, so that it may have been charged. */
  hasBegun?: boolean;
  /** A balance that fell although nothing was to be paid. */
  charged: string | null;
  /** Called when the answer has ended. */
  onEnd: () => void;
}

/**
 * Bun takes NODE_TLS_REJECT_UNAUTHORIZED from the `.env` of the folder that it
 * is started in: a project's file must not switch off the check of certificates.
 */
const PINNED: RequestInit | undefined = "Bun" in globalThis
  ? { tls: { rejectUnauthorized: true } } as RequestInit
  : undefined;

/** Sends a request; a later change of `globalThis.fetch` counts. */
export const systemFetch: FetchLike = (input, init) =>
  globalThis.fetch(input, PINNED ? { ...init, ...PINNED } : init);

/**
 * A body for a request that must not reach the server twice. Deno sends a
 * request again by itself when a connection that was used before breaks, unless
 * its body is a blob or a stream.
 *
 * @param body Text, bytes or a blob.
 */
export function sentOnce(body: BodyInit): BodyInit {
  const again = globalThis.navigator?.userAgent?.startsWith("Deno/") ?? false;
  return again ? new Blob([body as BlobPart]) : body;
}

export type FetchedText = { response: Response; text: string } | {
  error: string;
};

/** More than this of an answer to a token or usage call is not read (characters). */
const MAX_LENGTH = 1024 * 1024;

/**
 * A small call of our own (token, usage): whole answer as text, time limit,
 * and no redirect followed, because it carries a secret.
 */
export async function fetchText(
  { fetch }: Pick<AccountContext, "fetch">,
  { url, ...init }: RequestInit & { url: string },
  limits: Limits,
): Promise<FetchedText> {
  try {
    return await withTimeLimit(limits, async (signal) => {
      const own = { ...init, redirect: "manual", signal } as const;
      const response = await fetch(url, own);
      return { response, text: await readText(response, signal) };
    });
  } catch (error) {
    if (isDenied(error)) throw error;
    // it is told and stored, and a fetch of the caller's may quote anything
    return { error: shortText(networkErrorText(error, url)) };
  }
}

/** A call to the issuer may take this long (ms). */
const ISSUER_LIMIT_MS = 20_000;

/** Posts what serves once, such as a refresh token: its owner is locked out when it is shown twice. */
export async function postToIssuer(
  { fetch, signal }: Pick<AccountContext, "fetch"> & { signal?: AbortSignal },
  url: string,
  body: URLSearchParams | Record<string, string>,
): Promise<FetchedText> {
  const isForm = body instanceof URLSearchParams;
  const type = isForm ? "x-www-form-urlencoded" : "json";
  const called = await fetchText({ fetch }, {
    url,
    method: "POST",
    headers: {
      "content-type": `application/${type}`,
      "accept": "application/json",
      "user-agent": `codex-rotator/${VERSION}`,
    },
    body: sentOnce(isForm ? `${body}` : JSON.stringify(body)),
  }, { ms: ISSUER_LIMIT_MS, signal });
  signal?.throwIfAborted();
  return called;
}

async function readText({ body }: Response, signal: AbortSignal) {
  if (!body) return "";
  let text = "";
  const parts = body.pipeThrough(new TextDecoderStream(), { signal });
  for await (const part of parts) {
    text += part;
    if (text.length > MAX_LENGTH) {
      throw new Error("the answer is larger than 1 MiB");
    }
  }
  return text;
}
