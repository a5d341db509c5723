import { deferred, withTimeLimit } from "../abort.ts";
import { RotatorError } from "../errors.ts";

/** Runs jobs of the same key one after another, in the order they came. */
export class Queue {
  readonly #ends = new Map<string, Promise<unknown>>();
  readonly #late: (key: string) => Error;

  /** @param late The error of a job whose turn has not come in time. */
  constructor(late: (key: string) => Error = lockedError) {
    this.#late = late;
  }

  /** How many keys have jobs. */
  get size(): number {
    return this.#ends.size;
  }

  /**
   * Runs a job when its turn has come.
   *
   * @param giveUpAt When to stop waiting, in time of `performance.now()`.
   * @throws {RotatorError} `store_locked` when its turn has not come by then.
   */
  async run<T>(key: string, giveUpAt: number, job: () => Promise<T>) {
    const before = this.#ends.get(key);
    const { promise: done, resolve: leave } = deferred<void>();
    const end = Promise.all([before, done]);
    this.#ends.set(key, end);
    const ms = Math.max(0, giveUpAt - performance.now());
    try {
      await withTimeLimit({ ms }, async () => await before)
        .catch(() => Promise.reject(this.#late(key)));
      return await job();
    } finally {
      leave();
      end.then(() => {
        if (this.#ends.get(key) === end) this.#ends.delete(key);
      });
    }
  }
}

/** The error of a lock that was not got in time. */
export function lockedError(path: string): RotatorError {
  return new RotatorError(
    "store_locked",
    `The lock ${path} did not come free in time; close the programs that use this store, delete the file if it remains, and try again`,
  );
}
