/**
 * A page of what was served and paid and how the accounts are: one file, with
 * charts as SVG, without a script and without anything from elsewhere.
 */
import { open, realpath } from "node:fs/promises";
import { resolve } from "node:path";
import {
  type SpendItem,
  type SpendKey,
  spendRows,
  sumItems,
} from "../ledger/spend.ts";
import type { AccountStatus, StatusReport } from "../report_types.ts";
import type { LedgerEntry } from "../spending_types.ts";
import { unlessMissing } from "../store/file.ts";
import { CliError, usageError } from "./messages.ts";
import {
  creditWords,
  duration,
  localTime,
  meterWords,
  sanitize,
  standingWords,
  windowLabel,
} from "./format.ts";
import { creditText, whole } from "./status_summary.ts";
import { dayOf } from "../values.ts";

export interface Page {
  /** The start of a UTC day, epoch ms. */
  since: number;
  now: number;
  report: StatusReport;
  items: readonly SpendItem[];
  entries: readonly LedgerEntry[];
  by: SpendKey;
}

export async function writePage(path: string, page: Page): Promise<void> {
  // links followed; where it would be when it is not there
  const place = async (path: string) =>
    await unlessMissing(realpath(path)) ?? resolve(path);
  try {
    // its backups begin with the store's name
    if ((await place(path)).startsWith(await place(page.report.store))) {
      throw usageError("--html would replace the store; name another file");
    }
    const file = await open(path, "w", 0o600);
    try {
      await file.chmod(0o600);
      await file.writeFile(pageText(page));
    } finally {
      await file.close();
    }
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (typeof code !== "string") throw error;
    throw new CliError(
      `${path} cannot be written (${code}); name another file: --html FILE`,
    );
  }
}

function pageText(page: Page): string {
  const { by, report, since, now, items } = page;
  const named = [
    ...report.accounts.map(({ alias }) => alias),
    ...items.map(({ account }) => account),
  ];
  const aliases = [...new Set(named)].sort();
  // neighbours are far apart on the wheel
  const color = (alias: string) =>
    `style="--c:hsl(${aliases.indexOf(alias) * 137 + 210} 60% 52%)"`;
  const legend = aliases
    .map((it) => `<span><i ${color(it)}></i>${text(it)}</span>`).join(" ");
  const days = `UTC days from ${dayOf(since)} to ${dayOf(now)}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Codex accounts</title><style>${STYLE}</style></head><body>
<h1>Codex accounts</h1>
<p class="dim">${days}; made ${localTime(now)}</p>
${accountTable(report, now)}
<h2>Credits spent per day</h2><p>${legend}</p>
${barChart(page, color)}
<h2>Balances</h2>
${balanceChart(page, color)}
<h2>By ${by}</h2>${sumTable(items, by)}
<details><summary>By day</summary>${sumTable(items, "day")}</details>
<p class="dim">Credits are measured by what the balance has lost. ≈ was shared between requests that ran at once, or hidden by a top-up; “other” was spent without a request of ours.</p>
</body></html>
`;
}

function accountTable({ accounts, next }: StatusReport, now: number): string {
  const rows = accounts.map((it) => [
    text(it.alias) +
    (it.alias === next ? ` <span class="dim">next</span>` : ""),
    text(it.plan ?? "–"),
    `<span class="${it.standing}">${text(standingWords(it, now))}</span>`,
    it.windows.map((window) => meter(window, now)).join("<br>") || "–",
    text(creditWords(it, now)),
    creditText(it.spentToday),
    creditText(it.spentThisMonth),
  ]);
  const heads = ["account", "plan", "standing", "windows"];
  const sums = ["credits", "today", "this month"];
  return table([...heads, ...sums], rows, "accounts");
}

function meter(window: AccountStatus["windows"][number], now: number): string {
  const { usedPercent, resetsAt, windowSeconds } = window;
  const left = resetsAt === null ? 0 : Date.parse(resetsAt) - now;
  const reset = left > 0 ? `, resets in ${duration(left)}` : "";
  const name = `${meterWords(window)} ${windowLabel(windowSeconds)}`.trim();
  return `<meter max="100" low="80" high="99.9" optimum="0" value="${usedPercent}"></meter> ${
    text(name)
  }: ${Math.round(usedPercent)}% used${reset}`;
}

function sumTable(items: readonly SpendItem[], by: SpendKey): string {
  const rows = [...spendRows(items, by), { key: "total", ...sumItems(items) }];
  return table(
    [by, "requests", "input", "cached", "output", "credits"],
    rows.map((it) => [
      text(it.key),
      ...[it.requests, it.inputTokens, it.cachedTokens, it.outputTokens]
        .map((count) => whole(count)),
      creditText(it.credits, it.approximate),
    ]),
    "sums",
  );
}

function table(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  name: "accounts" | "sums",
): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((it) => `<${tag}>${it}</${tag}>`).join("")}</tr>`;
  const lines = [row(heads, "th"), ...rows.map((it) => row(it, "td"))];
  return `<div class="wide"><table class="${name}">${
    lines.join("\n")
  }</table></div>`;
}

const DAY_MS = 24 * 3_600_000;
const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM] = [720, 190, 46, 10, 22];

type Color = (alias: string) => string;

function text(value: string): string {
  return sanitize(value).replace(/[&<>"']/g, (it) => `&#${it.charCodeAt(0)};`);
}

