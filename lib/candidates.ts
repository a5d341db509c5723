/**
 * Who may serve at all, by what the owner set.
 *
 * @module
 */
import type { Roster, Runner } from "./pool/roster.ts";
import type { PoolState } from "./types.ts";

/** What tells it. */
export interface Known {
  readonly live: { readonly state: PoolState };
  readonly roster: Roster;
}

/** The pinned name, which alone may serve; null when all may. */
export function pinnedOf({ live }: Known): string | null {
  const { pinned } = live.state.settings;
  return typeof pinned === "string" && pinned !== "" ? pinned : null;
}

/** The accounts that may serve at all. */
export function candidatesOf(known: Known): readonly Runner[] {
  const pinned = pinnedOf(known);
  if (pinned === null) return known.roster.runners;
  const runner = known.roster.get(pinned);
  return runner ? [runner] : [];
}
