import type { Outcome } from "../codex/answer.ts";
import type { HeaderFacts } from "../codex/headers.ts";
import type { UsageAnswer } from "../codex/usage.ts";
import { clearUsageLimits, setCooldown } from "../pool/cooldowns.ts";
import {
  creditsFromHeaders,
  isOlderThanAnswer,
  mergeCredits,
  mergeUsage,
} from "../pool/facts.ts";
import type { PooledAccount } from "../pool/account_pool.ts";
import type { Pool } from "../pool/pools.ts";
import { assess, CHECK_INTERVAL_MS } from "../pool/standing.ts";
import {
  MAIN_METER,
  meterOfModel,
  modelOfMeter,
  SPARK_METER,
} from "../meters.ts";
import type { AccountRecord } from "../types.ts";
import type { AccountContext } from "./context.ts";

/** The pause after a token was refused although it was renewed (ms). */
export const TOKEN_REFUSED_MS = 5 * 60_000;
/** Credits that a limit answer contradicts are not used for this long, ms. */
const CREDITS_REFUSED_MS = 5 * 60_000;
/** A model's name longer than this is not remembered, characters. */
const LONGEST_MODEL = 128;

/** One request as it was sent on one account. */
export interface Attempt {
  readonly runner: PooledAccount;
  /** The pool it was served from. */
  readonly pool: Pool;
  readonly model: string | undefined;
  /** The access token it was sent with. */
  readonly access: string;
  /** When it began, epoch ms. */
  readonly beganAt: number;
  /** The balance of its credits as known before. */
  readonly balanceBefore: string | null;
  /** The balance that its answer told; null while it told none. */
  balanceAfter: string | null;
}

/** A cooldown that an answer sets. */
interface Pause {
  cause: string;
  until: number;
  detail: string;
}

/**
 * Learns windows, credits and plan from what headers or stream events say, in
 * memory at once; in the store at once only when the verdict changed.
 *
 * @returns When that is written; undefined when nothing has to be written at once.
 */
export function learnFacts(
  context: AccountContext,
  attempt: Attempt,
  facts: Pick<HeaderFacts, "plan" | "usage" | "credits">,
): Promise<void> | undefined {
  const { runner, model } = attempt;
  const { cache: live, now } = context;
  const at = now();
  const before = runner.assess(model, at).standing.kind;
  const others = otherStandings(runner, model, facts, at);
  const { record: account, alias } = runner;
  const observedAt = facts.usage?.observedAt ?? facts.credits?.observedAt ??
    attempt.beganAt;
  if (facts.usage) {
    account.usage = mergeUsage(account.usage, facts.usage, at);
  }
  if (facts.credits) {
    account.credits = creditsFromHeaders(account.credits, facts.credits, at);
    attempt.balanceAfter = facts.credits.balance ?? attempt.balanceAfter;
  }
  if (facts.usage || facts.credits) live.markDirty(alias);
  runner.invalidate();
  if (
    facts.plan !== null && facts.plan !== account.plan &&
    !isOlderThanAnswer(account, observedAt, at)
  ) {
    const plan = facts.plan;
    return live.write((state) => {
      if (Object.hasOwn(state.accounts, alias)) {
        state.accounts[alias]!.plan = plan;
      }
    });
  }
  const isSame = runner.assess(model, at).standing.kind === before &&
    others?.() !== false;
  return isSame ? undefined : live.write();
}

/**
 * Watches how the account stands for models of the other meter, where facts
 * speak of that too.
 *
 * @returns Tells whether that is still the same; undefined: nothing was said of it.
 */
function otherStandings(
  runner: PooledAccount,
  model: string | undefined,
  { usage, credits }: Pick<HeaderFacts, "usage" | "credits">,
  now: number,
): (() => boolean) | undefined {
  const isSpark = meterOfModel(model) === SPARK_METER;
  const other = isSpark ? MAIN_METER : SPARK_METER;
  const isSaid = usage !== null && Object.hasOwn(usage.meters, other);
  if (!isSaid && !(isSpark && credits)) return undefined;
  const kind = () => {
    const { record: account, creditsAllowed } = runner;
    const query = { model: modelOfMeter(other), creditsAllowed, now };
    return assess(account, query).standing.kind;
  };
  const before = kind();
  return () => kind() === before;
}

/**
 * Learns what an answer says against its account: the cooldowns that follow.
 *
 * @returns Why the request moves on, for people.
 */
export async function learnOutcome(
  context: AccountContext,
  attempt: Attempt,
  outcome: Outcome,
): Promise<string> {
  const { cache: live, now, emit } = context;
  const { alias } = attempt.runner;
  const setAt = now();
  const pauses = pausesOf(attempt, outcome, setAt);
  if (pauses.length === 0) return outcome.kind;
  if (pauses.some((pause) => pause.cause.startsWith("usage-limit:"))) {
    attempt.runner.limits++;
  }
  const written = live.write((state) => {
    if (!Object.hasOwn(state.accounts, alias)) return;
    for (const { cause, until, detail } of pauses) {
      setCooldown(state.accounts[alias]!, cause, { until, setAt, detail });
    }
  });
  for (const { cause, until, detail } of pauses) {
    emit({ type: "cooldown", alias, cause, until, reason: detail });
  }
  await written;
  return pauses[0]!.detail;
}

