/**
 * A rotator behind a base URL, for agents that know nothing else. It chooses
 * nothing: whom a request goes to is the rotator's own business.
 *
 * @module
 */
import process from "node:process";
import { decompressed } from "../body.ts";
import { readRequestBody } from "../codex/request.ts";
import { readText } from "../codex/json.ts";
import type { Rotator } from "../rotator.ts";
import { failure, failureOf } from "./failure.ts";
import { type Gate, refusal } from "./gate.ts";
import { METRICS_TYPE, metricsText } from "./metrics.ts";
import { Observer, type Result, type ServedRequest } from "./observer.ts";
import { headersIn, headersOut, readBounded, relay } from "./passage.ts";
import { KEY_VARIABLE, usableKey } from "./key.ts";

/** How a handler works. */
export interface HandlerOptions {
  /**
   * The bearer key that callers have to show; null: none, for a server that
   * only programs of its owner can reach.
   * @default {process.env.CODEX_ROTATOR_SERVE_KEY}
   */
  key?: string | null;
  /**
   * Names and addresses under which the server is reached, besides those of the
   * loopback; `0.0.0.0` and `::` stand for every address.
   * @default {[]}
   */
  hosts?: readonly string[];
  /**
   * A larger request body is refused, bytes.
   * @default {33554432}
   */
  maxBodyBytes?: number;
  /** Counts requests; events of the rotator count only where it is told of them. */
  observer?: Observer;
}

const MOST_BODY_BYTES = 32 * 1024 * 1024;
const BACKEND_PATH =
  /^(?:\/v1|\/backend-api\/codex)?(\/responses|\/responses\/compact|\/models)$/;
const SESSION_HEADERS = [
  "session-id",
  "session_id",
  "conversation_id",
  "thread-id",
];

/** What a handler works with. */
interface Desk {
  readonly rotator: Rotator;
  readonly gate: Gate;
  readonly maxBodyBytes: number;
  readonly observer: Observer;
}

/**
 * Makes a rotator answer HTTP requests: `POST /v1/responses` and
 * `/v1/responses/compact`, `GET /v1/models` (also without `/v1`, and under
 * `/backend-api/codex`), `GET /health`, `/status` and `/metrics`.
 *
 * @param rotator Who serves.
 * @param options The key and the bounds.
 * @returns A handler for `Deno.serve`, `Bun.serve` and their like.
 * @throws {TypeError} When there is no key, or one that no header can carry.
 *
 * @example
 * ```ts
 * import { createRotator, memoryStore } from "../../mod.ts";
 * import { createHandler } from "./mod.ts";
 *
 * await using rotator = createRotator({ store: memoryStore() });
 * const handler = createHandler(rotator, { key: "secret" });
 * const headers = { authorization: "Bearer secret" };
 * const url = "http://127.0.0.1:8791/health";
 * const answer = await handler(new Request(url, { headers }));
 * if (!answer.ok) throw new Error("It is not well");
 * ```
 */
export function createHandler(
  rotator: Rotator,
  options: HandlerOptions = {},
): (request: Request) => Promise<Response> {
  const desk: Desk = {
    rotator,
    gate: { key: keyOf(options), hosts: options.hosts ?? [] },
    maxBodyBytes: options.maxBodyBytes ?? MOST_BODY_BYTES,
    observer: options.observer ?? new Observer(),
  };
  return (request) => serve(desk, request);
}

function keyOf(options: HandlerOptions): string | null {
  if (options.key === null) return null;
  const key = options.key ?? process.env[KEY_VARIABLE];
  if (key === undefined || key === "") {
    throw new TypeError(
      `No key is set; pass one as the key option or in ${KEY_VARIABLE}, or null where only your own programs can reach the server`,
    );
  }
  return usableKey(key, "The key");
}

