import type { AccountPool } from "../pool/account_pool.ts";
import type { StateCache } from "../store/state_cache.ts";
import { shortText } from "../codex/error_report.ts";
import { networkErrorText } from "../errors.ts";
import type { FetchLike, Store } from "../types.ts";
import type { CreditCaps } from "../spending_types.ts";
import type { CreditPolicy, RotatorEvent } from "../report_types.ts";
import { type Limits, withTimeLimit } from "./abort.ts";

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
  /** The process ends by itself before long, so nothing may be in memory alone. */
  readonly endsSoon?: boolean;
  readonly fetch: FetchLike;
  /** Epoch ms. */
  readonly now: () => number;
  /** The credit policy in force now. */
  readonly policy: () => CreditPolicy;
  /** The caps on credits in force now. */
  readonly caps: () => CreditCaps;
  /** Tells the owner; never throws. */
  readonly emit: (event: RotatorEvent) => void;
}

/** A call that got an answer in time, or why it did not. */
export type FetchedText = { response: Response; text: string } | {
  error: string;
};

/** More than this of an answer to a token or usage call is not read (bytes). */
const MAX_BYTES = 1024 * 1024;

/**
 * A small call of our own (token, usage): whole answer as text, time limit,
 * and no redirect followed, because it carries a secret.
 *
 * @param context Where the fetch comes from.
 * @param request URL, and the rest as for `fetch`.
 * @param limits How long it may take in all, and what ends it early.
 */
export async function fetchText(
  { fetch }: Pick<AccountContext, "fetch">,
  { url, ...init }: RequestInit & { url: string },
  limits: Limits,
): Promise<FetchedText> {
  try {
    return await withTimeLimit(limits, async (signal) => {
      const response = await fetch(url, {
        ...init,
        redirect: "manual",
        signal,
      });
      return { response, text: await readText(response, signal) };
    });
  } catch (error) {
    if (isDenied(error)) throw error;
    // it is told and stored, and a fetch of the caller's may quote anything
    return { error: shortText(networkErrorText(error, url)) };
  }
}

/** A permission that the context denies: its owner must hear of it as it is. */
export function isDenied(error: unknown): boolean {
  return error instanceof Error && error.name === "NotCapable";
}

/** Reads a body as text, up to a bound. */
async function readText(
  { body }: Response,
  signal: AbortSignal,
): Promise<string> {
  if (!body) return "";
  const reader = body.getReader();
  const cancel = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener("abort", cancel, { once: true });
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (let size = 0; size <= MAX_BYTES;) {
      signal.throwIfAborted();
      const { done, value } = await reader.read();
      signal.throwIfAborted();
      if (done) return text + decoder.decode();
      size += value.length;
      text += decoder.decode(value, { stream: true });
    }
    throw new Error("the answer is larger than 1 MiB");
  } finally {
    signal.removeEventListener("abort", cancel);
    cancel();
  }
}
