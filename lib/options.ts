/**
 * What a rotator can be told, and what is in force: options, environment and
 * store in their order.
 */
import { suggestion } from "./nearest.ts";
import { areCaps } from "./pool/caps.ts";
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

/** What an option must be, and whether a value is that. */
type Check = readonly [wanted: string, isFine: (value: unknown) => boolean];

const isText = (value: unknown) => typeof value === "string";
const isPlace = (value: unknown) =>
  (isText(value) && value !== "") || value instanceof URL;
const isFunction = (value: unknown) => typeof value === "function";
const isAmount = (value: unknown) => typeof value === "number" && value >= 0;
const FUNCTION: Check = ["a function", isFunction];

const CHECKS: Record<keyof RotatorOptions, Check> = {
  store: [
    "a path, a URL or a Store",
    (value) => isPlace(value) || isStore(value),
  ],
  strategy: [`one of ${STRATEGIES.join(", ")}`, isStrategy],
  // what cannot be understood means nobody, and a warning
  credits: ["", () => true],
  creditCaps: [
    '{"*": {"day": 20}, "ALIAS": {"month": 200}}',
    areCaps,
  ],
  ledger: [
    "true, false, a folder or a function",
    (value) =>
      typeof value === "boolean" || isPlace(value) || isFunction(value),
  ],
  preferPlans: [
    "a list of plans",
    (value) => Array.isArray(value) && value.every(isText),
  ],
  affinity: ["true or false", (value) => typeof value === "boolean"],
  backend: ["a URL", isPlace],
  issuer: ["a URL", isPlace],
  codexVersion: [
    'a version, as "0.171.0"',
    (value) => isText(value) && /^\d+(\.\d+)+[\w.-]*$/.test(value as string),
  ],
  maxWait: ["0 ms or more", isAmount],
  maxReplayBytes: ["0 bytes or more", isAmount],
  fetch: FUNCTION,
  now: FUNCTION,
  random: FUNCTION,
  onEvent: FUNCTION,
};

function isStore(value: unknown): boolean {
  const { read, update, exclusive } = Object(value) as Record<string, unknown>;
  return [read, update, exclusive].every(isFunction);
}

/**
 * Refuses options that would not do what their owner means.
 *
 * @throws {TypeError} When an option is not what it should be.
 */
export function checkOptions(options: RotatorOptions): void {
  const names = Object.keys(CHECKS);
  for (const [name, value] of Object.entries(options)) {
    if (!names.includes(name)) {
      throw new TypeError(
        `There is no option "${name}"${suggestion(name, names)}`,
      );
    }
    const [wanted, isFine] = CHECKS[name as keyof RotatorOptions];
    if (value === undefined || isFine(value)) continue;
    throw new TypeError(`${name} is ${shown(value)}; it must be ${wanted}`);
  }
}

function shown(value: unknown): string {
  if (isFunction(value)) return "a function";
  return JSON.stringify(value) ?? String(value);
}

/** Plans whose accounts go first, all alike, unless an option names others. */
export const PREFERRED_PLANS: readonly string[] = ["pro", "prolite", "promax"];

const POLICY_NAMES = [
  "CODEX_ROTATOR_CREDIT_ACCOUNTS",
  "OPENCODE_MULTI_AUTH_CREDIT_ACCOUNT_ALIASES",
];

/** Reads one environment variable. A scoped run may be refused: that throws. */
type Environment = (name: string) => string | undefined;

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
