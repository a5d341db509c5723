/**
 * Text in columns, measured as a terminal shows it.
 *
 * @module
 */
import { styleText } from "node:util";
import { textWidth } from "./width.ts";

/** The colours in use. */
export type Color = "green" | "yellow" | "red" | "dim" | "bold";

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

/** Breaks a text at spaces into lines of at most `width` columns. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && textWidth(longer) <= width) {
      lines[lines.length - 1] = longer;
    } else {
      lines.push(fit(word, width));
    }
  }
  return lines;
}

function paint({ text, color }: Piece, wanted: boolean): string {
  if (!wanted || color === undefined) return text;
  // Asking the stream would need permissions that a scoped run lacks.
  return styleText(color, text, { validateStream: false });
}
