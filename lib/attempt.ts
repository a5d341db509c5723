/**
 * One request sent on one account.
 *
 * @module
 */
import { withAbort } from "./account/abort.ts";
import type { Attempt } from "./account/learn.ts";
import { candidatesOf, pinnedOf } from "./candidates.ts";
import { type Choice, stickyOf, type Turn } from "./choose.ts";
import { exchange } from "./exchange.ts";
import { poolOf } from "./pool/pools.ts";
import { rivalsOf } from "./pool/select.ts";
import { settleWeights } from "./pool/strategy.ts";
import { reasonOf } from "./report.ts";
import type { Call } from "./request.ts";
import type { House } from "./runtime.ts";
import { leave, settle } from "./settle.ts";

/** A request that has its answer. */
export interface Served {
  response: Response;
  /** Whose answer it is; undefined when it is the rotator's own. */
  alias: string | undefined;
}

/**
 * Sends a request on the chosen account.
 *
 * @returns What the caller gets; undefined when the next account is to be tried.
 */
export async function attempt(
  house: House,
  call: Call,
  turn: Turn,
  choice: Choice,
): Promise<Served | undefined> {
  const { runner, pool } = choice;
  let rejected: string | undefined;
  for (let isFirst = true;; isFirst = false) {
    const ready = rejected === undefined
      ? house.tokens.current(runner.account)
      : undefined;
    const access = ready ??
      await renewed(house, call, turn, choice, rejected);
    if (access === undefined) {
      return undefined;
    }
    announce(house, choice);
    if (isFirst) tellSwitch(house, call, turn, choice);
    const beganAt = house.now();
    if (isFirst && house.strategy() === "weighted") {
      settlePick(house, call, turn, choice, beganAt);
    }
    // counted when it is sent, so that requests side by side spread out
    house.roster.use(runner, beganAt);
    house.live.touch(runner.alias, 1);
    const balanceBefore = runner.account.credits?.balance ?? null;
    const { model } = call;
    const sent: Attempt = {
      runner,
      pool,
      model,
      access,
      beganAt,
      balanceBefore,
      balanceAfter: null,
    };
    const answer = await exchange(house, call, sent);
    const settled = settle(house, call, turn, sent, answer);
    const next = settled instanceof Promise ? await settled : settled;
    if (next === undefined) return undefined;
    if (typeof next !== "string") {
      return { response: next, alias: runner.alias };
    }
    rejected = next === "renew" ? access : undefined;
  }
}

/** A session that stays where it is takes nobody's turn. */
function settlePick(
  house: House,
  call: Call,
  turn: Turn,
  { runner }: Choice,
  now: number,
): void {
  if (runner.alias === stickyOf(house, call, now)) return;
  const { model } = call;
  const { preferPlans } = house;
  const query = { model, now, preferPlans, tried: turn.tried };
  settleWeights(rivalsOf(candidatesOf(house), runner, query), runner);
}

/** A token that had to be waited for; what was true when the account was chosen may not be any more. */
async function renewed(
  house: House,
  call: Call,
  turn: Turn,
  choice: Choice,
  rejected?: string,
): Promise<string | undefined> {
  const { runner, pool } = choice;
  const access = await withAbort(
    house.tokens.access(runner.alias, rejected),
    call.signal,
  );
  if (access.kind !== "ok") {
    return leave(turn, runner.alias, access.reason);
  }
  const { standing } = runner.assess(call.model, house.now());
  return poolOf(standing) === pool && standing.kind !== "unknown"
    ? access.access
    : undefined;
}

const REASONS: Record<Choice["pool"], string> = {
  first: "It has included usage left",
  credits: "Nobody has included usage left, and it may spend its credits",
  unconfirmed:
    "Nobody is known to have included usage left, and it could not be asked",
};

function announce(house: House, { runner: { alias }, pool }: Choice): void {
  const standing = pool === "first" ? "included" : pool;
  house.emit({ type: "selected", alias, standing, reason: REASONS[pool] });
  if (pool === "unconfirmed") {
    const reason =
      "This request may be charged: its account could not be asked";
    house.emit({ type: "warning", alias, reason });
  }
}

/** Tells that another account takes over, from the one before or from the session's. */
function tellSwitch(
  house: House,
  call: Call,
  turn: Turn,
  { runner: { alias } }: Choice,
): void {
  const from = turn.left?.alias ?? stickyOf(house, call, house.now());
  if (from === undefined || from === alias) return;
  const reason = turn.left?.reason ?? whyLeft(house, call, from);
  house.emit({ type: "switched", alias, from, reason });
}

/** Why the session's account was not chosen again, in the words of `status`. */
function whyLeft(house: House, call: Call, alias: string): string {
  const runner = house.roster.get(alias);
  if (!runner) return "The session's account is gone";
  if (pinnedOf(house) !== null) return "Another account is pinned";
  const why = reasonOf(runner.assess(call.model, house.now()).standing);
  return `The session's account cannot serve it${why ? ` (${why})` : ""}`;
}
