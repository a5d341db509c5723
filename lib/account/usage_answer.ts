/**
 * What a usage call came to, and what an account's record makes of it.
 *
 * @module
 */
import { readAnswer } from "../codex/answer.ts";
import { readUsage, type UsageAnswer } from "../codex/usage.ts";
import { clearUsageLimits } from "../pool/cooldowns.ts";
import { isOlderThanAnswer, mergeCredits, mergeUsage } from "../pool/facts.ts";
import { CHECK_INTERVAL_MS } from "../pool/standing.ts";
import type { AccountRecord } from "../types.ts";

/** A usage call as it was made. */
interface About {
  /** Epoch ms. */
  askedAt: number;
  /** The account's limits when it was asked. */
  limits: number;
}

/** It was answered. */
export interface Answered extends About {
  answer: UsageAnswer;
}

/** It failed. */
export interface Failure extends About {
  error: string;
  tokenRejected?: boolean;
  /** Epoch ms. */
  workspaceUntil?: number;
}

/** What came of it. */
export type Asked = Answered | Failure;

/** Reads an answer of status 200. */
export function readOk(text: string, about: About): Asked {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { ...about, error: "the usage answer is not JSON" };
  }
  const answer = readUsage(json, about.askedAt);
  return answer
    ? { ...about, answer }
    : { ...about, error: "the usage answer holds no usage" };
}

/** Reads an answer of any other status. */
export function readFailure(
  called: { response: Response; text: string },
  about: About,
  now: number,
): Failure {
  const { status, headers } = called.response;
  const bodyText = called.text;
  const error = `the usage endpoint answered ${status}`;
  // a 403 teaches nothing here: it is as likely to be about the endpoint
  if (status === 401) return { ...about, error, tokenRejected: true };
  const outcome = readAnswer({ status, headers, bodyText, now, model: "" });
  if (outcome.kind === "workspace") {
    return { ...about, error: outcome.detail, workspaceUntil: outcome.until };
  }
  return { ...about, error };
}

/** Notes that an account was asked, unless it was asked again since. */
export function noteCheck(
  account: AccountRecord,
  check: NonNullable<AccountRecord["usageCheck"]>,
  now: number,
): void {
  const last = account.usageCheck?.askedAt ?? -Infinity;
  // a time that another clock wrote into the future is replaced
  if (last > check.askedAt && last <= now + CHECK_INTERVAL_MS) return;
  account.usageCheck = check;
}

/**
 * A usage answer replaces what was known of an account.
 *
 * @param account Changed in place.
 * @param clearsUntil It ends limits that were set until then, epoch ms.
 * @param now Epoch ms.
 */
export function takeAnswer(
  account: AccountRecord,
  { answer, askedAt }: Answered,
  clearsUntil: number,
  now: number,
): void {
  // one that was asked for later has told the plan already
  const isLatest = !isOlderThanAnswer(account, answer.usage.observedAt, now);
  if (answer.plan !== null && isLatest) account.plan = answer.plan;
  account.usage = mergeUsage(account.usage, answer.usage, now);
  learnCredits(account, answer, now);
  clearUsageLimits(account, answer.usage, clearsUntil, now);
  noteCheck(account, { askedAt }, now);
}

/** Credits that the answer does not mention keep their amounts, but not their bounds. */
function learnCredits(
  account: AccountRecord,
  answer: UsageAnswer,
  now: number,
): void {
  if (answer.credits) {
    account.credits = mergeCredits(account.credits, answer.credits, now);
  } else if (account.credits) {
    const bounded = {
      ...account.credits,
      ...answer.creditLimits,
      limitsObservedAt: answer.usage.observedAt,
    };
    account.credits = mergeCredits(account.credits, bounded, now);
  }
}
