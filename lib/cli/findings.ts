/**
 * What an examination finds, and how it is shown.
 *
 * @module
 */
import type { Io } from "./io.ts";
import { type Cell, type Color, line, wrap } from "./table.ts";
import { sanitize } from "./format.ts";

/** How much a finding matters. */
export type Level = "ok" | "note" | "warning" | "problem";

/** One thing that was looked at. */
export interface Finding {
  readonly level: Level;
  /** What was found, without a full stop. */
  readonly text: string;
  /** What to do about it. */
  readonly advice?: string;
  /** The command that does it, to be copied. */
  readonly run?: string;
}

/** Findings on one matter. */
export interface Section {
  readonly title: string;
  readonly findings: readonly Finding[];
}

const MARKS: Readonly<Record<Level, { text: string; color: Color }>> = {
  ok: { text: "✓", color: "green" },
  note: { text: "·", color: "dim" },
  warning: { text: "!", color: "magenta" },
  problem: { text: "✗", color: "red" },
};

/** How many findings of a level there are. */
export function count(sections: readonly Section[], level: Level): number {
  return sections.flatMap((it) => it.findings)
    .filter((it) => it.level === level).length;
}

/** The findings as text; an advice stands below what it is for. */
export function renderFindings(
  sections: readonly Section[],
  { columns, color }: Pick<Io, "columns" | "color">,
): string {
  const lines = sections.filter((it) => it.findings.length > 0)
    .flatMap(({ title, findings }) => [
      line([[{ text: title, color: "bold" }]], [], color),
      ...findings.flatMap((it) => findingLines(it, columns, color)),
    ]);
  return [...lines, "", summary(sections), ""].join("\n");
}

function findingLines(
  { level, text, advice, run }: Finding,
  columns: number,
  color: boolean,
): string[] {
  const hang = (mark: Cell, words: string, indent: number) =>
    wrap(sanitize(words), Math.max(20, columns - indent - 2), "keep")
      .map((it, i) =>
        " ".repeat(indent) +
        line(
          [[...(i === 0 ? mark : [{ text: " " }]), { text: ` ${it}` }]],
          [],
          color,
        )
      );
  return [
    ...hang([MARKS[level]], text, 2),
    ...(advice === undefined ? [] : hang([{ text: "→" }], advice, 4)),
    // in one piece, whatever its length
    ...(run === undefined ? [] : [`    → ${sanitize(run)}`]),
  ];
}

function summary(sections: readonly Section[]): string {
  const problems = count(sections, "problem");
  const warnings = count(sections, "warning");
  if (problems + warnings === 0) return "Nothing is wrong.";
  const said = (n: number, word: string) =>
    n === 0 ? [] : [`${n} ${word}${n === 1 ? "" : "s"}`];
  return `${
    [...said(problems, "problem"), ...said(warnings, "warning")].join(", ")
  }.`;
}

/** E-mail addresses in a text made hard to recognise: "m…@e….com". */
export function maskEmails(text: string): string {
  return text.replace(
    /([^\s@,;:()<>"'])[^\s@,;:()<>"']*@([^\s@.])[^\s@]*?(\.[\p{L}\d-]+)(?![\p{L}\d.-])/gu,
    "$1…@$2…$3",
  );
}
