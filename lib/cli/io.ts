/**
 * What a command sees of the world: a value, so that tests can give another.
 *
 * @module
 */
import process from "node:process";

/** The world as a command sees it. */
export interface Io {
  /** One environment variable, read when asked for: Deno asks a permission per name. */
  env(name: string): string | undefined;
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
  /** Aborts when the person interrupts. */
  readonly signal: AbortSignal;
  /** Lets the command take its time after an interruption; absent: it may anyway. */
  bePatient?(): void;
  /** The lines that the person types, until `signal` aborts; absent: nobody does. */
  lines?(signal: AbortSignal): AsyncIterable<string>;
  /** Opens an address in the person's browser; absent: there is none. */
  openUrl?(url: string): void;
}

/** The world of this process. */
export function processIo(signal: AbortSignal, bePatient: () => void): Io {
  return {
    env: (name) => process.env[name],
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    get errIsTerminal() {
      return process.stderr.isTTY === true;
    },
    outIsTerminal: process.stdout.isTTY === true,
    color: process.stdout.isTTY === true && !noColor(),
    get columns() {
      return process.stdout.columns || 80;
    },
    get rows() {
      return process.stdout.rows || 24;
    },
    now: Date.now,
    signal,
    bePatient,
    lines: readLines,
    openUrl: (url) => void openUrl(url),
  };
}

/** Deno knows NO_COLOR without a permission; the others need none. */
function noColor(): boolean {
  const { Deno } = globalThis as { Deno?: { noColor?: boolean } };
  return Deno?.noColor ?? Boolean(process.env.NO_COLOR);
}

// Few commands need these, and all would wait for them to load.

async function openUrl(url: string): Promise<void> {
  (await import("./open_url.ts")).openUrl(url);
}

async function* readLines(signal: AbortSignal): AsyncGenerator<string> {
  if (signal.aborted) return;
  const { createInterface } = await import("node:readline");
  const { stdin } = process;
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
