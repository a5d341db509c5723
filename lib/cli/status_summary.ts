/**
 * What a status report adds up to: who serves next and why, who may spend
 * credits and how much, what was spent, and when more can serve.
 */
import { sumAmounts } from "../decimal.ts";
import type {
  AccountStatus,
  CreditPolicy,
  StatusReport,
} from "../report_types.ts";
import { clockTime, sanitize, suggestCommand, texts } from "./format.ts";
import { fit } from "./table.ts";

const NAME_WIDTH = 32;
const LINE_WIDTH = 60;

export function summaryLines(report: StatusReport, now: number): string[] {
  const { credits, lastsUntil } = report;
  const full = lastsUntil && clockTime(lastsUntil, now);
  return texts(
    `${counts(report)}${freesUp(report, now)}`,
    full && `Included usage lasts until ${full} at the present pace`,
    nextWords(report),
    policyWords(credits),
    ...policyProblems(credits).map((it) => `Warning: ${it}`),
    ...capWords(report),
    ...topUpWords(report),
    pin(report),
  );
}

/** Returns the report in one short line: who is next, how many can serve, when more can. */
export function statusLine(report: StatusReport, now: number): string {
  const { accounts, next } = report;
  if (accounts.length === 0) return "no account";
  const serving = candidates(report).filter((it) => it.standing !== "blocked");
  const standing = accounts.find((it) => it.alias === next)?.standing;
  const paid = standing === "credits" || standing === "unconfirmed";
  // when the next used window of an account that may serve begins anew
  const [reset] = candidates(report).flatMap((it) => it.windows)
    .filter((it) => it.usedPercent > 0 && Date.parse(it.resetsAt ?? "") > now)
    .map((it) => it.resetsAt!).sort();
  const rest = texts(
    paid && standing,
    `${serving.length} of ${accounts.length} can serve`,
    reset && `reset ${clockTime(reset, now)}`,
  ).join(" · ");
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
  const clock = clockTime(first.until, now).replace(/^\d\d:/, "at $&");
  const when = Date.parse(first.until) > now ? clock : "now";
  return `; ${shortName(first.alias)} frees up ${when}`;
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
  const isFree = pinned === null;
  const words = texts(
    shortName(next),
    USAGE[found.standing],
    !isFree && "pinned",
    isFree && isPaid && "as no included usage is left",
    isFree && rivals.length > 0 && order,
  );
  return `Next: ${words.join(", ")}`;
}

/** Accounts of one pool serve on the same terms. */
export function pool({ standing }: AccountStatus): string {
  return standing === "unknown" ? "included" : standing;
}

function pin({ pinned, accounts }: StatusReport): string | null {
  if (pinned === null) return null;
  const effect = accounts.some((it) => it.alias === pinned)
    ? ": only it serves"
    : ", which does not exist: nobody serves";
  const undo = suggestCommand("use --auto");
  return `Pinned to ${shortName(pinned)}${effect}; undo with: ${undo}`;
}

/** A count with its thousands parted: 1,234,567. */
export function whole(count: number, zero = "–"): string {
  if (count === 0) return zero;
  return String(count).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ",");
}

/** Credits as people read them: ≈1,234.50; the JSON has all decimals. */
export function creditText(credits: string, approximate = false): string {
  const rounded = Number(credits).toFixed(2);
  if (Number(credits) === 0) return "–";
  const text = Number(rounded) === 0
    ? "<0.01"
    : rounded.replace(/\B(?=(\d{3})+\.)/g, ",");
  return approximate ? `≈${text}` : text;
}

const PERIODS = [
  ["day", "today", "spentToday"],
  ["month", "this month", "spentThisMonth"],
] as const;

/** What was spent of each cap, a sentence each without a full stop. */
export function capWords({ accounts, credits }: StatusReport): string[] {
  const { caps, unknownCaps } = credits;
  const bound = Object.keys(caps).filter((it) => !unknownCaps.includes(it));
  return bound.sort().flatMap((name) => {
    const own = accounts.filter(({ alias }) => name === "*" || alias === name);
    const parts = PERIODS.flatMap(([period, when, key]) => {
      const cap = caps[name]![period];
      if (cap === undefined) return [];
      const removed = name === "*" ? [credits.spentByRemoved] : [];
      const spent = sumAmounts([...own, ...removed].map((it) => it[key]));
      const text = spent === "0" ? spent : creditText(spent);
      return [`${text} of ${whole(cap, "0")} ${when}`];
    });
    const who = name === "*" ? "all together" : sanitize(name);
    return parts.length === 0
      ? []
      : [`Credits spent under the cap for ${who}: ${parts.join(", ")}`];
  });
}

/** A balance that rose by itself is no limit: who has one and no cap, and behind "; " how to set it. */
export function topUpWords(
  { accounts, credits: { caps } }: StatusReport,
): string[] {
  const isOpen = ({ alias, toppedUpAt, creditsAllowed }: AccountStatus) =>
    toppedUpAt !== null && creditsAllowed && !caps["*"] && !caps[alias];
  return accounts.filter(isOpen).map(({ alias }) => {
    const name = sanitize(alias);
    const command = suggestCommand("credits", "--cap", `${alias}=20/day`);
    return `The balance of ${name} has risen, so it may be topped up automatically and is no limit; set a cap with: ${command}`;
  });
}

const SOURCES: Readonly<Record<StatusReport["credits"]["source"], string>> = {
  option: "set by the program",
  environment: "set by the environment",
  store: "set in the store",
  default: "nothing set",
};

/** Returns who may spend credits and where that is set, without a full stop. */
export function policyWords(
  { allow, source }: Pick<CreditPolicy, "allow" | "source">,
): string {
  const who = allow === "all"
    ? "Everyone"
    : allow === "none" || allow.length === 0
    ? "Nobody"
    : `Only ${allow.map(sanitize).join(", ")}`;
  const hint = source === "default"
    ? `; forbid with: ${suggestCommand("credits none")}`
    : "";
  return `${who} may spend purchased credits (${SOURCES[source]})${hint}`;
}

/** Returns what is wrong with who may spend and how much, a sentence each without a full stop; some say behind "; " what to do. */
export function policyProblems(credits: StatusReport["credits"]): string[] {
  const { warning, unknownAliases, unknownCaps } = credits;
  const unknown = unknownAliases.map(sanitize).join(", ");
  const unbound = unknownCaps.map(sanitize).join(", ");
  const drop = unknownCaps.flatMap((it) => ["--cap", `${it}=none`]);
  const command = suggestCommand("credits", ...drop);
  return texts(
    ...(warning?.split("\n") ?? []).map(sanitize),
    unknown && `The credit list names accounts that do not exist: ${unknown}`,
    unbound &&
      `The caps name accounts that do not exist: ${unbound}; drop them with: ${command}`,
  );
}
