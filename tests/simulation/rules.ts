/**
 * Rules of choosing without a rotator, told all that is true at once: simple
 * ones, and the rotator's own strategies. Thousands of weeks pass in a minute,
 * so that what chance does evens out.
 */
import { PooledAccount } from "../../lib/pool/account_pool.ts";
import { Sessions } from "../../lib/pool/sessions.ts";
import { byLastUse, rank } from "../../lib/pool/strategy.ts";
import { normalRecord } from "../../lib/store/normal_form.ts";
import { type Account, costOf, FIVE_HOURS, WEEK } from "./account.ts";
import { MAIN } from "./told.ts";
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

/** What a rule looks at besides the account. */
interface View {
  /** Epoch ms. */
  now: number;
  sessions: Sessions;
}

/** The smaller, the sooner it is chosen; of equal ones the longest unused. */
export type Rule = (account: Candidate, view: View) => number;

export const RULES: Readonly<Record<string, Rule>> = {
  "round-robin": byStrategy("round-robin"),
  "drain": byStrategy("drain"),
  "fill-first": ({ index }) => index,
  "least-used by 5 hours": ({ account }, { now }) =>
    windowOf(account, FIVE_HOURS, now).used,
  "least-used by week": ({ account }, { now }) =>
    windowOf(account, WEEK, now).used,
  "soonest reset": ({ account }, { now }) => windowOf(account, WEEK, now).left,
};

/** An account with what the rotator would remember of it. */
interface Candidate {
  account: Account;
  index: number;
  pooled: PooledAccount;
}

/**
 * What a rule makes of some traffic. As with the rotator, a session stays while
 * its account has room, and Pro plans go first.
 */
export function simulateRule(
  accounts: readonly Account[],
  arrivals: readonly Arrival[],
  rule: Rule,
): Outcome {
  const outcome: Outcome = { paid: 0, credits: 0, moved: 0 };
  const now = arrivals[0]!.at;
  const candidates = accounts.map((account, index): Candidate => {
    const usage = { observedAt: now, meters: { [MAIN]: { windows: [] } } };
    const pooled = new PooledAccount(account.alias, normalRecord({ usage }));
    return { account, index, pooled };
  });
  const sessions = new Sessions();
  for (const { at: now, id, size, session } of arrivals) {
    const last = sessions.get(session, now)?.alias;
    const open = candidates.filter(({ account }) =>
      account.isIncluded("gpt-5.5", now)
    );
    const chosen = open.find(({ account }) => account.alias === last) ??
      firstOf(open, rule, { now, sessions });
    if (!chosen) {
      outcome.paid++;
      outcome.credits += size;
      continue;
    }
    const { account, pooled } = chosen;
    if (last !== undefined && last !== account.alias) outcome.moved++;
    sessions.note(session, { alias: account.alias, usedAt: now });
    pooled.record.lastUsedAt = now;
    pooled.sequence = id;
    const cost = costOf(account, "gpt-5.5", size);
    account.use(account.options.meters[0]!, cost, now);
  }
  return outcome;
}

/** The account that a rule puts first. */
function firstOf(
  open: readonly Candidate[],
  rule: Rule,
  view: View,
): Candidate | undefined {
  const isPro = ({ account }: Candidate) => account.options.plan === "pro";
  const group = open.some(isPro) ? open.filter(isPro) : open;
  const ranks = new Map(group.map((it) => [it, rule(it, view)]));
  return group.toSorted((a, b) =>
    ranks.get(a)! - ranks.get(b)! ||
    byLastUse(a.pooled, b.pooled, view.now)
  )[0];
}

/** The rotator's own order. */
function byStrategy(strategy: "round-robin" | "drain"): Rule {
  return ({ account, pooled }, { now, sessions }) => {
    pooled.record.usage!.meters[MAIN]!.windows = [FIVE_HOURS, WEEK].map(
      (seconds) => {
        const { used, left } = windowOf(account, seconds, now);
        const at = { observedAt: now, seenAt: now };
        const resetsAt = now + left;
        return { usedPercent: used, windowSeconds: seconds, resetsAt, ...at };
      },
    );
    return rank(strategy, pooled, {
      model: "gpt-5.5",
      now,
      random: () => 0,
      sessionsOn: (alias) => sessions.countOf(alias, now),
    });
  };
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
  };
}
