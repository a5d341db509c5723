/**
 * What limits a meter: full windows, refusals, and what they become when only
 * the clock has ended them.
 */
import { MAIN_METER, meterFacts } from "../meters.ts";
import type {
  NormalMeter,
  NormalRecord,
  NormalUsage,
} from "../normal_types.ts";
import { type ClockReading, FRESH_MS, MAX_LIMIT_MS } from "./clock.ts";
import { cooldownOf, usageLimitKey } from "./cooldowns.ts";
import { isWithoutCredits } from "./credits.ts";
import { isClosed } from "./windows.ts";

/** When the cooldown of `key` ends, epoch ms; undefined when it does not run. */
export function runningUntil(
  account: NormalRecord,
  key: string,
  clock: ClockReading,
): number | undefined {
  const entry = cooldownOf(account, key);
  if (!entry || entry.clearedAt !== undefined) return undefined;
  // 0: when it was set is not known, so it is believed as far as any can be
  const setAt = entry.setAt === 0 ? clock.now : entry.setAt;
  const until = Math.min(entry.until, setAt + MAX_LIMIT_MS);
  return clock.isRunning(until) ? until : undefined;
}

/** What limits a meter for a model. */
class Limits {
  /** When all limits that run are over, epoch ms; Infinity when unknown, undefined when none runs. */
  until: number | undefined;
  /** A limit was ended by the clock alone, which opens nothing that can be charged. */
  hasLapsed = false;

  /** Adds a limit that runs until then (epoch ms, Infinity when unknown). */
  run(until: number): void {
    this.until = Math.max(this.until ?? until, until);
  }

  /** Adds a limit that ends at `end` (epoch ms); unless that is known, it is a guess. */
  add(clock: ClockReading, end: number, isKnown = true): void {
    if (!clock.isBefore(end)) this.hasLapsed = true;
    else this.run(isKnown ? end : Infinity);
  }
}

export function limitsOf(
  account: NormalRecord,
  meter: string,
  model: string | undefined,
  clock: ClockReading,
): Limits {
  const limits = new Limits();
  const { usage } = account;
  const facts = meterFacts(account, meter);
  addCooldown(limits, account, meter, clock);
  if (facts) addWindows(limits, facts, clock);
  // a meter of its own is apart from the credits that the account lives on
  const isShared = meter === MAIN_METER || !facts;
  if (usage && isShared && isOnCredits(account, clock)) limits.run(Infinity);
  const entry = modelUsage(usage, model);
  if (entry && !entry.available) {
    const { availableAt } = entry;
    const guess = (usage!.answeredAt ?? 0) + FRESH_MS + 1;
    limits.add(clock, availableAt ?? guess, availableAt !== null);
  }
  return limits;
}

/** A limit that was answered with, until it is over and the meter was seen since. */
function addCooldown(
  limits: Limits,
  account: NormalRecord,
  meter: string,
  clock: ClockReading,
): void {
  const key = usageLimitKey(meter);
  const until = runningUntil(account, key, clock);
  if (until !== undefined) return limits.run(until);
  const entry = cooldownOf(account, key);
  if (!entry || entry.clearedAt !== undefined) return;
  const seenAt = meterObservedAt(account.usage, meter) ?? 0;
  if (seenAt < entry.until && entry.until <= clock.now) {
    limits.hasLapsed = true;
  }
}

function addWindows(
  limits: Limits,
  { windows, refusedAt }: NormalMeter,
  clock: ClockReading,
): void {
  for (const window of windows) {
    if (!isClosed(window)) continue;
    const { resetsAt, seenAt } = window;
    // as long as the fact is fresh, its last millisecond included
    const guess = seenAt + FRESH_MS + 1;
    limits.add(clock, resetsAt ?? guess, resetsAt !== null);
  }
  if (refusedAt !== undefined) {
    limits.add(clock, refusedAt + FRESH_MS + 1, false);
  }
}

/** Whether every request of an account is charged: it has no rate limit, and is not known to have no credits. */
function isOnCredits(account: NormalRecord, clock: ClockReading): boolean {
  const { creditOnly } = account.usage!;
  if (creditOnly !== null) return creditOnly === true;
  return !isWithoutCredits(account, clock);
}

export function modelUsage(
  usage: NormalUsage | undefined,
  model: string | undefined,
) {
  const all = usage?.modelUsage;
  if (!all || model === undefined || !Object.hasOwn(all, model)) {
    return undefined;
  }
  return all[model];
}

/** When a meter was observed last, epoch ms; null when neither an answer nor headers ever spoke of it. */
export function meterObservedAt(
  usage: NormalUsage | undefined,
  meter: string,
): number | null {
  if (!usage) return null;
  const { answeredAt } = usage;
  const facts = meterFacts({ usage }, meter);
  return facts ? Math.max(facts.observedAt, answeredAt ?? 0) : answeredAt;
}
