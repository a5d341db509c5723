/**
 * A status report as a person sees it: one line per account on a wide
 * terminal, else its windows below it.
 */
import type {
  AccountStatus,
  RefreshReport,
  StatusReport,
} from "../report_types.ts";
import {
  ageWords,
  clockTime,
  count,
  creditWords,
  duration,
  meterWords,
  noAccount,
  requestWords,
  sanitize,
  standingWords,
  suggestCommand,
  texts,
  windowLabel,
} from "./format.ts";
import { summaryLines } from "./status_summary.ts";
import {
  type Cell,
  cell,
  cellWidth,
  type Color,
  columnWidths,
  dim,
  fit,
  flow,
  INDENT,
  line,
  lineWidth,
  pad,
  wrap,
} from "./table.ts";

export interface RenderOptions {
  columns: number;
  color: boolean;
  now: number;
  refreshed?: RefreshReport | undefined;
}

type UsedWindow = AccountStatus["windows"][number];

interface Row {
  readonly standing: AccountStatus["standing"];
  readonly lead: readonly Cell[];
  /** Its windows by column; undefined where it lacks one. */
  readonly windows: readonly (UsedWindow | undefined)[];
  /** Credits, requests, and the age of its facts where any are old. */
  readonly trail: readonly Cell[];
  /** What has no column. */
  readonly notes: readonly (readonly Cell[])[];
}

interface Table {
  readonly columns: number;
  readonly now: number;
  readonly rows: readonly Row[];
  readonly head: Row;
  /** The lengths of the windows, a column each. */
  readonly lengths: readonly string[];
}

/** From so many accounts on they are shown in groups. */
const MANY = 12;
/** What groups are called, in the order in which they serve. Words in yellow can hardly be read on a light background. */
const GROUPS: Readonly<
  Record<AccountStatus["standing"], readonly [title: string, color: Color]>
> = {
  included: ["On included usage", "green"],
  unknown: ["Unknown until asked", "dim"],
  credits: ["On purchased credits", "magenta"],
  unconfirmed: ["Unconfirmed, may be charged", "magenta"],
  blocked: ["Cannot serve", "red"],
};
const [MIN_BAR, MAX_BAR] = [3, 16];

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

function tableLines(report: StatusReport, options: RenderOptions): Cell[][] {
  const { columns, now } = options;
  const { accounts } = report;
  const isGrouped = accounts.length >= MANY;
  const place = (it: AccountStatus) => Object.keys(GROUPS).indexOf(it.standing);
  const shown = isGrouped
    ? accounts.toSorted((a, b) => place(a) - place(b))
    : accounts;
  // the shortest first
  const windows = accounts.flatMap((it) => it.windows).filter(isMain)
    .sort((a, b) => (a.windowSeconds ?? 0) - (b.windowSeconds ?? 0));
  const lengths = [...new Set(windows.map(lengthOf))];
  const isOld = accounts.some((it) => ageWords(it, now) !== "");
  const rows = shown.map((it) => readRow(it, lengths, report, options));
  const head = {
    standing: "included",
    lead: ["  account", "plan", "standing"].map(dim),
    windows: [],
    trail: ["credits", "requests", ...(isOld ? ["seen"] : [])].map(dim),
    notes: [],
  } as const;
  const table: Table = { columns, now, rows, head, lengths };
  const wide = aligned(table, ({ lead, trail }, windows) => {
    return [...lead, ...windows, ...trail.slice(0, head.trail.length)];
  });
  const [header = [], ...lines] = wide?.map((it) => [it]) ?? stacked(table);
  const title = ({ standing }: Row, before: Row | undefined): Cell[][] => {
    if (!isGrouped || standing === before?.standing) return [];
    const size = rows.filter((it) => it.standing === standing).length;
    return [[cell(`${GROUPS[standing][0]} (${size})`, "bold")]];
  };
  return [
    ...header,
    ...rows.flatMap((row, i) => [
      ...title(row, rows[i - 1]),
      ...lines[i]!,
      ...row.notes.flatMap((it) => flow([INDENT, ...it], columns)),
    ]),
  ];
}

function isMain({ meter }: UsedWindow): boolean {
  return meter === "codex";
}

function lengthOf({ windowSeconds }: UsedWindow): string {
  return windowLabel(windowSeconds);
}

