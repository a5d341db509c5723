/**
 * A rotator behind a base URL, for agents that know nothing else. It chooses
 * nothing: which account serves a request is the rotator's own business.
 */
import process from "node:process";
import { RotatorError, type RotatorErrorCode } from "../errors.ts";
import type { Rotator } from "../rotator.ts";
import type { StatusReport } from "../report_types.ts";
import { relay } from "../response.ts";
import {
  type Access,
  failure,
  KEY_VARIABLE,
  pathOf,
  refusal,
  usableKey,
} from "./access.ts";
import { fleetUsage } from "./fleet_usage.ts";
import { Metrics, METRICS_TYPE, type Result } from "./metrics.ts";
import { pass, type PassOptions, Tail, type Visit } from "./passing.ts";

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
   * A larger request body is refused (bytes).
   * @default {33554432}
   */
  maxBodyBytes?: number;
  /**
   * How long a request waits for a throttle to end (ms); how long it waits for
   * other limits is the rotator's own `maxWait`.
   * @default {120000}
   */
  throttleWait?: number;
  /** Counts requests; events of the rotator count only where it gets them. */
  metrics?: Metrics;
  /** Called with what the owner should know. */
  onWarning?: (message: string) => void;
}

const MAX_BODY_BYTES = 32 * 1024 * 1024;
const THROTTLE_WAIT = 120_000;

/** The backend's paths that are served, and the method of each. */
const PASSED: readonly [path: RegExp, method: string][] = [
  [/^\/responses(\/compact)?$/, "POST"],
  [/^\/models$/, "GET"],
  [/^\/(alpha\/search|(images|memories)\/[a-z_]+)$/, "POST"],
];
const BASE = /^(\/v1|\/backend-api\/codex)(?=\/)/;
/** The paths of other APIs, which clients try. */
const OTHER_API =
  /^(\/v1|\/backend-api\/codex)?\/(chat\/completions|completions|messages)$/;

const usage = async ({ rotator }: Parts) =>
  Response.json(fleetUsage(await rotator.status()));
/** Resets in the bank belong to accounts, and are used on OpenAI's own pages. */
const resetCredits = () => Response.json({ available_count: 0, credits: [] });

/** What the server answers by itself to a GET. */
const OWN: Record<
  string,
  (parts: Parts, request: Request) => Response | Promise<Response>
> = {
  "/health": () => Response.json({ status: "ok" }),
  "/status": async ({ rotator }) =>
    new Response(withoutEmails(await rotator.status()), {
      headers: { "content-type": "application/json" },
    }),
  "/metrics": async ({ rotator, metrics }) =>
    new Response(metrics.text(await rotator.status()), {
      headers: { "content-type": METRICS_TYPE },
    }),
  "/backend-api/wham/usage": usage,
  "/api/codex/usage": usage,
  "/backend-api/wham/rate-limit-reset-credits": resetCredits,
  "/api/codex/rate-limit-reset-credits": resetCredits,
  "/backend-api/wham/accounts/check": workspaces,
  "/api/codex/accounts/check": workspaces,
};

interface Parts extends PassOptions {
  readonly access: Access;
  readonly onWarning: (message: string) => void;
}

/**
 * Makes a rotator answer HTTP requests: the Responses API and Codex's other
 * endpoints under `/v1`, `/backend-api/codex` and `/`, the usage of the fleet,
 * and `GET /health`, `/status` and `/metrics`.
 *
 * @param rotator Who serves.
 * @param options The key and the bounds.
 * @returns A handler for `Deno.serve`, `Bun.serve` and their like.
 * @throws {TypeError} When there is no key, or one that no header can carry.
 *
 * @example
 * ```ts
 * import { createRotator, memoryStore } from "@codex-rotator/core";
 * import { createHandler } from "@codex-rotator/core/serve";
 *
 * await using rotator = createRotator({ store: memoryStore() });
 * const handler = createHandler(rotator, { key: "a-long-secret" });
 * const headers = { authorization: "Bearer a-long-secret" };
 * const url = "http://127.0.0.1:8791/health";
 * const answer = await handler(new Request(url, { headers }));
 * if (!answer.ok) throw new Error("It is not well");
 * ```
 */
