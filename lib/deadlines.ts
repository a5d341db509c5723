import { clearTimeout, setTimeout } from "node:timers";

/** One wait, in the ring of all. */
export interface Wait {
  readonly onDue: () => void;
  /** As `performance.now()` tells the time, ms. */
  readonly dueAt: number;
  /** Undefined once it is over. */
  before: Wait | undefined;
  behind: Wait | undefined;
}

/**
 * Waits of one length, with one timer for all of them: setting a timer for
 * each request would cost more than most of what else is done for it. Keeps
 * the process alive only while something waits.
 */
export class Deadlines {
  readonly #ms: number;
  /** Between the last and the first of them; they end in the order of their starts. */
  readonly #ring: Wait;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /** @param ms How long each wait is. */
  constructor(ms: number) {
    this.#ms = ms;
    this.#ring = {
      onDue: () => {},
      dueAt: Infinity,
      before: undefined,
      behind: undefined,
    };
    this.#ring.before = this.#ring.behind = this.#ring;
  }

  /** Calls `onDue` when the time is over, unless the wait is cancelled before. */
  start(onDue: () => void): Wait {
    const before = this.#ring.before!;
    const dueAt = performance.now() + this.#ms;
    const wait: Wait = { onDue, dueAt, before, behind: this.#ring };
    before.behind = this.#ring.before = wait;
    if (this.#timer === undefined) this.#arm(this.#ms);
    else this.#timer.ref();
    return wait;
  }

  /** Forgets a wait; nothing happens when it is over already. */
  cancel(wait: Wait): void {
    if (wait.before === undefined) return;
    this.#takeOut(wait);
    if (this.#first !== undefined) return;
    if (this.#isClosed) this.#disarm();
    else this.#timer?.unref();
  }

  /** Leaves no timer behind when the last wait is over. */
  close(): void {
    this.#isClosed = true;
    if (this.#first === undefined) this.#disarm();
  }

  get #first(): Wait | undefined {
    const first = this.#ring.behind!;
    return first === this.#ring ? undefined : first;
  }

  #takeOut(wait: Wait): void {
    wait.before!.behind = wait.behind;
    wait.behind!.before = wait.before;
    wait.before = wait.behind = undefined;
  }

  #arm(ms: number): void {
    this.#disarm();
    this.#timer = setTimeout(() => this.#onTimer(), Math.max(1, ms));
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #onTimer(): void {
    this.#timer = undefined;
    const now = performance.now();
    try {
      for (let wait; (wait = this.#first) && wait.dueAt <= now;) {
        this.#takeOut(wait);
        wait.onDue();
      }
    } finally {
      // the others are called whatever one of them throws
      const next = this.#first;
      if (next) this.#arm(next.dueAt - performance.now());
    }
  }
}
