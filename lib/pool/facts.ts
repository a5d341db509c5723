/**
 * How facts come together. Every fact carries when it was observed, and the
 * newer one wins, whatever order the answers arrive in. The functions here are
 * used for learning from an answer as well as for bringing two processes'
 * knowledge together.
 *
 * @module
 */
import type {
  AccountRecord,
  CreditFacts,
  HeaderCredits,
  MeterFacts,
  UsageFacts,
  UsageWindow,
} from "../types.ts";
import { indexOfLength } from "../meters.ts";
import { prunedCooldowns } from "./cooldowns.ts";
import { answeredAt, believable, FUTURE_TOLERANCE_MS } from "./clock.ts";
import { saidLimited } from "./standing.ts";

/** What this version knows of usage; whatever else is there is a newer one's. */
const USAGE_FIELDS: Readonly<Record<keyof UsageFacts, true>> = {
  observedAt: true,
  answeredAt: true,
  meters: true,
  creditOnly: true,
  modelUsage: true,
  bankedResets: true,
};
/** What this version knows of credits. */
const CREDIT_FIELDS: Readonly<Record<keyof CreditFacts, true>> = {
  observedAt: true,
  hasCredits: true,
  unlimited: true,
  balance: true,
  overageLimitReached: true,
  spendControlReached: true,
  individualLimit: true,
  reachedType: true,
  malformed: true,
  limitsObservedAt: true,
};

/** `next` with those fields of `previous` that only a newer version knows. */
function keepingUnknown<T extends object>(
  next: T,
  previous: T,
  known: Readonly<Record<string, true>>,
): T {
  // made when there are any: every answer comes by here, and nearly none has some
  let unknown: [string, unknown][] | undefined;
  for (const name in previous) {
    if (known[name] === true || !Object.hasOwn(previous, name)) continue;
    unknown ??= [];
    unknown.push([name, previous[name]]);
  }
  return unknown ? { ...next, ...Object.fromEntries(unknown) } : next;
}

/**
 * Usage facts brought together. A usage answer replaces the meters it
 * describes and drops the others; headers and stream events (never answered)
 * replace windows of the same length and keep the rest until they reset.
 * What is newer than an answer survives it.
 *
 * @param current What is known.
 * @param incoming What was learned; wins where both are equally new.
 * @param now Epoch ms.
 */
export function mergeUsage(
  current: UsageFacts | undefined,
  incoming: UsageFacts,
  now: number,
): UsageFacts {
  if (!current) return incoming;
  const incomingAt = answeredAt(incoming);
  const answered = answeredAt(current);
  const currentAt = answered === null ? null : believable(answered, now);
  if (incomingAt === null) {
    return overlay(current, incoming, currentAt ?? -Infinity, now, true);
  }
  if (currentAt === null || incomingAt >= currentAt) {
    // strictly newer than the answer: one observed together with it is in it
    const answer = overlay(incoming, current, incomingAt + 1, now, false);
    return keepingUnknown(answer, current, USAGE_FIELDS);
  }
  return overlay(current, incoming, currentAt + 1, now, true);
}

/** Whether something was observed (epoch ms) before the last usage answer was. */
export function isOlderThanAnswer(
  { usage }: AccountRecord,
  observedAt: number,
  now: number,
): boolean {
  const answered = usage ? answeredAt(usage) : null;
  return answered !== null && observedAt < believable(answered, now);
}

/**
 * `base` with those parts of `other` that were observed at `since` (epoch ms)
 * or later; `isLater`: `other` came in later than `base`.
 */
function overlay(
  base: UsageFacts,
  other: UsageFacts,
  since: number,
  now: number,
  isLater: boolean,
): UsageFacts {
  const meters: Record<string, MeterFacts> = { ...base.meters };
  for (const name of Object.keys(meters)) {
    const meter = meters[name]!;
    // what comes later speaks of its own meters only
    if (meter.observedAt === undefined) {
      meters[name] = dated(meter, base.observedAt);
    }
  }
  let observedAt = believable(base.observedAt, now);
  for (const name of Object.keys(other.meters)) {
    const own = Object.hasOwn(meters, name) ? meters[name] : undefined;
    const merged = overlayMeter(
      own && dated(own, base.observedAt),
      dated(other.meters[name]!, other.observedAt),
      since,
      now,
      isLater,
    );
    if (!merged) continue;
    meters[name] = merged;
    observedAt = Math.max(observedAt, merged.observedAt!);
  }
  const answered = answeredAt(base);
  return { ...base, observedAt, answeredAt: answered, meters };
}

/** A meter whose parts all carry their own time. */
function dated(
  meter: MeterFacts,
  fallback: number,
): MeterFacts & { observedAt: number } {
  const observedAt = meter.observedAt ?? fallback;
  const said = saidLimited(meter, observedAt);
  if (isDated(meter) && (!said || said === meter.limit)) return meter;
  const windows = meter.windows.map((window) =>
    window.observedAt === undefined ? { ...window, observedAt } : window
  );
  return said
    ? { ...meter, observedAt, windows, limit: said }
    : { ...meter, observedAt, windows };
}

function isDated(
  meter: MeterFacts,
): meter is MeterFacts & { observedAt: number } {
  if (meter.observedAt === undefined) return false;
  for (const window of meter.windows) {
    if (window.observedAt === undefined) return false;
  }
  return true;
}

