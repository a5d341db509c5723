/**
 * A clock that jumps from timer to timer. `imports.json` gives it to the
 * library in place of `node:timers`, so that days pass in seconds and the same
 * seed always gives the same run.
 */
import { setImmediate as nextTurn } from "node:timers";

/** When every simulation begins, epoch ms. */
export const START = 1_800_000_000_000;
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** A timer as `node:timers` gives it. */
export class Timer {
  readonly run: () => void;
  /** Epoch ms. */
  at: number;
  /** Of two timers that are due together the one set first runs first. */
  order = 0;
  /** For an interval, ms. */
  readonly every: number | undefined;
  isActive = true;

  constructor(run: () => void, at: number, every?: number) {
    this.run = run;
    this.at = at;
    this.every = every;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return false;
  }
}

let time = START;
/** What passed in the simulations before this one, ms. */
let passed = 0;
let count = 0;
let heap: Timer[] = [];
let intervals: Timer[] = [];
/** When a timer last ran that is no interval, epoch ms. */
let activeAt = START;
/** Intervals rest when nothing else happened for this long, ms. */
const REST = 2 * MINUTE;

/** The true time, epoch ms. */
export function now(): number {
  return time;
}

/** Starts again with no timers. */
export function resetClock(): void {
  passed += time - START;
  time = START;
  activeAt = START;
  heap = [];
  intervals = [];
}

/** Runs all timers until `job` is done, then those that are due at once. */
export async function runUntil<T>(job: Promise<T>): Promise<T> {
  let isDone = false;
  const end = () => isDone = true;
  job.then(end, end);
  await turn();
  while (!isDone) {
    const timer = nextInterval() ?? pop();
    if (!timer) throw new Error("Nothing is left that could end the wait");
    if (!timer.isActive) continue;
    time = Math.max(time, timer.at);
    if (timer.every === undefined) {
      timer.isActive = false;
      activeAt = time;
    } else {
      timer.at = time + timer.every;
    }
    timer.run();
    await turn();
  }
  return await job;
}

/** The interval that is due before all timers, unless intervals rest. */
function nextInterval(): Timer | undefined {
  if (intervals.length === 0) return undefined;
  intervals = intervals.filter(({ isActive }) => isActive);
  const first = intervals.toSorted((a, b) => a.at - b.at)[0];
  if (!first || first.at > activeAt + REST) return undefined;
  return first.at <= (heap[0]?.at ?? Infinity) ? first : undefined;
}

/** All that needs no time gets done before the next turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => nextTurn(resolve));
}

/** Resolves after `ms`; rejects when the signal is aborted. */
export function sleep(ms: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal?.reason);
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort, { once: true });
    setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
  });
}

/** Runs `job` at a time, epoch ms. */
export function at(when: number, job: () => void): void {
  push(new Timer(job, when), when);
}

export function setTimeout<A extends unknown[]>(
  run: (...args: A) => void,
  ms = 0,
  ...args: A
): Timer {
  const timer = new Timer(() => run(...args), 0);
  push(timer, time + Math.max(1, ms));
  return timer;
}

export function setInterval<A extends unknown[]>(
  run: (...args: A) => void,
  ms = 0,
  ...args: A
): Timer {
  const every = Math.max(1, ms);
  const timer = new Timer(() => run(...args), 0, every);
  timer.at = time + every;
  intervals.push(timer);
  return timer;
}

export function setImmediate<A extends unknown[]>(
  run: (...args: A) => void,
  ...args: A
): Timer {
  const timer = new Timer(() => run(...args), 0);
  push(timer, time);
  return timer;
}

export function clearTimeout(timer: Timer | null | undefined): void {
  if (timer) timer.isActive = false;
}

export const clearInterval = clearTimeout;
export const clearImmediate = clearTimeout;

/** What the library may take from the global scope. */
export function installClock(): void {
  Object.assign(globalThis, {
    setTimeout,
    setInterval,
    setImmediate,
    clearTimeout,
    clearInterval,
    clearImmediate,
  });
  Date.now = now;
  performance.now = () => passed + time - START;
  AbortSignal.timeout = (ms) => {
    const controller = new AbortController();
    const reason = new DOMException("Signal timed out.", "TimeoutError");
    setTimeout(() => controller.abort(reason), ms);
    return controller.signal;
  };
}

function push(timer: Timer, when: number): void {
  timer.at = when;
  timer.order = count++;
  let index = heap.length;
  heap.push(timer);
  while (index > 0) {
    const parent = (index - 1) >> 1;
    if (!isBefore(timer, heap[parent]!)) break;
    heap[index] = heap[parent]!;
    index = parent;
  }
  heap[index] = timer;
}

function pop(): Timer | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (!first || !last || heap.length === 0) return first;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    if (child >= heap.length) break;
    const right = heap[child + 1];
    if (right && isBefore(right, heap[child]!)) child++;
    if (!isBefore(heap[child]!, last)) break;
    heap[index] = heap[child]!;
    index = child;
  }
  heap[index] = last;
  return first;
}

function isBefore(one: Timer, other: Timer): boolean {
  return one.at === other.at ? one.order < other.order : one.at < other.at;
}
