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
  Cooldown,
  CreditFacts,
  HeaderCredits,
  MeterFacts,
  UsageFacts,
  UsageWindow,
} from "../types.ts";
import { answeredAt, FUTURE_TOLERANCE_MS, LONGEST_LIMIT_MS } from "./moment.ts";
import { saidLimited } from "./standing.ts";

/** A usage limit that comes back this soon after usage cleared it is believed, ms. */
const FIRM_AFTER_CLEAR_MS = 5 * 60_000;

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
  let kept = next;
  // no list of them: every answer comes by here, and nearly none finds any
  for (const name in previous) {
    if (known[name] === true || !Object.hasOwn(previous, name)) continue;
    if (kept === next) kept = { ...next };
    kept[name] = previous[name];
  }
  return kept;
}

/** A time that another clock wrote into the future counts as long ago. */
function believable(time: number, now: number): number {
  return time > now + FUTURE_TOLERANCE_MS ? -Infinity : time;
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
  return meter.observedAt !== undefined &&
    meter.windows.every((window) => window.observedAt !== undefined);
}

function overlayMeter(
  base: (MeterFacts & { observedAt: number }) | undefined,
  other: MeterFacts & { observedAt: number },
  since: number,
  now: number,
  isLater: boolean,
): MeterFacts | undefined {
  const newer = other.windows.filter((window) =>
    believable(window.observedAt!, now) >= since
  );
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
    const index = placeOf(windows, window.windowSeconds);
    if (index < 0) {
      windows.push(window);
      continue;
    }
    const own = windows[index]!;
    const after = window.observedAt! - believable(own.observedAt!, now);
    const fuller = window.resetsAt === own.resetsAt
      ? window.usedPercent > own.usedPercent
      : isLater;
    if (after > 0 || (after === 0 && fuller)) windows[index] = window;
  }
  const isOver = (window: UsageWindow) =>
    window.resetsAt !== null && window.resetsAt <= now &&
    !newer.includes(window);
  return windows.some(isOver) ? windows.filter((it) => !isOver(it)) : windows;
}

/** Where the first window of that length stands; -1: nowhere. */
function placeOf(
  windows: readonly UsageWindow[],
  windowSeconds: number | null,
): number {
  for (let place = 0; place < windows.length; place++) {
    if (windows[place]!.windowSeconds === windowSeconds) return place;
  }
  return -1;
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
  const { observedAt, hasCredits, unlimited, balance } = seen;
  const amounts = { observedAt, hasCredits, unlimited };
  if (!current) {
    // an answer asked for earlier still tells what bounds them
    return { ...amounts, balance: balance ?? null, limitsObservedAt: 0 };
  }
  if (isOlder(observedAt, current.observedAt, now)) return current;
  return {
    ...current,
    ...amounts,
    balance: balance ?? current.balance,
    // an unreadable balance stays unreadable until a readable one is told
    malformed: balance === undefined ? current.malformed ?? false : false,
    limitsObservedAt: limitsObservedAt(current),
  };
}

/** The cooldowns of an account, made where there are none yet. */
function cooldownsOf(account: AccountRecord): Record<string, Cooldown> {
  account.cooldowns ??= {};
  return account.cooldowns;
}

/**
 * Sets a cooldown; one that runs already is never shortened.
 *
 * @param account Changed in place.
 * @param key The cause, for example `usage-limit:codex`.
 * @param entry Until when, and when it was set.
 * @returns The cooldown as it now stands.
 */
export function setCooldown(
  account: AccountRecord,
  key: string,
  entry: Cooldown,
): Cooldown {
  const all = cooldownsOf(account);
  const previous = Object.hasOwn(all, key) ? all[key] : undefined;
  if (!previous) return all[key] = entry;
  if (previous.clearedAt !== undefined) {
    const since = entry.setAt - previous.clearedAt;
    const firm = since >= 0 && since <= FIRM_AFTER_CLEAR_MS;
    return all[key] = firm ? { ...entry, firm } : entry;
  }
  const isOver = previous.until <= entry.setAt;
  const isUnbelievable = previous.until >
    entry.setAt + LONGEST_LIMIT_MS + FUTURE_TOLERANCE_MS;
  if (isOver || isUnbelievable) return all[key] = entry;
  return all[key] = {
    ...previous,
    ...entry,
    until: Math.max(previous.until, entry.until),
  };
}

/**
 * Clears the usage limits of those meters that a usage answer calls open, if
 * it was asked for after the limit was set.
 *
 * @param account Changed in place.
 * @param answer The usage answer.
 * @param askedAt When it was asked for, epoch ms.
 * @param now Epoch ms.
 * @returns The meters that were cleared.
 */
export function clearUsageLimits(
  account: AccountRecord,
  answer: UsageFacts,
  askedAt: number,
  now: number,
): string[] {
  const cleared: string[] = [];
  for (const [key, entry] of Object.entries(account.cooldowns ?? {})) {
    if (!key.startsWith("usage-limit:")) continue;
    const meter = key.slice("usage-limit:".length);
    if (entry.clearedAt !== undefined || entry.firm) continue;
    if (believable(entry.setAt, now) > askedAt) continue;
    if (!saysOpen(answer, meter)) continue;
    account.cooldowns![key] = { ...entry, clearedAt: now };
    cleared.push(meter);
  }
  return cleared;
}

/** Whether a usage answer describes a meter and calls it open. */
function saysOpen(answer: UsageFacts, meter: string): boolean {
  if (answer.creditOnly || !Object.hasOwn(answer.meters, meter)) return false;
  const facts = answer.meters[meter]!;
  if (facts.limitReached === true || facts.allowed === false) return false;
  return facts.windows.every((window) => window.usedPercent < 100);
}

/** Cooldowns that ended longer ago than anything still asks about are dropped. */
function pruned(
  cooldowns: Record<string, Cooldown>,
  now: number,
): Record<string, Cooldown> {
  return Object.fromEntries(
    Object.entries(cooldowns).filter(([, entry]) =>
      Math.max(entry.until, entry.clearedAt ?? 0) + FIRM_AFTER_CLEAR_MS > now
    ),
  );
}

/**
 * Brings what one process learned of an account into another's record of it.
 *
 * @param target The record to change, in place.
 * @param mine What was learned here.
 * @param now Epoch ms.
 */
export function joinFacts(
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
  if (target.cooldowns) target.cooldowns = pruned(target.cooldowns, now);
  // another clock's future would outlive every use
  if ((target.lastUsedAt ?? 0) > now + FUTURE_TOLERANCE_MS) {
    target.lastUsedAt = mine.lastUsedAt ?? null;
  }
}
