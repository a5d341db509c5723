import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { codeOf } from "../store/file.ts";

/** The page that the browser ends on. */
export interface CallbackAnswer {
  readonly status: number;
  readonly title: string;
  readonly text: string;
}

type Answer = (query: URLSearchParams) => Promise<CallbackAnswer>;

const CALLBACK_PATH = "/auth/callback";
const START_PATH = "/sign-in";
/** A browser may take `localhost` for either. */
export const LOOPBACKS: readonly string[] = ["127.0.0.1", "::1"];

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
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { pathname, search } = targetOf(request, this.port);
    if (pathname === START_PATH && this.#target !== undefined) {
      const location = this.#target;
      // whoever else asks for it learns nothing
      this.#target = undefined;
      return await send(response, SENT_ON, { location });
    }
    const isReturn = pathname === CALLBACK_PATH;
    const query = new URLSearchParams(search);
    await send(response, isReturn ? await this.#answer(query) : NOT_FOUND);
  }

  /** An address of this server that leads to `url`, once. */
  leadTo(url: string): string {
    this.#target = url;
    return `http://localhost:${this.port}${START_PATH}`;
  }

  async close(): Promise<void> {
    // the page is on its way before the server goes
    await Promise.all(this.#pending);
    await Promise.all(
      this.#servers.map((server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
          server.closeAllConnections();
        })
      ),
    );
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

/** Path and query of a GET to one of our names; both empty for anything else. */
function targetOf(
  { method, url = "", headers }: IncomingMessage,
  port: number,
): { pathname: string; search: string } {
  const names = ["localhost", "127.0.0.1", "[::1]"];
  // another host name means that some web page had its name point here
  const isOurs = names.some((name) => headers.host === `${name}:${port}`);
  if (!isOurs || method !== "GET") return { pathname: "", search: "" };
  const [, pathname = "", search = ""] = /^([^?]*)(.*)$/.exec(url) ?? [];
  return { pathname, search };
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
  return new Promise((resolve) => {
    response.once("close", resolve);
    response.end(
      `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>${escape(title)} – codex-rotator</title>
<style>body { font: 1.1em sans-serif; max-width: 34em; margin: 20vh auto; }</style>
<h1>${escape(title)}</h1>
<p>${escape(text)}</p>
</html>
`,
      () => resolve(),
    );
  });
}

function escape(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, " ").replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
