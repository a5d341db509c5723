/**
 * A handler on node:http, which Deno, Bun and Node all have.
 *
 * @module
 */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { clearTimeout, setTimeout } from "node:timers";

/** Where to listen. */
export interface ListenOptions {
  /** A name or address of this machine. */
  hostname: string;
  /** 0: any free one. */
  port: number;
}

/** A server that listens. */
export interface RunningServer {
  /** Its origin, for example `http://127.0.0.1:8791`. */
  readonly url: string;
  /**
   * Takes no more requests and waits for those that run.
   *
   * @param grace How long, ms; then they are cut off.
   */
  stop(grace: number): Promise<void>;
}

/** Answers a request. */
export type Handler = (request: Request) => Promise<Response>;

/** Node's own bound, 16 KiB, is too small for the metadata of some agents. */
const MAX_HEADER_BYTES = 64 * 1024;
/** A request without a Host header, or with a strange one, is for nobody. */
const NOBODY = "http://nobody.invalid";

/**
 * Starts a server.
 *
 * @param handler Answers the requests.
 * @param options Where to listen.
 * @returns The server, listening.
 */
export async function startServer(
  handler: Handler,
  options: ListenOptions,
): Promise<RunningServer> {
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES });
  const running = new Set<AbortController>();
  let isStopping = false;
  let onIdle = () => {};
  server.on("request", async (message, response) => {
    const left = new AbortController();
    running.add(left);
    if (isStopping) response.setHeader("connection", "close");
    await exchange(handler, message, response, left);
    running.delete(left);
    if (running.size === 0) onIdle();
  });
  await listen(server, options);
  return {
    url: originOf(server.address() as AddressInfo, options.hostname),
    async stop(grace) {
      isStopping = true;
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, grace);
        onIdle = () => {
          clearTimeout(timer);
          resolve();
        };
        if (running.size === 0) onIdle();
      });
      for (const left of running) left.abort(new Error("The server stops"));
      server.closeAllConnections();
      await closed;
    },
  };
}

function listen(server: Server, options: ListenOptions): Promise<void> {
  const { hostname, port } = options;
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, hostname, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function originOf({ port }: AddressInfo, hostname: string): string {
  return `http://${
    hostname.includes(":") ? `[${hostname}]` : hostname
  }:${port}`;
}

/** One request from its arrival to the end of its answer. Never rejects. */
async function exchange(
  handler: Handler,
  message: IncomingMessage,
  response: ServerResponse,
  left: AbortController,
): Promise<void> {
  const gone = new Promise<void>((resolve) => {
    response.once("close", () => {
      if (!response.writableFinished) left.abort(new Error("The caller left"));
      resolve();
    });
  });
  // a broken connection also closes it, which is what counts
  message.on("error", () => {});
  response.on("error", () => {});
  try {
    const request = requestOf(message, left.signal);
    await send(await handler(request), response, left.signal);
    await gone;
  } catch {
    response.destroy();
  }
}

function requestOf(message: IncomingMessage, signal: AbortSignal): Request {
  const { method = "GET", headers: { host } } = message;
  const headers = new Headers();
  const { rawHeaders } = message;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
  }
  const init: RequestInit & { duplex?: "half" } = { method, headers, signal };
  if (method !== "GET" && method !== "HEAD") {
    init.body = Readable.toWeb(message) as ReadableStream<Uint8Array>;
    init.duplex = "half";
  }
  const origin = `http://${host}`;
  const base = URL.canParse(origin) ? origin : NOBODY;
  // a path that begins with two slashes would be taken for a host
  const path = message.url?.startsWith("/") ? message.url : "/";
  return new Request(base + path, init);
}

/** Sends an answer no faster than it is taken. */
async function send(
  answer: Response,
  response: ServerResponse,
  left: AbortSignal,
): Promise<void> {
  response.writeHead(answer.status, [...answer.headers].flat());
  const reader = answer.body?.getReader();
  if (reader === undefined) return void response.end();
  const cancel = () => void reader.cancel(left.reason).catch(() => {});
  if (left.aborted) return cancel();
  left.addEventListener("abort", cancel, { once: true });
  response.flushHeaders();
  for (;;) {
    const { done, value } = await reader.read();
    if (done || left.aborted) break;
    if (!response.write(value)) await drained(response);
  }
  left.removeEventListener("abort", cancel);
  response.end();
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      response.off("drain", go);
      response.off("close", go);
      resolve();
    };
    response.on("drain", go);
    response.on("close", go);
  });
}
