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

interface Candidate {
  runner: Runner;
  standing: Standing;
  preferred: boolean;
  rank: number;
}

/** The pool of a standing; undefined when it cannot serve. */
export function poolOf(standing: Standing): Pool | undefined {
  switch (standing.kind) {
    case "included":
    case "unknown":
      return "first";
    case "credits":
      return "credits";
    case "unconfirmed":
      return "unconfirmed";
    case "blocked":
      return undefined;
  }
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
  const fresh: (Candidate | undefined)[] = [];
  const again: (Candidate | undefined)[] = [];
  const last = POOLS.indexOf(query.lastPool);
  let held = false;
  for (const runner of runners) {
    const { standing, held: isHeld } = runner.assess(query.model, query.now);
    if (isHeld !== null) held = true;
    const pool = poolOf(standing);
    if (pool === undefined) continue;
    if (query.knownOnly && standing.kind === "unknown") continue;
    const tried = query.tried.has(runner.alias);
    if (tried && !query.retriable.has(runner.alias)) continue;
    const best = tried ? again : fresh;
    const index = POOLS.indexOf(pool);
    if (index > last) continue;
    const candidate = weigh(runner, standing, query);
    const other = best[index];
    if (other === undefined || goesBefore(candidate, other, query)) {
      best[index] = candidate;
    }
  }
  for (let index = 0; index <= last; index++) {
    const found = fresh[index] ?? again[index];
    if (!found) continue;
    const { runner, standing } = found;
    return { choice: { pool: POOLS[index]!, runner, standing }, held };
  }
  return { choice: undefined, held };
}

function weigh(
  runner: Runner,
  standing: Standing,
  query: SelectQuery,
): Candidate {
  const plan = runner.account.plan;
  return {
    runner,
    standing,
    preferred: plan !== undefined && query.preferPlans.has(plan),
    rank: rank(query.strategy, runner, query),
  };
}

function goesBefore(a: Candidate, b: Candidate, query: SelectQuery): boolean {
  if (query.sticky !== undefined) {
    if (a.runner.alias === query.sticky) return true;
    if (b.runner.alias === query.sticky) return false;
  }
  if (a.preferred !== b.preferred) return a.preferred;
  if (a.rank !== b.rank) return a.rank < b.rank;
  return byLastUse(a.runner, b.runner, query.now) < 0;
}

/** The accounts that a chosen one was chosen from by strategy alone, itself included. */
export function rivalsOf(
  runners: readonly Runner[],
  chosen: Runner,
  query: Pick<SelectQuery, "model" | "now" | "preferPlans" | "tried">,
): Runner[] {
  const { model, now, preferPlans, tried } = query;
  const isPreferred = ({ account: { plan } }: Runner) =>
    plan !== undefined && preferPlans.has(plan);
  const pool = poolOf(chosen.assess(model, now).standing);
  return runners.filter((runner) =>
    runner === chosen ||
    !tried.has(runner.alias) &&
      poolOf(runner.assess(model, now).standing) === pool &&
      isPreferred(runner) === isPreferred(chosen)
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
      candidates.push(weigh(runner, standing, query));
    }
  }
  return candidates.sort((a, b) => goesBefore(a, b, query) ? -1 : 1)
    .map((candidate) => candidate.runner);
}
