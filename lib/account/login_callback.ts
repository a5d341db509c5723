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

/** A server that waits for the browser's return. */
export interface CallbackServer {
  readonly port: number;
  close(): Promise<void>;
}

type Answer = (query: URLSearchParams) => Promise<CallbackAnswer>;

const CALLBACK_PATH = "/auth/callback";

/**
 * Waits for the browser on the first of the ports that is free.
 *
 * @param answer Called for each return, with its query.
 * @returns undefined when all ports are taken.
 */
export async function listenForCallback(
  ports: readonly number[],
  answer: Answer,
): Promise<CallbackServer | undefined> {
  for (const port of ports) {
    const server = createServer();
    if (!await listen(server, port)) continue;
    const pending = new Set<Promise<void>>();
    server.on("request", (request, response) => {
      const handled = handle(request, response, port, answer);
      pending.add(handled);
      void handled.finally(() => pending.delete(handled));
    });
    return { port, close: () => close(server, pending) };
  }
  return undefined;
}

function listen(server: Server, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      // Windows keeps ports for itself, and says that access is denied.
      const taken = ["EADDRINUSE", "EACCES"].includes(codeOf(error) ?? "");
      if (taken || error.name === "AddrInUse") resolve(false);
      else reject(error);
    });
    server.listen(port, "127.0.0.1", () => resolve(true));
  });
}

/** The page is on its way before the server goes. */
async function close(
  server: Server,
  pending: ReadonlySet<Promise<void>>,
): Promise<void> {
  await Promise.all(pending);
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  port: number,
  answer: Answer,
): Promise<void> {
  const { method, url = "/", headers } = request;
  // another host name means that some web page had its name point here
  const isOurs = headers.host === `localhost:${port}` ||
    headers.host === `127.0.0.1:${port}`;
  const start = url.indexOf("?");
  const path = start < 0 ? url : url.slice(0, start);
  const page = isOurs && method === "GET" && path === CALLBACK_PATH
    ? await answer(new URLSearchParams(url.slice(path.length)))
    : NOT_FOUND;
  await send(response, page);
}

const NOT_FOUND: CallbackAnswer = {
  status: 404,
  title: "Not found",
  text: "There is nothing at this address.",
};

function send(
  response: ServerResponse,
  { status, title, text }: CallbackAnswer,
): Promise<void> {
  response.writeHead(status, {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "connection": "close",
  });
  return new Promise((resolve) => {
    response.once("close", resolve);
    response.end(html(title, text), () => resolve());
  });
}

function html(title: string, text: string): string {
  return `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>${escape(title)} – codex-rotator</title>
<style>body { font: 1.1em sans-serif; max-width: 34em; margin: 20vh auto; }</style>
<h1>${escape(title)}</h1>
<p>${escape(text)}</p>
</html>
`;
}

function escape(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, " ").replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
