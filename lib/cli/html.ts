/**
 * A page of what was served and paid and how the accounts are: one file, with
 * charts as SVG, without a script and without anything from elsewhere.
 *
 * @module
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
import { CliError, usageError } from "./messages.ts";
import {
  creditWords,
  duration,
  localTime,
  meterWords,
  standingWords,
  windowLabel,
} from "./format.ts";
import { balanceChart, barChart, type ChartData, text } from "./html_charts.ts";
import { creditText, whole } from "./spending_words.ts";
import { dayOf } from "../values.ts";

/** More accounts share the last colour. */
const MAX_COLORS = 8;

export interface Page extends ChartData {
  /** What the table of sums is by. */
  by: SpendKey;
}

/** Writes a page that only its owner can read. */
export async function writePage(
  path: string,
  page: Page,
): Promise<void> {
  try {
    // its backups begin with the store's name
    const store = await realPath(page.report.store);
    if ((await realPath(path)).startsWith(store)) {
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

/** Where a file really is, links followed; where it would be when it is not there. */
async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ENOENT") throw error;
    return resolve(path);
  }
}

function pageText(page: Page): string {
  const { by, report, since, now, items } = page;
  const aliases = [
    ...new Set(
      [...report.accounts, ...items.map((it) => ({ alias: it.account }))]
        .map(({ alias }) => alias),
    ),
  ].sort();
  const color = (alias: string) =>
    `c${Math.min(MAX_COLORS - 1, aliases.indexOf(alias))}`;
  const legend = `<p class="legend">${
    aliases.map((it) => `<span><i class="${color(it)}"></i>${text(it)}</span>`)
      .join("")
  }</p>`;
  const total = sumItems(items);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Codex accounts</title><style>${STYLE}</style></head><body><main>
<h1>Codex accounts</h1>
<p class="dim">UTC days from ${dayOf(since)} to ${dayOf(now)}; made ${
    localTime(now)
  }</p>
<div class="cards">${
    [
      ["credits spent", creditText(total.credits, total.approximate)],
      ["requests", whole(total.requests)],
      ["input tokens", whole(total.inputTokens)],
      ["of them cached", whole(total.cachedTokens)],
      ["output tokens", whole(total.outputTokens)],
    ].map(([name, value]) => `<div><b>${value}</b>${name}</div>`).join("")
  }</div>
<h2>Accounts</h2>${accountTable(report, now)}
<h2>Credits spent per day</h2>${legend}${
    barChart(page, color, (it) => Number(it.credits))
  }
<h2>Requests served per day</h2>${barChart(page, color, (it) => it.requests)}
<h2>Balances</h2>${balanceChart(page, color)}
<h2>By ${by}</h2>${sumTable(items, by)}
<details><summary>By day</summary>${sumTable(items, "day")}</details>
<p class="dim">Credits are measured by what the balance has lost. ≈ was shared between requests that ran at once, or hidden by a top-up; “other” was spent without a request of ours.</p>
</main></body></html>
`;
}

function accountTable({ accounts, next }: StatusReport, now: number): string {
  const rows = accounts.map((it) => [
    `${text(it.alias)}${
      it.alias === next ? ' <span class="dim">next</span>' : ""
    }`,
    text(it.plan ?? "–"),
    `<span class="${it.standing}">${text(standingWords(it, now))}</span>`,
    it.windows.map((window) => meter(window, now)).join("") || "–",
    text(creditWords(it, now)),
    creditText(it.spentToday),
    creditText(it.spentThisMonth),
  ]);
  const heads = ["account", "plan", "standing", "windows"];
  return table([...heads, "credits", "today", "this month"], rows, 4);
}

function meter(window: AccountStatus["windows"][number], now: number): string {
  const { usedPercent, resetsAt, windowSeconds } = window;
  const used = Math.max(0, Math.min(100, usedPercent));
  const level = used >= 100 ? "full" : used >= 80 ? "high" : "low";
  const left = resetsAt === null ? 0 : Date.parse(resetsAt) - now;
  const name = `${meterWords(window)} ${windowLabel(windowSeconds)}`.trim();
  return `<div class="meter"><span>${
    text(name)
  }</span><svg viewBox="0 0 100 8" preserveAspectRatio="none"><rect class="rail" width="100" height="8"/><rect class="${level}" width="${used}" height="8"/></svg><span>${
    Math.round(usedPercent)
  }% used${left > 0 ? `, resets in ${duration(left)}` : ""}</span></div>`;
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
    1,
  );
}

/** A table whose columns from `from` on are numbers. */
function table(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  from: number,
): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${
      cells.map((it, i) =>
        `<${tag}${i < from ? "" : ' class="n"'}>${it}</${tag}>`
      )
        .join("")
    }</tr>`;
  return `<div class="wide"><table${from === 1 ? ' class="sums"' : ""}><thead>${
    row(heads, "th")
  }</thead><tbody>${
    rows.map((it) => row(it, "td")).join("\n")
  }</tbody></table></div>`;
}

const STYLE = `
:root{--bg:#fcfcfb;--ink:#1a1a19;--dim:#6b6a66;--line:#e3e2de;--rail:#eeede9;--good:#0b7a52;--bad:#b3261e;
--c0:#2a78d6;--c1:#1baf7a;--c2:#eda100;--c3:#7a4fc9;--c4:#e34948;--c5:#0f8a9d;--c6:#e87ba4;--c7:#8a8983}
@media(prefers-color-scheme:dark){:root{--bg:#1a1a19;--ink:#f0efec;--dim:#a3a29c;--line:#383835;--rail:#2c2c2a;--good:#3cc08c;--bad:#f08080;
--c0:#3987e5;--c1:#199e70;--c2:#c98500;--c3:#9085e9;--c4:#e66767;--c5:#2aa5b8;--c6:#d55181;--c7:#8a8983}}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}
.dim,th,.chart text,summary{color:var(--dim)}
.cards{display:flex;flex-wrap:wrap;gap:.5rem 2.5rem}.cards div{color:var(--dim)}
.cards b{display:block;color:var(--ink);font-size:1.5rem;font-weight:600}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:.3rem 0}
.legend i{display:inline-block;width:.7rem;height:.7rem;border-radius:2px;margin-right:.4rem}
.chart{width:100%;min-width:34rem;display:block}.chart text{font-size:11px;fill:var(--dim)}
.chart rect{stroke:var(--bg);stroke-width:1}
.grid{stroke:var(--line)}.line{fill:none;stroke-width:2;stroke-linejoin:round}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.35rem 1rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:400}.n{text-align:right;padding-right:0;padding-left:1rem;font-variant-numeric:tabular-nums;white-space:nowrap}
.sums tr:last-child td{font-weight:600;border:0}
.meter{display:grid;grid-template-columns:5.5rem 6rem auto;gap:.6rem;align-items:center;white-space:nowrap}
.meter svg{width:6rem;height:.5rem;border-radius:3px}
.rail{fill:var(--rail)}.low{fill:var(--c1)}.high{fill:var(--c2)}.full{fill:var(--c4)}
.included{color:var(--good)}.blocked{color:var(--bad)}.credits,.unconfirmed{color:var(--c3)}
${
  Array.from({ length: MAX_COLORS }, (_, i) =>
    `.c${i}{background:var(--c${i});fill:var(--c${i})}.line.c${i}{fill:none;stroke:var(--c${i})}`)
    .join("")
}`;
