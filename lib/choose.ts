/**
 * Chooses the account for the next attempt: the pools in their order, and
 * asking before sending.
 *
 * @module
 */
import { candidatesOf } from "./candidates.ts";
import { explain } from "./debug.ts";
import { ClockReading } from "./pool/clock.ts";
import type { PooledAccount } from "./pool/account_pool.ts";
import { rivalsOf, select, type Selection } from "./pool/select.ts";
import { settleWeights } from "./pool/strategy.ts";
import type { ReplayableRequest } from "./request.ts";
import type { RotatorContext } from "./context.ts";
import type { Tries } from "./retry.ts";

/** An account to send to now. */
export type Choice = NonNullable<Selection["choice"]>;

/** More rounds of asking would not make it clearer. */
const MAX_ROUNDS = 4;

/**
 * Chooses an account, and counts its use at once, so that requests side by
 * side spread out. Accounts whose facts are too old are asked before anything
 * is sent to them, and the exhausted ones before anything is paid for.
 *
 * @returns undefined when no account can serve now.
 */
export async function choose(
  context: RotatorContext,
  call: ReplayableRequest,
  tries: Tries,
): Promise<Choice | undefined> {
  const choice = await find(context, call, tries);
  if (context.debug()) explain(context, call.model, choice?.runner.alias);
  return choice;
}

async function find(
  context: RotatorContext,
  call: ReplayableRequest,
  tries: Tries,
): Promise<Choice | undefined> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const { choice, held } = pick(context, call, tries);
    if (choice?.standing.kind === "included") {
      return use(context, call, tries, choice);
    }
    if (choice?.pool === "first") {
      await askUnknown(context, call, tries, choice.runner.alias);
      const known = pick(context, call, tries, true).choice;
      if (known?.pool === "first") return use(context, call, tries, known);
      continue;
    }
    const limited = askable(
      context,
      tries,
      (runner) => isLimited(runner, call.model, context.now()),
    );
    if (limited.length === 0) {
      return choice && !held ? use(context, call, tries, choice) : undefined;
    }
    await context.usage.ask(limited, {
      signal: call.signal,
      isEnough: ({ alias }) => isIncluded(context, call, alias),
    });
  }
  return undefined;
}

function pick(
  context: RotatorContext,
  call: ReplayableRequest,
  tries: Tries,
  knownOnly = false,
): Selection {
  const { random, preferPlans } = context;
  const { tried, transient: retriable, lastPool } = tries;
  return select(candidatesOf(context), {
    model: call.model,
    now: context.now(),
    random,
    strategy: context.strategy(),
    preferPlans,
    tried,
    retriable,
    lastPool,
    knownOnly,
    sticky: lastAccountOf(context, call),
  });
}

/** Counts the use of an account; a session that stays takes nobody's turn by weight. */
function use(
  context: RotatorContext,
  call: ReplayableRequest,
  tries: Tries,
  choice: Choice,
): Choice {
  const { runner } = choice;
  const now = context.now();
  if (
    context.strategy() === "weighted" &&
    runner.alias !== lastAccountOf(context, call)
  ) {
    const { model } = call;
    const { preferPlans } = context;
    const query = { model, now, preferPlans, tried: tries.tried };
    settleWeights(rivalsOf(candidatesOf(context), runner, query), runner);
  }
  context.accounts.use(runner, now);
  context.cache.markDirty(runner.alias, 1);
  return choice;
}

/** The account that served this session last. */
export function lastAccountOf(
  { affinity, sessions, now }: RotatorContext,
  { session }: ReplayableRequest,
): string | undefined {
  if (!affinity || session === undefined) return undefined;
  return sessions.get(session, now())?.alias;
}

/**
 * Asks the unknown accounts together; goes on as soon as one is included, or,
 * for a session, as soon as its own account has answered.
 */
async function askUnknown(
  context: RotatorContext,
  call: ReplayableRequest,
  tries: Tries,
  chosen: string,
): Promise<void> {
  const aliases = askable(
    context,
    tries,
    (runner) => kindOf(runner, call.model, context.now()) === "unknown",
  );
  const isSticky = chosen === lastAccountOf(context, call);
  await context.usage.ask(aliases, {
    signal: call.signal,
    isEnough: ({ alias }) =>
      isIncluded(context, call, alias) && (!isSticky || alias === chosen),
  });
}

function askable(
  context: RotatorContext,
  { tried }: Tries,
  isMeant: (runner: PooledAccount) => boolean,
): string[] {
  return candidatesOf(context).filter((runner) =>
    !tried.has(runner.alias) && isMeant(runner) &&
    context.usage.mayAsk(runner.alias, runner.record)
  ).map(({ alias }) => alias);
}

/** Whether an early reset or new credits could let an account serve that cannot now. */
function isLimited(
  runner: PooledAccount,
  model: string | undefined,
  now: number,
): boolean {
  const { standing, blockedTransiently: held } = runner.assess(model, now);
  if (standing.kind === "credits" || standing.kind === "unconfirmed") {
    return true;
  }
  if (held === "unknown") {
    // without a token there is nothing to ask with
    const pause = runner.record.cooldowns?.["token"];
    return !(pause && new ClockReading(now).isRunning(pause.until));
  }
  return standing.kind === "blocked" &&
    (standing.reason === "exhausted" || standing.reason === "unknown");
}

function isIncluded(
  context: RotatorContext,
  { model }: ReplayableRequest,
  alias: string,
): boolean {
  const runner = context.accounts.get(alias);
  return runner !== undefined &&
    kindOf(runner, model, context.now()) === "included";
}

function kindOf(runner: PooledAccount, model: string | undefined, now: number) {
  return runner.assess(model, now).standing.kind;
}
