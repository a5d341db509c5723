import type { PoolState, Store } from "../types.ts";
import { inOrder, type Queues } from "./lock.ts";
import { applyChange, emptyState, snapshotOf } from "./state.ts";

/** How long `exclusive` waits for its turn, ms. */
const WAIT_LIMIT = 30_000;

/**
 * A store that forgets everything when the process ends.
 *
 * @param initial What is in it at first; it is copied.
 */
export function memoryStore(initial: Partial<PoolState> = {}): Store {
  const given = snapshotOf(emptyState());
  let current = applyChange(
    given,
    (state) => void Object.assign(state, initial),
  );
  const queues: Queues = new Map();
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
      return inOrder(queues, name, performance.now() + WAIT_LIMIT, job);
    },
  };
}
