import {
  readFrom,
  SPEND_KEYS,
  spendItems,
  type SpendKey,
  type SpendReport,
  type SpendRow,
  spendRows,
  type SpendSum,
  startOfDay,
  sumItems,
} from "../ledger/spend.ts";
import { count, jsonText, sanitize } from "./format.ts";
import { requireName, usageError } from "./messages.ts";
import { normalState } from "../store/state.ts";
import { openWholeStore, readLedgerOf } from "./open.ts";
import type { Command, Context } from "./options.ts";
import { dayOf } from "../values.ts";
import { creditText, whole } from "./status_summary.ts";
import {
  type Cell,
  cell,
  columnWidths,
  dim,
  fit,
  line,
  lineWidth,
  textWidth,
} from "./table.ts";

const DAY_MS = 24 * 3_600_000;
const DEFAULT_SINCE = "30d";

export const command: Command = {
  help: `
Sums up the ledger beside the store, which has a line for each request that was
answered: how many there were, their tokens, and the credits that they cost.
Credits are measured by what the balance has lost; "≈" marks what was shared
between requests that ran at once, or hidden by a top-up. "other" was spent
without a request of ours, by another program for example. Days are UTC days.

Options:
  --by KEY      account (default), model, session or day
  --since TIME  the last days, today included, such as 7d, or a date, such as
                2026-11-01; default ${DEFAULT_SINCE}
  --json        the sums as JSON; see lib/cli/spend.schema.json
  --html FILE   a page with charts instead: one file that only you can read

Examples:
  codex-rotator spend
  codex-rotator spend --by day --since 7d
  codex-rotator spend --by model --since 2026-11-01
  codex-rotator spend --html spend.html
  codex-rotator spend --json | jq -r .total.credits
`,
  operands: [0, 0],
  needs: { policy: true },
  run,
};

async function run(context: Context): Promise<void> {
  const { flags, io } = context;
  const key = flags.value("by") ?? "account";
  const by = requireName(key, SPEND_KEYS, `--by ${key} is not known`);
  const since = readSince(flags.value("since") ?? DEFAULT_SINCE, io.now());
  const { items, skippedLines } = await readSpend(context, since);
  const report: SpendReport = {
    version: 1,
    since: new Date(since).toISOString(),
    until: new Date(io.now()).toISOString(),
    by,
    rows: spendRows(items, by),
    total: sumItems(items),
    skippedLines,
  };
  const html = flags.value("html");
  if (html !== undefined) await writeSpendPage(context, html, { by, since });
  if (flags.on("json")) io.out(`${jsonText(report)}\n`);
  else if (html === undefined) show(context, report);
  if (skippedLines > 0) {
    const lines = count(skippedLines, "line");
    context.warn(
      `${lines} of the ledger cannot be read, and what they hold does not count`,
    );
  }
}

export async function writeSpendPage(
  context: Context,
  path: string,
  options: { by?: SpendKey; since?: number } = {},
): Promise<void> {
  const { statusReader } = await import("./stored_status.ts");
  const { writePage } = await import("./html.ts");
  const now = context.io.now();
  const { by = "account", since = readSince(DEFAULT_SINCE, now) } = options;
  const { items, entries } = await readSpend(context, since);
  const report = await statusReader(context)();
  await writePage(path, { by, since, now, report, items, entries });
  context.note(`${path} is written`);
}

async function readSpend(context: Context, since: number) {
  const store = await openWholeStore(context);
  const { accounts } = normalState(await store.read());
  const read = await readLedgerOf(store, readFrom(since));
  await store.close?.();
  return { ...read, items: spendItems(read.entries, accounts, since) };
}

/** Reads a number of days, or a date, as the start of a UTC day, epoch ms. */
function readSince(text: string, now: number): number {
  const days = /^(\d{1,4})d$/.exec(text)?.[1];
  if (days !== undefined && Number(days) > 0) {
    return startOfDay(now) - (Number(days) - 1) * DAY_MS;
  }
  const date = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(text) : NaN;
  const isDate = new Date(date).getTime() <= now &&
    new Date(date).toISOString().startsWith(text);
  if (isDate) return date;
  const today = dayOf(now);
  throw usageError(
    `--since ${text} is no past time; give a number of days, such as 7d, or a date, such as ${today}`,
  );
}

