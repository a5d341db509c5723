/**
 * A status report as a person sees it: one line per account on a wide
 * terminal, else its windows below it.
 *
 * @module
 */
import type { AccountStatus, StatusReport } from "../report_types.ts";
import { ageWords, noAccount } from "./format.ts";
import {
  lengthsOf,
  MIN_BAR,
  readRow,
  type RenderOptions,
  type Row,
} from "./status_row.ts";
import { summaryLines } from "./status_summary.ts";
import {
  type Cell,
  cell,
  cellWidth,
  columnWidths,
  flow,
  INDENT,
  line,
  lineWidth,
  pad,
  wrap,
} from "./table.ts";

/** All accounts, before they are laid out. */
interface Table {
  readonly columns: number;
  readonly rows: readonly Row[];
  /** The titles of groups, by their first row. */
  readonly titles: ReadonlyMap<Row, string>;
  /** The headers of the columns of windows. */
  readonly lengths: readonly Cell[];
  /** The headers of the columns behind them. */
  readonly trail: readonly Cell[];
}

/** Lines of cells: a header, then those of each account. */
interface Layout {
  readonly header: readonly Cell[][];
  readonly rows: readonly Cell[][][];
}

/** From so many accounts on they are shown in groups. */
const MANY = 12;
/** What the groups are called, in the order in which they serve. */
const GROUPS: Readonly<Record<AccountStatus["standing"], string>> = {
  included: "On included usage",
  unknown: "Unknown until asked",
  credits: "On purchased credits",
  unconfirmed: "Unconfirmed, may be charged",
  blocked: "Cannot serve",
};
const MAX_BAR = 16;
const LEAD = ["  account", "plan", "standing"].map(dim);

/** Returns a report for people, in lines that each end with a line feed. */
export function renderStatus(
  report: StatusReport,
  options: RenderOptions,
): string {
  const { columns, color, now } = options;
  const lines = report.accounts.length === 0 ? wrap(noAccount(), columns) : [
    ...tableLines(readTable(report, options)).map((it) => line(it, color)),
    "",
    ...summaryLines(report, now).flatMap((it) => wrap(it, columns)),
  ];
  return lines.map((it) => `${it}\n`).join("");
}

function readTable(
  { accounts, next }: StatusReport,
  options: RenderOptions,
): Table {
  const lengths = lengthsOf(accounts);
  const isOld = accounts.some((it) => ageWords(it, options.now) !== "");
  const titles = new Map<Row, string>();
  const rowsOf = (list: readonly AccountStatus[]) =>
    list.map((it) => readRow(it, { ...options, lengths, next }));
  const groups = Object.entries(GROUPS).map(([standing, title]) => {
    const rows = rowsOf(accounts.filter((it) => it.standing === standing));
    if (rows[0]) titles.set(rows[0], `${title} (${rows.length})`);
    return rows;
  });
  return {
    columns: options.columns,
    rows: accounts.length < MANY ? rowsOf(accounts) : groups.flat(),
    titles,
    lengths: lengths.map((it) => dim(`${it}, resets in`)),
    trail: ["credits", "requests", ...(isOld ? ["seen"] : [])].map(dim),
  };
}

/** Lays a table out, with titles above groups and notes below accounts. */
function tableLines(table: Table): Cell[][] {
  const { titles, columns } = table;
  const { header, rows } = wide(table) ?? stacked(table);
  const accounts = table.rows.flatMap((row, i) => [
    ...(titles.has(row) ? [[cell(titles.get(row)!, "bold")]] : []),
    ...rows[i]!,
    ...row.notes.flatMap((it) => flow([INDENT, ...it], columns)),
  ]);
  return [...header, ...accounts];
}

/** Each account on one line; undefined where that does not fit. */
function wide({ lengths, trail, rows, columns }: Table): Layout | undefined {
  const lines = aligned(columns, lengths.length, (bar) => [
    [...LEAD, ...lengths, ...trail],
    ...rows.map((it) => [
      ...it.lead,
      ...windowCells(it, bar),
      ...it.trail.slice(0, trail.length),
    ]),
  ]);
  if (lines === undefined) return undefined;
  const [header = [], ...others] = lines;
  return { header: [header], rows: others.map((it) => [it]) };
}

/** Each account on two lines or more. */
function stacked(table: Table): Layout {
  const { rows, trail, columns } = table;
  const { header, rows: windows } = windowLines(table);
  const leads = columnWidths(rows.map((it) => it.lead));
  const padded = lineWidth(leads) <= columns ? leads : [];
  const details = rows.map((row) =>
    row.trail.flatMap((it, i): Cell[] =>
      cellWidth(it) === 0 ? [] : [[...trail[i]!, { text: " " }, ...it]]
    )
  );
  const isShort = details.every((it) =>
    lineWidth([...leads, ...it.map(cellWidth)]) <= columns
  );
  return {
    header,
    rows: rows.map((row, i) => {
      const lead = pad(row.lead, padded);
      return isShort ? [[...lead, ...details[i]!], ...windows[i]!] : [
        ...flow(lead, columns),
        ...windows[i]!,
        ...flow([INDENT, ...details[i]!], columns),
      ];
    }),
  };
}

/** Each account's windows on one line below a header, or where that has no room, a line each. */
function windowLines({ rows, lengths, columns }: Table): Layout {
  const lines = aligned(columns, lengths.length, (bar) => [
    [INDENT, ...lengths],
    ...rows.map((it) => [INDENT, ...windowCells(it, bar)]),
  ]);
  const [header = [], ...others] = lines ?? [];
  return lines === undefined
    ? {
      header: [],
      rows: rows.map((it) => it.named(Math.max(1, Math.min(20, columns - 41)))),
    }
    : {
      header: lengths.length === 0 ? [] : [header],
      rows: others.map((it, i) => rows[i]!.hasWindows ? [it] : []),
    };
}

function windowCells({ windows }: Row, bar: number): Cell[] {
  return windows(bar).map((it) => it ?? dim("–"));
}

/** Returns rows in columns, with the widest bars that fit; undefined where none do. */
function aligned(
  columns: number,
  bars: number,
  rows: (bar: number) => Cell[][],
): Cell[][] | undefined {
  const spare = columns - lineWidth(columnWidths(rows(MIN_BAR)));
  if (spare < 0) return undefined;
  const more = Math.floor(spare / Math.max(1, bars));
  const cells = rows(Math.min(MAX_BAR, MIN_BAR + more));
  const widths = columnWidths(cells);
  return cells.map((it) => pad(it, widths));
}

function dim(text: string): Cell {
  return cell(text, "dim");
}
