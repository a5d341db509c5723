/**
 * What was found and what to do about it: how `doctor` and every error are
 * laid out.
 *
 * @module
 */
import { sanitize } from "./format.ts";
import type { Io } from "./io.ts";
import { cell, line, type Piece, wrap } from "./table.ts";

/** How much a finding matters. */
export type Level = "ok" | "note" | "warning" | "problem";

/** One thing that was looked at. */
export interface Finding {
  readonly level: Level;
  /** What was found, without a full stop. */
  readonly text: string;
  /** What to do about it; several ways are parted by "; ". */
  readonly advice?: string;
}

/** Where findings are shown. */
type Screen = Pick<Io, "columns" | "color">;

const MARKS: Readonly<Record<Level, Piece>> = {
  ok: { text: "✓", color: "green" },
  note: { text: "·", color: "dim" },
  warning: { text: "!", color: "magenta" },
  problem: { text: "✗", color: "red" },
};

/** Returns a finding. */
export function finding(level: Level, text: string, advice = ""): Finding {
  return { level, text, ...(advice === "" ? {} : { advice }) };
}

/** Reads a message: what was found, then behind "; " what to do. */
export function readMessage(level: Level, message: string): Finding {
  const [text = "", ...advice] = sanitize(message).split("; ");
  return finding(level, text, advice.join("; "));
}

/** Returns the findings on one matter, in lines that each end with a line feed. */
export function sectionText(
  title: string,
  findings: readonly Finding[],
  screen: Screen,
): string {
  return [
    line([cell(title, "bold")], screen.color),
    ...findings.flatMap((it) => lines(it, MARKS[it.level], screen))
      .map((it) => `  ${it}`),
  ].map((it) => `${it}\n`).join("");
}

/** Writes an error to stderr. */
export function printError(io: Io, message: string): void {
  print(io, { text: "Error:", color: "red" }, message);
}

/** Writes a warning to stderr. */
export function printWarning(io: Io, message: string): void {
  print(io, { text: "Warning:", color: "magenta" }, message);
}

function print(io: Io, mark: Piece, message: string): void {
  const { errIsTerminal, columns, color } = io;
  const screen = errIsTerminal
    ? { columns, color }
    : { columns: Infinity, color: false };
  const text = lines(readMessage("problem", message), mark, screen)
    .map((it) => `${it}\n`).join("");
  io.err(text);
}

/** What was found, and below it what to do. */
function lines(
  { text, advice }: Finding,
  mark: Piece,
  { columns, color }: Screen,
): string[] {
  const hang = (mark: Piece, text: string, indent: string) => {
    const width = Math.max(20, columns - 4 - indent.length);
    const [first = "", ...rest] = wrap(
      `${mark.text} ${sanitize(text)}`,
      width,
    );
    return [
      indent + line([[mark]], color) + first.slice(mark.text.length),
      ...rest.map((it) => `${indent}  ${it}`),
    ];
  };
  return [
    ...hang(mark, text, ""),
    ...(advice?.split("; ") ?? [])
      .flatMap((it) => hang({ text: "→" }, it, "  ")),
  ];
}
