import type { AccountStatus } from "../report_types.ts";
import type { Cell } from "./table.ts";
import { clockTime, inTime, shortDuration, windowLabel } from "./format.ts";

/** One usage window of a report. */
export type UsedWindow = AccountStatus["windows"][number];

/** A window's texts. */
interface WindowWords {
  readonly label: string;
  readonly percent: string;
  /** "in 2 h 14 min, 14:14"; short: "2h14m". */
  readonly reset: string;
}

/** What a column of windows takes besides its bars. */
export interface WindowWidths {
  readonly label: number;
  readonly reset: number;
  readonly total: number;
  readonly style: "words" | "short";
}

/** A percentage takes so many columns. */
const PERCENT = 4;

/** What a window says besides its bar. */
export function windowWords(
  it: UsedWindow,
  now: number,
  style: "words" | "short",
): WindowWords {
  return {
    label: windowLabel(it.windowSeconds),
    percent: `${Math.round(it.usedPercent)}%`,
    reset: resetWords(it.resetsAt, now, style),
  };
}

function resetWords(
  at: string | null,
  now: number,
  style: "words" | "short",
): string {
  if (at === null) return "";
  const left = Date.parse(at) - now;
  if (left <= 0) return "reset";
  return style === "short"
    ? shortDuration(left)
    : `${inTime(at, now)}, ${clockTime(at, now)}`;
}

/** How wide each column of windows is, without its bars. */
export function fixedWidths(
  rows: readonly (readonly (UsedWindow | undefined)[])[],
  now: number,
  style: "words" | "short",
): WindowWidths[] {
  const count = Math.max(0, ...rows.map((windows) => windows.length));
  return Array.from({ length: count }, (_, i) => {
    const words = rows.flatMap((windows) => windows[i] ?? [])
      .map((it) => windowWords(it, now, style));
    const label = Math.max(...words.map((it) => it.label.length));
    const reset = Math.max(...words.map((it) => it.reset.length));
    const total = label + 1 + 1 + PERCENT + (reset > 0 ? 2 + reset : 0);
    return { label, reset, total, style };
  });
}

/** One window: label, bar, percent and time to reset. */
export function windowCell(
  it: UsedWindow,
  widths: WindowWidths,
  barWidth: number,
  now: number,
): Cell {
  const { label, percent, reset } = windowWords(it, now, widths.style);
  const used = Math.min(100, Math.max(0, it.usedPercent));
  // neither empty nor full before it is
  const filled = used > 0 && used < 100
    ? Math.min(barWidth - 1, Math.max(1, Math.round(used / 100 * barWidth)))
    : Math.round(used / 100 * barWidth);
  return [
    { text: `${label.padStart(widths.label)} ` },
    {
      text: "█".repeat(filled),
      color: used >= 100 ? "red" : used >= 80 ? "yellow" : "green",
    },
    { text: "░".repeat(barWidth - filled), color: "dim" },
    {
      text: ` ${percent.padStart(PERCENT)}${
        widths.reset > 0 ? `  ${reset.padEnd(widths.reset)}` : ""
      }`,
    },
  ];
}
