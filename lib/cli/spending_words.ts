/**
 * What was spent, and how much may be, in words.
 *
 * @module
 */
import { sumAmounts } from "../decimal.ts";
import type { SpendSum } from "../ledger/spend.ts";
import type { AccountStatus, StatusReport } from "../report_types.ts";
import { sanitize, suggestCommand } from "./format.ts";

/** A count with its thousands parted: 1,234,567. */
export function whole(count: number, zero = "–"): string {
  if (count === 0) return zero;
  return String(count).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ",");
}

/** Credits as people read them: ≈1,234.50; the JSON has all decimals. */
export function creditText(
  { credits, approximate = false }: Pick<SpendSum, "credits"> & {
    approximate?: boolean;
  },
): string {
  const rounded = Number(credits).toFixed(2);
  if (Number(credits) === 0) return "–";
  const text = Number(rounded) === 0
    ? "<0.01"
    : rounded.replace(/\B(?=(\d{3})+\.)/g, ",");
  return approximate ? `≈${text}` : text;
}

/** What was spent of each cap, a sentence each without a full stop. */
export function capWords({ accounts, credits }: StatusReport): string[] {
  const { caps } = credits;
  return Object.keys(caps).sort().flatMap((name) => {
    const { day, month } = caps[name]!;
    const own = accounts.filter(({ alias }) => name === "*" || alias === name);
    const of = (cap: number | undefined, when: string, key: SpentKey) =>
      cap === undefined ? [] : [
        `${plainText(own.map((it) => it[key]))} of ${whole(cap, "0")} ${when}`,
      ];
    const parts = [
      ...of(day, "today", "spentToday"),
      ...of(month, "this month", "spentThisMonth"),
    ];
    const who = name === "*" ? "all together" : sanitize(name);
    return parts.length === 0
      ? []
      : [`Credits spent under the cap for ${who}: ${parts.join(", ")}`];
  });
}

type SpentKey = "spentToday" | "spentThisMonth";

function plainText(amounts: readonly string[]): string {
  const credits = sumAmounts(amounts);
  return credits === "0" ? "0" : creditText({ credits });
}

/** A balance that rose by itself is no limit: who has one and no cap, and how to set it. */
export function topUpWords(
  { accounts, credits: { caps } }: StatusReport,
): { text: string; command: string }[] {
  const isOpen = ({ alias, toppedUpAt, creditsAllowed }: AccountStatus) =>
    toppedUpAt !== null && creditsAllowed && !caps["*"] && !caps[alias];
  return accounts.filter(isOpen).map(({ alias }) => ({
    text: `The balance of ${
      sanitize(alias)
    } has risen, so it may be topped up automatically and is no limit`,
    command: suggestCommand("credits", "--cap", `${alias}=20/day`),
  }));
}
