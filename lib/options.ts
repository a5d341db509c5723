/**
 * What a rotator can be told, and what is in force: options, environment and
 * store in their order.
 */
import { suggestion } from "./nearest.ts";
import { problemOfCaps } from "./pool/caps.ts";
import { creditPolicy, type PolicySources } from "./pool/credits.ts";
import { isStrategy, STRATEGIES } from "./pool/strategy.ts";
import type { CreditPolicy, RotatorEvent } from "./report_types.ts";
import type { CreditCaps, LedgerEntry } from "./spending_types.ts";
import type { FetchLike, PoolState, Store, StrategyName } from "./types.ts";

/** How a rotator is to work. */
export interface RotatorOptions {
  /**
   * A path, or any store.
   * @default {defaultStorePath()}
   */
  store?: Store | string | URL;
  /**
   * How accounts are ordered inside a pool.
   * @default {"round-robin"} unless the store's settings name one
   */
  strategy?: StrategyName;
  /**
   * Who may spend purchased credits; wins over the environment and the store.
   * Unset everywhere, all may.
   */
  credits?: "all" | "none" | readonly string[];
  /**
   * How much may be spent, in credits by UTC day and month; `*` is for all
   * accounts together. The store's settings count as well: the lower one does.
   */
  creditCaps?: CreditCaps;
  /**
   * Keep one line per answered request: `true`, a folder for the files, or a
   * function that takes the entries.
   * @default {true} for a store in a file, beside it
   */
  ledger?: boolean | string | URL | ((entry: LedgerEntry) => void);
  /**
   * Plans whose accounts go first inside a pool.
   * @default {["pro", "prolite", "promax"]}
   */
  preferPlans?: readonly string[];
  /**
   * Keep a session on the account that served it last.
   * @default {true}
   */
  affinity?: boolean;
  /**
   * Base URL of the Codex backend.
   * @default {"https://chatgpt.com/backend-api"}
   */
  backend?: string | URL;
  /**
   * Base URL of the token issuer.
   * @default {"https://auth.openai.com"}
   */
  issuer?: string | URL;
  /**
   * The version of the Codex client whose protocol requests speak, where their
   * caller names none: the backend refuses newer models to older versions.
   * @default {"0.171.0"}
   */
  codexVersion?: string;
  /**
   * How long a request may wait for the earliest reset when nobody can serve, ms.
   * @default {0}
   */
  maxWait?: number;
  /**
   * A streamed request body longer than this is sent once instead of being
   * kept for another account, bytes.
   * @default {33554432}
   */
  maxReplayBytes?: number;
  /** What to send with; the global `fetch` by default. */
  fetch?: FetchLike;
  /** The clock, epoch ms; `Date.now` by default. */
  now?: () => number;
  /** Uniform in [0, 1); `Math.random` by default. */
  random?: () => number;
  /** Told what happens; an error it throws disturbs nothing. */
  onEvent?: (event: RotatorEvent) => void;
}

/** Every name that an option has: one that is missing here does not compile. */
const NAMES = Object.keys(
  {
    store: 0,
    strategy: 0,
    credits: 0,
    creditCaps: 0,
    ledger: 0,
    preferPlans: 0,
    affinity: 0,
    backend: 0,
    issuer: 0,
    codexVersion: 0,
    maxWait: 0,
    maxReplayBytes: 0,
    fetch: 0,
    now: 0,
    random: 0,
    onEvent: 0,
  } satisfies Record<keyof RotatorOptions, 0>,
);

/**
 * Refuses options that would not do what their owner means.
 *
 * @throws {TypeError} When an option is not what it should be.
 */
export function checkOptions(options: RotatorOptions): void {
  for (const name of Object.keys(options)) {
    if (NAMES.includes(name)) continue;
    throw new TypeError(
      `There is no option "${name}"${suggestion(name, NAMES)}`,
    );
  }
  const { strategy, maxWait = 0, maxReplayBytes = 0, codexVersion } = options;
  if (strategy !== undefined && !isStrategy(strategy)) {
    throw new TypeError(
      `There is no strategy "${strategy}"; use one of ${STRATEGIES.join(", ")}`,
    );
  }
  const problem = problemOfCaps(options.creditCaps);
  if (problem !== null) throw new TypeError(problem);
  if (!(maxWait >= 0)) {
    throw new TypeError(`maxWait is ${maxWait}; it must be 0 ms or more`);
  }
  if (!(maxReplayBytes >= 0)) {
    throw new TypeError(
      `maxReplayBytes is ${maxReplayBytes}; it must be 0 bytes or more`,
    );
  }
  if (
    codexVersion !== undefined && !/^\d+(\.\d+)+[\w.-]*$/.test(codexVersion)
  ) {
    throw new TypeError(
      `codexVersion is "${codexVersion}"; write it as 0.171.0`,
    );
  }
}

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