function show({ io, flags, say }: Context, report: SpendReport): void {
  const day = report.since.slice(0, 10);
  if (report.rows.length === 0) {
    return say(
      `Nothing was served or paid since ${day}, as the ledger beside the store tells`,
    );
  }
  const hint = flags.on("since") ? "" : "; another time with --since";
  say(`Since ${day}, by ${report.by}${hint}`);
  io.out("\n");
  const rows = spendTable(report, io.columns);
  io.out(rows.map((row) => `${line(row, io.color)}\n`).join(""));
  if (!report.total.approximate) return;
  io.out("\n");
  say("≈ was shared between requests that ran at once, or hidden by a top-up");
}

const HEAD = ["requests", "input", "cached", "output", "credits"];
const MAX_KEY = 40;
const MAX_BAR = 24;
const MIN_BAR = 6;

/** The lines of the table: whole numbers where they fit, else short ones. */
function spendTable(report: SpendReport, columns: number): Cell[][] {
  const { by, rows, total } = report;
  const sums = [...rows, { key: "total", ...total }];
  const numbers = [whole, short].map((format) => [
    HEAD,
    ...sums.map((it) => [
      whole(it.requests),
      ...[it.inputTokens, it.cachedTokens, it.outputTokens]
        .map((count) => format(count)),
      creditText(it.credits, it.approximate),
    ]),
  ]);
  const widthsOf = (cells: readonly (readonly string[])[]) =>
    columnWidths(cells.map((row) => row.map((it) => cell(it))));
  // what is left for the keys
  const roomBeside = (cells: readonly (readonly string[])[]) =>
    columns - lineWidth(widthsOf(cells)) - 2;
  const cells = numbers.find((it) => roomBeside(it) >= 14) ?? numbers.at(-1)!;
  const room = roomBeside(cells);
  const keys = [by, ...sums.map(({ key }) => sanitize(key))];
  const wanted = Math.max(...keys.map(textWidth));
  const width = Math.min(MAX_KEY, wanted, Math.max(5, room));
  const barWidth = Math.min(MAX_BAR, room - width - 2);
  const widths = widthsOf(cells);
  const lines = keys.map((key, i) => {
    const row = rows[i - 1];
    const color = i === 0 ? "dim" : row ? undefined : "bold";
    const text = fit(key, width);
    return [
      [...cell(text, color), { text: " ".repeat(width - textWidth(text)) }],
      ...cells[i]!.map((it, n) => cell(it.padStart(widths[n]!), color)),
      ...(row && barWidth >= MIN_BAR ? [bar(row, report, barWidth)] : []),
    ];
  });
  const ruler = dim("─".repeat(lineWidth(columnWidths([lines.at(-1)!]))));
  return lines.toSpliced(-1, 0, [ruler]);
}

/** A count in at most five characters: 1.23M. */
function short(count: number): string {
  const [unit, by] = ([["G", 1e9], ["M", 1e6], ["k", 1e3]] as const)
    .find(([, it]) => count >= it) ?? ["", 1];
  const digits = count / by < 10 ? 2 : count / by < 100 ? 1 : 0;
  return by === 1 ? whole(count) : `${(count / by).toFixed(digits)}${unit}`;
}

/** A row's share of the credits; where none were paid, of the tokens. */
function bar(row: SpendRow, { rows, total }: SpendReport, width: number): Cell {
  const isPaid = Number(total.credits) > 0;
  const measure = (it: SpendSum) =>
    isPaid ? Number(it.credits) : it.inputTokens + it.outputTokens;
  const most = Math.max(1e-9, ...rows.map(measure));
  const length = Math.ceil(measure(row) / most * width);
  return cell("█".repeat(length), isPaid ? "magenta" : "green");
}
