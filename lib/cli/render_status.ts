/**
 * The status table as a person sees it: a row per account, and where the
 * terminal is too narrow for that, its windows below it.
 *
 * @module
 */
import type { AccountStatus, StatusReport } from "../report_types.ts";
import { footer } from "./status_footer.ts";
import {
  type Cell,
  cell,
  type Color,
  columnWidths,
  fit,
  flow,
  line,
  wrap,
} from "./table.ts";
import { textWidth } from "./table.ts";
import { creditWords, sanitize, standingWords } from "./format.ts";
import {
  fixedWidths,
  type UsedWindow,
  windowCell,
  type WindowWidths,
  windowWords,
} from "./window_cell.ts";

/** How a report is shown. */
export interface RenderOptions {
  /** Width of the terminal. */
  columns: number;
  color: boolean;
  /** Epoch ms. */
  now: number;
}

/** Aliases and plans are cut as little as the terminal allows. */
const CUTS = [
  { alias: 32, plan: 14 },
  { alias: 24, plan: 14 },
  { alias: 16, plan: 10 },
  { alias: 12, plan: 8 },
] as const;
type Cut = { readonly alias: number; readonly plan: number };
const SHORTEST_BAR = 4;
const LONGEST_BAR = 20;
/** From so many accounts on, one line each matters more than time in words. */
const MANY = 12;
/** What stands before the lines below an account. */
const INDENT = "    ";

/** An account's cells, before they are laid out. */
interface Row {
  readonly cells: readonly Cell[];
  /** By column; empty where the account lacks that window. */
  readonly windows: readonly (UsedWindow | undefined)[];
  readonly notes: readonly string[];
}

/** Lays rows out; undefined where they do not fit. */
type Layout = (rows: Row[], options: RenderOptions) => string[] | undefined;

/**
 * Renders a status report for people.
 *
 * @returns Lines, each ended by a line feed.
 */
export function renderStatus(
  report: StatusReport,
  options: RenderOptions,
): string {
  const below = footer(report, options.now)
    .flatMap((text) => wrap(text, options.columns));
  if (report.accounts.length === 0) return [...below, ""].join("\n");
  return [...table(report, options), "", ...below, ""].join("\n");
}

function table(report: StatusReport, options: RenderOptions): string[] {
  const many = report.accounts.length >= MANY;
  const layouts: Layout[] = [
    (rows, options) => onOneLine(rows, options, "words"),
    ...(many ? [(rows: Row[]) => onOneLine(rows, options, "short")] : []),
    onTwoLines,
  ];
  const cuts = CUTS.filter((cut) => cut === CUTS[0] || cutsAny(report, cut))
    .map((cut) => readRows(report, cut, options.now));
  for (const layout of layouts) {
    for (const rows of cuts) {
      const lines = layout(rows, options);
      if (lines !== undefined) return lines;
    }
  }
  return stacked(readRows(report, CUTS[1], options.now), options);
}

function cutsAny({ accounts }: StatusReport, { alias, plan }: Cut): boolean {
  return accounts.some((it) =>
    textWidth(sanitize(it.alias)) > alias ||
    textWidth(sanitize(it.plan ?? "")) > plan
  );
}

function readRows(report: StatusReport, cut: Cut, now: number): Row[] {
  const windows = windowColumns(report.accounts);
  return report.accounts.map((account, i) => {
    const alias = fit(sanitize(account.alias), cut.alias);
    const name: Cell = report.next === account.alias
      ? [{ text: "→ ", color: "green" }, { text: alias, color: "bold" }]
      : cell(`  ${alias}`);
    return {
      cells: [
        name,
        cell(fit(sanitize(account.plan ?? "-"), cut.plan)),
        cell(standingWords(account, now), standingColor(account)),
        cell(creditWords(account)),
      ],
      windows: windows[i]!,
      notes: notes(account, now),
    };
  });
}

/** The main meter's windows, those of one length in one column where that takes no more room. */
function windowColumns(accounts: readonly AccountStatus[]): Row["windows"][] {
  const length = (it: UsedWindow) => it.windowSeconds ?? 0;
  const rows = accounts.map(({ windows }) =>
    windows.filter((it) => it.meter === "codex")
      .sort((a, b) => length(a) - length(b))
  );
  const lengths = [...new Set(rows.flat().map(length))].sort((a, b) => a - b);
  const most = Math.max(0, ...rows.map((windows) => windows.length));
  if (lengths.length !== most) return rows;
  return rows.map((windows) =>
    lengths.map((it) => windows.find((window) => length(window) === it))
  );
}

