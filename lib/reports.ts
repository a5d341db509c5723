/**
 * What `status` and `refresh` answer.
 *
 * @module
 */
import type { CheckResult } from "./account/usage_check.ts";
import { candidatesOf, type Known, pinnedOf } from "./candidates.ts";
import { accountStatus, iso } from "./report.ts";
import type { RotatorContext } from "./context.ts";
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
  readonly cache: Known["cache"] & { reload(): Promise<void> };
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
  context: Reported,
  model: string | undefined,
): Promise<StatusReport> {
  await context.cache.reload();
  const now = context.now();
  const { accounts: roster } = context;
  const policy = context.policy();
  return {
    version: 1,
    now: iso(now)!,
    store: context.storeName,
    strategy: context.strategy(),
    pinned: pinnedOf(context),
    credits: {
      allow: typeof policy.allow === "string"
        ? policy.allow
        : [...policy.allow],
      source: policy.source,
      unknownAliases: unknownAliases(context, policy),
      warning: policy.warning ?? null,
    },
    next: nextOf(context, model, now),
    accounts: roster.all.map((runner) => accountStatus(runner, model, now)),
  };
}

/** Names in the credit list that no account bears. */
function unknownAliases(context: Reported, policy: CreditPolicy): string[] {
  if (typeof policy.allow === "string") return [];
  return [...new Set(policy.allow)].filter((alias) =>
    !context.accounts.get(alias)
  );
}

/** Who would serve the next request without a session, as far as is known now. */
function nextOf(
  context: Reported,
  model: string | undefined,
  now: number,
): string | null {
  const none: ReadonlySet<string> = new Set();
  const { choice, held } = select(candidatesOf(context), {
    model,
    now,
    random: context.random,
    strategy: context.strategy(),
    preferPlans: context.preferPlans,
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
  context: RotatorContext,
  options: RefreshOptions,
): Promise<RefreshReport> {
  options.signal?.throwIfAborted();
  await context.cache.reload();
  const aliases = options.aliases ??
    context.accounts.all.map((runner) => runner.alias);
  let done = 0;
  const accounts = await Promise.all(
    [...new Set(aliases)].sort().map(async (alias) => {
      const result = context.accounts.get(alias)
        ? await context.usage.check(alias, options.signal)
        : missing(alias);
      options.onProgress?.(++done, aliases.length);
      return reportOf(context, result);
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
  context: RotatorContext,
  result: CheckResult,
): RefreshReport["accounts"][number] {
  const { alias, ok, tokenRefreshed, error } = result;
  const standing = context.accounts.get(alias)
    ?.assess(undefined, context.now()).standing.kind ?? "blocked";
  return { alias, ok, tokenRefreshed, standing, error };
}
