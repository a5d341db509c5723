import process from "node:process";
import { isLoopback } from "../codex/endpoints.ts";
import { createContext } from "../context.ts";
import { RotatorError } from "../errors.ts";
import { type Rotator, rotatorOf } from "../rotator.ts";
import {
  createHandler,
  type Handler,
  logLine,
  Metrics,
  startServer,
} from "../serve/mod.ts";
import {
  dangersOf,
  KEY_VARIABLE,
  keyFile,
  readOrMakeKey,
  usableKey,
} from "../serve/access.ts";
import {
  backendOf,
  type Command,
  type Context,
  type Flags,
  issuerOf,
  localFileOf,
} from "./options.ts";
import { eventCommand } from "./event_command.ts";
import { demand } from "./granted.ts";
import type { Io } from "./io.ts";
import { once } from "../values.ts";
import { CliError, EXIT, usageError, voiceOf } from "./messages.ts";
import { openWholeStore } from "./open.ts";
import { noAccount, sanitize, suggestCommand } from "./format.ts";

const DEFAULT_PORT = "8791";
const DEFAULT_HOST = "127.0.0.1";
/** Running requests get so long when the server is to stop, ms. */
const GRACE = 30_000;

export const command: Command = {
  help: `
Answers as the backend does, each request on the account that should serve it:

  POST /v1/responses, /v1/responses/compact, and what else Codex sends
  GET  /v1/models, and the usage of all accounts where Codex asks for it
  GET  /health, /status (as status --json, without e-mail addresses), /metrics

Callers show a key as their API key: the one in $${KEY_VARIABLE}, else
the one in the file serve-key beside the store, made at the first start. Callers
that send a token of their own put it into the path: /k/KEY/backend-api. What
a browser sends is refused. A request waits up to 120 s for a throttle to end.
SIGTERM, SIGHUP or Ctrl-C lets running requests finish, for at most ${
    GRACE / 1000
  } s; a
second one ends at once. The base URL is on stdout.

Options:
  --port N             default ${DEFAULT_PORT}; 0 takes a free one
  --host H             default ${DEFAULT_HOST}
  --allow-host NAME    another name of this server, or several with commas
  --max-wait SECONDS   wait so long for any limit to end
  --no-key             ask for no key; on the loopback only
  --show-key           print the key and end
  --log                a line per request on stderr
  --on-event COMMAND   run it for each event, which is a JSON line on its stdin
  --on-event-types T   default switched, credits-spent, login-required and
                       exhausted; with commas

Examples:
  codex-rotator serve
  codex-rotator serve --log
  OPENAI_BASE_URL=http://${DEFAULT_HOST}:${DEFAULT_PORT}/v1 \\
    OPENAI_API_KEY=$(codex-rotator serve --show-key) my-agent
`,
  operands: [0, 0],
  needs: { write: true, network: true, policy: true },
  grants: ({ flags }) => ({
    env: [KEY_VARIABLE],
    net: [addressOf(flags.value("host") ?? DEFAULT_HOST, portOf(flags))],
  }),
  endsItself: true,
  run,
};

async function run(outer: Context): Promise<number> {
  const { flags } = outer;
  const port = portOf(flags);
  const hostname = flags.value("host") ?? DEFAULT_HOST;
  if (flags.on("show-key")) {
    outer.io.out(`${(await keyOf(outer)).key}\n`);
    return EXIT.ok;
  }
  // stderr may fail without ending the server
  const io: Io = outer.io.log
    ? Object.create(outer.io, { err: { value: outer.io.log } })
    : outer.io;
  const context = { ...outer, io, ...voiceOf(io) };
  const maxWait = maxWaitOf(flags);
  const hosts = [hostname, ...namesOf(flags)];
  const { key, source } = flags.on("no-key")
    ? withoutKey(hostname)
    : await keyOf(context);
  const metrics = new Metrics({
    now: io.now,
    ...(flags.on("log") ? { onRequest: (it) => io.err(logLine(it)) } : {}),
  });
  const rotator = await openServingRotator(context, metrics, maxWait);
  try {
    // a store that cannot be read would fail each request
    const { accounts } = await rotator.status();
    const handler = createHandler(rotator, {
      key,
      metrics,
      hosts,
      onWarning: context.warn,
      // the rotator waits for throttles as well then
      ...(maxWait === undefined ? {} : { throttleWait: 0 }),
    });
    const server = await listen(handler, hostname, port);
    // before anyone is told where it is: they may end it at once
    const told = untilTold(io);
    io.out(`${server.url}/v1\n`);
    context.note(`Serving at ${server.url}/v1; ${source}`);
    dangersOf(key, hostname).forEach(context.warn);
    if (accounts.length === 0) context.warn(noAccount());
    const code = await told;
    io.err("Stopping; running requests may finish, again to end at once\n");
    await server.stop(GRACE);
    return code;
  } finally {
    await rotator.close();
  }
}

