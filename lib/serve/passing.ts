/**
 * How a request gets to the rotator and its answer to the caller, and what of
 * both is passed on.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Rotator } from "../rotator.ts";
import { isHeaderText } from "../values.ts";
import { failure } from "./access.ts";
import type { Metrics, ServedRequest } from "./metrics.ts";

export interface PassOptions {
  readonly rotator: Rotator;
  readonly metrics: Metrics;
  readonly maxBodyBytes: number;
  readonly throttleWait: number;
}

export interface Visit {
  readonly served: ServedRequest;
  /** Aborts when the caller goes away. */
  readonly signal: AbortSignal;
}

/** Between two looks at a throttle that says it is over (ms). */
const MIN_WAIT = 100;

/** Speak of one connection only. */
const HOP_BY_HOP =
  "connection expect http2-settings keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade";
/** Belong to the caller and this server, not to the account's owner and the backend; the runtime's own fetch asks for the encodings that it can decode. */
const FROM_CALLER: ReadonlySet<string> = new Set(
  `${HOP_BY_HOP} accept-encoding authorization chatgpt-account-id content-length cookie forwarded host referer via x-openai-fedramp`
    .split(" "),
);
/** The body has been decoded. */
const FROM_BACKEND: ReadonlySet<string> = new Set(
  `${HOP_BY_HOP} alt-svc content-encoding content-length set-cookie strict-transport-security`
    .split(" "),
);
const NEVER_IN = /^(?:x-forwarded-|sec-)/;
const NEVER_OUT = /^access-control-/;

/** Returns headers without those of one hop, and without these. */
function kept(
  headers: Headers,
  dropped: ReadonlySet<string>,
  pattern: RegExp,
): Headers {
  const named = (headers.get("connection") ?? "").toLowerCase().split(",")
    .map((name) => name.trim());
  const result = new Headers();
  headers.forEach((value, name) => {
    if (dropped.has(name) || pattern.test(name) || named.includes(name)) return;
    result.append(name, value);
  });
  return result;
}

/** Reads a request's body; undefined: it is larger than `limit` (bytes). */
async function readBounded(
  request: Request,
  limit: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (Number(request.headers.get("content-length") ?? 0) > limit) {
    return undefined;
  }
  const reader = request.body?.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  for (let size = 0; reader;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    // the rest is not cancelled, which would cut the answer off as well
    if (size > limit) return undefined;
    chunks.push(value);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

export async function pass(
  options: PassOptions,
  request: Request,
  { served, signal, below }: Visit & { below: string },
): Promise<Response> {
  const { rotator, metrics, maxBodyBytes } = options;
  const bytes = await readBounded(request, maxBodyBytes);
  if (bytes === undefined) {
    return failure(
      413,
      "body_too_large",
      `The body is larger than ${maxBodyBytes} bytes; send less`,
      // what is left of it is not waited for
      { connection: "close" },
    );
  }
  const init: RequestInit = {
    method: request.method,
    headers: kept(request.headers, FROM_CALLER, NEVER_IN),
    signal,
  };
  if (bytes.length > 0) init.body = bytes;
  const url = rotator.baseURL + below + new URL(request.url).search;
  const response = await metrics.watch(
    served,
    () => fetchPatiently(options, () => rotator.fetch(url, init), signal),
  );
  served.account = rotator.accountOf(response) ?? null;
  const { status, statusText } = response;
  const headers = kept(response.headers, FROM_BACKEND, NEVER_OUT);
  if (served.account !== null) {
    headers.set("x-codex-rotator-account", headerText(served.account));
    headers.set("x-codex-rotator-standing", served.standing ?? "unknown");
  }
  return new Response(response.body, { status, statusText, headers });
}

/** Repeats what only a throttle keeps from being served, once it is over. */
async function fetchPatiently(
  { rotator, throttleWait }: PassOptions,
  send: () => Promise<Response>,
  signal: AbortSignal,
): Promise<Response> {
  const giveUpAt = performance.now() + throttleWait;
  for (;;) {
    const response = await send();
    const isOwn = rotator.accountOf(response) === undefined;
    if (response.status !== 429 || !isOwn) return response;
    const { error } = await response.clone().json().catch(() => ({}));
    const seconds = Number(response.headers.get("retry-after") ?? NaN);
    const wait = Math.max(MIN_WAIT, seconds * 1000);
    const isThrottle = error?.type === "rate_limit_exceeded" && wait >= 0;
    if (!isThrottle || performance.now() + wait > giveUpAt) return response;
    await response.body?.cancel();
    await sleep(wait, undefined, { signal });
  }
}

function headerText(text: string): string {
  return isHeaderText(text) ? text : encodeURIComponent(text.toWellFormed());
}

/** More of an answer's end need not be kept to find its token counts (bytes). */
const TAIL_BYTES = 64 * 1024;

/** The end of an answer, where its token counts are. */
export class Tail {
  readonly #chunks: Uint8Array[] = [];
  #size = 0;

  /** Adds a part of the answer. */
  add(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#size - this.#chunks[0]!.length >= TAIL_BYTES) {
      this.#size -= this.#chunks.shift()!.length;
    }
  }

  /** Returns the last counts that the answer holds. */
  tokens(): { inputTokens: number | null; outputTokens: number | null } {
    const decoder = new TextDecoder();
    const text = this.#chunks
      .map((chunk) => decoder.decode(chunk, { stream: true })).join("");
    // inside a text of the answer the quotes would have a backslash
    const last = (name: string) => {
      const found = [...text.matchAll(new RegExp(`"${name}": ?(\\d+)`, "g"))];
      return found.length === 0 ? null : Number(found.at(-1)![1]);
    };
    return {
      inputTokens: last("input_tokens"),
      outputTokens: last("output_tokens"),
    };
  }
}
