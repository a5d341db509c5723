/**
 * A store as it can be reported on without being a rotator: nothing is sent,
 * and nothing is written. Loads sooner than all that those need.
 *
 * @module
 */
import { creditPolicy } from "./pool/credits.ts";
import { AccountPool } from "./pool/account_pool.ts";
import type { Reported } from "./reports.ts";
import {
  type Environment,
  policyOf,
  policySources,
  PREFERRED_PLANS,
  strategyOf,
} from "./settings.ts";
import { emptyState, normalState, parseState } from "./store/state.ts";
import type { PoolState } from "./types.ts";

/** What a stored state is read with. */
export interface StoredOptions {
  /** The clock, epoch ms. */
  now: () => number;
  environment: Environment;
  /** The text of a regular file, where it can be had with one quick look. */
  quickRead?: ((path: string) => string | undefined) | undefined;
}

/**
 * What a rotator without options would report on.
 *
 * @param path The store's file.
 */
export function openStored(path: string, options: StoredOptions): Reported {
  const { now, environment } = options;
  const sources = policySources(environment);
  const roster = new AccountPool();
  let policy = creditPolicy(sources);
  const live = {
    state: normalState(emptyState()),
    async reload() {
      live.state = normalState(
        quickState(path, options) ?? await slowState(path),
      );
      policy = policyOf(sources, live.state);
      roster.load(live.state, policy);
    },
  };
  return {
    cache: live,
    accounts: roster,
    storeName: path,
    policy: () => policy,
    strategy: () => strategyOf(live.state),
    preferPlans: new Set(PREFERRED_PLANS),
    now,
    random: Math.random,
  };
}

/** A store that is there and whole; undefined for any other, of which more has to be found out. */
function quickState(
  path: string,
  { quickRead }: StoredOptions,
): PoolState | undefined {
  const text = quickRead?.(path);
  if (text === undefined) return undefined;
  try {
    return parseState(text, path);
  } catch {
    return undefined;
  }
}

async function slowState(path: string): Promise<PoolState> {
  const { jsonStore } = await import("./store/json_store.ts");
  return await jsonStore(path).read();
}
