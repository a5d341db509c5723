/** What the command line needs of its process, and how each runtime does it. */
import { isLoopback } from "../codex/endpoints.ts";
import { quote } from "./format.ts";
import { isGranted } from "./granted.ts";

export interface Runtime {
  readonly args: readonly string[];
  readonly isWindows: boolean;
  /** Returns the file that was started, what runs it, and the current folder. */
  start(): { path: string; program: string; folder: string | undefined };
  /** Reads an environment variable; Deno may ask the person for permission. */
  env(name: string): string | undefined;
  /** Reads an environment variable only where that needs no question. */
  peekEnv(name: string): string | undefined;
  /** Reads a text file only where that needs no question. */
  peekText(path: string): string | undefined;
  out(text: string): void;
  err(text: string): void;
  /** Writes to stderr; neither a reader that is gone nor a full disk ends the process. */
  log(text: string): void;
  isTerminal(stream: "in" | "out" | "err"): boolean;
  /** Returns the size of the terminal on stdout; undefined without one. */
  size(): { columns: number; rows: number } | undefined;
  /** Reads a regular file with UTF-8 text at once; undefined for any other, or where there is no quick way. */
  quickRead?: ((path: string) => string | undefined) | undefined;
  /** Calls `listener` on Ctrl-C, which then no longer ends the process. */
  onInterrupt(listener: () => void): void;
  /** Ends the process after `ms`, unless it has ended before. */
  exitAfter(ms: number, code: number): void;
  exit(code: number): never;
  finish(code: number): void;
}

/**
 * Returns the runtime that this is. In Deno `node:process` and `node:fs` take
 * longer to load than `status` takes to run, so its own API is used there.
 */
export async function openRuntime(): Promise<Runtime> {
  if ("Deno" in globalThis) return denoRuntime();
  const { default: process } = await import("node:process");
  if (!("Bun" in globalThis)) await useProxies(process);
  return nodeRuntime(process, (await import("node:fs")).readFileSync);
}

export const PROXY_VARIABLES: readonly string[] = [
  "HTTPS_PROXY",
  "https_proxy",
  "HTTP_PROXY",
  "http_proxy",
];

/** Has Node's `fetch` use the proxies that the environment names, as Deno's and Bun's do by themselves. */
async function useProxies(process: NodeJS.Process): Promise<void> {
  const { env, execPath, execArgv, argv } = process;
  const isNamed = PROXY_VARIABLES.some((name) => env[name]);
  if (!isNamed || env.NODE_USE_ENV_PROXY) return;
  const { default: http } = await import("node:http");
  const { setGlobalProxyFromEnv } = http as { setGlobalProxyFromEnv?(): void };
  if (setGlobalProxyFromEnv) return void setGlobalProxyFromEnv();
  // Node before 24.14 has a setting that counts at its start only
  const { spawn } = await import("node:child_process");
  const child = spawn(execPath, [...execArgv, ...argv.slice(1)], {
    env: { ...env, NODE_USE_ENV_PROXY: "1" },
    stdio: "inherit",
  });
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT"] as const) {
    process.on(signal, () => {
      // a terminal tells both of them
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    });
  }
  await new Promise((_never, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => process.exit(code ?? 1));
  });
}

/** Whether the usual variables ask for colour or forbid it; undefined: they do neither. */
export function colorMode(
  { peekEnv }: Pick<Runtime, "peekEnv">,
): boolean | undefined {
  if (peekEnv("NO_COLOR")) return false;
  const forced = peekEnv("FORCE_COLOR");
  if (forced) return forced !== "0" && forced !== "false";
  return peekEnv("TERM") === "dumb" ? false : undefined;
}

export function denoRuntime(): Runtime {
  const streams = { in: Deno.stdin, out: Deno.stdout, err: Deno.stderr };
  const encoder = new TextEncoder();
  return {
    args: Deno.args,
    isWindows: Deno.build.os === "windows",
    start: () => ({
      path: pathOf(Deno.mainModule),
      program: "deno run -A",
      folder: attempt(() => Deno.cwd()),
    }),
    env: (name) => Deno.env.get(name),
    peekEnv: (name) =>
      isGranted("env", name)
        ? Deno.env.get(name)
        // known without a permission
        : name === "NO_COLOR" && Deno.noColor
        ? "1"
        : undefined,
    peekText: (path) =>
      isGranted("read", path)
        ? attempt(() => Deno.readTextFileSync(path))
        : undefined,
    out: (text) => writeAll(Deno.stdout, encoder.encode(text)),
    err: (text) => writeAll(Deno.stderr, encoder.encode(text)),
    log: (text) =>
      void attempt(() => Deno.stderr.writeSync(encoder.encode(text))),
    isTerminal: (stream) => streams[stream].isTerminal(),
    size: () =>
      attempt(() => Deno.stdout.isTerminal() ? Deno.consoleSize() : undefined),
    quickRead: (path) =>
      attempt(() => {
        // other files may block a reader forever
        if (!Deno.statSync(path).isFile) return undefined;
        const text = Deno.readTextFileSync(path);
        // it may have been something else than UTF-8
        return text.includes("\ufffd") ? undefined : text;
      }),
    onInterrupt: (listener) => Deno.addSignalListener("SIGINT", listener),
    exitAfter: (ms, code) =>
      Deno.unrefTimer(setTimeout(() => Deno.exit(code), ms)),
    exit: (code) => Deno.exit(code),
    // At once: everything is written, and Deno never finishes a request with
    // a stream that it denied.
    finish: (code) => Deno.exit(code),
  };
}

