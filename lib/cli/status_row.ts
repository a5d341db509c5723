/**
 * One account of a status report as cells, before they are laid out.
 *
 * @module
 */
import type { AccountStatus, RefreshReport } from "../report_types.ts";
import {
  ageWords,
  clockTime,
  creditWords,
  duration,
  meterWords,
  requestWords,
  sanitize,
  standingWords,
  suggestCommand,
  windowLabel,
} from "./format.ts";
import { type Cell, cell, type Color, dim, fit, wrap } from "./table.ts";

export interface RenderOptions {
  /** Width of the terminal. */
  columns: number;
  color: boolean;
  /** The time (epoch ms). */
  now: number;
  /** What came of refreshing accounts just now. */
  refreshed?: RefreshReport | undefined;
}

type UsedWindow = AccountStatus["windows"][number];

/** One account, before it is laid out. */
export interface Row {
  readonly standing: AccountStatus["standing"];
  /** Account, plan and standing. */
  readonly lead: readonly Cell[];
  /** Its windows by column; undefined where it lacks one. */
  readonly windows: readonly (UsedWindow | undefined)[];
  /** Credits, requests, and the age of its facts where they are old. */
  readonly trail: readonly Cell[];
  /** What has no column. */
  readonly notes: readonly (readonly Cell[])[];
}

/** Returns the lengths of all windows of the main meter, the shortest first. */
export function lengthsOf(accounts: readonly AccountStatus[]): string[] {
  const windows = accounts.flatMap((it) => it.windows).filter(isMain)
    .sort((a, b) => (a.windowSeconds ?? 0) - (b.windowSeconds ?? 0));
  return [...new Set(windows.map(lengthOf))];
}

function isMain({ meter }: UsedWindow): boolean {
  return meter === "codex";
}

function lengthOf({ windowSeconds }: UsedWindow): string {
  return windowLabel(windowSeconds);
}

export function readRow(
  account: AccountStatus,
  options: RenderOptions & { lengths: readonly string[]; next: string | null },
): Row {
  const { columns, lengths, next, now } = options;
  const main = account.windows.filter(isMain);
  const windows = lengths.map((it) => main.find((own) => lengthOf(own) === it));
  const others = account.windows.filter((it) => !windows.includes(it));
  const width = Math.min(32, Math.max(12, Math.floor(columns / 5)));
  const alias = fit(sanitize(account.alias), width);
  return {
    standing: account.standing,
    lead: [
      account.alias === next
        ? [{ text: "→ ", color: "green" }, { text: alias, color: "bold" }]
        : cell(`  ${alias}`),
      cell(fit(sanitize(account.plan ?? "–"), 14)),
      cell(standingWords(account, now), standingColor(account)),
    ],
    windows,
    trail: [
      cell(creditWords(account, now)),
      cell(requestWords(account, now)),
      dim(ageWords(account, now)),
    ],
    notes: [...meterRows(others, now), ...remarks(account, options)],
  };
}

// Words in yellow can hardly be read on a light background.
function standingColor({ standing, reason }: AccountStatus): Color {
  switch (standing) {
    case "included":
      return "green";
    case "credits":
    case "unconfirmed":
      return "magenta";
    case "unknown":
      return "dim";
    case "blocked":
      return reason === "disabled" ? "dim" : "red";
  }
}

/** The windows that have no column, a row for each meter. */
function meterRows(windows: readonly UsedWindow[], now: number): Cell[][] {
  return [...Map.groupBy(windows, meterWords)].map(([name, own]) => [
    ...(name === "" ? [] : [dim(name)]),
    ...own.map((it) => namedCell(it, 4, now)),
  ]);
}

function remarks(
  { alias, reason, bankedResets, detail }: AccountStatus,
  { columns, refreshed }: RenderOptions,
): Cell[][] {
  const report = refreshed?.accounts.find((it) => it.alias === alias);
  const outcome = [
    ...(report?.ok === false
      ? [`Not refreshed: ${report.error ?? "no reason given"}`]
      : []),
    ...(report?.tokenRefreshed ? ["Token renewed"] : []),
  ].join("; ");
  const resets = bankedResets === 1 ? "reset" : "resets";
  const texts = [
    ...(bankedResets ? [`${bankedResets} banked ${resets}, left alone`] : []),
    sanitize(outcome || (detail ?? "")),
    ...(reason === "login"
      ? [`Sign in again with: ${suggestCommand("login", alias)}`]
      : []),
  ];
  return texts.filter((it) => it !== "")
    .flatMap((it) => wrap(it, columns - 4)).map((it) => [cell(it)]);
}

/** A window as below, with the name of its length. */
export function namedCell(it: UsedWindow, bar: number, now: number): Cell {
  return [
    { text: `${lengthOf(it).padEnd(7)} ` },
    ...barOfWindow(it, bar),
    { text: resetWords(it, now, "resets in ") },
  ];
}

/** A window as a bar, a percentage and the time to its reset. */
export function windowCell(it: UsedWindow, bar: number, now: number): Cell {
  return [...barOfWindow(it, bar), { text: resetWords(it, now) }];
}

function barOfWindow({ usedPercent }: UsedWindow, width: number): Cell {
  const isFull = usedPercent >= 100;
  const percent = isFull ? Math.round(usedPercent) : share(usedPercent, 100);
  const filled = share(usedPercent, width);
  return [
    {
      text: "█".repeat(filled),
      color: isFull ? "red" : usedPercent >= 80 ? "yellow" : "green",
    },
    { text: "░".repeat(width - filled), color: "dim" },
    { text: ` ${`${percent}% used`.padStart(9)}  ` },
  ];
}

function resetWords(
  { resetsAt, lastsUntil }: UsedWindow,
  now: number,
  prefix = "",
): string {
  if (resetsAt === null) return "–";
  const left = Date.parse(resetsAt) - now;
  if (left <= 0) return "reset";
  const full = lastsUntil === null
    ? ""
    : `, full ${clockTime(lastsUntil, now)}`;
  return `${prefix}${duration(left)}${full}`;
}

/** A percentage as a whole part of `all`, which is neither none nor all before it is. */
function share(percent: number, all: number): number {
  if (percent <= 0 || percent >= 100) return percent <= 0 ? 0 : all;
  return Math.min(all - 1, Math.max(1, Math.round(percent / 100 * all)));
}
