/**
 * What the command line says and ends with: sentences, findings with what to do
 * about them, errors and exit codes. Text from elsewhere becomes harmless here.
 */
import { suggestion } from "../nearest.ts";
import { sanitize } from "./format.ts";
import { INTERRUPTED, type Io } from "./io.ts";
import { cell, line, type Piece, wrap } from "./table.ts";

export const EXIT = {
  ok: 0,
  /** Failed, or failed in part. */
  failed: 1,
  usage: 2,
  /** `status --check`: nobody is included, but someone may serve. */
  uncertain: 3,
  /** No account, or nothing can serve until someone signs in. */
  noAccount: 4,
  /** `status --check`: nothing can serve for another reason. */
  unavailable: 69,
  interrupted: INTERRUPTED,
} as const;

/** An error whose message is all that a person needs to see: what was found, behind "; " what to do next. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly code: number;

  constructor(message: string, code: number = EXIT.failed) {
    super(message);
    this.code = code;
  }
}

export function usageError(message: string): CliError {
  return new CliError(message, EXIT.usage);
}

/** Returns the name that was given, where it is known; else throws `problem` with the nearest name. */
export function requireName<T extends string>(
  name: string,
  known: readonly T[],
  problem: string,
): T {
  const found = known.find((it) => it === name);
  if (found !== undefined) return found;
  throw usageError(
    `${problem}${suggestion(name, known)}; known are: ${known.join(", ")}`,
  );
}

export interface Voice {
  say(text: string): void;
  note(text: string): void;
  /** Prints a warning on stderr; what to do is behind "; ". */
  warn(text: string): void;
}

export function voiceOf(io: Io): Voice {
  // a suggested command stays in one piece
  const broken = (text: string, isTerminal: boolean) =>
    `${wrap(sanitize(text), isTerminal ? io.columns : Infinity).join("\n")}\n`;
  return {
    say: (text) => io.out(broken(text, io.outIsTerminal)),
    note: (text) => io.err(broken(text, io.errIsTerminal)),
    warn: (text) =>
      printMarked(io, { text: "Warning:", color: "magenta" }, text),
  };
}

export function printError(io: Io, message: string): void {
  printMarked(io, { text: "Error:", color: "red" }, message);
}

function printMarked(io: Io, mark: Piece, message: string): void {
  const screen = io.errIsTerminal ? io : { columns: Infinity, color: false };
  const text = lines(finding("problem", message), mark, screen);
  io.err(text.map((it) => `${it}\n`).join(""));
}

/** Asks a question for yes or no; undefined: nobody can answer. */
export async function confirm(
  io: Io,
  question: string,
): Promise<boolean | undefined> {
  const width = io.columns - " [y/N] ".length;
  return await io.ask?.(wrap(sanitize(question), width).join("\n"));
}

export interface Finding {
  readonly level: "ok" | "note" | "warning" | "problem";
  /** What was found, without a full stop. */
  readonly text: string;
  /** What to do about it; several ways are parted by "; ". */
  readonly advice?: string;
}

type Screen = Pick<Io, "columns" | "color">;

const MARKS: Readonly<Record<Finding["level"], Piece>> = {
  ok: { text: "✓", color: "green" },
  note: { text: "·", color: "dim" },
  warning: { text: "!", color: "magenta" },
  problem: { text: "✗", color: "red" },
};

/** Reads a message: what was found, then behind "; " what to do. */
export function finding(level: Finding["level"], message: string): Finding {
  const [text = "", ...advice] = sanitize(message).split("; ");
  return { level, text, ...(advice[0] && { advice: advice.join("; ") }) };
}

export function sectionText(
  title: string,
  findings: readonly Finding[],
  screen: Screen,
): string {
  const found = findings.flatMap((it) => lines(it, MARKS[it.level], screen));
  const head = line([cell(title, "bold")], screen.color);
  return [head, ...found.map((it) => `  ${it}`)].map((it) => `${it}\n`).join(
    "",
  );
}

function lines(
  { text, advice }: Finding,
  mark: Piece,
  { columns, color }: Screen,
): string[] {
  const hang = (mark: Piece, text: string, width: number) => {
    const all = `${mark.text} ${sanitize(text)}`;
    const [first = "", ...rest] = wrap(all, Math.max(20, width));
    const begin = line([[mark]], color) + first.slice(mark.text.length);
    return [begin, ...rest.map((it) => `  ${it}`)];
  };
  const steps = advice?.split("; ") ?? [];
  return [
    ...hang(mark, text, columns - 4),
    ...steps.flatMap((it) => hang({ text: "→" }, it, columns - 6))
      .map((it) => `  ${it}`),
  ];
}
