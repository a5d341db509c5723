/**
 * How facts are merged. Every fact carries when it was observed, so that the
 * result does not depend on the order in which answers arrive. Used for
 * learning from an answer as well as for merging what two processes know.
 */
import type { AccountRecord, HeaderCredits } from "../types.ts";
import type {
  NormalCredits,
  NormalMeter,
  NormalRecord,
  NormalState,
  NormalUsage,
  NormalWindow,
} from "../normal_types.ts";
import { indexOfLength } from "../meters.ts";
import { currentCooldowns } from "./cooldowns.ts";
import { isWithoutCredits } from "./credits.ts";
import { mergeSamples, takeSamples } from "./pace.ts";
import { mergeSpending } from "./spending.ts";
import { believable, ClockReading, FUTURE_TOLERANCE_MS } from "./clock.ts";
import { isClosed, pickWindow } from "./windows.ts";

/** Usage facts whose times are believable: one further in the future was written by another clock, and counts as long ago. */
export function believableUsage(usage: NormalUsage, now: number): NormalUsage {
  const latest = now + FUTURE_TOLERANCE_MS;
  if (usage.observedAt <= latest) return usage;
  return JSON.parse(
    JSON.stringify(usage),
    (name, value) =>
      /^(?:observed|answered|seen)At$/.test(name) && value > latest ? 0 : value,
  );
}

/**
 * Usage facts merged. A usage answer replaces the meters it describes and
 * drops the others; headers and stream events (never answered) replace windows
 * of the same length and keep the rest until they reset. What is newer than an
 * answer survives it. Of equally new ones `incoming` wins.
 */
export function mergeUsage(
  current: NormalUsage | undefined,
  incoming: NormalUsage,
  hasNoCredits: boolean,
): NormalUsage {
  if (!current) return incoming;
  const isNewer = incoming.answeredAt !== null &&
    incoming.answeredAt >= (current.answeredAt ?? -Infinity);
  const [base, other] = isNewer ? [incoming, current] : [current, incoming];
  // what was observed together with a later answer is in it
  const since = (base.answeredAt ?? -Infinity) + (isNewer ? 1 : 0);
  const meters: Record<string, NormalMeter> = Object.create(null);
  Object.assign(meters, base.meters);
  for (const name of Object.keys(other.meters)) {
    const merged = mergeMeter(
      Object.hasOwn(base.meters, name) ? base.meters[name] : undefined,
      other.meters[name]!,
      { since, hasNoCredits },
    );
    if (merged) meters[name] = merged;
  }
  const merged: NormalUsage = {
    ...current,
    ...base,
    observedAt: Math.max(current.observedAt, incoming.observedAt),
    meters,
  };
  const doubtedAt = Math.max(current.doubtedAt ?? 0, incoming.doubtedAt ?? 0);
  delete merged.doubtedAt;
  return doubtedAt > 0 && doubtedAt >= (base.answeredAt ?? 0)
    ? { ...merged, doubtedAt }
    : merged;
}

/** Puts what was observed of an account's usage into its record. */
export function learnUsage(
  record: NormalRecord,
  usage: NormalUsage,
  now: number,
): void {
  record.usage = mergeUsage(
    record.usage && believableUsage(record.usage, now),
    believableUsage(usage, now),
    isWithoutCredits(record, new ClockReading(now)),
  );
  takeSamples(record);
}

/** A meter of a whole answer with what was observed of it besides; undefined when the answer has dropped it. */
function mergeMeter(
  base: NormalMeter | undefined,
  other: NormalMeter,
  { since, hasNoCredits }: { since: number; hasNoCredits: boolean },
): NormalMeter | undefined {
  const windows = base ? base.windows.slice() : [];
  for (const window of other.windows) {
    const at = indexOfLength(windows, window.windowSeconds);
    if (at >= 0) windows[at] = pickWindow(windows[at]!, window, hasNoCredits);
    else if (window.observedAt >= since) windows.push(window);
  }
  const refusedAt = Math.max(
    base?.refusedAt ?? 0,
    other.refusedAt !== undefined && other.refusedAt >= since
      ? other.refusedAt
      : 0,
  );
  if (!base && windows.length === 0 && refusedAt === 0) return undefined;
  const isOlder = base !== undefined && base.observedAt > other.observedAt;
  const older = isOlder ? other : base ?? other;
  const newer = isOlder ? base : other;
  const { refusedAt: _older, ...rest } = { ...older, ...newer };
  return {
    ...rest,
    allowed: newer.allowed ?? older.allowed,
    limitReached: newer.limitReached ?? older.limitReached,
    windows: windows.filter((window) => !isOver(window, newer)),
    observedAt: newer.observedAt,
    ...(refusedAt > 0 && { refusedAt }),
  };
}