function readRow(
  account: AccountStatus,
  lengths: readonly string[],
  { next }: StatusReport,
  options: RenderOptions,
): Row {
  const { columns, now } = options;
  const { standing, reason } = account;
  const main = account.windows.filter(isMain);
  const windows = lengths.map((it) => main.find((own) => lengthOf(own) === it));
  // a row for each meter
  const others = Map.groupBy(
    account.windows.filter((it) => !windows.includes(it)),
    meterWords,
  );
  const width = Math.min(32, Math.max(12, Math.floor(columns / 5)));
  const alias = fit(sanitize(account.alias), width);
  const color = reason === "disabled" ? "dim" : GROUPS[standing][1];
  return {
    standing,
    lead: [
      account.alias === next
        ? [{ text: "→ ", color: "green" }, { text: alias, color: "bold" }]
        : cell(`  ${alias}`),
      cell(fit(sanitize(account.plan ?? "–"), 14)),
      cell(standingWords(account, now), color),
    ],
    windows,
    trail: [
      cell(creditWords(account, now)),
      cell(requestWords(account, now)),
      dim(ageWords(account, now)),
    ],
    notes: [
      ...Array.from(others, ([name, own]) => [
        ...(name === "" ? [] : [dim(name)]),
        ...own.map((it) => windowCell(it, 4, now, true)),
      ]),
      ...remarks(account, options).flatMap((it) => wrap(it, columns - 4))
        .map((it) => [cell(it)]),
    ],
  };
}

function remarks(
  { alias, reason, bankedResets, detail }: AccountStatus,
  { refreshed }: RenderOptions,
): string[] {
  const report = refreshed?.accounts.find((it) => it.alias === alias);
  const outcome = texts(
    report?.ok === false &&
      `Not refreshed: ${report.error ?? "no reason given"}`,
    report?.tokenRefreshed && "Token renewed",
  ).join("; ");
  const login = suggestCommand("login", alias);
  return texts(
    Boolean(bankedResets) &&
      `${count(bankedResets!, "banked reset")}, left alone`,
    sanitize(outcome || (detail ?? "")),
    reason === "login" && `Sign in again with: ${login}`,
  );
}

/** Returns the header and all rows in columns, with the widest bars that fit; undefined where none do. */
function aligned(
  { columns, lengths, now, head, rows }: Table,
  arrange: (row: Row, windows: readonly Cell[]) => Cell[],
): Cell[][] | undefined {
  const heads = lengths.map((it) => dim(`${it}, resets in`));
  const cells = (bar: number) => [
    arrange(head, heads),
    ...rows.map((row) => {
      const cells = row.windows.map((it) =>
        it ? windowCell(it, bar, now) : dim("–")
      );
      return arrange(row, cells);
    }),
  ];
  const spare = columns - lineWidth(columnWidths(cells(MIN_BAR)));
  if (spare < 0) return undefined;
  const more = Math.floor(spare / Math.max(1, lengths.length));
  const lines = cells(Math.min(MAX_BAR, MIN_BAR + more));
  const widths = columnWidths(lines);
  return lines.map((it) => pad(it, widths));
}

/** Each account on lines of its own: its name, its windows in columns or a line each, the rest. */
function stacked(table: Table): Cell[][][] {
  const { rows, head, columns, now, lengths } = table;
  const windows = aligned(table, (_, windows) => [INDENT, ...windows]);
  const bar = Math.max(1, Math.min(20, columns - 41));
  const leads = columnWidths(rows.map((it) => it.lead));
  const widths = lineWidth(leads) <= columns ? leads : [];
  const lines = rows.map((row, i) => {
    const own = row.windows.filter((it) => it !== undefined);
    const details = row.trail.flatMap((it, i): Cell[] =>
      cellWidth(it) === 0 ? [] : [[...head.trail[i]!, { text: " " }, ...it]]
    );
    return [
      ...flow(pad(row.lead, widths), columns),
      ...windows === undefined
        ? own.map((it) => [INDENT, windowCell(it, bar, now, true)])
        : windows.slice(i + 1, own.length > 0 ? i + 2 : 0),
      ...flow([INDENT, ...details], columns),
    ];
  });
  return [windows?.slice(0, lengths.length > 0 ? 1 : 0) ?? [], ...lines];
}

/** A window as a bar, a percentage and the time to its reset; by name where it has no column. */
function windowCell(
  window: UsedWindow,
  width: number,
  now: number,
  isNamed = false,
): Cell {
  const { usedPercent, resetsAt, lastsUntil } = window;
  const isFull = usedPercent >= 100;
  const percent = isFull ? Math.round(usedPercent) : share(usedPercent, 100);
  const filled = share(usedPercent, width);
  const left = Date.parse(resetsAt ?? "") - now;
  const full = lastsUntil === null
    ? ""
    : `, full ${clockTime(lastsUntil, now)}`;
  const reset = left > 0
    ? `${isNamed ? "resets in " : ""}${duration(left)}${full}`
    : resetsAt === null
    ? "–"
    : "reset";
  return [
    { text: isNamed ? `${lengthOf(window).padEnd(7)} ` : "" },
    {
      text: "█".repeat(filled),
      color: isFull ? "red" : usedPercent >= 80 ? "yellow" : "green",
    },
    { text: "░".repeat(width - filled), color: "dim" },
    { text: ` ${`${percent}% used`.padStart(9)}  ${reset}` },
  ];
}

/** A percentage as a whole part of `all`, which is neither none nor all before it is. */
function share(percent: number, all: number): number {
  if (percent <= 0 || percent >= 100) return percent <= 0 ? 0 : all;
  return Math.min(all - 1, Math.max(1, Math.round(percent / 100 * all)));
}
