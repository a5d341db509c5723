/**
 * Who may serve at all, by what the owner set.
 *
 * @module
 */
import type { AccountPool, PooledAccount } from "./pool/account_pool.ts";
import type { PoolState } from "./types.ts";

/** What tells it. */
export interface Known {
  readonly cache: { readonly state: PoolState };
  readonly accounts: AccountPool;
}

/** The pinned name, which alone may serve; null when all may. */
export function pinnedOf({ cache: live }: Known): string | null {
  const { pinned } = live.state.settings;
  return typeof pinned === "string" && pinned !== "" ? pinned : null;
}

/** The accounts that may serve at all. */
export function candidatesOf(known: Known): readonly PooledAccount[] {
  const pinned = pinnedOf(known);
  if (pinned === null) return known.accounts.all;
  const runner = known.accounts.get(pinned);
  return runner ? [runner] : [];
}
