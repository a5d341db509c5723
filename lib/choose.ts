/**
 * Chooses the account for the next attempt: the pools in their order, and
 * asking before sending.
 */
import process from "node:process";
import type { CheckResult } from "./account/usage_check.ts";
import { oneLine } from "./codex/error_report.ts";
import type { RotatorContext } from "./context.ts";
import type { PooledAccount } from "./pool/account_pool.ts";
import { ClockReading } from "./pool/clock.ts";
import { cooldownOf, DEACTIVATED_WORKSPACE } from "./pool/cooldowns.ts";
import { runningUntil } from "./pool/limits.ts";
import {
  rivalsOf,
  select,
  type Selection,
  type SelectQuery,
} from "./pool/select.ts";
import { settleWeights } from "./pool/strategy.ts";
import { hasUsableCredits, reasonOf, untilOf } from "./pool/standing.ts";
import type { ReplayableRequest } from "./request.ts";
import type { Tries } from "./tries.ts";
import { iso } from "./values.ts";

/** More rounds of asking would not make it clearer. */
const MAX_ROUNDS = 6;

/** What choosing looks at of a request, and of what was tried for it. */
type ChoiceQuery =
  & Pick<
    ReplayableRequest,
    "model" | "session" | "signal" | "isFree" | "includedOnly"
  >
  & Pick<Tries, "tried" | "retriable">;

type Selected = NonNullable<Selection["choice"]>;

/** An account to send to now. Its use is counted already. */
export interface Choice extends Selected {
  /** The account that served the session last. */
  last: string | undefined;
  /** Takes the use back: nothing was sent. */
  release(): void;
  /** It was sent to just now; `rejected`: with a token that the backend refused. */
  again?: { rejected: string | undefined };
}

/**
 * Chooses an account, and counts its use at once, so that concurrent requests
 * spread. Accounts whose facts are too old are asked before anything is sent
 * to them, and the exhausted ones before anything is paid for.
 *
 * @returns undefined when no account can serve now.
 */
export async function choose(
  context: RotatorContext,
  query: ChoiceQuery,
): Promise<Choice | undefined> {
  const choice = await find(context, query);
  if (context.debug()) {
    const about = { model: query.model, now: context.now() };
    explain(context.accounts.all, choice?.account.alias, about);
  }
  return choice;
}

async function find(
  context: RotatorContext,
  query: ChoiceQuery,
): Promise<Choice | undefined> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const { choice, isHeld } = select(
      context.accounts.candidates,
      selectQuery(context, query),
    );
    if (choice?.standing.kind === "included" || (choice && query.isFree)) {
      return use(context, query, choice);
    }
    if (choice?.pool === "first") {
      const known = await askUnknown(context, query, choice);
      if (known) return known;
      continue;
    }
    const limited = askable(
      context,
      query,
      (account) => mayBeBetter(account, query.model, context.now()),
    );
    if (limited.length === 0) {
      return choice && !isHeld ? use(context, query, choice) : undefined;
    }
    await context.usage.ask(
      limited,
      query.signal,
      ({ alias }) => isIncluded(context, query, alias),
    );
  }
  return undefined;
}

function selectQuery(context: RotatorContext, query: ChoiceQuery): SelectQuery {
  const now = context.now();
  const { sessions } = context;
  const isSession = context.affinity && query.session !== undefined;
  return {
    ...query,
    now,
    sessionsOn: isSession ? (alias) => sessions.countOf(alias, now) : undefined,
    random: context.random,
    strategy: context.strategy(),
    preferPlans: context.preferPlans,
    sticky: lastAccountOf(context, query),
  };
}

/** Counts the use of an account; a session that stays takes nobody's turn by weight. */
function use(
  context: RotatorContext,
  query: ChoiceQuery,
  choice: Selected,
): Choice {
  const { account } = choice;
  const last = lastAccountOf(context, query);
  if (context.strategy() === "weighted" && account.alias !== last) {
    const asked = selectQuery(context, query);
    settleWeights(
      rivalsOf(context.accounts.candidates, account, asked),
      account,
    );
  }
  return { ...choice, last, release: countUse(context, account) };
}

/** Counts a use at once, so that concurrent requests spread; returns what takes it back. */
function countUse(
  { accounts, cache, now }: RotatorContext,
  account: PooledAccount,
): () => void {
  const release = accounts.use(account, now());
  cache.markDirty(account.alias, 1);
  return () => {
    release();
    cache.markDirty(account.alias, -1);
  };
}

/** Chooses the same account once more; `rejected` is a token that the backend has just refused. */
export function chooseAgain(
  context: RotatorContext,
  choice: Choice,
  rejected?: string,
): Choice {
  const release = countUse(context, choice.account);
  return { ...choice, release, again: { rejected } };
}

