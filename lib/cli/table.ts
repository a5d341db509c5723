/**
 * Text in columns, measured as a terminal shows it.
 *
 * @module
 */

/** The colours in use. */
export type Color = "green" | "yellow" | "magenta" | "red" | "dim" | "bold";

/** A piece of a cell; its text holds no escape sequence. */
export interface Piece {
  readonly text: string;
  readonly color?: Color;
}

/** What stands in one column of one row. */
export type Cell = readonly Piece[];

/** A cell of one piece. */
export function cell(text: string, color?: Color): Cell {
  return [color === undefined ? { text } : { text, color }];
}

/** Columns that a cell takes. */
export function cellWidth(it: Cell): number {
  return it.reduce((sum, { text }) => sum + textWidth(text), 0);
}

/** The width of each column of `rows`. */
export function columnWidths(rows: readonly (readonly Cell[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((it, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cellWidth(it));
    });
  }
  return widths;
}

/** One line of cells, two spaces apart, padded to `widths`. */
export function line(
  row: readonly Cell[],
  widths: readonly number[],
  color: boolean,
): string {
  const cells = row.map((it, i) =>
    it.map((piece) => paint(piece, color)).join("") +
    " ".repeat(Math.max(0, (widths[i] ?? 0) - cellWidth(it)))
  );
  return cells.join("  ").trimEnd();
}

/** Cuts a text to a width, marking the cut. */
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
 * Breaks a text at spaces into lines of at most `width` columns.
 *
 * @param long What to do with a word that is longer: commands and paths are
 *   of no use when they are cut.
 */
export function wrap(
  text: string,
  width: number,
  long: "cut" | "keep" = "cut",
): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && textWidth(longer) <= width) {
      lines[lines.length - 1] = longer;
    } else {
      lines.push(long === "cut" ? fit(word, width) : word);
    }
  }
  return lines;
}

/** Cells one after another, two spaces apart, on as few lines as they fit on. */
export function flow(
  row: readonly Cell[],
  width: number,
  color: boolean,
): string[] {
  const lines: Cell[][] = [];
  for (const it of row) {
    const last = lines.at(-1);
    const taken = (last ?? []).reduce((sum, it) => sum + cellWidth(it) + 2, 0);
    if (last !== undefined && taken + cellWidth(it) <= width) last.push(it);
    else lines.push(lines.length === 0 ? [it] : [cell("  "), it]);
  }
  return lines.map((cells) => line(cells, [], color));
}

// The terminal's own palette, so that its owner's choice of light or dark holds.
const CODES: Readonly<Record<Color, readonly [on: number, off: number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  magenta: [35, 39],
};

function paint({ text, color }: Piece, wanted: boolean): string {
  if (!wanted || color === undefined) return text;
  const [on, off] = CODES[color];
  return `\u001b[${on}m${text}\u001b[${off}m`;
}

// Written here and not taken from @std/cli/unicode-width, because the copy of
// the standard library on npm lacks the data file which that module reads.

const ZERO = /^[\p{Mn}\p{Me}\p{Cf}\p{Cc}\u1160-\u11ff\ud7b0-\ud7ff]$/u;
const HALF = /^[\uff61-\uffdc]$/;
const WIDE =
  /^[\p{Emoji_Presentation}\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\p{sc=Bopomofo}\p{sc=Yi}\p{sc=Tangut}\u3000-\u303e\u309b-\u33ff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]$/u;

/** Columns that a text without escape sequences takes in a terminal. */
export function textWidth(text: string): number {
  // most there is: plain text, and bars
  if (/^[ -~█░→…]*$/.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

function characterWidth(character: string): 0 | 1 | 2 {
  if (ZERO.test(character)) return 0;
  return WIDE.test(character) && !HALF.test(character) ? 2 : 1;
}