function barChart({ items, since, now }: Page, color: Color): string {
  const days = Map.groupBy(items, ({ day }) => day);
  const sums = [...days.values()].map((own) => Number(sumItems(own).credits));
  return chart(
    { since, now, most: Math.max(0, ...sums) },
    (x, y) =>
      [...days].flatMap(([day, own]) => {
        const [left, right] = [.15, .85].map((it) =>
          x(Date.parse(day) + it * DAY_MS)
        );
        let below = 0;
        return spendRows(own, "account").map((row) => {
          const [bottom, top] = [y(below), y(below += Number(row.credits))];
          const credits = creditText(row.credits, row.approximate);
          const requests = whole(row.requests);
          const title = `${day}, ${
            text(row.key)
          }: ${credits} credits, ${requests} requests`;
          const shape = `M${left} ${bottom}V${top}H${right}V${bottom}Z`;
          return `<path ${
            color(row.key)
          } d="${shape}"><title>${title}</title></path>`;
        });
      }),
  );
}

function balanceChart(
  { entries, since, now, report }: Page,
  color: Color,
): string {
  const told = [
    ...entries.map(({ alias, at, balanceAfter }) => ({
      alias,
      at: Date.parse(at),
      balance: Number(balanceAfter ?? NaN),
    })),
    ...report.accounts.map(({ alias, credits, usageObservedAt }) => ({
      alias,
      at: usageObservedAt === null ? now : Date.parse(usageObservedAt),
      balance: Number(credits?.hasCredits ? credits.balance ?? NaN : NaN),
    })),
  ].filter(({ at, balance }) => at >= since && Number.isFinite(balance))
    .sort((a, b) => a.at - b.at);
  const most = Math.max(0, ...told.map(({ balance }) => balance));
  return chart(
    { since, now, most },
    (x, y) =>
      [...Map.groupBy(told, ({ alias }) => alias)].map(([alias, own]) => {
        const steps = own.map((it) => `H${x(it.at)}V${y(it.balance)}`).join("");
        const begin = `M${x(own[0]!.at)} ${y(own[0]!.balance)}`;
        return `<path class="line" ${color(alias)} d="${begin}${steps}H${
          x(now)
        }"><title>${text(alias)}</title></path>`;
      }),
  );
}

function chart(
  { since, now, most }: { since: number; now: number; most: number },
  draw: (
    x: (at: number) => number,
    y: (amount: number) => number,
  ) => readonly string[],
): string {
  if (most <= 0) return `<p class="dim">None in these days.</p>`;
  const days = Math.floor((now - since) / DAY_MS) + 1;
  const x = (at: number) =>
    round(LEFT + (at - since) / (days * DAY_MS) * (WIDTH - LEFT));
  const y = (amount: number) =>
    round(HEIGHT - BOTTOM - amount / most * (HEIGHT - BOTTOM - TOP));
  const amounts = [0, most / 2, most].map((it) =>
    `<path class="grid" d="M${LEFT} ${y(it)}H${WIDTH}"/><text x="0" y="${
      y(it) + 4
    }">${Number(it.toPrecision(3))}</text>`
  );
  const step = Math.ceil(days / 10);
  const dates = Array.from({ length: Math.ceil(days / step) }, (_, index) => {
    const at = since + index * step * DAY_MS;
    return `<text x="${x(at)}" y="${HEIGHT - 6}">${dayOf(at).slice(5)}</text>`;
  });
  const parts = [...amounts, ...dates, ...draw(x, y)].join("");
  return `<div class="wide"><svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">${parts}</svg></div>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

const STYLE = `
:root{--bg:#fcfcfb;--ink:#1a1a19;--dim:#6b6a66;--line:#e3e2de;--good:#0b7a52;--bad:#b3261e;--paid:#7a4fc9}
@media(prefers-color-scheme:dark){:root{--bg:#1a1a19;--ink:#f0efec;--dim:#a3a29c;--line:#383835;--good:#3cc08c;--bad:#f08080;--paid:#9085e9}}
body{max-width:68rem;margin:0 auto;padding:1.5rem 1rem;background:var(--bg);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}.dim,th,summary{color:var(--dim)}
i{display:inline-block;width:.7rem;height:.7rem;margin:0 .4rem 0 .8rem;background:var(--c)}
.wide{overflow-x:auto}.chart{width:100%;min-width:34rem}.chart text{font-size:11px;fill:var(--dim)}
path{fill:var(--c);stroke:var(--bg)}.grid{stroke:var(--line)}.line{fill:none;stroke:var(--c);stroke-width:2}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem 1rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}
.sums td+td,.sums th+th{text-align:right}.sums tr:last-child{font-weight:600}
.included{color:var(--good)}.blocked{color:var(--bad)}.credits,.unconfirmed{color:var(--paid)}
`;