// Words in yellow can hardly be read on a light background.
function standingColor(account: AccountStatus): Color {
  switch (account.standing) {
    case "included":
      return "green";
    case "credits":
    case "unconfirmed":
      return "magenta";
    case "unknown":
      return "dim";
    case "blocked":
      return account.reason === "disabled" ? "dim" : "red";
  }
}

/** What does not fit into a column, a line each. */
function notes(account: AccountStatus, now: number): string[] {
  const further = account.windows.filter((it) => it.meter !== "codex")
    .map((it) => {
      const { label, percent, reset } = windowWords(it, now, "words");
      return `${sanitize(it.meter)} ${label} ${percent}  ${reset}`.trimEnd();
    });
  const banked = account.bankedResets ?? 0;
  return [
    ...further,
    ...(banked > 0
      ? [
        `${banked} banked ${banked === 1 ? "reset" : "resets"}, left untouched`,
      ]
      : []),
    ...(account.detail === null ? [] : [sanitize(account.detail)]),
  ];
}

function onOneLine(
  rows: Row[],
  options: RenderOptions,
  style: "words" | "short",
): string[] | undefined {
  const fixed = fixedWidths(rows.map((row) => row.windows), options.now, style);
  const widths = columnWidths(rows.map((row) => row.cells));
  const taken = lineWidth([...widths, ...fixed.map((it) => it.total)]);
  const bar = barWidth(options.columns - taken, fixed.length);
  if (bar < SHORTEST_BAR) return undefined;
  const all = [
    ...widths.slice(0, 3),
    ...fixed.map((it) => it.total + bar),
    ...widths.slice(3),
  ];
  return rows.flatMap((row) => {
    const windows = windowCells(row.windows, fixed, bar, options.now);
    const blank = fixed.slice(windows.length).map(() => cell(""));
    const [name, plan, standing, credits] = row.cells as [
      Cell,
      Cell,
      Cell,
      Cell,
    ];
    const cells = [name, plan, standing, ...windows, ...blank, credits];
    return [line(cells, all, options.color), ...noteLines(row, options)];
  });
}

function onTwoLines(rows: Row[], options: RenderOptions): string[] | undefined {
  const widths = columnWidths(rows.map((row) => row.cells));
  const fixed = fixedWidths(
    rows.map((row) => row.windows),
    options.now,
    "words",
  );
  const taken = INDENT.length + lineWidth(fixed.map((it) => it.total));
  const bar = barWidth(options.columns - taken, fixed.length);
  if (lineWidth(widths) > options.columns || bar < SHORTEST_BAR) {
    return undefined;
  }
  return rows.flatMap((row) => {
    const windows = windowCells(row.windows, fixed, bar, options.now);
    const below = line(
      windows,
      fixed.map((it) => it.total + bar),
      options.color,
    );
    return [
      line(row.cells, widths, options.color),
      ...(below === "" ? [] : [INDENT + below]),
      ...noteLines(row, options),
    ];
  });
}

function stacked(rows: Row[], options: RenderOptions): string[] {
  const { columns, color, now } = options;
  const windows = rows.map((row) =>
    row.windows.filter((it) => it !== undefined)
  );
  const [fixed] = fixedWidths(windows.flat().map((it) => [it]), now, "words");
  const room = columns - INDENT.length - (fixed?.total ?? 0);
  const bar = Math.max(1, Math.min(LONGEST_BAR, room));
  return rows.flatMap((row, i) => [
    ...flow(row.cells, columns, color),
    ...windows[i]!.map((it) =>
      INDENT + line(windowCells([it], [fixed!], bar, now), [], color)
    ),
    ...noteLines(row, options),
  ]);
}

function windowCells(
  windows: Row["windows"],
  fixed: readonly WindowWidths[],
  bar: number,
  now: number,
): Cell[] {
  return windows.map((it, i) =>
    it === undefined ? cell("") : windowCell(it, fixed[i]!, bar, now)
  );
}

function noteLines(row: Row, { columns, color }: RenderOptions): string[] {
  return row.notes.map((note) => {
    const text = fit(note, Math.max(20, columns - INDENT.length));
    return INDENT + line([cell(text, "dim")], [], color);
  });
}

function lineWidth(widths: readonly number[]): number {
  return widths.reduce((sum, it) => sum + it + 2, -2);
}

function barWidth(room: number, count: number): number {
  if (count === 0) return room < 0 ? 0 : LONGEST_BAR;
  return Math.min(LONGEST_BAR, Math.floor(room / count));
}
