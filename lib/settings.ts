/**
 * What is in force: options, environment and store in their order.
 *
 * @module
 */
import { creditPolicy, type PolicySources } from "./pool/credits.ts";
import { isStrategy } from "./pool/strategy.ts";
import type { PoolState, StrategyName } from "./types.ts";
import type { CreditPolicy } from "./report_types.ts";

/** Plans whose accounts go first, all alike, unless an option names others. */
export const PREFERRED_PLANS: readonly string[] = ["pro", "prolite", "promax"];

const POLICY_NAMES = [
  "CODEX_ROTATOR_CREDIT_ACCOUNTS",
  "OPENCODE_MULTI_AUTH_CREDIT_ACCOUNT_ALIASES",
];

/** Reads one environment variable. A scoped run may be refused: that throws. */
export type Environment = (name: string) => string | undefined;

/** The first of these variables that is set. */
export function readFirst(
  names: readonly string[],
  environment: Environment,
): string | undefined {
  for (const name of names) {
    const value = environment(name);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** What says who may spend credits, besides the store. */
export function policySources(
  environment: Environment,
  option?: "all" | "none" | readonly string[],
): PolicySources {
  // an option decides alone, so the environment need not even be readable
  if (option !== undefined && option !== null) return { option };
  try {
    return { environment: readFirst(POLICY_NAMES, environment) };
  } catch {
    return { environment: { unreadable: true } };
  }
}

/** Who may spend credits. */
export function policyOf(
  sources: PolicySources,
  { settings }: PoolState,
): CreditPolicy {
  return creditPolicy({ ...sources, store: settings.creditAccountAliases });
}

/** The strategy that the store names. */
export function strategyOf({ settings }: PoolState): StrategyName {
  const { strategy } = settings;
  return isStrategy(strategy) ? strategy : "round-robin";
}