function pathOf(url: string): string {
  if (!url.startsWith("file:")) return url;
  const path = decodeURIComponent(new URL(url).pathname);
  return Deno.build.os === "windows"
    ? path.slice(1).replaceAll("/", "\\")
    : path;
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** A terminal that takes no more right now is tried again after this time (ms). */
const BUSY_MS = 5;

function writeAll(stream: typeof Deno.stdout, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    try {
      at += stream.writeSync(bytes.subarray(at));
    } catch (error) {
      // the reader may stop early, as `head` does
      if (error instanceof Deno.errors.BrokenPipe) leave();
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_MS);
    }
  }
}

/** Ends the process after its exit listeners, those of `node:process` included. */
function leave(): never {
  (globalThis as { process?: { emit(name: string): void } }).process
    ?.emit("exit");
  Deno.exit();
}

/** What keeps the process after its command has ended is cut off after this time (ms). */
const LINGER_MS = 500;

/** What Bun reads variables from in the folder that it is started in. */
const DOTENV_FILES = ["", ".local", ".development", ".production", ".test"];

function nodeRuntime(
  process: NodeJS.Process,
  readFileSync: (path: string, encoding: "utf8") => string,
): Runtime {
  const { stdin, stdout, stderr } = process;
  const streams = { in: stdin, out: stdout, err: stderr };
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    // the reader may stop early, as `head` does
    if (error.code === "EPIPE") process.exit(process.exitCode ?? 0);
    stderr.write(`Error: ${error.message}\n`);
    process.exit(1);
  });
  const peekText = (path: string) => attempt(() => readFileSync(path, "utf8"));
  const env = (name: string) => {
    const value = process.env[name];
    // a project must not say where tokens go; another host is refused by name where it is read
    const isOfProject = "Bun" in globalThis && name.endsWith("_URL") &&
      DOTENV_FILES.some((it) => peekText(`.env${it}`)?.includes(name));
    const isLocal = isLoopback(URL.parse(value ?? "")?.hostname ?? "");
    return isOfProject && isLocal ? undefined : value;
  };
  const exitAfter = (ms: number, code: number) =>
    void setTimeout(() => process.exit(code), ms).unref();
  return {
    args: process.argv.slice(2),
    isWindows: process.platform === "win32",
    start: () => ({
      path: process.argv[1] ?? "",
      program: process.argv0,
      folder: attempt(() => process.cwd()),
    }),
    env,
    peekEnv: env,
    peekText,
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    log(text) {
      if (stderr.listenerCount("error") === 0) stderr.on("error", () => {});
      stderr.write(text);
    },
    isTerminal: (stream) => streams[stream].isTTY === true,
    size: () => stdout.isTTY ? stdout : undefined,
    onInterrupt: (listener) => void process.on("SIGINT", listener),
    exitAfter,
    exit: (code) => process.exit(code),
    finish(code) {
      process.exitCode = code;
      exitAfter(LINGER_MS, code);
    },
  };
}

type Started = Pick<Runtime, "start" | "isWindows" | "peekEnv" | "peekText">;

const PACKAGE = "@codex-rotator/core";
const COMMAND = "codex-rotator";

/** Returns what a person types before a command to start this program again. */
export function programOf(runtime: Started): string {
  const { isWindows, peekEnv } = runtime;
  const { path, program, folder } = runtime.start();
  const separator = isWindows ? "\\" : "/";
  const within = folder === undefined ? undefined : `${folder}${separator}`;
  const modules = path.lastIndexOf(`${separator}node_modules${separator}`);
  if (modules >= 0) {
    if (path.includes(`${separator}_npx${separator}`)) {
      return `npx -p ${PACKAGE} ${COMMAND}`;
    }
    const project = `${path.slice(0, modules)}${separator}`;
    return within?.startsWith(project) ? `npx ${COMMAND}` : COMMAND;
  }
  if (
    peekEnv("npm_lifecycle_event") === "start" &&
    peekEnv("npm_package_name") === PACKAGE
  ) return "npm start --";
  if (isInstalled(path, runtime)) return COMMAND;
  const isInside = within !== undefined && path.startsWith(within);
  const file = isInside ? path.slice(within.length) : path;
  return `${program} ${quote(file, isWindows)}`;
}

/** Whether the command on the PATH is this file, as npm links it, or starts it, as `deno install` writes it. */
function isInstalled(
  path: string,
  { isWindows, peekEnv, peekText }: Started,
): boolean {
  const [separator, ends] = isWindows ? ["\\", ";"] : ["/", ":"];
  const name = `${separator}${COMMAND}${isWindows ? ".cmd" : ""}`;
  const url = encodeURI(path.replaceAll(separator, "/"));
  const folders = (peekEnv("PATH") ?? "").split(ends).filter((it) => it !== "");
  const commands = folders.map((it) => `${it}${name}`);
  return commands.includes(path) ||
    commands.some((it) => peekText(it)?.includes(url));
}
