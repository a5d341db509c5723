/**
 * Whom a request goes to: the pools in their order, asking before sending.
 *
 * @module
 */
import type { CheckResult } from "./account/usage_check.ts";
import { candidatesOf } from "./candidates.ts";
import { explain } from "./debug.ts";
import { Moment } from "./pool/moment.ts";
import type { Runner } from "./pool/roster.ts";
import type { Pool } from "./pool/pools.ts";
import { select, type Selection } from "./pool/select.ts";
import type { Call } from "./request.ts";
import type { House } from "./runtime.ts";

/** What a request has been through so far. */
export interface Turn {
  /** Accounts tried for it. */
  tried: ReadonlySet<string>;
  /** Those of them that failed by a hiccup and may be tried again. */
  retriable: ReadonlySet<string>;
  /** Accounts whose token was renewed because the backend refused it. */
  renewed: ReadonlySet<string>;
  /** A hiccup in this pool keeps the request from any later one. */
  lastPool: Pool;
  /** What another account wrote was left out of the conversation. */
  cleaned: boolean;
  /** How many hiccups there were. */
  hiccups: number;
  /** The account of the last attempt, and why it was left. */
  left: { alias: string; reason: string } | undefined;
  /**
   * What came of the last attempt, where that was no success, and whose: an
   * answer that nobody has read yet, or the network's error.
   */
  last:
    | { alias: string; response: Response }
    | { alias: string; error: unknown }
    | undefined;
}

/** What nearly every request begins and ends with. */
const NONE: ReadonlySet<string> = new Set();

/** A fresh start. */
export function newTurn(): Turn {
  return {
    tried: NONE,
    retriable: NONE,
    renewed: NONE,
    lastPool: "unconfirmed",
    cleaned: false,
    hiccups: 0,
    left: undefined,
    last: undefined,
  };
}

/** An account to send to now. */
export type Choice = NonNullable<Selection["choice"]>;

/** Asking again and again would not make it clearer. */
const MOST_ROUNDS = 4;

/**
 * Chooses the account for the next attempt and sends on it. Accounts whose
 * facts are too old are asked before anything is sent to them, and the
 * exhausted ones before anything is paid for.
 *
 * @param send Called in the same breath as the choice is made: requests side by
 * side would otherwise all choose one account before any of them is counted.
 * @returns What came of it, or "nobody" when nobody can serve (now).
 */
export function choose<T>(
  house: House,
  call: Call,
  turn: Turn,
  send: (choice: Choice) => Promise<T>,
): Promise<T | "nobody"> {
  const chosen = selectNow(house, call, turn, false);
  // nearly always: nobody has to be asked
  return chosen.choice?.standing.kind === "included"
    ? sendOn(house, call, chosen.choice, send)
    : askAndChoose(house, call, turn, chosen, send);
}

async function askAndChoose<T>(
  house: House,
  call: Call,
  turn: Turn,
  first: Selection,
  send: (choice: Choice) => Promise<T>,
): Promise<T | "nobody"> {
  let { choice, held } = first;
  for (let round = 0; round < MOST_ROUNDS; round++) {
    if (round > 0) ({ choice, held } = selectNow(house, call, turn, false));
    if (choice?.standing.kind === "included") {
      return await sendOn(house, call, choice, send);
    }
    if (choice?.pool === "first") {
      await askUnknown(house, call, turn, choice);
      const known = selectNow(house, call, turn, true).choice;
      if (known?.pool !== "first") continue;
      return await sendOn(house, call, known, send);
    }
    const limited = askableLimited(house, call, turn);
    if (limited.length > 0) {
      await house.usage.ask(limited, {
        signal: call.signal,
        isEnough: (result) => isIncluded(house, call, result),
      });
      continue;
    }
    if (choice && !held) return await sendOn(house, call, choice, send);
    if (house.debug()) explain(house, call.model, undefined);
    return "nobody";
  }
  return "nobody";
}

function sendOn<T>(
  house: House,
  call: Call,
  choice: Choice,
  send: (choice: Choice) => Promise<T>,
): Promise<T> {
  if (house.debug()) explain(house, call.model, choice.runner.alias);
  return send(choice);
}

function selectNow(
  house: House,
  call: Call,
  turn: Turn,
  knownOnly: boolean,
): Selection {
  const now = house.now();
  return select(candidatesOf(house), {
    model: call.model,
    now,
    random: house.random,
    strategy: house.strategy(),
    preferPlans: house.preferPlans,
    tried: turn.tried,
    retriable: turn.retriable,
    lastPool: turn.lastPool,
    knownOnly,
    sticky: stickyOf(house, call, now),
  });
}

/** The account that served this session last. */
export function stickyOf(
  house: House,
  call: Call,
  now: number,
): string | undefined {
  if (!house.affinity || call.session === undefined) return undefined;
  return house.sessions.get(call.session, now)?.alias;
}

/**
 * Asks the unknown accounts together; goes on as soon as one is included,
 * or, for a session, as soon as its own account has answered.
 */
async function askUnknown(
  house: House,
  call: Call,
  turn: Turn,
  choice: Choice,
): Promise<void> {
  const aliases = askable(
    house,
    call,
    (runner, kind) => kind === "unknown" && !turn.tried.has(runner.alias),
  );
  const { alias } = choice.runner;
  const isSticky = alias === stickyOf(house, call, house.now());
  await house.usage.ask(aliases, {
    signal: call.signal,
    isEnough: (result) =>
      isIncluded(house, call, result) &&
      (!isSticky || result.alias === alias),
  });
}

/**
 * The exhausted accounts and their like: they are asked before money is spent,
 * so that an early reset or a newly credited account counts in this same request.
 */
function askableLimited(house: House, call: Call, turn: Turn): string[] {
  return askable(house, call, (runner, kind) => {
    if (turn.tried.has(runner.alias)) return false;
    if (kind === "credits" || kind === "unconfirmed") return true;
    const { standing, held } = runner.assess(call.model, house.now());
    if (held === "unknown") return !isTokenTrouble(runner, house.now());
    return standing.kind === "blocked" &&
      (standing.reason === "exhausted" || standing.reason === "unknown");
  });
}

/** Without a token there is nothing to ask with. */
function isTokenTrouble(runner: Runner, now: number): boolean {
  const pause = runner.account.cooldowns?.["token"];
  return pause !== undefined && new Moment(now).isRunning(pause.until);
}

function askable(
  house: House,
  call: Call,
  isMeant: (runner: Runner, kind: string) => boolean,
): string[] {
  const now = house.now();
  return candidatesOf(house).filter((runner) =>
    isMeant(runner, runner.assess(call.model, now).standing.kind) &&
    house.usage.mayAsk(runner.alias, runner.account)
  ).map((runner) => runner.alias);
}

function isIncluded(house: House, call: Call, result: CheckResult): boolean {
  const runner = house.roster.get(result.alias);
  if (!runner) return false;
  return runner.assess(call.model, house.now()).standing.kind === "included";
}
