/** What a command sees of the world: a value, so that tests can give another. */
import { isGranted } from "./granted.ts";
import { colorMode, programOf, type Runtime } from "./runtime.ts";

export interface Io extends Pick<Runtime, "env" | "isWindows" | "quickRead"> {
  /** Returns what a person types before a command to start this again. */
  program(): string;
  out(text: string): void;
  err(text: string): void;
  /** Writes to stderr and loses what cannot be written; absent: `err` does. */
  log?(text: string): void;
  /** Whether a person sees progress on stderr. */
  readonly errIsTerminal: boolean;
  /** Whether stdout can be drawn over. */
  readonly outIsTerminal: boolean;
  readonly color: boolean;
  readonly columns: number;
  readonly rows: number;
  now(): number;
  /** Aborts on Ctrl-C; a command that asks for it has to end by itself then. */
  readonly signal: AbortSignal;
  /** Whether a command that asked for the signal was interrupted. */
  readonly isInterrupted: boolean;
  /** Lets the command take its time after an interruption; absent: it may anyway. */
  bePatient?(): void;
  /** The lines that the person types, until `signal` aborts; absent: nobody does. */
  lines?(signal: AbortSignal): AsyncIterable<string>;
  /** Asks a question for yes or no, by default no; absent or undefined: nobody can answer. */
  ask?(question: string): Promise<boolean | undefined>;
  /** Opens an address in the person's browser; absent: there is none. */
  openUrl?(url: string): void;
}

export const INTERRUPTED = 130;
/** A command that does not listen must not keep the person waiting longer (ms). */
const PATIENCE = 2000;

export function processIo(runtime: Runtime): Io {
  const { isTerminal } = runtime;
  const outIsTerminal = isTerminal("out");
  let signal: AbortSignal | undefined;
  let isPatient = false;
  // until somebody asks for the signal, Ctrl-C ends the process as it ends any
  const listen = (): AbortSignal => {
    const interrupted = new AbortController();
    runtime.onInterrupt(() => {
      if (interrupted.signal.aborted) runtime.exit(INTERRUPTED);
      interrupted.abort(new Error("Interrupted"));
      if (!isPatient) runtime.exitAfter(PATIENCE, INTERRUPTED);
    });
    return interrupted.signal;
  };
  const io: Io = {
    ...runtime,
    outIsTerminal,
    program: () => programOf(runtime),
    get errIsTerminal() {
      return isTerminal("err");
    },
    color: colorMode(runtime) ?? outIsTerminal,
    get columns() {
      return runtime.size()?.columns || 80;
    },
    get rows() {
      return runtime.size()?.rows || 24;
    },
    now: Date.now,
    get signal() {
      return signal ??= listen();
    },
    get isInterrupted() {
      return signal?.aborted === true;
    },
    bePatient: () => void (isPatient = true),
    lines: readLines,
    async ask(question) {
      if (!isTerminal("in") || !isTerminal("err")) return undefined;
      runtime.err(`${question} [y/N] `);
      for await (const line of readLines(io.signal)) {
        return /^\s*y(es)?\s*$/i.test(line);
      }
      return false;
    },
    openUrl: (url) => void openUrl(url),
  };
  return io;
}

// Few commands need these, and all would wait for what they load.

const OPENERS: Readonly<Record<string, readonly string[]>> = {
  darwin: ["open"],
  win32: ["rundll32", "url.dll,FileProtocolHandler"],
};

/** Opens an address in the person's browser, where there is one and Deno permits it without asking. */
async function openUrl(url: string): Promise<void> {
  const { platform } = (await import("node:process")).default;
  const [command = "", ...args] = OPENERS[platform] ?? ["xdg-open"];
  if (!isGranted("run", command)) return;
  const { spawn } = await import("node:child_process");
  try {
    const options = { stdio: "ignore", detached: true } as const;
    const child = spawn(command, [...args, url], options);
    // the address is shown as well, so nothing is lost without an opener
    child.on("error", () => {});
    child.unref();
  } catch {
    // likewise
  }
}

async function* readLines(signal: AbortSignal): AsyncGenerator<string> {
  if (signal.aborted) return;
  const { createInterface } = await import("node:readline");
  const { stdin } = (await import("node:process")).default;
  stdin.ref?.();
  const reader = createInterface({ input: stdin, terminal: false, signal });
  try {
    yield* reader;
  } finally {
    reader.close();
    // an input that stays open must not keep the process
    stdin.unref?.();
  }
}
