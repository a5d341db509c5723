import type { AccountStatus, StatusReport } from "../report_types.ts";
import { fit } from "./table.ts";
import {
  clockTime,
  inTime,
  noAccount,
  policyProblems,
  policyWords,
  sanitize,
  suggestCommand,
} from "./format.ts";

const NAME_WIDTH = 32;

/**
 * What the status table adds up to, a sentence or two per line.
 *
 * @param now Epoch ms.
 */
export function footer(report: StatusReport, now: number): string[] {
  if (report.accounts.length === 0) return [`${noAccount()}.`];
  return [
    summary(report, now),
    `${nextWords(report)}.`,
    `${policyWords(report.credits)}.`,
    ...policyProblems(report.credits).map((text) => `${text}.`),
    ...pin(report),
  ];
}

function summary({ accounts }: StatusReport, now: number): string {
  const count = (kind: AccountStatus["standing"]) =>
    accounts.filter((it) => it.standing === kind).length;
  const parts = [
    `${count("included")} of ${accounts.length} on included usage`,
    `${count("credits")} on credits`,
    ...said(count("unknown"), "unknown until asked"),
    ...said(count("unconfirmed"), "unconfirmed (may be charged)"),
    ...said(count("blocked"), "blocked"),
  ];
  return `${parts.join(", ")}${freesUp(accounts, now)}.`;
}

function said(count: number, words: string): string[] {
  return count === 0 ? [] : [`${count} ${words}`];
}

/** Which account that cannot serve on included usage will be the first to. */
function freesUp(accounts: readonly AccountStatus[], now: number): string {
  const [first] = accounts.flatMap(({ alias, until, reason, enabled }) =>
    until === null || reason === "unknown" || !enabled ? [] : [{ alias, until }]
  ).sort((a, b) => Date.parse(a.until) - Date.parse(b.until));
  if (first === undefined) return "";
  const { alias, until } = first;
  const clock = Date.parse(until) > now ? ` (${clockTime(until, now)})` : "";
  return `; ${shortName(alias)} frees up ${inTime(until, now)}${clock}`;
}

function shortName(alias: string): string {
  return fit(sanitize(alias), NAME_WIDTH);
}

/** Who serves next, on what, and why this one of several. */
function nextWords(report: StatusReport): string {
  const next = report.accounts.find((it) => it.alias === report.next);
  if (next === undefined) return "Next: nobody can serve";
  const name = shortName(next.alias);
  return `Next: ${
    [name, onWhat(next, report.pinned), ...whyThisOne(next, report)].join(", ")
  }`;
}

function onWhat(
  { standing }: AccountStatus,
  pinned: string | null,
): string {
  switch (standing) {
    case "included":
      return "on included usage";
    case "unknown":
      return "asked for its usage first";
    case "credits":
      return pinned === null
        ? "on credits, as no included usage is left"
        : "on credits";
    case "unconfirmed":
      return "as nothing else is left (may be charged)";
    case "blocked":
      return "blocked";
  }
}

const ORDER: Readonly<Record<StatusReport["strategy"], string>> = {
  "round-robin": "longest unused",
  "least-used": "fewest requests",
  "random": "drawn at random",
  "weighted": "its turn by weight",
  "drain": "its quota resets soonest",
};

function whyThisOne(
  next: AccountStatus,
  { accounts, pinned, strategy }: StatusReport,
): string[] {
  if (pinned !== null) return ["pinned"];
  const peers = accounts.filter((it) => it !== next && pool(it) === pool(next));
  if (peers.length === 0) return [];
  const rivals = peers.filter((it) => it.plan === next.plan);
  if (next.plan === "pro" && rivals.length === 0) return ["a pro plan first"];
  return [`${ORDER[strategy]} (${strategy})`];
}

function pool({ standing }: AccountStatus): string {
  return standing === "unknown" ? "included" : standing;
}

function pin({ pinned, accounts }: StatusReport): string[] {
  if (pinned === null) return [];
  const alias = shortName(pinned);
  const undo = `undo with: ${suggestCommand("use --auto")}`;
  return accounts.some((it) => it.alias === pinned)
    ? [`Pinned to ${alias}: only it serves; ${undo}`]
    : [`Pinned to ${alias}, which does not exist: nobody serves; ${undo}`];
}
