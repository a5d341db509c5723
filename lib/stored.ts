/**
 * A store as it can be reported on without being a rotator: nothing is sent,
 * and nothing is written. Loads sooner than all that those need.
 *
 * @module
 */
import { creditPolicy } from "./pool/credits.ts";
import { Roster } from "./pool/roster.ts";
import type { Reported } from "./reports.ts";
import {
  policyOf,
  policySources,
  PREFERRED_PLANS,
  strategyOf,
} from "./settings.ts";
import { readStore } from "./store/content.ts";
import { emptyState } from "./store/state.ts";

/**
 * What a rotator without options would report on.
 *
 * @param path The store's file.
 * @param now The clock, epoch ms.
 */
export function openStored(path: string, now: () => number): Reported {
  const sources = policySources();
  const roster = new Roster();
  let policy = creditPolicy(sources);
  const live = {
    state: emptyState(),
    async reload() {
      live.state = await readStore(path);
      policy = policyOf(sources, live.state);
      roster.load(live.state, policy);
    },
  };
  return {
    live,
    roster,
    storeName: path,
    policy: () => policy,
    strategy: () => strategyOf(live.state),
    preferPlans: new Set(PREFERRED_PLANS),
    now,
    random: Math.random,
  };
}
