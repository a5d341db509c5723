/**
 * The status table as a person sees it: one row per account, on one line where
 * the terminal is wide enough, else on two or stacked.
 *
 * @module
 */
import type { AccountStatus, StatusReport } from "../types.ts";
import {
  type Cell,
  cell,
  cellWidth,
  type Color,
  columnWidths,
  fit,
  line,
  wrap,
} from "./table.ts";
import { footer } from "./status_footer.ts";
import {
  clean,
  creditWords,
  shortDuration,
  standingWords,
  windowLabel,
} from "./words.ts";

/** How a report is shown. */
export interface RenderOptions {
  /** Width of the terminal. */
  columns: number;
  color: boolean;
  /** Epoch ms. */
  now: number;
}

const NAME_WIDTH = 24;
const SHORTEST_BAR = 4;
const LONGEST_BAR = 20;

/** An account's cells, before they are laid out. */
interface Row {
  readonly name: Cell;
  readonly plan: Cell;
  readonly standing: Cell;
  readonly credits: Cell;
  readonly windows: AccountStatus["windows"];
  readonly notes: readonly string[];
}

/**
 * Renders a status report for people.
 *
 * @returns Lines, each ended by a line feed.
 */
export function renderStatus(
  report: StatusReport,
  options: RenderOptions,
): string {
  const rows = report.accounts.map((account) =>
    readRow(account, report.next === account.alias, options.now)
  );
  const table = onOneLine(rows, options) ?? onTwoLines(rows, options) ??
    stacked(rows, options);
  const below = footer(report, options.now)
    .flatMap((text) => wrap(text, options.columns));
  return [...table, "", ...below, ""].join("\n");
}

function readRow(account: AccountStatus, isNext: boolean, now: number): Row {
  const alias = fit(clean(account.alias), NAME_WIDTH);
  return {
    name: isNext
      ? [{ text: "→ ", color: "green" }, { text: alias, color: "bold" }]
      : cell(`  ${alias}`),
    plan: cell(fit(clean(account.plan ?? "-"), 14)),
    standing: cell(standingWords(account, now), standingColor(account)),
    credits: cell(creditWords(account)),
    windows: account.windows.filter((it) => it.meter === "codex")
      .sort((a, b) => (a.windowSeconds ?? 0) - (b.windowSeconds ?? 0)),
    notes: notes(account, now),
  };
}

function standingColor(account: AccountStatus): Color {
  switch (account.standing) {
    case "included":
      return "green";
    case "credits":
    case "unconfirmed":
      return "yellow";
    case "unknown":
      return "dim";
    case "blocked":
      return account.reason === "disabled" ? "dim" : "red";
  }
}

/** What does not fit into a column, a line each. */
function notes(account: AccountStatus, now: number): string[] {
  const further = account.windows.filter((it) => it.meter !== "codex")
    .map((it) => `${clean(it.meter)} ${windowWords(it, now).join(" ")}`);
  const banked = account.bankedResets ?? 0;
  return [
    ...further,
    ...(banked > 0
      ? [`${banked} banked ${banked === 1 ? "reset" : "resets"}`]
      : []),
    ...(account.detail === null ? [] : [clean(account.detail)]),
  ];
}

function windowWords(
  it: AccountStatus["windows"][number],
  now: number,
): [label: string, percent: string, reset: string] {
  const left = it.resetsAt === null ? NaN : Date.parse(it.resetsAt) - now;
  return [
    windowLabel(it.windowSeconds),
    `${Math.round(it.usedPercent)}%`,
    left > 0 ? shortDuration(left) : left <= 0 ? "reset" : "",
  ];
}

/** One window: label, bar, percent and time to reset, without a bar when it has no room. */
function windowCell(
  it: AccountStatus["windows"][number],
  barWidth: number,
  now: number,
): Cell {
  const [label, percent, reset] = windowWords(it, now);
  const words = `${percent.padStart(4)} ${reset.padEnd(6)}`;
  const used = Math.min(100, Math.max(0, it.usedPercent));
  const filled = used > 0 && used < 100
    ? Math.min(barWidth - 1, Math.max(1, Math.round(used / 100 * barWidth)))
    : Math.round(used / 100 * barWidth);
  const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
  return [
    { text: `${label.padStart(3)} ` },
    { text: bar, color: used >= 100 ? "red" : used >= 80 ? "yellow" : "green" },
    { text: ` ${words}` },
  ];
}

/** Columns that the windows take besides their bars. */
const WINDOW_WORDS = 4 + 1 + 4 + 1 + 6;

function onOneLine(rows: Row[], options: RenderOptions): string[] | undefined {
  const count = Math.max(0, ...rows.map((row) => row.windows.length));
  const cells = rows.map((row) => [
    row.name,
    row.plan,
    row.standing,
    ...Array.from({ length: count }, () => cell(" ".repeat(WINDOW_WORDS))),
    row.credits,
  ]);
  const bar = barWidth(options.columns - lineWidth(columnWidths(cells)), count);
  if (bar < SHORTEST_BAR) return undefined;
  rows.forEach((row, i) => {
    const windows = row.windows.map((it) => windowCell(it, bar, options.now));
    cells[i]!.splice(3, windows.length, ...windows);
  });
  const widths = columnWidths(cells);
  return rows.flatMap((row, i) => [
    line(cells[i]!, widths, options.color),
    ...noteLines(row, options),
  ]);
}

function onTwoLines(rows: Row[], options: RenderOptions): string[] | undefined {
  const cells = rows.map((row) => [
    row.name,
    row.plan,
    row.standing,
    row.credits,
  ]);
  const widths = columnWidths(cells);
  const count = Math.max(0, ...rows.map((row) => row.windows.length));
  const room = options.columns - 4 - count * (WINDOW_WORDS + 2);
  const bar = barWidth(room, count);
  if (lineWidth(widths) > options.columns || bar < SHORTEST_BAR) {
    return undefined;
  }
  return rows.flatMap((row, i) => {
    const windows = row.windows.map((it) => windowCell(it, bar, options.now));
    return [
      line(cells[i]!, widths, options.color),
      ...(windows.length === 0
        ? []
        : [`  ${line(windows, windows.map(cellWidth), options.color)}`]),
      ...noteLines(row, options),
    ];
  });
}

function stacked(rows: Row[], options: RenderOptions): string[] {
  const bar = Math.max(
    1,
    Math.min(LONGEST_BAR, options.columns - WINDOW_WORDS - 4),
  );
  const under = (it: Cell) => `    ${line([it], [], options.color)}`;
  return rows.flatMap((row) => [
    line([row.name, row.plan], [], options.color),
    under(row.standing),
    ...row.windows.map((it) =>
      `   ${line([windowCell(it, bar, options.now)], [], options.color)}`
    ),
    under(row.credits),
    ...noteLines(row, options),
  ]);
}

function noteLines(row: Row, { columns, color }: RenderOptions): string[] {
  return row.notes.map((note) =>
    line(
      [cell(`    ${fit(note, Math.max(20, columns - 4))}`, "dim")],
      [],
      color,
    )
  );
}

function lineWidth(widths: readonly number[]): number {
  return widths.reduce((sum, it) => sum + it + 2, -2);
}

function barWidth(room: number, count: number): number {
  if (count === 0) return room < 0 ? 0 : LONGEST_BAR;
  return Math.min(LONGEST_BAR, Math.floor(room / count));
}
