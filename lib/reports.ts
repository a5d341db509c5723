/**
 * What `status` and `refresh` answer.
 *
 * @module
 */
import type { CheckResult } from "./account/usage_check.ts";
import { candidatesOf, type Known, pinnedOf } from "./candidates.ts";
import { accountStatus, iso } from "./report.ts";
import type { House } from "./runtime.ts";
import { select } from "./pool/select.ts";
import type {
  CreditPolicy,
  RefreshReport,
  StatusReport,
  StrategyName,
} from "./types.ts";

/** What to report on. */
export interface StatusOptions {
  /** Verdicts are for this model; unknown by default. */
  model?: string;
}

/** What to refresh. */
export interface RefreshOptions {
  /** Only these; all by default. */
  aliases?: readonly string[];
  /** Ends it early. */
  signal?: AbortSignal;
  /** Told after each account. */
  onProgress?: (done: number, total: number) => void;
}

/** What a status report is made of: a rotator, or a store that is only read. */
export interface Reported extends Known {
  readonly live: Known["live"] & { reload(): Promise<void> };
  readonly storeName: string;
  readonly policy: () => CreditPolicy;
  readonly strategy: () => StrategyName;
  readonly preferPlans: ReadonlySet<string>;
  /** Epoch ms. */
  readonly now: () => number;
  readonly random: () => number;
}

/** How all accounts stand for `model`; asks nobody. */
export async function statusReport(
  house: Reported,
  model: string | undefined,
): Promise<StatusReport> {
  await house.live.reload();
  const now = house.now();
  const { roster } = house;
  const policy = house.policy();
  return {
    version: 1,
    now: iso(now)!,
    store: house.storeName,
    strategy: house.strategy(),
    pinned: pinnedOf(house),
    credits: {
      allow: typeof policy.allow === "string"
        ? policy.allow
        : [...policy.allow],
      source: policy.source,
      unknownAliases: unknownAliases(house, policy),
      warning: policy.warning ?? null,
    },
    next: nextOf(house, model, now),
    accounts: roster.runners.map((runner) => accountStatus(runner, model, now)),
  };
}

/** Names in the credit list that no account bears. */
function unknownAliases(house: Reported, policy: CreditPolicy): string[] {
  if (typeof policy.allow === "string") return [];
  return [...new Set(policy.allow)].filter((alias) => !house.roster.get(alias));
}

/** Who would serve the next request without a session, as far as is known now. */
function nextOf(
  house: Reported,
  model: string | undefined,
  now: number,
): string | null {
  const none: ReadonlySet<string> = new Set();
  const { choice, held } = select(candidatesOf(house), {
    model,
    now,
    random: house.random,
    strategy: house.strategy(),
    preferPlans: house.preferPlans,
    tried: none,
    retriable: none,
    lastPool: "unconfirmed",
    knownOnly: false,
    sticky: undefined,
  });
  if (!choice || held) return null;
  return choice.runner.alias;
}

/** Renews tokens that need it and asks for usage. */
export async function refreshReport(
  house: House,
  options: RefreshOptions,
): Promise<RefreshReport> {
  options.signal?.throwIfAborted();
  await house.live.reload();
  const aliases = options.aliases ??
    house.roster.runners.map((runner) => runner.alias);
  let done = 0;
  const accounts = await Promise.all(
    [...new Set(aliases)].sort().map(async (alias) => {
      const result = house.roster.get(alias)
        ? await house.usage.check(alias, options.signal)
        : missing(alias);
      options.onProgress?.(++done, aliases.length);
      return reportOf(house, result);
    }),
  );
  return { version: 1, accounts };
}

function missing(alias: string): CheckResult {
  return {
    alias,
    ok: false,
    tokenRefreshed: false,
    error: "No account bears this name",
  };
}

function reportOf(
  house: House,
  result: CheckResult,
): RefreshReport["accounts"][number] {
  const { alias, ok, tokenRefreshed, error } = result;
  const standing = house.roster.get(alias)
    ?.assess(undefined, house.now()).standing.kind ?? "blocked";
  return { alias, ok, tokenRefreshed, standing, error };
}
