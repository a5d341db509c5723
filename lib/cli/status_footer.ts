import type { AccountStatus, StatusReport } from "../types.ts";
import {
  clean,
  inTime,
  policyProblems,
  policyWords,
  PROGRAM,
} from "./words.ts";

/**
 * What the status table adds up to, a sentence or two per line.
 *
 * @param now Epoch ms.
 */
export function footer(report: StatusReport, now: number): string[] {
  if (report.accounts.length === 0) return [`${noAccount()}.`];
  return [
    summary(report, now),
    `${policyWords(report.credits)}.`,
    ...policyProblems(report.credits).map((text) => `${text}.`),
    ...pin(report),
  ];
}

/** That there is no account, and how to add one, without a full stop. */
export function noAccount(): string {
  return `No account is in the store; add one with: ${PROGRAM} import --copy`;
}

function summary(report: StatusReport, now: number): string {
  const count = (kind: AccountStatus["standing"]) =>
    report.accounts.filter((it) => it.standing === kind).length;
  const parts = [
    `${count("included")} of ${report.accounts.length} on included usage`,
    `${count("credits")} on credits`,
    ...said(count("unknown"), "unknown until asked"),
    ...said(count("unconfirmed"), "unconfirmed (may be charged)"),
    ...said(count("blocked"), "blocked"),
  ];
  const next = report.next === null
    ? "Nobody can serve"
    : `Next is ${clean(report.next)} (${report.strategy})`;
  return `${parts.join(", ")}. ${next}${freesUp(report.accounts, now)}.`;
}

function said(count: number, words: string): string[] {
  return count === 0 ? [] : [`${count} ${words}`];
}

/** Which account that cannot serve on included usage will be the first to. */
function freesUp(accounts: readonly AccountStatus[], now: number): string {
  const [first] = accounts.flatMap(({ alias, until, reason }) =>
    until === null || reason === "unknown" ? [] : [{ alias, until }]
  ).sort((a, b) => Date.parse(a.until) - Date.parse(b.until));
  return first === undefined
    ? ""
    : `; ${clean(first.alias)} frees up ${inTime(first.until, now)}`;
}

function pin({ pinned, accounts }: StatusReport): string[] {
  if (pinned === null) return [];
  const alias = clean(pinned);
  const undo = `undo with: ${PROGRAM} use --auto`;
  return accounts.some((it) => it.alias === pinned)
    ? [`Pinned to ${alias}: only it serves; ${undo}`]
    : [`Pinned to ${alias}, which does not exist: nobody serves; ${undo}`];
}
