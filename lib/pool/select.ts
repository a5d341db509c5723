import type { Standing } from "../report_types.ts";
import type { StrategyName } from "../types.ts";
import type { PooledAccount } from "./account_pool.ts";
import { type Pool, type PoolIndex, POOLS } from "./standing.ts";
import { byLastUse, rank, type RankContext } from "./strategy.ts";

/** What choosing asks for. */
export interface SelectQuery extends RankContext {
  strategy: StrategyName;
  /** Plans that go first inside a pool, all alike. */
  preferPlans: ReadonlySet<string>;
  /** Accounts already tried for this request. */
  tried: ReadonlySet<string>;
  /** Tried ones that failed transiently and may be tried again. */
  retriable: ReadonlySet<string>;
  /** The account that served this session last. */
  sticky: string | undefined;
  /** The request costs nothing, so quota does not matter. */
  isFree?: boolean;
  /** It must not be paid for. */
  includedOnly?: boolean;
}

/** Whom to send to, or that nobody can. */
export interface Selection {
  choice:
    | { pool: Pool; account: PooledAccount; standing: Standing }
    | undefined;
  /** A throttle or token trouble alone keeps an account of the first pool from serving. */
  isHeld: boolean;
}

/** One that may be chosen, with what orders a pool. */
interface Candidate {
  account: PooledAccount;
  index: PoolIndex;
  isFailing: boolean;
  priority: number;
  isBelowReserve: boolean;
  isPreferred: boolean;
  rank: number;
}

/**
 * Chooses among all accounts: the best pool that has anyone, and in it the
 * session's own account, else the first in the pool's order.
 *
 * @param accounts All accounts that may be considered; of equals the first one goes first.
 * @param query Model, time, strategy and what was tried.
 */
export function select(
  accounts: readonly PooledAccount[],
  query: SelectQuery,
): Selection {
  const { model, now, tried, retriable } = query;
  const last = lastIndex(accounts, query);
  const isTried = ({ alias }: PooledAccount) => tried.has(alias);
  let best = bestOf(
    tried.size === 0 ? accounts : accounts.filter((it) => !isTried(it)),
    query,
    last,
  );
  if (retriable.size > 0) {
    // a tried one is better than any of a later pool
    const again = accounts.filter(({ alias }) => retriable.has(alias));
    const other = bestOf(again, query, last);
    if (other && (!best || other.index < best.index)) best = other;
  }
  const isHeld = best?.index !== 0 && !query.isFree &&
    accounts.some((it) => it.assess(model, now).isBlockedTransiently);
  if (!best) return { choice: undefined, isHeld };
  const { account, index } = best;
  const { standing } = account.assess(model, now);
  return { choice: { pool: POOLS[index]!, account, standing }, isHeld };
}

/** The last pool that may serve: an account that failed transiently keeps the request in its own. */
function lastIndex(
  accounts: readonly PooledAccount[],
  { model, now, retriable, includedOnly }: SelectQuery,
): number {
  if (includedOnly) return 0;
  if (retriable.size === 0) return POOLS.length - 1;
  const held = accounts.filter(({ alias }) => retriable.has(alias))
    .map((account) => account.assess(model, now).quotaIndex);
  return Math.min(...held, POOLS.length - 1);
}

/** In one pass, and with little to do for each account: there may be a thousand. */
function bestOf(
  accounts: readonly PooledAccount[],
  query: SelectQuery,
  last: number,
): Candidate | undefined {
  let best: Candidate | undefined;
  for (const account of accounts) {
    const index = indexOf(account, query);
    // pools after the best one found so far need not be looked at
    if (index > (best?.index ?? last)) continue;
    const candidate = candidateOf(account, index, query);
    if (best?.index === index && !goesBefore(candidate, best, query)) continue;
    best = candidate;
  }
  return best;
}

function indexOf(
  account: PooledAccount,
  { model, now, isFree }: SelectQuery,
): PoolIndex {
  const { poolIndex, servesFree } = account.assess(model, now);
  if (!isFree) return poolIndex;
  return servesFree ? 0 : 4;
}

function candidateOf(
  account: PooledAccount,
  index: PoolIndex,
  query: SelectQuery,
): Candidate {
  const { record } = account;
  return {
    account,
    index,
    isFailing: account.isFailing(query.now),
    priority: record.priority ?? 0,
    isBelowReserve: isBelowReserve(account, query),
    isPreferred: record.plan !== undefined &&
      query.preferPlans.has(record.plan),
    rank: rank(query.strategy, account, query),
  };
}

/** Whether less of its fullest window is left than its owner wants to keep, percent. */
function isBelowReserve(
  account: PooledAccount,
  { model }: SelectQuery,
): boolean {
  const { reserve = 0 } = account.record;
  return reserve > 0 && 100 - account.fullestPercent(model) < reserve;
}

function goesBefore(a: Candidate, b: Candidate, query: SelectQuery): boolean {
  const { sticky, now } = query;
  if (sticky !== undefined) {
    const isStuck = ({ account, isFailing }: Candidate) =>
      account.alias === sticky && !isFailing;
    if (isStuck(a) || isStuck(b)) return isStuck(a);
  }
  return goesBeforeByRule(a, b) ??
    (a.rank !== b.rank
      ? a.rank < b.rank
      : byLastUse(a.account, b.account, now) < 0);
}

/** What orders a pool before the strategy does; undefined when both are alike. */
function goesBeforeByRule(a: Candidate, b: Candidate): boolean | undefined {
  if (a.isFailing !== b.isFailing) return b.isFailing;
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.isBelowReserve !== b.isBelowReserve) return b.isBelowReserve;
  if (a.isPreferred !== b.isPreferred) return a.isPreferred;
  return undefined;
}

/** The accounts that a chosen one was chosen from by strategy alone, itself included. */
export function rivalsOf(
  accounts: readonly PooledAccount[],
  chosen: PooledAccount,
  query: SelectQuery,
): PooledAccount[] {
  const own = candidateOf(chosen, indexOf(chosen, query), query);
  return accounts.filter((account) => {
    if (query.tried.has(account.alias)) return false;
    const index = indexOf(account, query);
    return index === own.index &&
      goesBeforeByRule(candidateOf(account, index, query), own) === undefined;
  });
}

/** All accounts of a pool in the order in which they would be tried. */
export function order(
  accounts: readonly PooledAccount[],
  pool: Pool,
  query: SelectQuery,
): PooledAccount[] {
  return accounts
    .map((account) => candidateOf(account, indexOf(account, query), query))
    .filter(({ index }) => POOLS[index] === pool)
    .sort((a, b) =>
      goesBefore(a, b, query) ? -1 : goesBefore(b, a, query) ? 1 : 0
    )
    .map(({ account }) => account);
}