function maxWaitOf(flags: Flags): number | undefined {
  const text = flags.value("max-wait");
  if (text === undefined) return undefined;
  if (/^\d{1,6}(\.\d+)?$/.test(text)) return Number(text) * 1000;
  throw usageError(`--max-wait is ${text}; give seconds from 0 to 999999`);
}

function namesOf(flags: Flags): string[] {
  const text = flags.value("allow-host");
  const names = text?.split(",").map((it) => it.trim()) ?? [];
  const odd = names.find((it) => !/^[\w.:-]+$/.test(it));
  if (odd === undefined) return names;
  throw usageError(
    `--allow-host has ${odd}; give names without port, and commas`,
  );
}

function portOf(flags: Flags): number {
  const text = flags.value("port") ?? DEFAULT_PORT;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (port <= 65_535) return port;
  throw usageError(`--port is ${text}; give a number from 0 to 65535`);
}

function addressOf(hostname: string, port: number): string {
  return `${bracketed(hostname)}:${port}`;
}

function bracketed(hostname: string): string {
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}

type Key = { key: string | null; source: string };

function withoutKey(hostname: string): Key {
  if (isLoopback(bracketed(hostname))) {
    return { key: null, source: "it asks for no key" };
  }
  throw usageError(
    `--no-key with --host ${hostname} would let others in; leave one of them out`,
  );
}

async function keyOf(context: Context): Promise<Key> {
  const set = context.io.env(KEY_VARIABLE);
  if (set) {
    const source = `its key is the one in ${KEY_VARIABLE}`;
    return { key: usableKey(set, KEY_VARIABLE), source };
  }
  const path = keyFile(localFileOf(context));
  const show = suggestCommand("serve --show-key");
  const source = `its key is in ${path}, shown by: ${show}`;
  return { key: await readOrMakeKey(path), source };
}

async function openServingRotator(
  context: Context,
  metrics: Metrics,
  maxWait: number | undefined,
): Promise<Rotator> {
  const { io, warn } = context;
  const tellCommand = eventCommand(context);
  const parts = createContext({
    ...(maxWait === undefined ? {} : { maxWait }),
    store: await openWholeStore(context),
    now: io.now,
    backend: backendOf(context),
    issuer: issuerOf(context),
    onEvent(event) {
      metrics.onEvent(event);
      tellCommand?.(event);
      // what its owner should see although nobody asked
      if (event.type === "warning") warn(event.reason);
      if (event.type === "login-required") {
        warn(`${event.alias}: ${event.reason}`);
      }
    },
  });
  return withOwnCommands(rotatorOf({ ...parts, warnProcess: once(warn) }));
}

/** The same rotator, which tells its callers to use commands of this program as it was started. */
function withOwnCommands(rotator: Rotator): Rotator {
  const fail = (error: unknown): never => {
    if (!(error instanceof RotatorError)) throw error;
    const { code, message } = error;
    throw new RotatorError(code, sanitize(message), { cause: error });
  };
  return {
    ...rotator,
    fetch: (input, init) => rotator.fetch(input, init).catch(fail),
    async status(options) {
      const report = await rotator.status(options).catch(fail);
      const accounts = report.accounts.map((it) => ({
        ...it,
        detail: it.detail && sanitize(it.detail),
      }));
      return { ...report, accounts };
    },
  };
}

/** How a system calls a name or an address that is not its own. */
const NO_ADDRESS = /^(EADDRNOTAVAIL|EAI_AGAIN|EINVAL|ENOTFOUND)$/;

async function listen(
  handler: Handler,
  hostname: string,
  port: number,
): ReturnType<typeof startServer> {
  demand("net", addressOf(hostname, port));
  try {
    return await startServer(handler, { hostname, port });
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    const problem = code === "EADDRINUSE"
      ? `Port ${port} of ${hostname} is taken; end what uses it or give another one with --port`
      : code === "EACCES" && port < 1024
      ? `Port ${port} is the system's; give one above 1023 with --port`
      : NO_ADDRESS.test(code)
      ? `--host ${hostname} is no address of this machine; leave it out, or give one that is (${code})`
      : undefined;
    throw problem === undefined ? error : new CliError(problem);
  }
}

/** Resolves with the exit code when someone ends the server; whoever does it again ends the process at once. */
function untilTold({ isWindows, signal }: Io): Promise<number> {
  let isTold = false;
  return new Promise((resolve) => {
    const end = (code: number, again = code) => {
      if (isTold) process.exit(again);
      isTold = true;
      resolve(code);
    };
    // SIGHUP says that its terminal has gone
    for (const it of isWindows ? ["SIGTERM"] : ["SIGTERM", "SIGHUP"]) {
      process.on(it, () => end(EXIT.ok, EXIT.failed));
    }
    signal.addEventListener("abort", () => end(EXIT.interrupted));
  });
}
