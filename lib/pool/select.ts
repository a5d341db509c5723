import type { Standing, StrategyName } from "../types.ts";
import type { Runner } from "./roster.ts";
import { byLastUse, rank, type RankContext } from "./strategy.ts";

/** The pools in the order in which they are used, cheapest first. */
export type Pool = "first" | "credits" | "unconfirmed";

const POOLS: readonly Pool[] = ["first", "credits", "unconfirmed"];

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
  standing: Standing;
  preferred: boolean;
  rank: number;
}

/** The pool of a standing; undefined when it cannot serve. */
export function poolOf(standing: Standing): Pool | undefined {
  return POOLS[poolIndex(standing)];
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
    const verdict = runner.assess(model, now);
    if (verdict.held !== null) held = true;
    const { standing } = verdict;
    const index = poolIndex(standing);
    if (index > last) continue;
    if (query.knownOnly && standing.kind === "unknown") continue;
    if (tried.size > 0 && tried.has(runner.alias)) {
      if (!query.retriable.has(runner.alias)) continue;
      again ??= [];
      again[index] = better(again[index], runner, standing, query);
    } else {
      best = better(index < last ? undefined : best, runner, standing, query);
      last = index;
    }
  }
  const found = again?.find((it, index) => it && (index < last || !best)) ??
    best;
  if (!found) return { choice: undefined, held };
  const { runner, standing } = found;
  const pool = POOLS[poolIndex(standing)]!;
  return { choice: { pool, runner, standing }, held };
}

/** The place of a standing's pool; behind all of them when it cannot serve. */
function poolIndex({ kind }: Standing): number {
  switch (kind) {
    case "included":
    case "unknown":
      return 0;
    case "credits":
      return 1;
    case "unconfirmed":
      return 2;
    case "blocked":
      return POOLS.length;
  }
}

/** The one of both that goes first. Makes an object only for a winner: this runs for every account. */
function better(
  other: Candidate | undefined,
  runner: Runner,
  standing: Standing,
  query: SelectQuery,
): Candidate {
  const preferred = runner.isPreferred(query.preferPlans);
  const place = rank(query.strategy, runner, query);
  if (other && !goesBefore(runner, preferred, place, other, query)) {
    return other;
  }
  return { runner, standing, preferred, rank: place };
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
  const pool = poolOf(chosen.assess(model, now).standing);
  return runners.filter((runner) =>
    runner === chosen ||
    !tried.has(runner.alias) &&
      poolOf(runner.assess(model, now).standing) === pool &&
      runner.isPreferred(preferPlans) === chosen.isPreferred(preferPlans)
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
      candidates.push(better(undefined, runner, standing, query));
    }
  }
  const isFirst = (a: Candidate, b: Candidate) =>
    goesBefore(a.runner, a.preferred, a.rank, b, query);
  return candidates.sort((a, b) => isFirst(a, b) ? -1 : 1)
    .map((candidate) => candidate.runner);
}
