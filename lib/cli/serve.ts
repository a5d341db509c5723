import process from "node:process";
import { isLoopback } from "../codex/endpoints.ts";
import { createRotator, type Rotator } from "../rotator.ts";
import {
  createHandler,
  Metrics,
  type RunningServer,
  type ServedRequest,
  startServer,
} from "../serve/mod.ts";
import {
  KEY_VARIABLE,
  keyFile,
  readOrMakeKey,
  usableKey,
} from "../serve/access.ts";
import type { RotatorEvent } from "../report_types.ts";
import { printWarning } from "./findings.ts";
import {
  backendOf,
  type Command,
  type Context,
  issuerOf,
  storeOf,
} from "./options.ts";
import { CliError, EXIT, usageError } from "./exit.ts";
import { demandListening } from "./granted.ts";
import type { Io } from "./io.ts";
import { openJsonStore } from "./open.ts";
import { sanitize, suggestCommand } from "./format.ts";
import { note } from "./say.ts";

const DEFAULT_PORT = "8791";
const DEFAULT_HOST = "127.0.0.1";
/** Running requests get so long when the server is to stop, ms. */
const GRACE = 30_000;

/** `serve`: a loopback server for agents that know only a base URL. */
export const command: Command = {
  help: `
Answers as the backend does, each request on the account that should serve it:

  POST /v1/responses   also /responses and /backend-api/codex/responses,
                       and /compact beside each
  GET  /v1/models      the models of an account
  GET  /health         200 while it runs
  GET  /status         as status --json, without e-mail addresses
  GET  /metrics        counters and usage windows, for Prometheus

Callers show a key as their API key: the one in $${KEY_VARIABLE}, else
the one in the file serve-key beside the store, made at the first start. What
a browser sends is refused. SIGTERM or Ctrl-C lets running requests finish, for
at most ${GRACE / 1000} s; a second one ends at once. The base URL is on stdout.

Options:
  --port N     default ${DEFAULT_PORT}; 0: any free one
  --host H     default ${DEFAULT_HOST}
  --no-key     ask for no key; on the loopback only
  --show-key   print the key and end
  --log        a line per request on stderr

Examples:
  codex-rotator serve
  codex-rotator serve --log
  OPENAI_BASE_URL=http://${DEFAULT_HOST}:${DEFAULT_PORT}/v1 \\
    OPENAI_API_KEY=$(codex-rotator serve --show-key) my-agent
`,
  booleans: ["no-key", "show-key", "log"],
  strings: ["port", "host"],
  operands: [0, 0],
  needs: { write: true, network: true, policy: true },
  grants: ({ flags }) => ({
    env: [KEY_VARIABLE],
    net: [
      addressOf(
        flags.value("host") ?? DEFAULT_HOST,
        flags.value("port") ?? DEFAULT_PORT,
      ),
    ],
  }),
  endsItself: true,
  run,
};

async function run(context: Context): Promise<number> {
  const { flags, io } = context;
  const port = portOf(flags.value("port") ?? DEFAULT_PORT);
  const hostname = flags.value("host") ?? DEFAULT_HOST;
  if (flags.on("show-key")) {
    io.out(`${(await keyOf(context)).key}\n`);
    return EXIT.ok;
  }
  const { key, source } = flags.on("no-key")
    ? withoutKey(hostname)
    : await keyOf(context);
  const metrics = new Metrics({
    now: io.now,
    ...(flags.on("log") ? { onRequest: (it) => io.err(logLine(it)) } : {}),
  });
  await using rotator = openServingRotator(context, metrics);
  // a store that cannot be read would fail each request
  await rotator.status();
  const handler = createHandler(rotator, { key, metrics, hosts: [hostname] });
  const server = await listen(handler, hostname, port);
  // before anyone is told where it is: they may end it at once
  const told = untilTold(io.signal);
  io.out(`${server.url}/v1\n`);
  note(io, `Serving at ${server.url}/v1; ${source}`);
  return await stopped(server, io, told);
}

function addressOf(hostname: string, port: number | string): string {
  return `${bracketed(hostname)}:${port}`;
}

