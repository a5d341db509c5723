/**
 * What was spent, measured by what the balance loses between observations in
 * order of time. Nothing is estimated: what cannot be told apart is shared, and
 * marked so.
 */
import {
  addAmounts,
  compareAmounts,
  shareAmount,
  subtractAmounts,
} from "../decimal.ts";
import type { AccountRecord } from "../types.ts";
import type { PaidRequest, SpendingFacts } from "../spending_types.ts";
import { dearestOf, rememberDearest } from "./dearest.ts";
import { dayOf, readDecimal } from "../values.ts";
import { withSpent } from "../spent.ts";

/** What usage told so long ago it may tell again out of a cache, ms. */
const CACHED_MS = 2 * 60_000;
/** Clocks of several machines may be so far apart, ms. */
const CLOCKS_APART_MS = 10_000;
/** A request is taken for over after this, ms. */
const MAX_PENDING_MS = 15 * 60_000;

export interface BalanceObservation {
  balance: string | null;
  /** When the request that told it began, epoch ms. */
  observedAt: number;
  /** When it arrived, epoch ms. */
  seenAt: number;
  /** It was asked for after the requests that ended before it began; a header tells of no later charge. */
  isAsked: boolean;
}

export interface BalanceChange {
  /** By how much the balance rose: a top-up; null when it did not. */
  topUp: string | null;
  /** What was booked that no paid request accounts for; null when there is none. */
  unexpected: string | null;
  /** It is what an earlier answer told, although a lower one is known since. */
  isOldNews?: boolean;
}

/** What an account has spent. */
export type Spender = Pick<AccountRecord, "spent" | "spending">;

function spendingOf(record: Spender): SpendingFacts {
  return record.spending ??= {
    observedAt: 0,
    seenAt: 0,
    paid: {},
    dearest: {},
  };
}

/** Notes that a request is sent which may cost credits. */
export function startPaid(
  record: Spender,
  id: string,
  startedAt: number,
): void {
  spendingOf(record).paid[id] = { startedAt };
}

/** Notes that its answer has ended. */
export function endPaid(
  record: Spender,
  id: string,
  { endedAt, tokens }: { endedAt: number; tokens: number | null },
): void {
  const request = record.spending?.paid[id];
  if (!request) return;
  request.endedAt = endedAt;
  if (tokens !== null) request.tokens = tokens;
}

/** Forgets a request that cost nothing. */
export function cancelPaid(record: Spender, id: string): void {
  delete record.spending?.paid[id];
}

/** Takes the cost of a request whose cost is known; undefined while it is not. */
export function takePaid(record: Spender, id: string): PaidRequest | undefined {
  const request = record.spending?.paid[id];
  if (!request?.isSettled) return undefined;
  delete record.spending!.paid[id];
  return request;
}

/** What is booked on a request whose cost nobody waits for any longer; undefined when nothing is. */
export function costSoFar(
  record: Spender,
  id: string,
): PaidRequest | undefined {
  const request = record.spending?.paid[id];
  return request?.credits === undefined
    ? undefined
    : { ...request, approximate: true };
}

/**
 * Books what a balance tells. Observations that overlap, as far as clocks tell,
 * are not compared when the later one is higher: it may have been read before a
 * charge that the earlier one shows.
 */
export function observeBalance(
  record: Spender,
  observation: BalanceObservation,
  now: number,
): BalanceChange {
  const spending = spendingOf(record);
  const { balance, observedAt, seenAt, isAsked } = observation;
  const change: BalanceChange = { topUp: null, unexpected: null };
  if (balance === null || readDecimal(balance) === undefined) {
    // what a known balance paid for is not over when it is told no more
    if (spending.balance === undefined) settle(record, observation, now);
    else endForgotten(record, now);
    return change;
  }
  const known = spending.balance;
  const isLate = observedAt < spending.observedAt;
  const order = known === undefined ? 0 : compareAmounts(balance, known);
  if (known !== undefined && !isLate && order < 0) {
    const amount = subtractAmounts(known, balance);
    const isShared = bookDecrease(record, amount, observation);
    if (!isShared) change.unexpected = amount;
  }
  if (known !== undefined && order > 0) {
    const until = spending.seenAt + (isAsked ? 0 : CLOCKS_APART_MS);
    if (isLate || observedAt <= until) return change;
    if (isOldNews(spending, observation)) {
      // what had ended before the known balance was told is in that, its own request is not
      settle(record, { observedAt: spending.observedAt - 1, isAsked }, now);
      return { ...change, isOldNews: true };
    }
    spending.toppedUpAt = now;
    delete spending.asked;
    change.topUp = subtractAmounts(balance, known);
    bookHidden(record, observation);
  }
  if (isLate) return change;
  Object.assign(spending, { balance, observedAt, seenAt });
  rememberAsked(spending, observation);
  settle(record, observation, now);
  return change;
}

/** Whether a usage answer tells again what one before it told: out of a cache, not after a top-up. */
function isOldNews(
  { asked = {} }: SpendingFacts,
  { balance, observedAt, isAsked }: BalanceObservation,
): boolean {
  const askedAt = asked[String(balance)];
  return isAsked && askedAt !== undefined && observedAt < askedAt + CACHED_MS;
}

