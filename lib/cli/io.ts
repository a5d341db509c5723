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
  readonly color: boolean;
  /** Width of the terminal in columns. */
  readonly columns: number;
  /** Epoch ms. */
  now(): number;
  /** Aborts when the person interrupts. */
  readonly signal: AbortSignal;
}

/** The world of this process. */
export function processIo(signal: AbortSignal): Io {
  return {
    env: (name) => process.env[name],
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    errIsTerminal: process.stderr.isTTY === true,
    color: process.stdout.isTTY === true && !noColor(),
    columns: process.stdout.columns || 80,
    now: Date.now,
    signal,
  };
}

/** Deno knows NO_COLOR without a permission; the others need none. */
function noColor(): boolean {
  const { Deno } = globalThis as { Deno?: { noColor?: boolean } };
  return Deno?.noColor ?? Boolean(process.env.NO_COLOR);
}
