/**
 * What has to be so before a request is sent on a chosen account: a token, a
 * standing that still holds, and leave to spend.
 *
 * @module
 */
import { withAbort } from "./account/abort.ts";
import type { Attempt } from "./account/learn.ts";
import type { Choice } from "./choose.ts";
import type { RotatorContext } from "./context.ts";
import { POOLS } from "./pool/standing.ts";
import type { ReplayableRequest } from "./request.ts";
import type { Tries } from "./retry.ts";

/** What a chosen account needs to be sent to. */
interface Sendable {
  choice: Choice;
  tries: Tries;
  /** A token that the backend refused. */
  rejected: string | undefined;
}

/** An access token of the chosen account; undefined when another one has to be chosen. */
export async function accessOf(
  context: RotatorContext,
  { signal, model, isFree }: ReplayableRequest,
  { choice, tries, rejected }: Sendable,
): Promise<string | undefined> {
  const { account, pool } = choice;
  const ready = rejected === undefined
    ? context.tokens.current(account.record)
    : undefined;
  if (ready !== undefined) return ready;
  const access = await withAbort(
    context.tokens.access(account.alias, rejected),
    signal,
  );
  if (access.kind !== "ok") {
    tries.leave(account.alias, access.reason);
    return undefined;
  }
  if (isFree) return access.access;
  // what was true when the account was chosen may not be any more
  return isStillIn(context, { account, pool, model })
    ? access.access
    : undefined;
}

/** Whether an account is still in the pool that it was chosen from, and known to be. */
export function isStillIn(
  context: RotatorContext,
  { account, pool, model }: Pick<Attempt, "account" | "pool" | "model">,
): boolean {
  if (context.accounts.get(account.alias) !== account) return false;
  const { standing, poolIndex } = account.assess(model, context.now());
  return POOLS[poolIndex] === pool && standing.kind !== "unknown";
}

/** Counts another use of the same account. */
export function countAgain(context: RotatorContext, { account }: Choice): void {
  context.accounts.use(account, context.now());
  context.cache.markDirty(account.alias, 1);
}

export function attemptOf(
  context: RotatorContext,
  { model, isFree, about }: ReplayableRequest,
  { choice, access, paid }: {
    choice: Choice;
    access: string;
    paid: string | undefined;
  },
): Attempt {
  const { account, pool } = choice;
  return {
    account,
    pool,
    model,
    isFree,
    about,
    access,
    beganAt: context.now(),
    balanceBefore: account.record.credits?.balance ?? null,
    balanceAfter: null,
    usage: null,
    paid,
    charged: null,
    onEnd: () => {},
  };
}

/**
 * Admits a request that may cost credits.
 *
 * @returns What names it among the paid ones; undefined when it costs nothing, false when a cap is in the way.
 */
export async function admit(
  { spending }: RotatorContext,
  { isFree, signal }: ReplayableRequest,
  { pool, account }: Choice,
): Promise<string | undefined | false> {
  if (pool === "first" || isFree) return undefined;
  return await spending.admit(account, signal) ?? false;
}
