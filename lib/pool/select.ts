import type { Standing, StrategyName } from "../types.ts";
import { type Pool, type PoolIndex, poolOf, POOLS } from "./pools.ts";
import type { PooledAccount } from "./account_pool.ts";
import { byLastUse, rank, type RankContext } from "./strategy.ts";

/** What choosing asks for. */
export interface SelectQuery extends RankContext {
  strategy: StrategyName;
  /** Plans that go first inside a pool. */
  preferPlans: ReadonlySet<string>;
  /** Accounts already tried for this request. */
  tried: ReadonlySet<string>;
  /** Tried ones that failed by a hiccup and may be tried again. */
  retriable: ReadonlySet<string>;
  /** A hiccup in this pool keeps the request from any later one. */
  lastPool: Pool;
  /** Only accounts whose facts are known: the unknown ones were asked and have not answered. */
  knownOnly: boolean;
  /** The account that served this session last. */
  sticky: string | undefined;
}

/** Whom to send to, or that nobody can. */
export interface Selection {
  choice: { pool: Pool; runner: PooledAccount; standing: Standing } | undefined;
  /** A hiccup alone keeps an account of the first pool from serving. */
  held: boolean;
}

/** One that may be chosen. */
interface Candidate {
  runner: PooledAccount;
  /** Of its pool. */
  place: PoolIndex;
  preferred: boolean;
  rank: number;
}

/**
 * Chooses among all accounts: the best pool that has anyone, and in it the
 * session's own account, else preferred plans, else the strategy.
 *
 * @param runners All accounts that may be considered; of equals the first one goes first.
 * @param query Model, time, strategy and what was tried.
 */
export function select(
  runners: readonly PooledAccount[],
  query: SelectQuery,
): Selection {
  const { model, now, tried, knownOnly } = query;
  const isFirstTry = tried.size === 0 && !knownOnly;
  const best = isFirstTry ? bestOf(runners, query) : bestLeft(runners, query);
  // it keeps a request from costing more, and that one of the first pool does not
  const held = best?.place !== 0 &&
    runners.some((runner) =>
      runner.assess(model, now).blockedTransiently !== null
    );
  if (!best) return { choice: undefined, held };
  const { runner } = best;
  const { standing } = runner.assess(model, now);
  return { choice: { pool: poolOf(standing)!, runner, standing }, held };
}

/** The best of those that are left; a tried one is better than any of a later pool. */
function bestLeft(
  runners: readonly PooledAccount[],
  query: SelectQuery,
): Candidate | undefined {
  const { tried, retriable, knownOnly } = query;
  const left = knownOnly
    ? runners.filter((runner) => !isUnknown(runner, query))
    : runners;
  const isTried = ({ alias }: PooledAccount) => tried.has(alias);
  const best = bestOf(left.filter((runner) => !isTried(runner)), query);
  const again = bestOf(
    left.filter((runner) => isTried(runner) && retriable.has(runner.alias)),
    query,
  );
  return again && (!best || again.place < best.place) ? again : best;
}

/** In one pass, and with little to do for each account: there may be a thousand. */
function bestOf(
  runners: readonly PooledAccount[],
  query: SelectQuery,
): Candidate | undefined {
  const { model, now } = query;
  let best: Candidate | undefined;
  // pools after the best one found so far need not be looked at
  let last = POOLS.indexOf(query.lastPool);
  for (const runner of runners) {
    const place = runner.placeOf(model, now);
    if (place > last) continue;
    best = better(place < last ? undefined : best, runner, place, query);
    last = place;
  }
  return best;
}

function isUnknown(
  runner: PooledAccount,
  { model, now }: SelectQuery,
): boolean {
  return runner.assess(model, now).standing.kind === "unknown";
}

/** The one of both that goes first. Makes an object only for a winner: this runs for every account. */
function better(
  other: Candidate | undefined,
  runner: PooledAccount,
  place: PoolIndex,
  query: SelectQuery,
): Candidate {
  const preferred = runner.isPreferred(query.preferPlans);
  const own = rank(query.strategy, runner, query);
  if (other && !goesBefore(runner, preferred, own, other, query)) {
    return other;
  }
  return { runner, place, preferred, rank: own };
}

function goesBefore(
  runner: PooledAccount,
  preferred: boolean,
  own: number,
  other: Candidate,
  query: SelectQuery,
): boolean {
  if (query.sticky !== undefined) {
    if (runner.alias === query.sticky) return true;
    if (other.runner.alias === query.sticky) return false;
  }
  if (preferred !== other.preferred) return preferred;
  if (own !== other.rank) return own < other.rank;
  return byLastUse(runner, other.runner, query.now) < 0;
}

/** The accounts that a chosen one was chosen from by strategy alone, itself included. */
export function rivalsOf(
  runners: readonly PooledAccount[],
  chosen: PooledAccount,
  query: Pick<SelectQuery, "model" | "now" | "preferPlans" | "tried">,
): PooledAccount[] {
  const { model, now, preferPlans, tried } = query;
  const place = chosen.placeOf(model, now);
  const isPreferred = chosen.isPreferred(preferPlans);
  return runners.filter((runner) =>
    runner === chosen ||
    runner.placeOf(model, now) === place &&
      runner.isPreferred(preferPlans) === isPreferred &&
      !tried.has(runner.alias)
  );
}

/** All accounts of a pool in the order in which they would be tried. */
export function order(
  runners: readonly PooledAccount[],
  pool: Pool,
  query: SelectQuery,
): PooledAccount[] {
  const place = POOLS.indexOf(pool) as PoolIndex;
  const candidates = runners
    .filter((runner) => runner.placeOf(query.model, query.now) === place)
    .map((runner) => better(undefined, runner, place, query));
  const isFirst = (a: Candidate, b: Candidate) =>
    goesBefore(a.runner, a.preferred, a.rank, b, query);
  return candidates.sort((a, b) => isFirst(a, b) ? -1 : isFirst(b, a) ? 1 : 0)
    .map((candidate) => candidate.runner);
}