function rememberAsked(
  spending: SpendingFacts,
  { balance, observedAt, isAsked }: BalanceObservation,
): void {
  if (!isAsked) return;
  const recent = Object.entries(spending.asked ?? {})
    .filter(([, askedAt]) => observedAt < askedAt + CACHED_MS);
  spending.asked = {
    ...Object.fromEntries(recent),
    [String(balance)]: observedAt,
  };
}

/** Requests that a decrease may have paid for. */
function running(
  { paid }: SpendingFacts,
  { seenAt }: BalanceObservation,
): PaidRequest[] {
  return Object.values(paid).filter((request) =>
    !request.isSettled && request.startedAt <= seenAt
  );
}

/** Books a decrease; returns whether there are paid requests, which it is shared among. */
function bookDecrease(
  record: Spender,
  amount: string,
  observation: BalanceObservation,
): boolean {
  book(record, amount, observation.observedAt);
  const requests = running(spendingOf(record), observation);
  const ended = requests.filter(({ endedAt }) => endedAt !== undefined);
  const paying = ended.length > 0 ? ended : requests;
  const isKnown = paying.every(({ tokens = 0 }) => tokens > 0);
  const shares = shareAmount(
    amount,
    paying.map(({ tokens = 0 }) => isKnown ? tokens : 1),
  );
  for (const [index, request] of paying.entries()) {
    request.credits = addAmounts(request.credits ?? "0", shares[index]!);
    if (requests.length > 1) request.approximate = true;
  }
  return paying.length > 0;
}

/**
 * A balance that rose hides what its requests cost: each is taken for the dearest seen,
 * also one that has had its share of a decrease, which another may have caused.
 */
function bookHidden(record: Spender, observation: BalanceObservation): void {
  for (const request of running(spendingOf(record), observation)) {
    const { observedAt } = observation;
    if (dearestSeen(record, observedAt) === "0") request.isHidden = true;
    else bookDearest(record, request, observedAt);
  }
}

/** Where none of the last day is known, an older one, or one that is not settled yet, is better than none. */
function dearestSeen(record: Spender, at: number): string {
  const known = dearestOf(record, at) ?? dearestOf(record, -Infinity);
  const open = Object.values(spendingOf(record).paid)
    .map(({ credits = "0" }) => credits);
  return [known ?? "0", ...open]
    .reduce((a, b) => compareAmounts(a, b) >= 0 ? a : b);
}

function bookDearest(record: Spender, request: PaidRequest, at: number): void {
  const amount = dearestSeen(record, at);
  const { credits = "0" } = request;
  request.credits = amount;
  request.approximate = true;
  // the dearest is no less than what it has already
  book(record, subtractAmounts(amount, credits), at);
}

/** Ends the requests whose cost is known now, and those that nobody will hear of any more. */
function settle(
  record: Spender,
  { observedAt, isAsked }: Pick<BalanceObservation, "observedAt" | "isAsked">,
  now: number,
): void {
  const spending = spendingOf(record);
  for (const [id, request] of Object.entries(spending.paid)) {
    if (request.isSettled) {
      // whoever was to take it is gone
      if (request.startedAt + 2 * MAX_PENDING_MS < now) {
        delete spending.paid[id];
      }
      continue;
    }
    // whoever sent it may have died: every charge until now is booked already
    const { endedAt = request.startedAt + MAX_PENDING_MS } = request;
    // of the next one more may be known
    if (request.isHidden && request.credits === undefined) continue;
    if (isAsked && endedAt <= observedAt) {
      request.isSettled = true;
      rememberDearest(spending, request.credits ?? "0", now);
    }
  }
  endForgotten(record, now);
}

/** Ends requests of which nothing was heard for 15 minutes, booked at the dearest seen. */
export function endForgotten(record: Spender, now: number): void {
  for (const request of Object.values(record.spending?.paid ?? {})) {
    if (request.isSettled || request.startedAt + MAX_PENDING_MS > now) continue;
    bookDearest(record, request, now);
    request.isSettled = true;
  }
}

function book(record: Spender, amount: string, at: number): void {
  record.spent = withSpent(record.spent, { [dayOf(at)]: amount }, at);
}

/**
 * What an account that is removed has spent, which counts on for all together:
 * of what still runs the dearest seen.
 */
export function spentAtLast(
  record: Spender,
  now: number,
): Record<string, string> {
  for (const request of Object.values(record.spending?.paid ?? {})) {
    if (!request.isSettled) bookDearest(record, request, now);
  }
  return record.spent ?? {};
}

/** When each request whose cost is not known yet ends at the latest, epoch ms. */
export function pendingEnds({ spending }: Spender): number[] {
  return Object.values(spending?.paid ?? {})
    .filter(({ isSettled }) => !isSettled)
    .map(({ startedAt }) => startedAt + MAX_PENDING_MS);
}

/** Spending facts of two processes merged: bookings are made in the store, so that only the last balance can be newer here. */
export function mergeSpending(target: Spender, mine: Spender): void {
  const [stored, own] = [target.spending, mine.spending];
  if (!stored || !own || stored.balance !== own.balance) return;
  if (own.observedAt <= stored.observedAt) return;
  stored.observedAt = own.observedAt;
  stored.seenAt = own.seenAt;
}
