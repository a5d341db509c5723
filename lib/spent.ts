/** What was spent, by UTC day. */
import { addAmounts, sumAmounts } from "./decimal.ts";
import type { AccountRecord } from "./types.ts";
import { dayOf } from "./values.ts";

const DAY_MS = 24 * 3_600_000;
/** Days of which it is remembered what they cost. */
const MAX_DAYS = 62;

/** Decimal texts by day (YYYY-MM-DD). */
type Spent = NonNullable<AccountRecord["spent"]>;

/** Amounts with others added, as far as their days are remembered at a time (epoch ms). */
export function withSpent(
  spent: Spent | undefined,
  more: Spent,
  now: number,
): Spent {
  const sums = { ...spent };
  for (const [day, amount] of Object.entries(more)) {
    sums[day] = addAmounts(sums[day] ?? "0", amount);
  }
  const oldest = dayOf(now - (MAX_DAYS - 1) * DAY_MS);
  return Object.fromEntries(
    Object.entries(sums).filter(([day]) => day >= oldest),
  );
}

/** What was spent on a UTC day (YYYY-MM-DD) or in a month (YYYY-MM): a decimal text. */
export function spentIn(
  { spent = {} }: Pick<AccountRecord, "spent">,
  period: string,
): string {
  return sumAmounts(
    Object.entries(spent)
      .filter(([day]) => day.startsWith(period))
      .map(([, amount]) => amount),
  );
}
