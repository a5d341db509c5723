/**
 * "Not now", by cause: set, cleared and forgotten. One cause never shortens or
 * replaces another.
 */
import { isRefused } from "../meters.ts";
import type { Cooldown } from "../types.ts";
import type { NormalRecord, NormalUsage } from "../normal_types.ts";
import { FRESH_MS, FUTURE_TOLERANCE_MS, MAX_LIMIT_MS } from "./clock.ts";
import { isClosed } from "./windows.ts";

const MINUTE = 60_000;
/** A limit that comes back this soon after usage cleared it is believed for longer, ms. */
const RETURN_MS = 5 * MINUTE;
/** For how long usage does not clear a limit, by how often it came back, ms. */
const BELIEVED_MS = [0, 15 * MINUTE, 60 * MINUTE, 6 * 60 * MINUTE];
/** An ended limit is remembered until no fresh fact can be older, ms. */
const REMEMBERED_MS = FRESH_MS + FUTURE_TOLERANCE_MS;
/** The code of a workspace cooldown that a usage answer lifts. */
export const DEACTIVATED_WORKSPACE = "deactivated_workspace";

export function usageLimitKey(meter: string): string {
  return `usage-limit:${meter}`;
}

/** The cooldown of that key, running or not. */
export function cooldownOf(
  { cooldowns }: Pick<NormalRecord, "cooldowns">,
  key: string,
): Cooldown | undefined {
  return Object.hasOwn(cooldowns, key) ? cooldowns[key] : undefined;
}

/**
 * Sets a cooldown of an account; one that runs already is never shortened.
 *
 * @param now Later than it was observed where it could not be written before (epoch ms).
 */
export function setCooldown(
  account: NormalRecord,
  key: string,
  entry: Cooldown,
  now = entry.setAt,
): void {
  const endedAt = limitEndedAt(account, key);
  // clocks may differ
  const isOutdated = entry.setAt + FUTURE_TOLERANCE_MS < endedAt &&
    endedAt <= now + FUTURE_TOLERANCE_MS;
  if (isOutdated) return;
  const previous = cooldownOf(account, key);
  account.cooldowns[key] = previous ? following(previous, entry) : entry;
}

/** When usage last said that a meter is open, epoch ms. */
function limitEndedAt(account: NormalRecord, key: string): number {
  if (!key.startsWith("usage-limit:")) return -Infinity;
  const { usage } = account;
  const isOpen = usage && saysOpen(usage, key.slice("usage-limit:".length));
  return Math.max(
    cooldownOf(account, key)?.clearedAt ?? -Infinity,
    isOpen ? usage.answeredAt ?? -Infinity : -Infinity,
  );
}

function following(previous: Cooldown, entry: Cooldown): Cooldown {
  if (previous.clearedAt !== undefined) {
    const since = entry.setAt - previous.clearedAt;
    const isReturn = since >= 0 && since <= RETURN_MS;
    return isReturn
      ? { ...entry, returns: (previous.returns ?? 0) + 1 }
      : entry;
  }
  const isOver = previous.until <= entry.setAt;
  const isUnbelievable = previous.until >
    entry.setAt + MAX_LIMIT_MS + FUTURE_TOLERANCE_MS;
  if (isOver || isUnbelievable) return entry;
  const merged = {
    ...previous,
    ...entry,
    setAt: Math.max(previous.setAt, entry.setAt),
    until: Math.max(previous.until, entry.until),
  };
  // what usage may not lift stays so
  const isFirm = previous.code !== undefined &&
    previous.code !== DEACTIVATED_WORKSPACE;
  return isFirm ? { ...merged, code: previous.code! } : merged;
}

export interface ClearOptions {
  /** When it was asked for, epoch ms. */
  askedAt: number;
  /** Epoch ms. */
  now: number;
  /** The owner asked for it: then it is believed whatever came back before. */
  isExplicit: boolean;
}

/**
 * Ends what a usage answer contradicts that was asked for later: usage limits
 * of the meters that it calls open, and a workspace that was deactivated.
 */
export function clearCooldowns(
  account: NormalRecord,
  answer: NormalUsage,
  { askedAt, now, isExplicit }: ClearOptions,
): void {
  for (const [key, entry] of Object.entries(account.cooldowns)) {
    if (entry.clearedAt !== undefined) continue;
    if (entry.setAt > askedAt && entry.setAt <= now + FUTURE_TOLERANCE_MS) {
      continue;
    }
    if (key === "workspace" && entry.code === DEACTIVATED_WORKSPACE) {
      delete account.cooldowns[key];
    }
    if (!key.startsWith("usage-limit:")) continue;
    const believed = BELIEVED_MS[Math.min(entry.returns ?? 0, 3)]!;
    const isBelieved = !isExplicit && askedAt < entry.setAt + believed;
    if (isBelieved || !saysOpen(answer, key.slice("usage-limit:".length))) {
      continue;
    }
    account.cooldowns[key] = { ...entry, clearedAt: now };
  }
}

/** Whether a usage answer describes a meter and calls it open. */
function saysOpen(answer: NormalUsage, meter: string): boolean {
  if (answer.creditOnly || !Object.hasOwn(answer.meters, meter)) return false;
  const facts = answer.meters[meter]!;
  return !isRefused(facts) && !facts.windows.some(isClosed);
}

/**
 * Cooldowns without those that nothing asks about any more. One that a clock
 * wrote which was ahead lasts at most its own length.
 */
export function currentCooldowns(
  cooldowns: Record<string, Cooldown>,
  now: number,
): Record<string, Cooldown> {
  const kept: Record<string, Cooldown> = Object.create(null);
  for (const [key, entry] of Object.entries(cooldowns)) {
    if (Math.max(entry.until, entry.clearedAt ?? 0) + REMEMBERED_MS <= now) {
      continue;
    }
    // no limit lasts that long
    if (entry.until > now + MAX_LIMIT_MS + FUTURE_TOLERANCE_MS) continue;
    kept[key] = entry.setAt > now + FUTURE_TOLERANCE_MS
      ? { ...entry, setAt: now, until: now + entry.until - entry.setAt }
      : entry;
  }
  return kept;
}
