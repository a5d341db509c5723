/** Who may spend credits, how much, and what was spent, in words. */
import { sumAmounts } from "../decimal.ts";
import type {
  AccountStatus,
  CreditPolicy,
  StatusReport,
} from "../report_types.ts";
import { sanitize, suggestCommand } from "./format.ts";

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
  return [
    ...(warning?.split("\n") ?? []).map(sanitize),
    ...(unknown === ""
      ? []
      : [`The credit list names accounts that do not exist: ${unknown}`]),
    ...(unbound === "" ? [] : [
      `The caps name accounts that do not exist: ${unbound}; drop them with: ${
        suggestCommand("credits", ...drop)
      }`,
    ]),
  ];
}