/** Whether a window had reset when a later observation of its meter did not mention it. */
function isOver(window: NormalWindow, later: NormalMeter): boolean {
  return window.resetsAt !== null && window.resetsAt <= later.observedAt &&
    window.observedAt < later.observedAt &&
    indexOfLength(later.windows, window.windowSeconds) < 0;
}

/** Whether something was observed (epoch ms) before the last usage answer was. */
export function isOlderThanAnswer(
  { usage }: NormalRecord,
  observedAt: number,
): boolean {
  return usage !== undefined && observedAt < (usage.answeredAt ?? -Infinity);
}

/** Credits merged: the newer amounts, and the newer bounds; of equally new ones those that are `incoming`. */
export function mergeCredits(
  current: NormalCredits | undefined,
  incoming: NormalCredits,
  now: number,
): NormalCredits {
  if (!current) return incoming;
  const amounts = incoming.observedAt < believable(current.observedAt, now)
    ? current
    : incoming;
  const bounds =
    incoming.limitsObservedAt < believable(current.limitsObservedAt, now)
      ? current
      : incoming;
  const { observedAt, hasCredits, unlimited, balance, malformed } = amounts;
  const told = { observedAt, hasCredits, unlimited, balance, malformed };
  return { ...current, ...bounds, ...told };
}

/** Credits of which nothing is known but what headers say. */
const NOTHING_KNOWN: NormalCredits = {
  observedAt: 0,
  hasCredits: null,
  unlimited: null,
  balance: null,
  overageLimitReached: false,
  spendControlReached: false,
  individualLimit: false,
  reachedType: null,
  malformed: false,
  // an answer asked for earlier still tells what bounds them
  limitsObservedAt: 0,
};

/** Credits with what headers say of them, which are the amounts: the bounds known so far stay. */
export function creditsFromHeaders(
  current: NormalCredits | undefined,
  seen: HeaderCredits,
  now: number,
): NormalCredits {
  const known = current ?? NOTHING_KNOWN;
  const { balance = known.balance, ...amounts } = seen;
  // an unreadable balance stays unreadable until a readable one is told
  const malformed = seen.balance === undefined && known.malformed;
  return mergeCredits(
    current,
    { ...known, ...amounts, balance, malformed },
    now,
  );
}

/** Whether two records are of one login, as far as they tell: a name may have passed to another one. */
export function isSameLogin(a: AccountRecord, b: AccountRecord): boolean {
  const names = ["accountId", "userId", "email"] as const;
  const told = names.filter((name) => a[name] && b[name]);
  if (told.length > 0) return told.every((name) => a[name] === b[name]);
  if (!a.tokens || !b.tokens) return true;
  return a.tokens.access === b.tokens.access ||
    (a.tokens.refresh !== undefined && a.tokens.refresh === b.tokens.refresh);
}

/**
 * The record of a login in a state that another process may have changed: a
 * name may belong to another login there.
 */
export function recordOfLogin(
  { accounts }: NormalState,
  alias: string,
  login: NormalRecord,
): NormalRecord | undefined {
  const named = Object.hasOwn(accounts, alias) ? accounts[alias] : undefined;
  if (named && isSameLogin(named, login)) return named;
  return login.accountId || login.userId
    ? Object.values(accounts).find((record) => isSameLogin(record, login))
    : undefined;
}

/** Merges what this process learned of an account into the stored record, in place. */
export function mergeRecord(
  target: NormalRecord,
  mine: NormalRecord,
  now: number,
): void {
  if (mine.credits) {
    target.credits = mergeCredits(target.credits, mine.credits, now);
  }
  if (mine.usage) learnUsage(target, mine.usage, now);
  mergeSpending(target, mine);
  mergeSamples(target, mine);
  const check = mine.usageCheck;
  if (check && !((target.usageCheck?.askedAt ?? -Infinity) > check.askedAt)) {
    target.usageCheck = check;
  }
  target.cooldowns = currentCooldowns(target.cooldowns, now);
  // another clock's future would outlive every use
  if ((target.lastUsedAt ?? 0) > now + FUTURE_TOLERANCE_MS) {
    target.lastUsedAt = mine.lastUsedAt;
  }
}

/** Which meters let nothing through, as one text: tells whether an observation changed that. */
export function closedMeters({ usage }: NormalRecord): string {
  if (!usage) return "";
  return Object.keys(usage.meters).map((name) => {
    const { windows, refusedAt } = usage.meters[name]!;
    return `${name}:${windows.filter(isClosed).length}:${refusedAt ?? ""}`;
  }).join();
}
