/** Simple rules of choosing, without a rotator and knowing all that is true; and what no rule can beat. */
import { type Account, costOf, FIVE_HOURS, WEEK } from "./account.ts";
import type { Arrival } from "./traffic.ts";

/** What a user feels of a strategy. */
export interface Outcome {
  /** Requests that found no included usage. */
  paid: number;
  /** What they cost, in credits. */
  credits: number;
  /** How often a session went on with another account. */
  moved: number;
}

/** The smaller, the sooner it is chosen. */
export type Rule = (account: Account, now: number) => number;

export const RULES: Readonly<Record<string, Rule>> = {
  "fill-first": () => 0,
  "least-used by 5 hours": (account, now) =>
    windowOf(account, FIVE_HOURS, now).used,
  "least-used by week": (account, now) => windowOf(account, WEEK, now).used,
  "soonest reset": (account, now) => windowOf(account, WEEK, now).left,
  "idle windows, then unused share per time left": (account, now) => {
    const week = windowOf(account, WEEK, now);
    const isIdle = !week.hasBegun ||
      !windowOf(account, FIVE_HOURS, now).hasBegun;
    const share = (100 - week.used) / Math.max(1, week.left);
    return isIdle ? -1e9 - share : -share;
  },
};

/** What a rule makes of some traffic. A session stays while its account has room. */
export function simulateRule(
  accounts: readonly Account[],
  arrivals: readonly Arrival[],
  rule: Rule,
): Outcome {
  const outcome: Outcome = { paid: 0, credits: 0, moved: 0 };
  const sessions = new Map<string, Account>();
  for (const { at, size, session } of arrivals) {
    const last = sessions.get(session);
    const open = accounts.filter((it) => it.isIncluded("gpt-5.5", at));
    const chosen = last && open.includes(last)
      ? last
      : open.toSorted((a, b) => rule(a, at) - rule(b, at))[0];
    if (!chosen) {
      outcome.paid++;
      outcome.credits += size;
      continue;
    }
    if (last && last !== chosen) outcome.moved++;
    sessions.set(session, chosen);
    chosen.use(chosen.options.meters[0]!, costOf(chosen, "gpt-5.5", size), at);
  }
  return outcome;
}

function windowOf(account: Account, seconds: number, now: number) {
  const window = account.options.meters[0]!.windows.find((it) =>
    it.seconds === seconds
  )!;
  // a window that is over has not begun again
  const isOver = window.resetsAt === null || window.resetsAt <= now;
  return {
    used: isOver ? 0 : window.used,
    left: isOver ? seconds * 1000 : window.resetsAt! - now,
    hasBegun: !isOver,
  };
}
