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

/** Reads what a rotator without options would report, each time anew; loads sooner than one. */
export function statusReader(
  context: Context,
): (model?: string) => Promise<StatusReport> {
  const { now, env: environment } = context.io;
  const storeName = withoutPassword(storeOf(context));
  const sources = policySources(environment);
  const accounts = new AccountPool();
  return async (model) => {
    const state = normalState(await readState(context));
    accounts.capPolicy = capPolicy(undefined, state.settings.creditCaps);
    accounts.load(state, policyOf(sources, state), now());
    return statusReport({
      accounts,
      storeName,
      strategy: () => strategyOf(state),
      preferPlans: new Set(PREFERRED_PLANS),
      random: Math.random,
    }, { model, now: now() });
  };
}

async function readState(context: Context): Promise<PoolState> {
  const path = storeOf(context);
  const text = context.io.quickRead?.(path);
  try {
    if (text !== undefined) return parseState(text, path);
  } catch {
    // of a store that is not whole more has to be found out
  }
  const { openWholeStore } = await import("./open.ts");
  return await (await openWholeStore(context)).read();
}