export function createHandler(
  rotator: Rotator,
  options: HandlerOptions = {},
): (request: Request) => Promise<Response> {
  const parts: Parts = {
    rotator,
    access: { key: keyOf(options), hosts: options.hosts ?? [] },
    maxBodyBytes: options.maxBodyBytes ?? MAX_BODY_BYTES,
    throttleWait: options.throttleWait ?? THROTTLE_WAIT,
    metrics: options.metrics ?? new Metrics(),
    onWarning: options.onWarning ?? (() => {}),
  };
  return (request) => serve(parts, request);
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

async function serve(parts: Parts, request: Request): Promise<Response> {
  const { metrics } = parts;
  const served = metrics.begin(request.method, pathOf(request));
  const left = new AbortController();
  const tail = metrics.onRequest && new Tail();
  let isOver = false;
  const end = (result: Result) => {
    if (isOver) return;
    isOver = true;
    request.signal.removeEventListener("abort", leave);
    Object.assign(served, tail?.tokens());
    metrics.end(served, result);
  };
  const leave = () => {
    left.abort(request.signal.reason);
    end("cancelled");
  };
  // removed at the end, as some servers abort it then as well
  request.signal.addEventListener("abort", leave);
  const response = await answer(parts, request, { served, signal: left.signal })
    .catch(failureOf);
  served.status = response.status;
  const result = resultOf(response.status);
  if (!response.body) {
    end(result);
    return response;
  }
  const body = relay(response.body.getReader(), {
    onChunk: (chunk) => tail?.add(chunk),
    onEnd: (error) =>
      end(
        error === undefined ? result : error === null ? "cancelled" : "failed",
      ),
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
  parts: Parts,
  request: Request,
  visit: Visit,
): Promise<Response> {
  const refused = refusal(request, parts.access);
  if (refused?.status === 401) warnOfKey(parts);
  if (refused) return refused;
  const { method } = request;
  const { path } = visit.served;
  const own = Object.hasOwn(OWN, path) ? OWN[path] : undefined;
  const below = path.replace(BASE, "");
  const wanted = own ? "GET" : PASSED.find(([it]) => it.test(below))?.[1];
  if (wanted === undefined) return notFound(path);
  if (method !== wanted) {
    return failure(
      405,
      "method_not_allowed",
      `The method is ${method}; this path takes ${wanted}`,
      { allow: wanted },
    );
  }
  return own
    ? await own(parts, request)
    : await pass(parts, request, { ...visit, below });
}

function notFound(path: string): Response {
  return failure(
    404,
    "not_found",
    OTHER_API.test(path)
      ? `Only the Responses API is served, not ${path}; set your client to it (POST /v1/responses)`
      : "There is nothing at this path; use a base URL that ends in /v1",
  );
}

/** Tells the owner of wrong keys, the more of them the less often. */
function warnOfKey({ metrics, onWarning }: Parts): void {
  const times = metrics.count("wrong_keys");
  if (!/^10*$/.test(String(times))) return;
  const requests = times === 1 ? "1 request" : `${times} requests`;
  onWarning(`${requests} without the server's key, or with a wrong one`);
}

/** The report without addresses, in whichever field they stand. */
function withoutEmails(report: StatusReport): string {
  const accounts = report.accounts.map((it) => ({ ...it, email: null }));
  return JSON.stringify(
    { ...report, accounts },
    (_name, value) =>
      typeof value === "string"
        ? value.replace(/[^\s"'<>()/\\]+@[\w-]+(\.[\w-]+)+/g, "(address)")
        : value,
  );
}

/** A Codex that is signed in sends nothing before it is told where its workspace is served. */
function workspaces(_parts: Parts, { headers }: Request): Response {
  const workspace = {
    id: headers.get("chatgpt-account-id") ?? "",
    workspace_backend_origin: "https://chatgpt.com",
    account_routing_override: "NO_CONSTRAINT",
  };
  return Response.json({ accounts: [workspace] });
}

/** The status of each error of the rotator itself. */
const STATUSES: Record<RotatorErrorCode, number> = {
  // as when no account may serve: trying again changes nothing
  no_accounts: 403,
  store_corrupt: 500,
  store_version: 500,
  store_locked: 503,
  store_unwritable: 500,
};

/** What a caller is told when its request could not be sent. */
function failureOf(error: unknown): Response {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof RotatorError) {
    return failure(STATUSES[error.code], error.code, message);
  }
  const text = `The backend was not reached: ${message}`;
  return failure(502, "backend_unreachable", text);
}