function overlayMeter(
  base: (MeterFacts & { observedAt: number }) | undefined,
  other: MeterFacts & { observedAt: number },
  since: number,
  now: number,
  isLater: boolean,
): MeterFacts | undefined {
  const newer = windowsSince(other.windows, since, now);
  const limit = other.limit && believable(other.limit.observedAt, now) >= since
    ? other.limit
    : undefined;
  if (newer.length === 0 && !limit) return base;
  const windows = base
    ? replaceWindows(base.windows, newer, now, isLater)
    : newer;
  const merged: MeterFacts = {
    ...(base ?? { windows }),
    windows,
    observedAt: Math.max(
      base ? believable(base.observedAt, now) : -Infinity,
      believable(other.observedAt, now),
    ),
  };
  if (limit && (!base?.limit || base.limit.observedAt <= limit.observedAt)) {
    merged.limit = limit;
  }
  return merged;
}

/** Those that were observed at `since` (epoch ms) or later: nearly always all. */
function windowsSince(
  windows: UsageWindow[],
  since: number,
  now: number,
): UsageWindow[] {
  for (const window of windows) {
    if (believable(window.observedAt!, now) >= since) continue;
    return windows.filter((it) => believable(it.observedAt!, now) >= since);
  }
  return windows;
}

/**
 * Puts windows in the place of those of the same length. Of two that were
 * observed at one moment the fuller one is newer, unless one of them has
 * started afresh: then `isLater` tells.
 */
function replaceWindows(
  base: readonly UsageWindow[],
  newer: readonly UsageWindow[],
  now: number,
  isLater: boolean,
): UsageWindow[] {
  const windows = [...base];
  for (const window of newer) {
    const index = indexOfLength(windows, window.windowSeconds);
    if (index < 0) {
      windows.push(window);
      continue;
    }
    const own = windows[index]!;
    const after = window.observedAt! - believable(own.observedAt!, now);
    // nor can one of two that were told together be later
    const isSame = window.resetsAt === own.resetsAt || newer.includes(own);
    const fuller = isSame ? window.usedPercent > own.usedPercent : isLater;
    if (after > 0 || (after === 0 && fuller)) windows[index] = window;
  }
  for (const window of windows) {
    if (!isOver(window, newer, now)) continue;
    return windows.filter((it) => !isOver(it, newer, now));
  }
  return windows;
}

/** Whether it has reset, and nothing new was said of it. */
function isOver(
  window: UsageWindow,
  newer: readonly UsageWindow[],
  now: number,
): boolean {
  return window.resetsAt !== null && window.resetsAt <= now &&
    !newer.includes(window);
}

/**
 * Credits brought together: the newer amounts, and the newer bounds.
 *
 * @param current What is known.
 * @param incoming What was learned; wins where both are equally new.
 * @param now Epoch ms.
 */
export function mergeCredits(
  current: CreditFacts | undefined,
  incoming: CreditFacts,
  now: number,
): CreditFacts {
  if (!current) return incoming;
  const amounts = isOlder(incoming.observedAt, current.observedAt, now)
    ? current
    : incoming;
  const bounds =
    isOlder(limitsObservedAt(incoming), limitsObservedAt(current), now)
      ? current
      : incoming;
  const merged = amounts === bounds ? amounts : {
    ...bounds,
    observedAt: amounts.observedAt,
    hasCredits: amounts.hasCredits,
    unlimited: amounts.unlimited,
    balance: amounts.balance,
    malformed: amounts.malformed ?? false,
    limitsObservedAt: limitsObservedAt(bounds),
  };
  return keepingUnknown(merged, current, CREDIT_FIELDS);
}

function limitsObservedAt(credits: CreditFacts): number {
  return credits.limitsObservedAt ?? credits.observedAt;
}

function isOlder(incoming: number, current: number, now: number): boolean {
  return incoming < believable(current, now);
}

/**
 * Credits with what headers say of them, which are the amounts: the bounds
 * known so far stand.
 *
 * @param current What is known.
 * @param seen What headers said; wins where both are equally new.
 * @param now Epoch ms.
 */
export function creditsFromHeaders(
  current: CreditFacts | undefined,
  seen: HeaderCredits,
  now: number,
): CreditFacts {
  const { observedAt, hasCredits, unlimited, balance = null } = seen;
  if (!current) {
    // an answer asked for earlier still tells what bounds them
    const limitsObservedAt = 0;
    return { observedAt, hasCredits, unlimited, balance, limitsObservedAt };
  }
  if (isOlder(observedAt, current.observedAt, now)) return current;
  return {
    ...current,
    observedAt,
    hasCredits,
    unlimited,
    balance: balance ?? current.balance,
    // an unreadable balance stays unreadable until a readable one is told
    malformed: balance === null && current.malformed === true,
    limitsObservedAt: limitsObservedAt(current),
  };
}

/**
 * Brings what one process learned of an account into another's record of it.
 *
 * @param target The record to change, in place.
 * @param mine What was learned here.
 * @param now Epoch ms.
 */
export function mergeRecord(
  target: AccountRecord,
  mine: AccountRecord,
  now: number,
): void {
  if (mine.usage) target.usage = mergeUsage(target.usage, mine.usage, now);
  if (mine.credits) {
    target.credits = mergeCredits(target.credits, mine.credits, now);
  }
  const check = mine.usageCheck;
  if (check && !((target.usageCheck?.askedAt ?? -Infinity) > check.askedAt)) {
    target.usageCheck = check;
  }
  if (target.cooldowns) {
    target.cooldowns = prunedCooldowns(target.cooldowns, now);
  }
  // another clock's future would outlive every use
  if ((target.lastUsedAt ?? 0) > now + FUTURE_TOLERANCE_MS) {
    target.lastUsedAt = mine.lastUsedAt ?? null;
  }
}
