import { clearTimeout, setTimeout } from "node:timers";
import { shortText } from "../codex/error_report.ts";
import { withAbort } from "./abort.ts";
import type { CreditPolicy, FetchLike, RotatorEvent, Store } from "../types.ts";
import type { AccountPool } from "../pool/account_pool.ts";
import type { StateCache } from "../store/state_cache.ts";

/** What the parts that keep accounts alive share. */
export interface AccountContext {
  readonly store: Store;
  readonly cache: StateCache;
  readonly accounts: AccountPool;
  /** Backend URL without a trailing slash. */
  readonly backend: string;
  /** Issuer URL without a trailing slash. */
  readonly issuer: string;
  readonly version: string;
  readonly fetch: FetchLike;
  /** Epoch ms. */
  readonly now: () => number;
  /** The credit policy in force now. */
  readonly policy: () => CreditPolicy;
  /** Tells the owner; never throws. */
  readonly emit: (event: RotatorEvent) => void;
}

/** A call that got an answer in time, or why it did not. */
export type FetchedText = { response: Response; text: string } | {
  error: string;
};

/** More than this of an answer to a token or usage call is not read, bytes. */
const MOST_BYTES = 1024 * 1024;

/**
 * A small call of our own (token, usage): whole answer as text, time limit,
 * and no redirect followed, because it carries a secret.
 *
 * @param context Where the fetch comes from.
 * @param url Where to.
 * @param init As for `fetch`.
 * @param limitMs How long it may take in all, ms.
 * @param signal Ends it early.
 */
export async function fetchText(
  context: Pick<AccountContext, "fetch">,
  url: string,
  init: RequestInit,
  limitMs: number,
  signal?: AbortSignal,
): Promise<FetchedText> {
  const limit = new AbortController();
  const end = () => limit.abort(new Error("it was given up"));
  signal?.addEventListener("abort", end, { once: true });
  if (signal?.aborted) end();
  const timer = setTimeout(
    () => limit.abort(new Error(`no answer within ${limitMs / 1000} s`)),
    limitMs,
  );
  try {
    // a fetch that does not listen to the signal is not waited for either
    const response = await withAbort(
      context.fetch(url, { ...init, redirect: "manual", signal: limit.signal }),
      limit.signal,
    );
    return { response, text: await readText(response, limit.signal) };
  } catch (error) {
    if (isDenied(error)) throw error;
    // it is told and stored, and a fetch of the caller's may quote anything
    const text = error instanceof Error ? error.message : String(error);
    return { error: shortText(text) };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}

/** A permission that the context denies: its owner must hear of it as it is. */
export function isDenied(error: unknown): boolean {
  return error instanceof Error && error.name === "NotCapable";
}

/** The body as text, up to a bound. */
async function readText(
  response: Response,
  signal: AbortSignal,
): Promise<string> {
  if (!response.body) return "";
  const reader = response.body.getReader();
  const stop = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (let size = 0; size <= MOST_BYTES;) {
      const { done, value } = await reader.read();
      signal.throwIfAborted();
      if (done) return text + decoder.decode();
      size += value.length;
      text += decoder.decode(value, { stream: true });
    }
    await reader.cancel();
    throw new Error("the answer is larger than 1 MiB");
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
