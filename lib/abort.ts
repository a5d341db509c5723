/**
 * Waiting no longer than the caller wants.
 */
import { clearTimeout, setTimeout } from "node:timers";

/**
 * Waits for shared work, but no longer than the caller wants: an abort rejects
 * at once with the caller's own reason and leaves the work to the others.
 */
export function withAbort<T>(
  work: Promise<T>,
  signal: AbortSignal | null | undefined,
): Promise<T> {
  if (!signal) return work;
  if (signal.aborted) {
    work.catch(() => {});
    return Promise.reject(signal.reason);
  }
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() =>
      signal.removeEventListener("abort", onAbort)
    );
  });
}

/** A promise, and what settles it. */
interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

/** As `Promise.withResolvers()`, which the types of ES2023 lack. */
export function deferred<T>(): Deferred<T> {
  let settle: Pick<Deferred<T>, "resolve" | "reject">;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, ...settle! };
}

export interface Limits {
  /** Time limit (ms). */
  readonly ms: number;
  readonly signal?: AbortSignal | null | undefined;
}

/**
 * Runs a job whose signal aborts with the caller's or when the time is over.
 * Unlike with `AbortSignal.timeout`, nothing is left behind once the job ends:
 * no timer, and no listener on a signal that lives longer.
 *
 * @throws {DOMException} `TimeoutError` when the time is over.
 * @throws The reason of the caller's signal.
 */
export async function withTimeLimit<T>(
  { ms, signal }: Limits,
  job: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const both = new AbortController();
  const late = () => {
    const text = `no answer within ${ms / 1000} s`;
    both.abort(new DOMException(text, "TimeoutError"));
  };
  const leave = () => both.abort(signal?.reason);
  const timer = setTimeout(late, ms);
  signal?.addEventListener("abort", leave, { once: true });
  if (signal?.aborted) leave();
  try {
    // a job that does not listen to the signal is not waited for either
    return await withAbort(job(both.signal), both.signal);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", leave);
  }
}

/** Waits for something, but not longer than so many ms. */
export async function atMost(ms: number, done: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([done, limit]).finally(() => clearTimeout(timer));
}

/** Timers hold no more (ms). */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Waits so many ms, unless the caller aborts. */
export async function delay(
  ms: number,
  signal?: AbortSignal | null,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    for (let left = ms; left > 0; left -= MAX_TIMER_MS) {
      const part = Math.min(left, MAX_TIMER_MS);
      await withAbort(
        new Promise<void>((resolve) => timer = setTimeout(resolve, part)),
        signal,
      );
    }
  } finally {
    clearTimeout(timer);
  }
}
