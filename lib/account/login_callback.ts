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

/** Servers on both loopback addresses that wait for the browser's return. */
export interface CallbackServer {
  readonly port: number;
  /** An address of this server that leads to `url`, once. */
  leadTo(url: string): string;
  close(): Promise<void>;
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
    const servers = await listenOnAll(loopbacks, port);
    if (servers.length > 0) return callbackServer(servers, port, answer);
  }
  return undefined;
}

/** @returns No server when the port is taken on any of the addresses. */
async function listenOnAll(
  loopbacks: readonly string[],
  port: number,
): Promise<Server[]> {
  const servers: Server[] = [];
  for (const host of loopbacks) {
    const server = createServer();
    const result = await listen(server, port, host);
    if (result === "listening") servers.push(server);
    if (result !== "taken") continue;
    await Promise.all(servers.map(closeServer));
    return [];
  }
  return servers;
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

function callbackServer(
  servers: readonly Server[],
  port: number,
  answer: Answer,
): CallbackServer {
  const pending = new Set<Promise<void>>();
  let target: string | undefined;
  const answerTo = async (
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> => {
    const { pathname, search } = targetOf(request, port);
    if (pathname === START_PATH && target !== undefined) {
      const location = target;
      // whoever else asks for it learns nothing
      target = undefined;
      return await send(response, SENT_ON, { location });
    }
    const isReturn = pathname === CALLBACK_PATH;
    await send(
      response,
      isReturn ? await answer(new URLSearchParams(search)) : NOT_FOUND,
    );
  };
  for (const server of servers) {
    server.on("request", (request, response) => {
      const handled = answerTo(request, response);
      pending.add(handled);
      void handled.finally(() => pending.delete(handled));
    });
  }
  return {
    port,
    leadTo(url) {
      target = url;
      return `http://localhost:${port}${START_PATH}`;
    },
    async close() {
      // the page is on its way before the server goes
      await Promise.all(pending);
      await Promise.all(servers.map(closeServer));
    },
  };
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
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
