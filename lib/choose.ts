/**
 * Whom a request goes to: the pools in their order, asking before sending.
 *
 * @module
 */
import type { CheckResult } from "./account/usage_check.ts";
import { explain } from "./debug.ts";
import type { Runner } from "./pool/roster.ts";
import { type Pool, select, type Selection } from "./pool/select.ts";
import type { Call } from "./request.ts";
import type { House } from "./runtime.ts";

/** What a request has been through so far. */
export interface Turn {
  /** Accounts tried for it. */
  readonly tried: Set<string>;
  /** Those of them that failed by a hiccup and may be tried again. */
  readonly retriable: Set<string>;
  /** Accounts whose token was renewed because the backend refused it. */
  readonly renewed: Set<string>;
  /** A hiccup in this pool keeps the request from any later one. */
  lastPool: Pool;
  /** What another account wrote was left out of the conversation. */
  cleaned: boolean;
  /** How many hiccups there were. */
  hiccups: number;
  /** The account of the last attempt, and why it was left. */
  left: { alias: string; reason: string } | undefined;
  /** The last answer of the backend that was no success, not yet read by anyone. */
  answer: Response | undefined;
  /** The last network failure, when nothing was answered since. */
  error: unknown;
}

/** A fresh start. */
export function newTurn(): Turn {
  return {
    tried: new Set(),
    retriable: new Set(),
    renewed: new Set(),
    lastPool: "unconfirmed",
    cleaned: false,
    hiccups: 0,
    left: undefined,
    answer: undefined,
    error: undefined,
  };
}

/** An account to send to now. */
export type Choice = NonNullable<Selection["choice"]>;

/** Asking again and again would not make it clearer. */
const MOST_ROUNDS = 4;

/** The pinned name, which alone may serve; null when all may. */
export function pinnedOf(house: House): string | null {
  const { pinned } = house.live.state.settings;
  return typeof pinned === "string" && pinned !== "" ? pinned : null;
}

/** The accounts that may serve at all. */
export function candidatesOf(house: House): readonly Runner[] {
  const pinned = pinnedOf(house);
  if (pinned === null) return house.roster.runners;
  const runner = house.roster.get(pinned);
  return runner ? [runner] : [];
}

/**
 * Chooses the account for the next attempt. Accounts whose facts are too old
 * are asked before anything is sent to them, and the exhausted ones before
 * anything is paid for.
 *
 * @returns Whom, or undefined when nobody can serve (now).
 */
export async function choose(
  house: House,
  call: Call,
  turn: Turn,
): Promise<Choice | undefined> {
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const { choice, held } = selectNow(house, call, turn, false);
    if (choice?.pool === "first") {
      if (choice.standing.kind === "included") {
        return chosen(house, call, choice);
      }
      const known = await askUnknown(house, call, turn, choice);
      if (known) return chosen(house, call, known);
      continue;
    }
    const asked = await askLimited(house, call, turn);
    if (asked) continue;
    return held ? undefined : chosen(house, call, choice);
  }
  return undefined;
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
function stickyOf(
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
): Promise<Choice | undefined> {
  const aliases = askable(
    house,
    call,
    (runner, kind) => kind === "unknown" && !turn.tried.has(runner.alias),
  );
  if (aliases.length > 0) {
    const { alias } = choice.runner;
    const isSticky = alias === stickyOf(house, call, house.now());
    await house.usage.ask(aliases, {
      signal: call.signal,
      isEnough: (result) =>
        isIncluded(house, call, result) &&
        (!isSticky || result.alias === alias),
    });
  }
  const known = selectNow(house, call, turn, true).choice;
  return known?.pool === "first" ? known : undefined;
}

/**
 * Asks the exhausted accounts, so that an early reset or a newly credited
 * account counts in this same request.
 *
 * @returns Whether anyone was asked.
 */
async function askLimited(
  house: House,
  call: Call,
  turn: Turn,
): Promise<boolean> {
  const aliases = askable(house, call, (runner, kind) => {
    if (turn.tried.has(runner.alias)) return false;
    if (kind === "credits" || kind === "unconfirmed") return true;
    const { standing, held } = runner.assess(call.model, house.now());
    if (held === "unknown") return !isTokenTrouble(runner, house.now());
    return standing.kind === "blocked" &&
      (standing.reason === "exhausted" || standing.reason === "unknown");
  });
  if (aliases.length === 0) return false;
  await house.usage.ask(aliases, {
    signal: call.signal,
    isEnough: (result) => isIncluded(house, call, result),
  });
  return true;
}

/** Without a token there is nothing to ask with. */
function isTokenTrouble(runner: Runner, now: number): boolean {
  return (runner.account.cooldowns?.["token"]?.until ?? 0) > now;
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

function chosen(
  house: House,
  call: Call,
  choice: Choice | undefined,
): Choice | undefined {
  if (house.debug()) explain(house, call.model, choice?.runner.alias);
  return choice;
}
