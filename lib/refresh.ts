/**
 * Renews tokens and asks for usage when the owner wants it.
 *
 * @module
 */
import type { CheckResult } from "./account/usage_check.ts";
import type { RotatorContext } from "./context.ts";
import { windowsOf } from "./report.ts";
import type { RefreshReport } from "./report_types.ts";

/** What to refresh. */
export interface RefreshOptions {
  /** Only these; all by default. */
  aliases?: readonly string[];
  /** Ends it early. */
  signal?: AbortSignal;
  /** Called after each account. */
  onProgress?: (done: number, total: number) => void;
}

/** Renews tokens that need it and asks for usage. */
export async function refresh(
  context: RotatorContext,
  { aliases, signal, onProgress }: RefreshOptions,
): Promise<RefreshReport> {
  signal?.throwIfAborted();
  await context.cache.reload();
  const names = aliases ?? context.accounts.all.map(({ alias }) => alias);
  let done = 0;
  const accounts = await Promise.all(
    [...new Set(names)].sort().map(async (alias) => {
      const result = context.accounts.get(alias)
        ? await context.usage.check(alias, { signal, isExplicit: true })
        : missing(alias);
      onProgress?.(++done, names.length);
      return refreshed(context, result);
    }),
  );
  return { version: 1, accounts };
}

function missing(alias: string): CheckResult {
  const error = "No account bears this name";
  return { alias, ok: false, tokenRefreshed: false, error };
}

function refreshed(
  context: RotatorContext,
  { alias, ok, tokenRefreshed, error }: CheckResult,
): RefreshReport["accounts"][number] {
  const account = context.accounts.get(alias);
  const standing = account?.assess(undefined, context.now()).standing.kind ??
    "blocked";
  const windows = account ? windowsOf(account.record) : [];
  return { alias, ok, tokenRefreshed, standing, error, windows };
}
