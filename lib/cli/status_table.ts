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
  namedCell,
  readRow,
  type RenderOptions,
  type Row,
  windowCell,
} from "./status_row.ts";
import { summaryLines } from "./status_summary.ts";
import {
  type Cell,
  cell,
  cellWidth,
  columnWidths,
  dim,
  flow,
  INDENT,
  line,
  lineWidth,
  pad,
  wrap,
} from "./table.ts";

interface Table {
  readonly columns: number;
  readonly now: number;
  readonly rows: readonly Row[];
  /** The headers of the columns of windows. */
  readonly lengths: readonly Cell[];
  /** The headers of the columns behind them. */
  readonly trail: readonly Cell[];
}

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
const [MIN_BAR, MAX_BAR] = [3, 16];
const LEAD = ["  account", "plan", "standing"].map(dim);

/** Returns a report for people, in lines that each end with a line feed. */
export function renderStatus(
  report: StatusReport,
  options: RenderOptions,
): string {
  const { columns, color, now } = options;
  const lines = report.accounts.length === 0 ? wrap(noAccount(), columns) : [
    ...tableLines(report, options).map((it) => line(it, color)),
    "",
    ...summaryLines(report, now).flatMap((it) => wrap(it, columns)),
  ];
  return lines.map((it) => `${it}\n`).join("");
}

function tableLines(
  { accounts, next }: StatusReport,
  options: RenderOptions,
): Cell[][] {
  const { columns, now } = options;
  const lengths = lengthsOf(accounts);
  const isOld = accounts.some((it) => ageWords(it, now) !== "");
  const groups = accounts.length < MANY ? [accounts] : Object.keys(GROUPS)
    .map((it) => accounts.filter(({ standing }) => standing === it));
  const rows = groups.flat().map((it) =>
    readRow(it, { ...options, lengths, next })
  );
  const table: Table = {
    columns,
    now,
    rows,
    lengths: lengths.map((it) => dim(`${it}, resets in`)),
    trail: ["credits", "requests", ...(isOld ? ["seen"] : [])].map(dim),
  };
  const layout = wide(table) ?? stacked(table);
  const title = ({ standing }: Row, before: Row | undefined) =>
    groups.length === 1 || standing === before?.standing ? [] : [[cell(
      `${GROUPS[standing]} (${
        rows.filter((it) => it.standing === standing).length
      })`,
      "bold",
    )]];
  return [
    ...layout.header,
    ...rows.flatMap((row, i) => [
      ...title(row, rows[i - 1]),
      ...layout.rows[i]!,
      ...row.notes.flatMap((it) => flow([INDENT, ...it], columns)),
    ]),
  ];
}

/** Each account on one line; undefined where that does not fit. */
function wide(table: Table): Layout | undefined {
  const { lengths, trail, rows } = table;
  const lines = aligned(table, (bar) => [
    [...LEAD, ...lengths, ...trail],
    ...rows.map((it) => [
      ...it.lead,
      ...windowCells(it, bar, table),
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
function windowLines(table: Table): Layout {
  const { rows, lengths, columns, now } = table;
  const lines = aligned(table, (bar) => [
    [INDENT, ...lengths],
    ...rows.map((it) => [INDENT, ...windowCells(it, bar, table)]),
  ]);
  if (lines === undefined) {
    const bar = Math.max(1, Math.min(20, columns - 41));
    const own = ({ windows }: Row) => windows.filter((it) => it !== undefined);
    return {
      header: [],
      rows: rows.map((row) =>
        own(row).map((it) => [INDENT, namedCell(it, bar, now)])
      ),
    };
  }
  const [header = [], ...others] = lines;
  return {
    header: lengths.length === 0 ? [] : [header],
    rows: rows.map(({ windows }, i) =>
      windows.some(Boolean) ? [others[i]!] : []
    ),
  };
}

function windowCells({ windows }: Row, bar: number, { now }: Table): Cell[] {
  return windows.map((it) => it ? windowCell(it, bar, now) : dim("–"));
}

/** Returns rows in columns, with the widest bars that fit; undefined where none do. */
function aligned(
  { columns, lengths }: Table,
  rows: (bar: number) => Cell[][],
): Cell[][] | undefined {
  const spare = columns - lineWidth(columnWidths(rows(MIN_BAR)));
  if (spare < 0) return undefined;
  const more = Math.floor(spare / Math.max(1, lengths.length));
  const cells = rows(Math.min(MAX_BAR, MIN_BAR + more));
  const widths = columnWidths(cells);
  return cells.map((it) => pad(it, widths));
}
