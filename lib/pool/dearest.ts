/** What the dearest requests cost: what one costs that is not known yet. */
import { compareAmounts } from "../decimal.ts";
import type { SpendingFacts } from "../spending_types.ts";
import type { AccountRecord } from "../types.ts";

const DAY_MS = 24 * 3_600_000;
/** More amounts are not compared. */
const MAX_DEAREST = 16;

/** Notes what a request cost, booked at `now` (epoch ms). */
export function rememberDearest(
  { dearest }: SpendingFacts,
  amount: string,
  now: number,
): void {
  if (compareAmounts(amount, "0") <= 0) return;
  for (const at of Object.keys(dearest)) {
    if (Number(at) < now - DAY_MS) delete dearest[at];
  }
  const times = Object.keys(dearest);
  if (times.length >= MAX_DEAREST) {
    const cheapest = times.reduce((a, b) =>
      compareAmounts(dearest[a]!, dearest[b]!) <= 0 ? a : b
    );
    if (compareAmounts(dearest[cheapest]!, amount) > 0) return;
    delete dearest[cheapest];
  }
  const known = dearest[now];
  if (!known || compareAmounts(known, amount) < 0) dearest[now] = amount;
}

/** What the dearest request of the 24 hours before `now` (epoch ms) cost; undefined when none is known. */
export function dearestOf(
  { spending }: Pick<AccountRecord, "spending">,
  now: number,
): string | undefined {
  let most: string | undefined;
  for (const [at, amount] of Object.entries(spending?.dearest ?? {})) {
    if (Number(at) < now - DAY_MS) continue;
    if (most === undefined || compareAmounts(amount, most) > 0) most = amount;
  }
  return most;
}
