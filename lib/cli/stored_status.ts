import { capPolicy } from "../pool/caps.ts";
import { AccountPool } from "../pool/account_pool.ts";
import { statusReport } from "../report.ts";
import type { StatusReport } from "../report_types.ts";
import {
  policyOf,
  policySources,
  PREFERRED_PLANS,
  strategyOf,
} from "../options.ts";
import { normalState, parseState } from "../store/state.ts";
import { withoutPassword } from "../store/paths.ts";
import type { PoolState } from "../types.ts";
import { type Context, storeOf } from "./options.ts";

/**
 * Reads what a rotator without options would report, asking no one and writing
 * nothing; each call reads the store anew. Loads sooner than a rotator.
 */
export function statusReader(
  context: Context,
): (model?: string) => Promise<StatusReport> {
  const { now, env: environment } = context.io;
  const where = storeOf(context);
  const storeName = withoutPassword(where);
  const sources = policySources(environment);
  const accounts = new AccountPool();
  return async (model) => {
    const stored = quickState(context, where) ?? await slowState(context);
    const state = normalState(stored);
    const policy = policyOf(sources, state);
    accounts.capPolicy = capPolicy(undefined, state.settings.creditCaps);
    accounts.load(state, policy, now());
    return statusReport({
      accounts,
      storeName,
      policy: () => policy,
      strategy: () => strategyOf(state),
      preferPlans: new Set(PREFERRED_PLANS),
      random: Math.random,
    }, { model, now: now() });
  };
}

/** A store that is there and whole; undefined for any other, of which more has to be found out. */
function quickState({ io }: Context, path: string): PoolState | undefined {
  const text = io.quickRead?.(path);
  if (text === undefined) return undefined;
  try {
    return parseState(text, path);
  } catch {
    return undefined;
  }
}

async function slowState(context: Context): Promise<PoolState> {
  const { openWholeStore } = await import("./open.ts");
  return await (await openWholeStore(context)).read();
}
