/**
 * Which of two observations of one window counts. The backend answers late, out
 * of caches and with two anchors for one week, so the newer one is not always
 * the true one: within one window the percentage only grows.
 */
import type { UsageWindow } from "../types.ts";
import type { NormalWindow } from "../normal_types.ts";

/** Resets this close together are of one window, ms. */
const SAME_RESET_MS = 60_000;
/** An observation asked for this long after another one arrived is no longer out of a cache, ms. */
const SETTLED_MS = 2 * 60_000;
/** A week may flip between two anchors for this long after it was full, ms. */
const FLIP_MS = 15 * 60_000;

/** Whether a window lets nothing through until it resets. */
export function isClosed({ usedPercent, flags }: UsageWindow): boolean {
  return flags === "refused" || (usedPercent >= 100 && flags !== "allowed");
}

/** Whether both are the same period of a window, as their resets tell. */
function isSamePeriod(a: UsageWindow, b: UsageWindow): boolean {
  if (a.resetsAt === null || b.resetsAt === null) return true;
  return Math.abs(a.resetsAt - b.resetsAt) <= SAME_RESET_MS;
}

/**
 * The observation that counts of two of one length, whatever order they come
 * in: the same two give the same result in every process.
 *
 * @param hasNoCredits The account was seen to have no credits, so that a wrong guess costs no money.
 */
export function pickWindow(
  a: NormalWindow,
  b: NormalWindow,
  hasNoCredits: boolean,
): NormalWindow {
  if (isSamePeriod(a, b)) return pickOfPeriod(a, b, hasNoCredits);
  const [known, incoming] = isLater(a, b) ? [b, a] : [a, b];
  const opens = isClosed(known) && !isClosed(incoming);
  if (incoming.resetsAt! > known.resetsAt!) {
    const isFlip = opens && known.resetsAt! > incoming.observedAt &&
      incoming.observedAt < known.seenAt + FLIP_MS;
    return isFlip && incoming.flags !== "allowed" ? known : incoming;
  }
  const isSettled = incoming.observedAt >= known.seenAt + SETTLED_MS;
  const isFuller = incoming.usedPercent > known.usedPercent ||
    (incoming.flags === "refused" && !isClosed(known));
  const hasPassed = incoming.resetsAt! <= incoming.seenAt;
  return isSettled || (isFuller && !hasPassed && !opens) ? incoming : known;
}

/** Whether `a` arrived after `b`; of two that arrived together the one asked for later, then the fuller one. */
function isLater(a: NormalWindow, b: NormalWindow): boolean {
  return (a.seenAt - b.seenAt || a.observedAt - b.observedAt ||
    a.usedPercent - b.usedPercent || compareRest(a, b)) > 0;
}

/** Orders two observations that are alike in all that matters, so that it does not matter which comes first. */
function compareRest(a: NormalWindow, b: NormalWindow): number {
  const strictness = ({ flags }: NormalWindow) =>
    flags === undefined ? 1 : flags === "refused" ? 2 : 0;
  return a.seenAt - b.seenAt || (a.resetsAt ?? 0) - (b.resetsAt ?? 0) ||
    strictness(a) - strictness(b);
}

/** Flags decide first, then the higher percentage, unless the lower one was asked for long after. */
function pickOfPeriod(
  a: NormalWindow,
  b: NormalWindow,
  hasNoCredits: boolean,
): NormalWindow {
  if (isClosed(a) && b.flags === "allowed") {
    return outranks(b, a, hasNoCredits) ? b : a;
  }
  if (isClosed(b) && a.flags === "allowed") {
    return outranks(a, b, hasNoCredits) ? a : b;
  }
  const order = a.usedPercent - b.usedPercent ||
    a.observedAt - b.observedAt || compareRest(a, b);
  const [low, high] = order < 0 ? [a, b] : [b, a];
  const isReplaced = low.observedAt >= high.seenAt + SETTLED_MS;
  const [picked, other] = isReplaced ? [low, high] : [high, low];
  // a refusal holds until its window resets or other flags come
  const staysRefused = other.flags === "refused" && picked.flags === undefined;
  return staysRefused ? { ...picked, flags: "refused" } : picked;
}

/** Whether flags that allow count although the window was seen closed. */
function outranks(
  allowed: NormalWindow,
  closed: NormalWindow,
  hasNoCredits: boolean,
): boolean {
  if (allowed.observedAt >= closed.seenAt + SETTLED_MS) return true;
  if (!hasNoCredits) return false;
  // a percentage without flags is no news after flags that allowed a full window
  const isNews = closed.flags !== undefined &&
    allowed.observedAt < closed.observedAt;
  return !isNews && allowed.usedPercent >= Math.min(100, closed.usedPercent);
}
