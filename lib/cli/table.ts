/** Text in columns, measured as a terminal shows it. */
import { programName } from "./format.ts";

export type Color = "green" | "yellow" | "magenta" | "red" | "dim" | "bold";

/** A part of a cell; its text holds no escape sequence. */
export interface Piece {
  readonly text: string;
  readonly color?: Color;
}

export type Cell = readonly Piece[];

export function cell(text: string, color?: Color): Cell {
  return [color === undefined ? { text } : { text, color }];
}

export function dim(text: string): Cell {
  return cell(text, "dim");
}

export function columnWidths(rows: readonly (readonly Cell[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((it, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cellWidth(it));
    });
  }
  return widths;
}

/** Returns the width of columns of these widths, two spaces apart. */
export function lineWidth(widths: readonly number[]): number {
  return widths.reduce((sum, it) => sum + it + 2, -2);
}

export function pad(row: readonly Cell[], widths: readonly number[]): Cell[] {
  return row.map((it, i) => {
    const missing = (widths[i] ?? 0) - cellWidth(it);
    return missing > 0 ? [...it, { text: " ".repeat(missing) }] : it;
  });
}

export function line(row: readonly Cell[], color: boolean): string {
  return row.map((it) => it.map((piece) => paint(piece, color)).join(""))
    .join("  ").trimEnd();
}

/** An empty cell: what is behind it is indented. */
export const INDENT: Cell = [{ text: "  " }];

/** Parts a row into lines of at most `width` columns; the further ones are indented. */
export function flow(row: readonly Cell[], width: number): Cell[][] {
  const lines: Cell[][] = [];
  for (const it of row) {
    const last = lines.at(-1);
    if (last && lineWidth([...last, it].map(cellWidth)) <= width) last.push(it);
    else lines.push(last ? [INDENT, it] : [it]);
  }
  return lines;
}

export function fit(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  let kept = "";
  for (const character of text) {
    if (textWidth(kept + character) > width - 1) break;
    kept += character;
  }
  return `${kept}…`;
}

/**
 * Breaks a text at spaces into lines of at most `width` columns. A longer word
 * stays whole, and so does a suggested command: parts of them are of no use.
 */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of words(text)) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && textWidth(longer) > width) lines.push(word);
    else lines[Math.max(0, lines.length - 1)] = longer;
  }
  return lines;
}

/** Returns the words of a text; a command in quotes, or behind a colon at the end, is one. */
function words(text: string): string[] {
  const command = `${programName()} `;
  const join = (it: string) => it.replaceAll(" ", "\u00a0");
  return text
    .replace(/"[^"]*"/g, (it) => it.startsWith(`"${command}`) ? join(it) : it)
    .replace(
      /(?<=(?<!Usage): )(?!.*: ).+/,
      (it) => it.startsWith(command) ? join(it) : it,
    )
    .replace(/(?<=run: ).+/, join)
    .split(" ").map((it) => it.replaceAll("\u00a0", " "));
}

// Written here and not taken from @std/cli/unicode-width, because the copy of
// the standard library on npm lacks the data file which that module reads.
const ZERO = /^[\p{Mn}\p{Me}\p{Cf}\p{Cc}\u1160-\u11ff\ud7b0-\ud7ff]$/u;
const HALF = /^[\uff61-\uffdc]$/;
const WIDE =
  /^[\p{Emoji_Presentation}\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\p{sc=Bopomofo}\p{sc=Yi}\p{sc=Tangut}\u3000-\u303e\u309b-\u33ff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]$/u;

/** Returns how many columns a text without escape sequences takes. */
export function textWidth(text: string): number {
  // the usual case: plain text, and bars
  if (/^[ -~█░→…]*$/.test(text)) return text.length;
  let width = 0;
  for (const character of text) {
    if (ZERO.test(character)) continue;
    width += WIDE.test(character) && !HALF.test(character) ? 2 : 1;
  }
  return width;
}

export function cellWidth(it: Cell): number {
  return it.reduce((sum, { text }) => sum + textWidth(text), 0);
}

const CODES: Readonly<Record<Color, readonly [on: number, off: number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  magenta: [35, 39],
};

function paint({ text, color }: Piece, wanted: boolean): string {
  if (!wanted || color === undefined || text === "") return text;
  const [on, off] = CODES[color];
  return `\u001b[${on}m${text}\u001b[${off}m`;
}
