import { clearInterval, setInterval } from "node:timers";

/** How often it is looked whether any is due, ms. */
const TICK_MS = 500;

/** Deadlines of one length, with one timer for all: a timer for each request would cost more than the rest */
export class Deadlines {
  readonly #ms: number;
  /** In the order in which they are due. */
  readonly #dueAt = new Map<() => void, number>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param ms How long each is. */
  constructor(ms: number) {
    this.#ms = ms;
  }

  /** Calls `onDue` at the deadline, unless it is cancelled before. */
  start(onDue: () => void): () => void {
    this.#dueAt.set(onDue, performance.now() + this.#ms);
    this.#timer ??= setInterval(
      () => this.#tick(),
      Math.min(TICK_MS, this.#ms),
    );
    this.#timer.ref();
    return onDue;
  }

  cancel(onDue: () => void): void {
    this.#dueAt.delete(onDue);
    // it keeps no process alive for nothing
    if (this.#dueAt.size === 0) this.#timer?.unref();
  }

  /** Stops the timer. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    const now = performance.now();
    for (const [onDue, dueAt] of this.#dueAt) {
      if (dueAt > now) break;
      this.#dueAt.delete(onDue);
      onDue();
    }
    if (this.#dueAt.size === 0) this.#timer?.unref();
  }
}