/** As a URL has it. */
function bracketed(hostname: string): string {
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (port <= 65_535) return port;
  throw usageError(
    `--port is ${sanitize(text)}; give a number from 0 to 65535`,
  );
}

interface Key {
  key: string | null;
  /** What to tell about it. */
  source: string;
}

function withoutKey(hostname: string): Key {
  if (isLoopback(bracketed(hostname))) {
    return { key: null, source: "it asks for no key" };
  }
  throw usageError(
    `--no-key with --host ${
      sanitize(hostname)
    } would let others in; leave one of them out`,
  );
}

async function keyOf(context: Context): Promise<Key> {
  const set = context.io.env(KEY_VARIABLE);
  if (set !== undefined && set !== "") {
    const source = `its key is the one in ${KEY_VARIABLE}`;
    return { key: usableKey(set, KEY_VARIABLE), source };
  }
  const path = keyFile(storeOf(context));
  const source = `its key is in ${sanitize(path)}, shown by: ${
    suggestCommand("serve --show-key")
  }`;
  return { key: await readOrMakeKey(path), source };
}

function openServingRotator(context: Context, metrics: Metrics): Rotator {
  const { io } = context;
  return createRotator({
    store: openJsonStore(context),
    now: io.now,
    backend: backendOf(context),
    issuer: issuerOf(context),
    onEvent(event) {
      metrics.onEvent(event);
      tell(event, io);
    },
  });
}

/** What its owner should see although nobody asked. */
function tell(event: RotatorEvent, io: Io): void {
  if (event.type === "warning") printWarning(io, event.reason);
  if (event.type === "login-required") {
    printWarning(io, `${event.alias}: ${event.reason}`);
  }
}

async function listen(
  handler: (request: Request) => Promise<Response>,
  hostname: string,
  port: number,
): Promise<RunningServer> {
  demandListening(addressOf(hostname, port));
  try {
    return await startServer(handler, { hostname, port });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EADDRINUSE") {
      throw new CliError(
        `Port ${port} of ${
          sanitize(hostname)
        } is taken; end what uses it or give another one with --port`,
      );
    }
    if (code === "EACCES" && port < 1024) {
      throw new CliError(
        `Port ${port} is the system's; give one above 1023 with --port`,
      );
    }
    if (NO_ADDRESS.has(code ?? "")) {
      throw new CliError(
        `--host ${
          sanitize(hostname)
        } is no address of this machine; leave it out, or give one that is (${code})`,
      );
    }
    throw error;
  }
}

/** How a system calls a name or an address that is not its own. */
const NO_ADDRESS: ReadonlySet<string> = new Set([
  "EADDRNOTAVAIL",
  "EAI_AGAIN",
  "EINVAL",
  "ENOTFOUND",
]);

/** Waits until someone ends the server, and for its running requests. */
async function stopped(
  server: RunningServer,
  io: Io,
  told: Promise<number>,
): Promise<number> {
  const code = await told;
  io.err("Stopping; running requests may finish, again to end at once\n");
  io.signal.addEventListener("abort", () => process.exit(EXIT.interrupted));
  process.on("SIGTERM", () => process.exit(EXIT.failed));
  await server.stop(GRACE);
  return code;
}

function untilTold(signal: AbortSignal): Promise<number> {
  return new Promise((resolve) => {
    process.once("SIGTERM", () => resolve(EXIT.ok));
    signal.addEventListener("abort", () => resolve(EXIT.interrupted));
  });
}

/** One request as a line of names and values. */
function logLine(request: ServedRequest): string {
  const { at, model, session, account, standing, attempts } = request;
  const fields = {
    model,
    session,
    account,
    standing,
    attempts,
    status: request.status,
    result: request.result,
    ms: Math.round(request.ms),
  };
  const words = Object.entries(fields).map(([name, value]) =>
    `${name}=${word(value)}`
  );
  return `${new Date(at).toISOString()} ${words.join(" ")}\n`;
}

function word(value: string | number | null): string {
  if (value === null || value === "") return "-";
  return sanitize(String(value)).replaceAll(" ", "_").slice(0, 64);
}
