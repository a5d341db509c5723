/**
 * What a command sees of the world: a value, so that tests can give another.
 *
 * @module
 */
import type { Host } from "./host.ts";

/** How a command is told of Ctrl-C. */
export interface Interruption {
  /** Aborts when the person interrupts; who asks for it has to end the command then. */
  readonly signal: AbortSignal;
  /** Whether the person has interrupted a command that asked for the signal. */
  readonly isInterrupted: boolean;
  /** Lets the command take its time after an interruption; absent: it may anyway. */
  bePatient?(): void;
}

/** The world as a command sees it. */
export interface Io extends Interruption {
  /** One environment variable, read when asked for: Deno asks a permission per name. */
  env(name: string): string | undefined;
  readonly isWindows: boolean;
  out(text: string): void;
  err(text: string): void;
  /** Whether progress on stderr is seen by a person. */
  readonly errIsTerminal: boolean;
  /** Whether stdout can be drawn over. */
  readonly outIsTerminal: boolean;
  readonly color: boolean;
  /** Width of the terminal in columns, now. */
  readonly columns: number;
  /** Its height in lines, now. */
  readonly rows: number;
  /** Epoch ms. */
  now(): number;
  /** The text of a regular file, where it can be had with one quick look; absent: there is no such look. */
  quickRead?(path: string): string | undefined;
  /** The lines that the person types, until `signal` aborts; absent: nobody does. */
  lines?(signal: AbortSignal): AsyncIterable<string>;
  /** Opens an address in the person's browser; absent: there is none. */
  openUrl?(url: string): void;
}

/** The world of this process. */
export function processIo(
  host: Host,
  interruption: Interruption,
): Io {
  const outIsTerminal = host.isTerminal("out");
  return {
    env: host.env,
    isWindows: host.isWindows,
    out: (text) => host.write("out", text),
    err: (text) => host.write("err", text),
    get errIsTerminal() {
      return host.isTerminal("err");
    },
    outIsTerminal,
    color: outIsTerminal && !host.noColor,
    get columns() {
      return host.size()?.columns || 80;
    },
    get rows() {
      return host.size()?.rows || 24;
    },
    now: Date.now,
    get signal() {
      return interruption.signal;
    },
    get isInterrupted() {
      return interruption.isInterrupted;
    },
    bePatient: () => interruption.bePatient?.(),
    ...(host.quickRead ? { quickRead: host.quickRead } : {}),
    lines: readLines,
    openUrl: (url) => void openUrl(url),
  };
}

// Few commands need these, and all would wait for them to load.

async function openUrl(url: string): Promise<void> {
  (await import("./open_url.ts")).openUrl(url);
}

async function* readLines(signal: AbortSignal): AsyncGenerator<string> {
  if (signal.aborted) return;
  const { createInterface } = await import("node:readline");
  const { stdin } = (await import("node:process")).default;
  const reader = createInterface({ input: stdin, terminal: false });
  const end = () => reader.close();
  signal.addEventListener("abort", end, { once: true });
  try {
    yield* reader;
  } finally {
    signal.removeEventListener("abort", end);
    reader.close();
    // an input that stays open must not keep the process
    stdin.unref?.();
  }
}
