/**
 * What a rotator tells of its choices.
 *
 * @module
 */
import { type Choice, lastAccountOf } from "./choose.ts";
import type { RotatorContext } from "./context.ts";
import { pinnedIn, reasonOf } from "./report.ts";
import type { ReplayableRequest } from "./request.ts";
import type { Tries } from "./tries.ts";

const REASONS: Record<Choice["pool"], string> = {
  first: "It has included usage left",
  likely:
    "It had included usage left when it was last asked, and cannot be asked now",
  credits: "Nobody has included usage left, and it may spend its credits",
  unconfirmed:
    "Nobody is known to have included usage left, and it could not be asked",
};

/** Tells who was chosen, and whom it takes over from. */
export function announce(
  context: RotatorContext,
  request: ReplayableRequest,
  { choice, tries }: { choice: Choice; tries: Tries },
): void {
  const { account: { alias }, pool } = choice;
  const { about, isFree } = request;
  const standing = pool === "first"
    ? "included"
    : pool === "credits"
    ? pool
    : "unconfirmed";
  const chosen = isFree ? "It costs nothing" : REASONS[pool];
  context.emit({ ...about, type: "selected", alias, standing, reason: chosen });
  if (standing === "unconfirmed") {
    const reason =
      "This request may be charged: its account could not be asked";
    context.emit({ ...about, type: "warning", alias, reason });
  }
  const { lastGivenUp } = tries;
  const from = lastGivenUp?.alias ?? lastAccountOf(context, request);
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
  if (pinnedIn(context.cache.state) !== null) {
    return "Another account is pinned";
  }
  const why = reasonOf(account.assess(model, context.now()).standing);
  return `The session's account cannot serve it${why ? ` (${why})` : ""}`;
}
