import type { PoolState, Store } from "../types.ts";
import { Queue } from "./queue.ts";
import { applyChange, emptyState, snapshotOf } from "./state.ts";

/** How long `exclusive` waits for its turn. */
const WAIT_LIMIT_MS = 30_000;

/**
 * A store that forgets everything when the process ends.
 *
 * @param initial What is in it at first; it is copied.
 */
export function memoryStore(initial: Partial<PoolState> = {}): Store {
  let current = applyChange(snapshotOf(emptyState()), (state) => {
    Object.assign(state, initial);
  });
  const queue = new Queue();
  return {
    read() {
      return Promise.resolve(current.state);
    },
    update(change) {
      return new Promise((resolve) => {
        current = applyChange(current, change);
        resolve(current.state);
      });
    },
    exclusive(name, job) {
      return queue.run(name, performance.now() + WAIT_LIMIT_MS, job);
    },
  };
}
