/**
 * What no rule can beat, whatever it knows of the future.
 *
 * In any stretch of time an account serves at most what its windows hold that
 * can lie in the stretch. A window begins with a request, and the next one at
 * the first request after its end; so the most windows begin when the first one
 * begins at the first request of the stretch. One more can be under way when
 * the stretch begins: the one that was under way from the start with what was
 * left of it, or any other if there was a request less than its length before.
 * What the requests of a stretch take beyond that has to be paid. Stretches that
 * do not overlap add up, so the best division of the two weeks into stretches
 * is found by dynamic programming over the gaps between bursts.
 */
import type { Account, TrueWindow } from "./account.ts";
import { MINUTE } from "./clock.ts";
import type { Outcome } from "./rules.ts";
import type { Arrival } from "./traffic.ts";

/** The largest request: the one that fills a window may go that far beyond it. */
const MAX_SIZE = 1.5;
/** Stretches begin and end where nobody asks for this long, ms. */
const GAP = 10 * MINUTE;

/** Requests `from` up to `to`, not included. */
interface Stretch {
  from: number;
  to: number;
}

export function bound(
  accounts: readonly Account[],
  arrivals: readonly Arrival[],
): Omit<Outcome, "moved"> {
  const cuts = cutsOf(arrivals);
  const best = cuts.map(() => ({ paid: 0, credits: 0 }));
  for (let end = 1; end < cuts.length; end++) {
    for (let start = 0; start < end; start++) {
      const stretch = { from: cuts[start]!, to: cuts[end]! };
      const beyond = leastPaid(accounts, arrivals, stretch);
      const paid = best[start]!.paid + beyond.paid;
      const credits = best[start]!.credits + beyond.credits;
      best[end] = {
        paid: Math.max(best[end]!.paid, paid),
        credits: Math.max(best[end]!.credits, credits),
      };
    }
  }
  return best.at(-1)!;
}

/** The indexes of the requests before which there is a gap, and the end. */
function cutsOf(arrivals: readonly Arrival[]): number[] {
  const isCut = (index: number) =>
    index === 0 || arrivals[index]!.at - arrivals[index - 1]!.at > GAP;
  return [...arrivals.keys()].filter(isCut).concat(arrivals.length);
}

/** The least that a stretch pays: in credits, and in requests, if those are the largest ones. */
function leastPaid(
  accounts: readonly Account[],
  arrivals: readonly Arrival[],
  stretch: Stretch,
): { paid: number; credits: number } {
  const sizes = arrivals.slice(stretch.from, stretch.to).map((it) => it.size);
  const demand = sizes.reduce((sum, size) => sum + size, 0);
  const capacity = accounts.reduce(
    (sum, account) => sum + mostServed(account, arrivals, stretch),
    0,
  );
  const credits = Math.max(0, demand - capacity);
  let left = credits;
  let paid = 0;
  if (left > 0) sizes.sort((one, other) => other - one);
  while (left > 1e-9) left -= sizes[paid++]!;
  return { paid, credits };
}

/** The most that an account can serve in a stretch, in ordinary requests. */
function mostServed(
  { options }: Account,
  arrivals: readonly Arrival[],
  stretch: Stretch,
): number {
  const windows = options.meters[0]!.windows;
  return Math.min(...windows.map((window) => {
    const cost = options.costs[window.seconds]!;
    const whole = 100 / cost + MAX_SIZE;
    const { underWay, since } = before(window, arrivals, stretch);
    const left = underWay === "new"
      ? whole
      : underWay === "known"
      ? Math.max(0, 100 - window.used) / cost + MAX_SIZE
      : 0;
    const count = countBegun(window.seconds * 1000, arrivals, {
      ...stretch,
      since,
    });
    return left + whole * count;
  }));
}

/** What can be under way when a stretch begins, and from when on others can begin. */
function before(
  { seconds, resetsAt }: TrueWindow,
  arrivals: readonly Arrival[],
  { from }: Stretch,
): { underWay: "known" | "new" | "none"; since: number } {
  const start = arrivals[from]!.at;
  if (resetsAt !== null && resetsAt > start) {
    return { underWay: "known", since: resetsAt };
  }
  const earlier = arrivals[from - 1]?.at ?? -Infinity;
  const isUnderWay = earlier > start - seconds * 1000;
  return { underWay: isUnderWay ? "new" : "none", since: start };
}

/** How many windows of a length can begin at the requests of a stretch. */
function countBegun(
  length: number,
  arrivals: readonly Arrival[],
  { from, to, since }: Stretch & { since: number },
): number {
  let count = 0;
  let next = since;
  for (let index = from; index < to; index++) {
    const { at } = arrivals[index]!;
    if (at < next) continue;
    count++;
    next = at + length;
  }
  return count;
}