function pausesOf(
  attempt: Attempt,
  outcome: Outcome,
  now: number,
): Pause[] {
  switch (outcome.kind) {
    case "workspace":
    case "plan":
    case "throttle":
      return [{
        cause: outcome.kind,
        until: outcome.until,
        detail: outcome.detail,
      }];
    case "model":
      return modelPause(attempt, outcome);
    case "usage-limit": {
      const { meter, until, detail } = outcome;
      const limit = { cause: `usage-limit:${meter}`, until, detail };
      if (attempt.pool === "first") return [limit];
      return [limit, creditsPause(detail, now)];
    }
    case "credits-refused": {
      const detail = `The backend refuses credits (${outcome.code})`;
      const refused = creditsPause(detail, now);
      if (attempt.pool === "credits") return [refused];
      const cause = `usage-limit:${meterOfModel(attempt.model)}`;
      return [refused, { cause, until: outcome.until, detail }];
    }
    case "ok":
    case "token-rejected":
    case "encrypted-content":
    case "hiccup":
    case "other":
      return [];
  }
}

function creditsPause(detail: string, now: number): Pause {
  return { cause: "credits", until: now + CREDITS_REFUSED_MS, detail };
}

function modelPause(
  attempt: Attempt,
  outcome: Outcome & { kind: "model" },
): Pause[] {
  const { model } = attempt;
  if (model === undefined || model.length > LONGEST_MODEL) return [];
  const { until, detail } = outcome;
  return [{ cause: `model:${model}`, until, detail }];
}

/** A usage request as it was made. */
export interface UsageQuestion {
  /** Epoch ms. */
  askedAt: number;
  /** The account's limits when it was asked. */
  limits: number;
}

/** A usage request and its answer, or why it failed. */
export type AskedUsage =
  & UsageQuestion
  & ({ answer: UsageAnswer } | {
    error: string;
    tokenRejected?: boolean;
    /** Epoch ms. */
    workspaceUntil?: number;
  });

/** Learns what a usage request brought: its answer, or the cooldown that follows. */
export async function learnUsage(
  { cache, now, emit, accounts }: AccountContext,
  alias: string,
  asked: AskedUsage,
): Promise<void> {
  const at = now();
  const { askedAt } = asked;
  if ("answer" in asked) {
    // a limit that came in while this was under way is newer than the answer
    const limitedSince = accounts.get(alias)?.limits !== asked.limits;
    const clearsUntil = limitedSince ? askedAt - 1 : askedAt;
    await cache.write((state) => {
      if (!Object.hasOwn(state.accounts, alias)) return;
      const account = state.accounts[alias]!;
      applyUsageAnswer(account, asked.answer, at);
      clearUsageLimits(account, asked.answer.usage, clearsUntil, at);
      noteCheck(account, { askedAt }, at);
    });
    const reason = "The usage was asked for";
    return emit({ type: "usage-refreshed", alias, reason });
  }
  const { error, tokenRejected, workspaceUntil } = asked;
  const cause = tokenRejected ? "token" : "workspace";
  const until = tokenRejected ? at + TOKEN_REFUSED_MS : workspaceUntil;
  const check = tokenRejected ? { askedAt } : { askedAt, failedAt: at, error };
  await cache.write((state) => {
    if (!Object.hasOwn(state.accounts, alias)) return;
    const account = state.accounts[alias]!;
    noteCheck(account, check, at);
    if (until === undefined) return;
    setCooldown(account, cause, { until, setAt: at, detail: error });
  });
  if (until === undefined) return;
  emit({ type: "cooldown", alias, cause, until, reason: error });
}

/** A usage answer replaces what was known of an account, unless that is newer. */
function applyUsageAnswer(
  account: AccountRecord,
  answer: UsageAnswer,
  now: number,
): void {
  const { observedAt } = answer.usage;
  // one that was asked for later has told the plan already
  const isLatest = !isOlderThanAnswer(account, observedAt, now);
  if (answer.plan !== null && isLatest) account.plan = answer.plan;
  account.usage = mergeUsage(account.usage, answer.usage, now);
  // credits that the answer does not mention keep their amounts, but not their bounds
  const credits = answer.credits ?? (account.credits && {
    ...account.credits,
    ...answer.creditLimits,
    limitsObservedAt: observedAt,
  });
  if (credits) account.credits = mergeCredits(account.credits, credits, now);
}

/** Notes that an account was asked, unless it was asked again since. */
function noteCheck(
  account: AccountRecord,
  check: NonNullable<AccountRecord["usageCheck"]>,
  now: number,
): void {
  const last = account.usageCheck?.askedAt ?? -Infinity;
  // a time that another clock wrote into the future is replaced
  if (last > check.askedAt && last <= now + CHECK_INTERVAL_MS) return;
  account.usageCheck = check;
}
