/**
 * "Not now", by cause: set, cleared and forgotten. One cause never shortens or
 * replaces another.
 *
 * @module
 */
import type { AccountRecord, Cooldown, UsageFacts } from "../types.ts";
import { believable, FUTURE_TOLERANCE_MS, LONGEST_LIMIT_MS } from "./clock.ts";

/** A usage limit that comes back this soon after usage cleared it is believed, ms. */
const FIRM_AFTER_CLEAR_MS = 5 * 60_000;

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
export function prunedCooldowns(
  cooldowns: Record<string, Cooldown>,
  now: number,
): Record<string, Cooldown> {
  return Object.fromEntries(
    Object.entries(cooldowns).filter(([, entry]) =>
      Math.max(entry.until, entry.clearedAt ?? 0) + FIRM_AFTER_CLEAR_MS > now
    ),
  );
}
