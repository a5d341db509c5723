/**
 * What a request needs before it is sent on a chosen account: a token, a
 * standing that still holds, and room below the caps where it may be paid.
 */
import { withAbort } from "./abort.ts";
import type { Attempt } from "./account/context.ts";
import type { Choice } from "./choose.ts";
import type { RotatorContext } from "./context.ts";
import { POOLS, reasonOf, servedOn } from "./pool/standing.ts";
import type { ReplayableRequest } from "./request.ts";
import type { Tries } from "./tries.ts";

/**
 * Prepares a request to a chosen account.
 *
 * @returns undefined when another account has to be chosen.
 */
export async function prepare(
  context: RotatorContext,
  request: ReplayableRequest,
  choice: Choice,
  tries: Tries,
): Promise<Attempt | undefined> {
  const { account, pool } = choice;
  const { model, isFree, about, signal } = request;
  let isReady = false;
  try {
    const access = await accessOf(context, request, choice, tries);
    if (access === undefined) return undefined;
    const isStillBest = () => isBest(context, { account, pool, model }, tries);
    const admission = pool === "first"
      ? undefined
      : await context.spending.admit(account, isStillBest, signal);
    if (admission?.kind === "capped") tries.cap(account.alias);
    if (admission && admission.kind !== "open") return undefined;
    isReady = true;
    if (!choice.again) announce(context, request, choice, tries);
    tries.sent++;
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
      paid: admission?.id,
      charged: null,
      onEnd: () => {},
    };
  } finally {
    if (!isReady) choice.release();
  }
}

/** An access token of the chosen account; undefined when another one has to be chosen. */
async function accessOf(
  context: RotatorContext,
  { signal, model, isFree }: ReplayableRequest,
  { account, pool, again }: Choice,
  tries: Tries,
): Promise<string | undefined> {
  const access = await withAbort(
    context.tokens.access(account.alias, again?.rejected),
    signal,
  );
  if (access.kind !== "ok") {
    tries.leave(account.alias, access.reason);
    return undefined;
  }
  // what was true when the account was chosen may not be any more
  return isFree || isStillIn(context, { account, pool, model })
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

/** Whether an account is still in its pool, and none that is not tried yet in an earlier one. */
function isBest(
  context: RotatorContext,
  attempt: Pick<Attempt, "account" | "pool" | "model">,
  { tried }: Tries,
): boolean {
  const index = POOLS.indexOf(attempt.pool);
  return isStillIn(context, attempt) &&
    !context.accounts.candidates.some((it) =>
      !tried.has(it.alias) &&
      it.assess(attempt.model, context.now()).poolIndex < index
    );
}

const REASONS: Record<Choice["pool"], string> = {
  first: "It has included usage left",
  likely:
    "It had included usage left when it was last asked, and cannot be asked now",
  credits: "Nobody has included usage left, and it may spend its credits",
  unconfirmed:
    "Nobody is known to have included usage left, and it could not be asked",
};

function announce(
  context: RotatorContext,
  request: ReplayableRequest,
  { account: { alias }, pool, last }: Choice,
  { lastGivenUp }: Tries,
): void {
  const { about, isFree } = request;
  const standing = servedOn(pool);
  const chosen = isFree ? "It costs nothing" : REASONS[pool];
  context.emit({ ...about, type: "selected", alias, standing, reason: chosen });
  if (standing === "unconfirmed") {
    const reason =
      "This request may be charged: its account could not be asked";
    context.emit({ ...about, type: "warning", alias, reason });
  }
  const from = lastGivenUp?.alias ?? last;
  if (from === undefined || from === alias) return;
  const reason = lastGivenUp?.reason ?? whyLeft(context, request, from);
  context.emit({ ...about, type: "switched", alias, from, reason });
}

/** Why the session's account was not chosen again, in the words of `status`. */
function whyLeft(
  context: RotatorContext,
  { model }: ReplayableRequest,
  alias: string,
): string {
  const account = context.accounts.get(alias);
  if (!account) return "The session's account is gone";
  if (context.accounts.pinned !== null) {
    return "Another account is pinned";
  }
  const why = reasonOf(account.assess(model, context.now()).standing);
  return `The session's account cannot serve it${why ? ` (${why})` : ""}`;
}
