/**
 * What a balance teaches: what was spent, what was added, and charges that
 * nobody expected.
 *
 * @module
 */
import { addAmounts } from "../decimal.ts";
import { recordOfLogin } from "../pool/facts.ts";
import { type BalanceObservation, observeBalance } from "../pool/spending.ts";
import { readDecimal } from "../values.ts";
import type { AccountContext } from "./context.ts";
import type { Attempt } from "./context.ts";

/**
 * Books what a balance tells; one that is as it was is only noted in memory.
 * A charge that no paid request accounts for is that of the request whose
 * answer shows it.
 */
export function learnBalance(
  context: AccountContext,
  attempt: Attempt,
  told: BalanceObservation,
): void {
  const { account: { alias, record }, pool, isFree } = attempt;
  const now = context.now();
  if (record.spending?.balance === told.balance) {
    observeBalance(record, told, now);
    return;
  }
  const before = attempt.charged;
  let topUp: string | null = null;
  void context.cache.write((state) => {
    const stored = recordOfLogin(state, alias, record);
    if (!stored) return;
    const change = observeBalance(stored, told, now);
    topUp = change.topUp;
    if (pool !== "first" || isFree) return;
    // the last time that this is applied is the one that is kept
    attempt.charged = change.unexpected === null
      ? before
      : addAmounts(before ?? "0", change.unexpected);
  });
  tellTopUp(context, alias, topUp);
}

/** Tells of a balance that rose: something adds to it. */
export function tellTopUp(
  { emit }: AccountContext,
  alias: string,
  amount: string | null,
): void {
  if (amount === null) return;
  const reason =
    `The balance rose by ${amount}: it was topped up, so that a balance is no limit; set a cap to have one`;
  emit({ type: "warning", alias, reason });
}

/**
 * Hears of a charge that nobody expected: a balance that fell over a request
 * thought included. Until its usage was asked for, the account is unknown.
 */
export function learnCharge(context: AccountContext, attempt: Attempt): void {
  const { account, pool, isFree, balanceBefore, balanceAfter } = attempt;
  if (
    pool !== "first" || isFree ||
    context.accounts.get(account.alias) !== account
  ) return;
  const before = readDecimal(balanceBefore);
  const after = readDecimal(balanceAfter);
  if (before === undefined || after === undefined || after >= before) return;
  const { alias, record } = account;
  const doubtedAt = context.now();
  void context.cache.write((state) => {
    const stored = recordOfLogin(state, alias, record);
    if (stored?.usage) stored.usage.doubtedAt = doubtedAt;
  });
  context.emit({
    ...attempt.about,
    type: "credits-spent",
    alias,
    certain: true,
    balanceBefore,
    balanceAfter,
    reason: "The balance fell over a request that was thought included",
  });
}
