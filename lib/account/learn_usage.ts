/** What a usage request teaches: its answer, or the cooldown that follows. */
import type { UsageAnswer } from "../codex/usage.ts";
import type { PooledAccount } from "../pool/account_pool.ts";
import { clearCooldowns, setCooldown } from "../pool/cooldowns.ts";
import { isOlderThanAnswer, learnUsage, mergeCredits } from "../pool/facts.ts";
import { observeBalance } from "../pool/spending.ts";
import { CHECK_INTERVAL_MS } from "../pool/standing.ts";
import type { UsageCheck } from "../types.ts";
import type { NormalRecord } from "../normal_types.ts";
import type { AccountContext } from "./context.ts";
import { tellTopUp } from "./learn.ts";

/** The pause after a token was refused although it was renewed (ms). */
export const TOKEN_REFUSED_MS = 5 * 60_000;

export interface UsageQuestion {
  /** Epoch ms. */
  askedAt: number;
  /** The account when it was asked, and its limits. */
  account: PooledAccount;
  limits: number;
}

export type AskedUsage =
  & UsageQuestion
  & ({ answer: UsageAnswer; error: null; cooldown?: undefined } | {
    error: string;
    cooldown?: { cause: "token" | "workspace"; until: number; code?: string };
  });

/** Learns what a usage request brought: its answer, or the cooldown that follows. */
export async function learnAsked(
  context: AccountContext,
  asked: AskedUsage,
  isExplicit: boolean,
): Promise<void> {
  const { cache, now, emit, accounts } = context;
  const { askedAt, account } = asked;
  const { alias } = account;
  if (accounts.get(alias) !== account) return;
  const at = now();
  if ("answer" in asked) {
    // a limit that came in while this was under way is newer than the answer
    const isOvertaken = account.limits !== asked.limits;
    let topUp: string | null = null;
    await cache.writeRecord(account, (stored) => {
      const { answer } = asked;
      const balance = answer.credits?.balance ?? null;
      const told = { balance, observedAt: askedAt, seenAt: at, isAsked: true };
      const change = observeBalance(stored, told, at);
      topUp = change.topUp;
      applyUsageAnswer(
        stored,
        change.isOldNews ? withBalance(answer, stored) : answer,
        at,
      );
      clearCooldowns(stored, asked.answer.usage, {
        askedAt: isOvertaken ? askedAt - 1 : askedAt,
        now: at,
        isExplicit,
      });
      noteCheck(stored, { askedAt }, at);
    });
    tellTopUp(context, alias, topUp);
    const reason = "The usage was asked for";
    return emit({ type: "usage-refreshed", alias, reason });
  }
  const { error, cooldown } = asked;
  const isFailure = cooldown?.cause !== "token";
  const check = isFailure ? { askedAt, failedAt: at, error } : { askedAt };
  await cache.writeRecord(account, (stored) => {
    noteCheck(stored, check, at);
    if (!cooldown) return;
    const { cause, ...entry } = cooldown;
    setCooldown(stored, cause, { ...entry, setAt: at, detail: error });
  });
  if (!cooldown) return;
  const { cause, until } = cooldown;
  emit({ type: "cooldown", alias, cause, until, reason: error });
}

/** A usage answer with the balance that is known since. */
function withBalance(
  answer: UsageAnswer,
  { spending }: NormalRecord,
): UsageAnswer {
  const { credits } = answer;
  const balance = spending?.balance;
  return credits && balance !== undefined
    ? { ...answer, credits: { ...credits, balance } }
    : answer;
}

/** A usage answer replaces what was known of an account, unless that is newer. */
function applyUsageAnswer(
  record: NormalRecord,
  { plan, usage, credits: told, creditLimits }: UsageAnswer,
  now: number,
): void {
  const { observedAt } = usage;
  // one that was asked for later has told the plan already
  if (plan !== null && !isOlderThanAnswer(record, observedAt)) {
    record.plan = plan;
  }
  // credits that the answer does not mention keep their amounts, but not their bounds
  const credits = told ?? (record.credits && {
    ...record.credits,
    ...creditLimits,
    limitsObservedAt: observedAt,
  });
  if (credits) record.credits = mergeCredits(record.credits, credits, now);
  learnUsage(record, usage, now);
}

/** Notes that an account was asked, unless it was asked again since. */
function noteCheck(record: NormalRecord, check: UsageCheck, now: number): void {
  const last = record.usageCheck?.askedAt ?? -Infinity;
  // a time that another clock wrote into the future is replaced
  if (last > check.askedAt && last <= now + CHECK_INTERVAL_MS) return;
  record.usageCheck = check;
}