/** Answers a request, and sees it to its end. */
async function serve(desk: Desk, request: Request): Promise<Response> {
  const { observer } = desk;
  const served = observer.begin();
  const left = new AbortController();
  let isOver = false;
  const end = (result: Result) => {
    if (isOver) return;
    isOver = true;
    request.signal.removeEventListener("abort", leave);
    observer.end(served, result);
  };
  const leave = () => {
    left.abort(request.signal.reason);
    end("cancelled");
  };
  // let go of at the end, as some servers abort it then as well
  request.signal.addEventListener("abort", leave);
  const response = await answer(desk, request, served, left.signal)
    .catch(failureOf);
  served.status = response.status;
  const result = resultOf(response.status);
  if (!response.body) {
    end(result);
    return response;
  }
  const body = relay(response.body, (error) => {
    if (error === undefined) end(result);
    else end(error === null ? "cancelled" : "failed");
  });
  const { status, statusText, headers } = response;
  return new Response(body, { status, statusText, headers });
}

function resultOf(status: number): Result {
  if (status < 400) return "ok";
  if (status === 429) return "limited";
  return status < 500 ? "refused" : "failed";
}

async function answer(
  desk: Desk,
  request: Request,
  served: ServedRequest,
  signal: AbortSignal,
): Promise<Response> {
  const refused = refusal(request, desk.gate);
  if (refused) return refused;
  const { pathname, search } = new URL(request.url);
  const path = BACKEND_PATH.exec(pathname)?.[1];
  if (path === undefined && !isOwnPath(pathname)) {
    return failure(
      404,
      "not_found",
      "There is nothing at this path; use a base URL that ends in /v1",
    );
  }
  const wanted = path?.startsWith("/responses") ? "POST" : "GET";
  if (request.method !== wanted) {
    return failure(
      405,
      "method_not_allowed",
      `The method is ${request.method}; this path takes ${wanted}`,
      { allow: wanted },
    );
  }
  if (path !== undefined) {
    return await pass(desk, request, path + search, served, signal);
  }
  return await ownAnswer(desk, pathname as OwnPath);
}

type OwnPath = "/health" | "/status" | "/metrics";

function isOwnPath(path: string): path is OwnPath {
  return path === "/health" || path === "/status" || path === "/metrics";
}

async function ownAnswer(desk: Desk, path: OwnPath): Promise<Response> {
  switch (path) {
    case "/health":
      return Response.json({ status: "ok" });
    case "/status": {
      const report = await desk.rotator.status();
      const accounts = report.accounts.map((it) => ({ ...it, email: null }));
      return Response.json({ ...report, accounts });
    }
    case "/metrics": {
      const text = metricsText(desk.observer, await desk.rotator.status());
      return new Response(text, { headers: { "content-type": METRICS_TYPE } });
    }
  }
}

/** Hands a request to the rotator, and its answer to the caller. */
async function pass(
  desk: Desk,
  request: Request,
  path: string,
  served: ServedRequest,
  signal: AbortSignal,
): Promise<Response> {
  const { rotator, observer, maxBodyBytes } = desk;
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
  if (observer.onRequest) await describe(served, request.headers, bytes);
  const init: RequestInit = {
    method: request.method,
    headers: headersIn(request.headers),
    signal,
  };
  if (bytes.length > 0) init.body = bytes;
  const response = await observer.watch(
    served,
    () => rotator.fetch(path, init),
  );
  served.account = rotator.accountOf(response) ?? null;
  const { status, statusText } = response;
  const headers = headersOut(response.headers);
  return new Response(response.body, { status, statusText, headers });
}

/** Notes what a request is about, as far as that gives nothing of its content away. */
async function describe(
  served: ServedRequest,
  headers: Headers,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const { model, json } = readRequestBody(
    await decompressed(bytes, headers.get("content-encoding")),
    headers.get("content-type"),
  );
  served.model = model ?? null;
  served.session = readText(json?.prompt_cache_key) ??
    SESSION_HEADERS.map((name) => headers.get(name)).find(Boolean) ?? null;
}
