/** A handler on node:http, which Deno, Bun and Node all have. */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeStream } from "node:stream/web";
import {
  clearInterval,
  clearTimeout,
  setInterval,
  setTimeout,
} from "node:timers";

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
  /** Takes no more requests, and cuts those off that still run after `grace` (ms). */
  stop(grace: number): Promise<void>;
}

/** Answers a request. */
export type Handler = (request: Request) => Promise<Response>;

/** Node's own bound, 16 KiB, is too small for the metadata of some agents. */
const MAX_HEADER_BYTES = 64 * 1024;
const MAX_CONNECTIONS = 2000;
/** A request without a Host header, or with a strange one, is for nobody. */
const NOBODY = "http://nobody.invalid";
/** `Request` takes none of these. */
const UNKNOWN_METHODS: ReadonlySet<string> = new Set(["TRACE", "TRACK"]);

/** Starts a server; resolves when it listens. */
export async function startServer(
  handler: Handler,
  options: ListenOptions,
): Promise<RunningServer> {
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES });
  server.maxConnections = MAX_CONNECTIONS;
  const running = new Set<AbortController>();
  let isStopping = false;
  let onIdle = () => {};
  server.on("request", async (message, response) => {
    const left = new AbortController();
    running.add(left);
    if (isStopping) response.setHeader("connection", "close");
    await exchange(handler, message, { response, left });
    running.delete(left);
    if (running.size === 0) onIdle();
  });
  server.on("connect", (_message, socket) => {
    socket.end("HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\n\r\n");
  });
  await listen(server, options);
  const address = server.address() as AddressInfo;
  const sweeper = sweepStrangers(server, { ...options, port: address.port });
  return {
    url: originOf(address, options.hostname),
    async stop(grace) {
      isStopping = true;
      clearInterval(sweeper);
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
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  return `http://${host}:${port}`;
}

/** How often connections are looked at (ms). */
const SWEEP_MS = 1000;
/** So many open connections may have used the descriptors up. */
const CROWD = 64;

/**
 * Closes connections on which no request has come within two sweeps: the first
 * sweep marks them, so that a busy process reads what has come before it closes
 * any. Callers that fill up all descriptors lose them soon.
 */
function sweepStrangers(server: Server, options: ListenOptions) {
  const strangers = new Map<Socket, "new" | "old">();
  let open = 0;
  let peak = 0;
  server.on("connection", (socket: Socket) => {
    strangers.set(socket, "new");
    peak = Math.max(peak, ++open);
    socket.once("close", () => {
      open--;
      strangers.delete(socket);
    });
  });
  server.on("request", ({ socket }) => strangers.delete(socket));
  const sweeper = setInterval(() => {
    for (const [socket, age] of strangers) {
      if (age === "old") socket.destroy();
      else strangers.set(socket, "old");
    }
    if (peak < CROWD || open > peak / 2) return;
    peak = 0;
    void listenAgain(server, options);
  }, SWEEP_MS);
  sweeper.unref();
  return sweeper;
}

/** Listens anew where a lack of descriptors has ended it, as it does in Deno without a word. */
async function listenAgain(
  server: Server,
  options: ListenOptions,
): Promise<void> {
  if (await answers(server, options) || !server.listening) return;
  server.close();
  await listen(server, options).catch(() => {});
}

/** Whether a connection to the server reaches it; true where none can be made. */
function answers(server: Server, options: ListenOptions): Promise<boolean> {
  const { hostname, port } = options;
  const host = hostname === "0.0.0.0" || hostname === "::"
    ? "localhost"
    : hostname;
  return new Promise((resolve) => {
    const reached = () => end(true);
    const end = (isReached: boolean) => {
      clearTimeout(timer);
      server.off("connection", reached);
      socket.destroy();
      resolve(isReached);
    };
    const socket = connect(port, host);
    const timer = setTimeout(() => end(false), SWEEP_MS);
    server.on("connection", reached);
    socket.on("error", reached);
  });
}

interface Exchange {
  readonly response: ServerResponse;
  /** Aborted when the caller goes away. */
  readonly left: AbortController;
}

/** Answers one request, to the end of its answer. Never rejects. */
async function exchange(
  handler: Handler,
  message: IncomingMessage,
  { response, left }: Exchange,
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
    if (UNKNOWN_METHODS.has(message.method ?? "")) {
      response.writeHead(405).end();
    } else {
      const answer = await handler(requestOf(message, left.signal));
      await send(answer, response, left.signal);
    }
    await gone;
  } catch {
    response.destroy();
  }
}

function requestOf(message: IncomingMessage, signal: AbortSignal): Request {
  const { method = "GET", headers: { host = "" } } = message;
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
  const isHost = /^[\w.:[\]-]+$/.test(host) && URL.canParse(origin);
  // a path that begins with two slashes would be taken for a host
  const path = message.url?.startsWith("/") ? message.url : "/";
  return new Request((isHost ? origin : NOBODY) + path, init);
}

/** Sends an answer no faster than it is taken. */
async function send(
  answer: Response,
  response: ServerResponse,
  left: AbortSignal,
): Promise<void> {
  response.writeHead(answer.status, [...answer.headers].flat());
  if (answer.body === null) return void response.end();
  response.flushHeaders();
  await pipeline(answer.body as NodeStream, response, { signal: left });
}
