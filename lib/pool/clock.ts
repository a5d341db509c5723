/** Facts count as fresh for this long, ms. */
export const FRESH_MS = 15 * 60_000;
/** A fact from further in the future than this is not believed, ms. */
export const FUTURE_TOLERANCE_MS = 60_000;
/** No limit of the backend lasts longer than this, ms. */
export const MAX_LIMIT_MS = 35 * 24 * 3_600_000;

/**
 * A point in time that remembers when the verdict made at it may change, so
 * that the verdict can be kept until then instead of being derived again.
 */
export class ClockReading {
  /** Epoch ms. */
  readonly now: number;
  /** The earliest time after `now` at which a question asked here is answered differently, epoch ms. */
  validUntil = Infinity;

  constructor(now: number) {
    this.now = now;
  }

  /** Whether `time` (epoch ms) still lies ahead. */
  isBefore(time: number): boolean {
    if (!(this.now < time)) return false;
    if (time < this.validUntil) this.validUntil = time;
    return true;
  }

  /** Whether a fact observed at `observedAt` (epoch ms) is at most `age` ms old and not from the future. */
  isWithin(observedAt: number, age: number): boolean {
    if (this.isBefore(observedAt - FUTURE_TOLERANCE_MS)) return false;
    // "at most" includes the last millisecond itself
    return this.isBefore(observedAt + age + 1);
  }

  /** Whether a fact observed at `observedAt` (epoch ms) is fresh. */
  isFresh(observedAt: number): boolean {
    return this.isWithin(observedAt, FRESH_MS);
  }

  /**
   * Whether a limit until `until` (epoch ms) still runs. One that would run
   * longer than any limit can was written under another clock and is over.
   */
  isRunning(until: number): boolean {
    if (this.isBefore(until - MAX_LIMIT_MS - FUTURE_TOLERANCE_MS)) {
      return false;
    }
    return this.isBefore(until);
  }
}

/** A time that another clock wrote into the future counts as long ago. */
export function believable(time: number, now: number): number {
  return time > now + FUTURE_TOLERANCE_MS ? -Infinity : time;
}