function lastAccountOf(
  { affinity, sessions, now }: RotatorContext,
  { session }: Pick<ChoiceQuery, "session">,
): string | undefined {
  if (!affinity || session === undefined) return undefined;
  return sessions.get(session, now())?.alias;
}

/**
 * Asks the unknown accounts together. Concurrent requests each take an account
 * as if all were open and wait for its answer, so that they do not overfill
 * the one that answers first; a request alone goes on with the first that is
 * included, and a session not before its own account has answered.
 *
 * @returns An account that turned out to be included: the chosen one, else the best.
 */
async function askUnknown(
  context: RotatorContext,
  query: ChoiceQuery,
  unknown: Selected,
): Promise<Choice | undefined> {
  const aliases = askable(
    context,
    query,
    (account) => kindOf(account, query.model, context.now()) === "unknown",
  );
  const choice = use(context, query, unknown);
  const { alias } = choice.account;
  let hasAnswered = false;
  const isEnough = (result: CheckResult) => {
    hasAnswered ||= result.alias === alias;
    const needsOwn = alias === choice.last || context.waiting > 1;
    if (hasAnswered && isIncluded(context, query, alias)) return true;
    if (needsOwn && !hasAnswered) return false;
    return aliases.some((other) => isIncluded(context, query, other));
  };
  context.waiting++;
  try {
    await context.usage.ask(aliases, query.signal, isEnough);
  } catch (error) {
    choice.release();
    throw error;
  } finally {
    context.waiting--;
  }
  const { standing } = choice.account.assess(query.model, context.now());
  const isSame = context.accounts.get(alias) === choice.account;
  if (standing.kind === "included" && isSame) return { ...choice, standing };
  choice.release();
  // those that have not answered yet hold nobody up who can be served
  const answered = context.accounts.candidates.filter((account) =>
    kindOf(account, query.model, context.now()) !== "unknown"
  );
  const { choice: other } = select(answered, selectQuery(context, query));
  return other?.standing.kind === "included"
    ? use(context, query, other)
    : undefined;
}

function askable(
  context: RotatorContext,
  { tried }: ChoiceQuery,
  isMeant: (account: PooledAccount) => boolean,
): string[] {
  return context.accounts.candidates.filter((account) =>
    !tried.has(account.alias) && isMeant(account) &&
    context.usage.mayAsk(account)
  ).map(({ alias }) => alias);
}

/** Whether an early reset or new credits could let an account serve that cannot now. */
function mayBeBetter(
  account: PooledAccount,
  model: string | undefined,
  now: number,
): boolean {
  const { standing, quota, isBlockedTransiently } = account.assess(model, now);
  if (standing.kind !== "blocked") return true;
  switch (standing.reason) {
    case "exhausted":
    case "capped":
    case "unknown":
      return true;
    case "cooldown":
      // without a token there is nothing to ask with
      return isBlockedTransiently && quota.kind === "unknown" &&
        runningUntil(account.record, "token", new ClockReading(now)) ===
          undefined;
    case "workspace":
      return cooldownOf(account.record, "workspace")?.code ===
        DEACTIVATED_WORKSPACE;
    default:
      return false;
  }
}

function isIncluded(
  context: RotatorContext,
  { model }: ChoiceQuery,
  alias: string,
): boolean {
  const account = context.accounts.get(alias);
  return account !== undefined &&
    kindOf(account, model, context.now()) === "included";
}

function kindOf(
  account: PooledAccount,
  model: string | undefined,
  now: number,
) {
  return account.assess(model, now).standing.kind;
}

/** Explains a selection on stderr, a line per account; names, verdicts and times only, no secrets. */
function explain(
  accounts: readonly PooledAccount[],
  chosen: string | undefined,
  { model, now }: { model: string | undefined; now: number },
): void {
  for (const account of accounts) {
    const { standing } = account.assess(model, now);
    const usable = hasUsableCredits(account.record, new ClockReading(now));
    const fields = [
      // a store written by hand may hold any name
      `alias=${oneLine(account.alias)}`,
      `standing=${standing.kind}`,
      `reason=${reasonOf(standing) ?? "-"}`,
      `until=${iso(untilOf(standing)) ?? "-"}`,
      `may-spend=${account.creditsAllowed ? "yes" : "no"}`,
      `credits-usable=${usable ? "yes" : "no"}`,
      `chosen=${account.alias === chosen ? "yes" : "no"}`,
    ];
    process.stderr.write(`codex-rotator: ${fields.join(" ")}\n`);
  }
}
