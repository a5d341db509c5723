/**
 * Charts as SVG: what was served and paid per day and account, and balances
 * over time.
 *
 * @module
 */
import {
  type SpendItem,
  spendRows,
  type SpendSum,
  sumItems,
} from "../ledger/spend.ts";
import type { StatusReport } from "../report_types.ts";
import type { LedgerEntry } from "../spending_types.ts";
import { sanitize } from "./format.ts";
import { creditText, whole } from "./spending_words.ts";
import { dayOf } from "../values.ts";

const DAY_MS = 24 * 3_600_000;
const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM] = [720, 190, 46, 10, 22];

export interface ChartData {
  /** The start of a UTC day, epoch ms. */
  since: number;
  now: number;
  report: StatusReport;
  items: readonly SpendItem[];
  entries: readonly LedgerEntry[];
}

/** The class that colours an account. */
type Color = (alias: string) => string;

/** A text as it may be in a page. */
export function text(value: string): string {
  return sanitize(value).replace(/[&<>"']/g, (it) => `&#${it.charCodeAt(0)};`);
}

/** A stack per day, of a piece per account. */
export function barChart(
  { items, since, now }: ChartData,
  color: Color,
  measure: (sum: SpendSum) => number,
): string {
  const days = Map.groupBy(items, ({ day }) => day);
  const sums = [...days.values()].map((own) => measure(sumItems(own)));
  const chart = frame({ since, now, most: Math.max(0, ...sums) });
  if (chart === undefined) return `<p class="dim">None.</p>`;
  const { x, y, axes } = chart;
  const pieces = [...days].flatMap(([day, own]) => {
    const left = x(Date.parse(day) + .15 * DAY_MS);
    const width = x(Date.parse(day) + .85 * DAY_MS) - left;
    let below = 0;
    return spendRows(own, "account").filter((it) => measure(it) > 0)
      .sort((a, b) => a.key < b.key ? 1 : -1)
      .map((row) => {
        const [bottom, top] = [y(below), y(below += measure(row))];
        return `<rect class="${color(row.key)}" x="${round(left)}" y="${
          round(top)
        }" width="${round(width)}" height="${
          round(bottom - top)
        }"><title>${day}, ${text(row.key)}: ${
          creditText(row.credits, row.approximate)
        } credits, ${whole(row.requests)} requests</title></rect>`;
      });
  });
  return svg([...axes, ...pieces]);
}

/** A line per account whose balance is known. */
export function balanceChart(
  { entries, since, now, report }: ChartData,
  color: Color,
): string {
  const told = [
    ...entries.map(({ alias, at, balanceAfter }) => ({
      alias,
      at: Date.parse(at),
      balance: balanceAfter,
    })),
    ...report.accounts.map(({ alias, credits, usageObservedAt }) => ({
      alias,
      at: usageObservedAt === null ? now : Date.parse(usageObservedAt),
      balance: credits?.hasCredits ? credits.balance : null,
    })),
  ].filter(({ at, balance }) =>
    at >= since && balance !== null && Number.isFinite(Number(balance))
  ).map((it) => ({ ...it, balance: Number(it.balance) }))
    .sort((a, b) => a.at - b.at);
  const most = Math.max(0, ...told.map(({ balance }) => balance));
  const chart = frame({ since, now, most });
  if (chart === undefined) {
    return `<p class="dim">No balance is known of these days.</p>`;
  }
  const { x, y, axes } = chart;
  const lines = [...Map.groupBy(told, ({ alias }) => alias)].map(
    ([alias, own]) => {
      const steps = own.map(({ at, balance }, index) =>
        index === 0
          ? `M${round(x(at))} ${round(y(balance))}`
          : `H${round(x(at))}V${round(y(balance))}`
      );
      return `<path class="line ${color(alias)}" d="${steps.join("")}H${
        round(x(now))
      }"><title>${text(alias)}</title></path>`;
    },
  );
  return svg([...axes, ...lines]);
}

/** Where times and amounts are drawn, with lines and labels; undefined where there is no amount. */
function frame(
  { since, now, most }: { since: number; now: number; most: number },
) {
  if (most <= 0) return undefined;
  const days = Math.floor((now - since) / DAY_MS) + 1;
  const unit = 10 ** Math.floor(Math.log10(most));
  const top = unit *
    ([1, 1.5, 2, 3, 4, 5, 6, 8].find((it) => it * unit >= most) ?? 10);
  const x = (at: number) =>
    LEFT + (at - since) / (days * DAY_MS) * (WIDTH - LEFT);
  const y = (amount: number) =>
    HEIGHT - BOTTOM - amount / top * (HEIGHT - BOTTOM - TOP);
  const amounts = [0, top / 2, top].map((it) =>
    `<path class="grid" d="M${LEFT} ${round(y(it))}H${WIDTH}"/><text x="${
      LEFT - 6
    }" y="${round(y(it)) + 4}" text-anchor="end">${
      Number(it.toPrecision(3))
    }</text>`
  );
  const step = Math.ceil(days / 10);
  const dates = Array.from({ length: Math.ceil(days / step) }, (_, index) => {
    const at = since + index * step * DAY_MS;
    return `<text x="${round(x(at + DAY_MS / 2))}" y="${
      HEIGHT - 6
    }" text-anchor="middle">${dayOf(at).slice(5)}</text>`;
  });
  return { x, y, axes: [...amounts, ...dates] };
}

function svg(parts: readonly string[]): string {
  return `<div class="wide"><svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">${
    parts.join("")
  }</svg></div>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
