import { clearTimeout, setTimeout } from "node:timers";

/**
 * Waits of one length, with one timer for all of them: setting a timer for
 * each request would cost more than most of what else is done for it. Keeps
 * the process alive only while something waits.
 */
export class Deadlines {
  readonly #ms: number;
  /** When each is due, in the order of their starts and so of their ends. */
  readonly #dueAt = new Map<() => void, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /** @param ms How long each wait is. */
  constructor(ms: number) {
    this.#ms = ms;
  }

  /** Calls `onDue` when the time is over, unless it is cancelled before. */
  start(onDue: () => void): void {
    this.#dueAt.set(onDue, performance.now() + this.#ms);
    if (this.#timer === undefined) this.#arm(this.#ms);
    else this.#timer.ref();
  }

  /** Forgets a wait. */
  cancel(onDue: () => void): void {
    this.#dueAt.delete(onDue);
    if (this.#dueAt.size > 0) return;
    if (this.#isClosed) this.#disarm();
    else this.#timer?.unref();
  }

  /** Leaves no timer behind when the last wait is over. */
  close(): void {
    this.#isClosed = true;
    if (this.#dueAt.size === 0) this.#disarm();
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(ms: number): void {
    this.#disarm();
    this.#timer = setTimeout(() => this.#onTimer(), Math.max(1, ms));
  }

  #onTimer(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (const [onDue, dueAt] of this.#dueAt) {
      if (dueAt > now) return this.#arm(dueAt - now);
      this.#dueAt.delete(onDue);
      onDue();
    }
  }
}
