/**
 * Sentences on the terminal, broken between words where it is too narrow; a
 * suggested command stays in one piece.
 *
 * @module
 */
import type { Io } from "./io.ts";
import { wrap } from "./table.ts";

/** Prints a sentence on stdout, as the result of a command. */
export function say(io: Io, text: string): void {
  io.out(lines(text, io.outIsTerminal ? io.columns : Infinity));
}

/** Prints a sentence on stderr, beside the result. */
export function note(io: Io, text: string): void {
  io.err(lines(text, io.errIsTerminal ? io.columns : Infinity));
}

/** Asks a question for yes or no; undefined: nobody can answer. */
export async function confirm(
  io: Io,
  question: string,
): Promise<boolean | undefined> {
  return await io.ask?.(
    wrap(question, io.columns - " [y/N] ".length).join("\n"),
  );
}

function lines(text: string, width: number): string {
  return `${wrap(text, width).join("\n")}\n`;
}
