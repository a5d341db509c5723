import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { codeOf } from "../store/file.ts";

export interface CallbackAnswer {
  readonly status: number;
  readonly title: string;
  readonly text: string;
}

type Answer = (query: URLSearchParams) => Promise<CallbackAnswer>;

/** A browser may take `localhost` for either. */
export const LOOPBACKS: readonly string[] = ["127.0.0.1", "::1"];
/** What the address bar may call this machine. */
const NAMES = ["localhost", "127.0.0.1", "[::1]"];

/**
 * Waits for the browser on the first of the ports that is free.
 *
 * @param answer Called for each return, with its query.
 * @returns undefined when all ports are taken.
 */
export async function listenForCallback(
  ports: readonly number[],
  loopbacks: readonly string[],
  answer: Answer,
): Promise<CallbackServer | undefined> {
  for (const port of ports) {
    const server = new CallbackServer(port, answer);
    if (await server.listen(loopbacks)) return server;
  }
  return undefined;
}

/** Servers on both loopback addresses that wait for the browser's return. */
export class CallbackServer {
  readonly port: number;
  readonly #answer: Answer;
  readonly #servers: Server[] = [];
  readonly #pending = new Set<Promise<void>>();
  #target: string | undefined;

  constructor(port: number, answer: Answer) {
    this.port = port;
    this.#answer = answer;
  }

  /** @returns False when the port is taken on any of the addresses. */
  async listen(loopbacks: readonly string[]): Promise<boolean> {
    for (const host of loopbacks) {
      const server = createServer((request, response) => {
        const handled = this.#handle(request, response);
        this.#pending.add(handled);
        void handled.finally(() => this.#pending.delete(handled));
      });
      const result = await listen(server, this.port, host);
      if (result === "listening") this.#servers.push(server);
      if (result !== "taken") continue;
      await this.close();
      return false;
    }
    return this.#servers.length > 0;
  }

  async #handle(
    { method, url, headers }: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    // another host name means that some web page had its name point here
    const isOurs = method === "GET" &&
      NAMES.some((name) => headers.host === `${name}:${this.port}`);
    const to = URL.parse(isOurs ? url ?? "" : "", "http://localhost");
    const location = this.#target;
    if (to?.pathname === "/auth/callback") {
      await send(response, await this.#answer(to.searchParams));
    } else if (to?.pathname === "/sign-in" && location !== undefined) {
      // whoever else asks for it learns nothing
      this.#target = undefined;
      await send(response, SENT_ON, { location });
    } else await send(response, NOT_FOUND);
  }

  /** An address of this server that leads to `url`, once. */
  leadTo(url: string): string {
    this.#target = url;
    return `http://localhost:${this.port}/sign-in`;
  }

  async close(): Promise<void> {
    // the page is on its way before the server goes
    await Promise.all(this.#pending);
    await Promise.all(this.#servers.map((server) => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      return closed;
    }));
  }
}

function listen(
  server: Server,
  port: number,
  host: string,
): Promise<"listening" | "taken" | "absent"> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      // Windows keeps ports for itself, and says that access is denied
      const isTaken = ["EADDRINUSE", "EACCES"].includes(codeOf(error) ?? "");
      if (isTaken || error.name === "AddrInUse") resolve("taken");
      // not every machine has the second one
      else if (host === LOOPBACKS[0]) reject(error);
      else resolve("absent");
    });
    server.listen(port, host, () => resolve("listening"));
  });
}

const NOT_FOUND = {
  status: 404,
  title: "Not found",
  text: "There is nothing at this address.",
};
const SENT_ON = {
  status: 302,
  title: "Sign in",
  text: "It goes on elsewhere.",
};

function send(
  response: ServerResponse,
  { status, title, text }: CallbackAnswer,
  headers: Record<string, string> = {},
): Promise<void> {
  response.writeHead(status, {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "connection": "close",
    ...headers,
  });
  const page = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>${escape(title)} – codex-rotator</title>
<style>body { font: 1.1em sans-serif; max-width: 34em; margin: 20vh auto; }</style>
<h1>${escape(title)}</h1>
<p>${escape(text)}</p>
</html>
`;
  return new Promise((resolve) => {
    response.once("close", resolve);
    response.end(page, resolve);
  });
}

function escape(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, " ").replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
