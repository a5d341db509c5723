import type { Standing, StrategyName } from "../types.ts";
import { type Pool, poolOf, POOLS } from "./pools.ts";
import type { Runner } from "./roster.ts";
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
  choice: { pool: Pool; runner: Runner; standing: Standing } | undefined;
  /** A hiccup alone keeps an account of the first pool from serving. */
  held: boolean;
}

/** The best of its pool so far. */
interface Candidate {
  runner: Runner;
  preferred: boolean;
  rank: number;
}

/**
 * Chooses among all accounts in one pass: the best pool that has anyone, and
 * in it the session's own account, else preferred plans, else the strategy.
 *
 * @param runners All accounts that may be considered.
 * @param query Model, time, strategy and what was tried.
 */
export function select(
  runners: readonly Runner[],
  query: SelectQuery,
): Selection {
  const { tried, model, now } = query;
  let best: Candidate | undefined;
  /** By their pools; a tried one is better than any of a later pool. */
  let again: (Candidate | undefined)[] | undefined;
  // pools after the best one found so far need not be looked at
  let last = POOLS.indexOf(query.lastPool);
  let held = false;
  for (const runner of runners) {
    const place = runner.placeOf(model, now);
    if (place > last) {
      held ||= runner.assess(model, now).held !== null;
      continue;
    }
    if (query.knownOnly && isUnknown(runner, query)) continue;
    if (tried.size > 0 && tried.has(runner.alias)) {
      if (!query.retriable.has(runner.alias)) continue;
      again ??= [];
      again[place] = better(again[place], runner, query);
    } else {
      best = better(place < last ? undefined : best, runner, query);
      last = place;
    }
  }
  const found = again?.find((it, place) => it && (place < last || !best)) ??
    best;
  if (!found) return { choice: undefined, held };
  const { runner } = found;
  const { standing } = runner.assess(model, now);
  return { choice: { pool: poolOf(standing)!, runner, standing }, held };
}

function isUnknown(runner: Runner, { model, now }: SelectQuery): boolean {
  return runner.assess(model, now).standing.kind === "unknown";
}

/** The one of both that goes first. Makes an object only for a winner: this runs for every account. */
function better(
  other: Candidate | undefined,
  runner: Runner,
  query: SelectQuery,
): Candidate {
  const preferred = runner.isPreferred(query.preferPlans);
  const place = rank(query.strategy, runner, query);
  if (other && !goesBefore(runner, preferred, place, other, query)) {
    return other;
  }
  return { runner, preferred, rank: place };
}

function goesBefore(
  runner: Runner,
  preferred: boolean,
  place: number,
  other: Candidate,
  query: SelectQuery,
): boolean {
  if (query.sticky !== undefined) {
    if (runner.alias === query.sticky) return true;
    if (other.runner.alias === query.sticky) return false;
  }
  if (preferred !== other.preferred) return preferred;
  if (place !== other.rank) return place < other.rank;
  return byLastUse(runner, other.runner, query.now) < 0;
}

/** The accounts that a chosen one was chosen from by strategy alone, itself included. */
export function rivalsOf(
  runners: readonly Runner[],
  chosen: Runner,
  query: Pick<SelectQuery, "model" | "now" | "preferPlans" | "tried">,
): Runner[] {
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
  runners: readonly Runner[],
  pool: Pool,
  query: SelectQuery,
): Runner[] {
  const candidates: Candidate[] = [];
  for (const runner of runners) {
    const { standing } = runner.assess(query.model, query.now);
    if (poolOf(standing) === pool) {
      candidates.push(better(undefined, runner, query));
    }
  }
  const isFirst = (a: Candidate, b: Candidate) =>
    goesBefore(a.runner, a.preferred, a.rank, b, query);
  return candidates.sort((a, b) => isFirst(a, b) ? -1 : 1)
    .map((candidate) => candidate.runner);
}
