/**
 * What a status report adds up to: who serves next and why, who may spend
 * credits, and when more can serve.
 */
import type { AccountStatus, StatusReport } from "../report_types.ts";
import { clockTime, sanitize, suggestCommand } from "./format.ts";
import {
  capWords,
  policyProblems,
  policyWords,
  topUpWords,
} from "./spending_words.ts";
import { fit } from "./table.ts";

const NAME_WIDTH = 32;
/** What fits into a shell's prompt (columns). */
const LINE_WIDTH = 60;

export function summaryLines(report: StatusReport, now: number): string[] {
  return [
    `${counts(report)}${freesUp(report, now)}`,
    ...(report.lastsUntil === null ? [] : [
      `Included usage lasts until ${
        clockTime(report.lastsUntil, now)
      } at the present pace`,
    ]),
    nextWords(report),
    policyWords(report.credits),
    ...policyProblems(report.credits).map((it) => `Warning: ${it}`),
    ...capWords(report),
    ...topUpWords(report),
    ...pin(report),
  ];
}

/** Returns the report in one short line: who is next, how many can serve, when more can. */
export function statusLine(report: StatusReport, now: number): string {
  const { accounts, next } = report;
  if (accounts.length === 0) return "no account";
  const serving = candidates(report).filter((it) => it.standing !== "blocked");
  const standing = accounts.find((it) => it.alias === next)?.standing;
  const paid = standing === "credits" || standing === "unconfirmed";
  const reset = firstReset(report, now);
  const rest = [
    ...(paid ? [standing] : []),
    `${serving.length} of ${accounts.length} can serve`,
    ...(reset === undefined ? [] : [`reset ${clockTime(reset, now)}`]),
  ].join(" · ");
  const name = next === null ? "nobody" : `→ ${sanitize(next)}`;
  return `${fit(name, LINE_WIDTH - rest.length - 3)} · ${rest}`;
}

export function candidates(
  { accounts, pinned }: StatusReport,
): AccountStatus[] {
  return accounts.filter((it) =>
    it.enabled && (pinned === null || it.alias === pinned)
  );
}

/** When the next used window of an account that may serve begins anew. */
function firstReset(report: StatusReport, now: number): string | undefined {
  return candidates(report).flatMap((it) => it.windows)
    .filter((it) => it.usedPercent > 0 && Date.parse(it.resetsAt ?? "") > now)
    .map((it) => it.resetsAt!).sort()[0];
}

function counts({ accounts }: StatusReport): string {
  const count = (kind: AccountStatus["standing"]) =>
    accounts.filter((it) => it.standing === kind).length;
  const words = { ...USAGE, unknown: "unknown until asked" };
  return [
    `${count("included")} of ${accounts.length} ${words.included}`,
    `${count("credits")} ${words.credits}`,
    ...(["unknown", "unconfirmed", "blocked"] as const)
      .filter((it) => count(it) > 0).map((it) => `${count(it)} ${words[it]}`),
  ].join(", ");
}

/** Which account that cannot serve on included usage will be the first to. */
function freesUp({ accounts }: StatusReport, now: number): string {
  const [first] = accounts.flatMap(({ alias, until, reason, enabled }) =>
    until === null || reason === "unknown" || !enabled ? [] : [{ alias, until }]
  ).sort((a, b) => Date.parse(a.until) - Date.parse(b.until));
  if (first === undefined) return "";
  const { alias, until } = first;
  const clock = clockTime(until, now);
  const when = /^\d\d:/.test(clock) ? `at ${clock}` : clock;
  return `; ${shortName(alias)} frees up ${
    Date.parse(until) > now ? when : "now"
  }`;
}

function shortName(alias: string): string {
  return fit(sanitize(alias), NAME_WIDTH);
}

const USAGE: Readonly<Record<AccountStatus["standing"], string>> = {
  included: "on included usage",
  unknown: "asked for its usage first",
  credits: "on credits",
  unconfirmed: "unconfirmed (may be charged)",
  blocked: "blocked",
};
const ORDER: Readonly<Record<StatusReport["strategy"], string>> = {
  "round-robin": "longest unused",
  "least-used": "fewest requests",
  "random": "drawn at random",
  "weighted": "its turn by weight",
  "drain": "its quota would be lost first",
};

function nextWords({ accounts, next, pinned, strategy }: StatusReport): string {
  const found = accounts.find((it) => it.alias === next);
  if (next === null) return "Next: nobody can serve";
  if (found === undefined) return `Next: ${shortName(next)}`;
  const isPaid = pool(found) !== "included";
  const rivals = accounts.filter((it) =>
    it !== found && pool(it) === pool(found)
  );
  const isPro = ({ plan }: AccountStatus) => plan?.startsWith("pro") === true;
  const order = isPro(found) && !rivals.some(isPro)
    ? "a Pro plan first"
    : `${ORDER[strategy]} (${strategy})`;
  const why = pinned !== null ? ["pinned"] : [
    ...(isPaid ? ["as no included usage is left"] : []),
    ...(rivals.length > 0 ? [order] : []),
  ];
  return `Next: ${[shortName(next), USAGE[found.standing], ...why].join(", ")}`;
}

/** Accounts of one pool serve on the same terms. */
export function pool({ standing }: AccountStatus): string {
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
