import { clearTimeout, setTimeout } from "node:timers";
import type { NormalRecord, NormalState, PoolState, Store } from "../types.ts";
import { editState, emptyState, normalState } from "./state.ts";

/** A store is asked for news at most this often, ms. */
const SYNC_INTERVAL_MS = 1_000;
/** What does not matter at once is written at most this often, ms. */
const WRITE_BEHIND_MS = 10_000;
/** A request waits at most this long for facts to be written, ms. */
const BRIEFLY_MS = 1_000;

type Change = (state: NormalState) => void;

/** What has not reached the store yet. */
interface Pending {
  /** Changes that matter at once, in order. */
  changes: Change[];
  /** Accounts with fresher facts, and how often each was used. */
  touched: Map<string, number>;
}

/** What {@linkcode StateCache} is told. */
export interface StateCacheOptions {
  /** Brings this process's facts of an account into the stored record. */
  merge: (stored: NormalRecord, mine: NormalRecord, now: number) => void;
  /** Epoch ms. */
  now: () => number;
  /** Called after `state` was replaced by what the store holds. */
  onLoad: (state: NormalState) => void;
  /** Called after a change that matters at once was made to `state`. */
  onChange: () => void;
  /** A write failed; it is kept and tried again. */
  onWriteError: (error: unknown) => void;
}

/**
 * The state in memory, in step with its store: read again when the store
 * changed, at most once per second; written at once where it matters, and
 * behind where it does not.
 */
export class StateCache {
  /** The state as this process knows it. Changed in place by its owner. */
  state: NormalState = normalState(emptyState());
  readonly #store: Store;
  readonly #options: StateCacheOptions;
  #base: PoolState | undefined;
  #syncedAt = -Infinity;
  #syncedAtClock = -Infinity;
  #syncing: Promise<void> | undefined;
  #pending: Pending = { changes: [], touched: new Map() };
  /** What is being written: what the store holds until then lacks it. */
  #writing: Pending | undefined;
  /** The store was read while a write was under way: what the write brings may be older. */
  #readDuringWrite = false;
  /** Counts the beginnings and the ends of writes. */
  #writes = 0;
  #flushing: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(store: Store, options: StateCacheOptions) {
    this.#store = store;
    this.#options = options;
  }

  /**
   * Whether the state is at most a second old, by the machine's own time and by
   * the clock that the rotator was given.
   *
   * @param at As `performance.now()` tells the time, ms.
   */
  isCurrent(at: number = performance.now()): boolean {
    const aged = at - this.#syncedAt;
    const clock = Math.abs(this.#options.now() - this.#syncedAtClock);
    return aged < SYNC_INTERVAL_MS && clock < SYNC_INTERVAL_MS;
  }

  /** Whether a change that matters at once could not be written yet. */
  get isBehind(): boolean {
    return this.#pending.changes.length > 0 && this.#flushing === undefined;
  }

  /** Brings in what other processes wrote, unless that was done within the last second. */
  sync(): Promise<void> {
    if (this.isCurrent()) return Promise.resolve();
    this.#syncing ??= this.#read().finally(() => this.#syncing = undefined);
    return this.#syncing;
  }

  /** Brings in what other processes wrote until now. */
  async reload(): Promise<void> {
    // a read under way may have begun too early to see it
    await this.#syncing?.catch(() => {});
    await this.#read();
  }

  async #read(): Promise<void> {
    let writes: number;
    let state: PoolState;
    do {
      writes = this.#writes;
      state = await this.#store.read();
      // a write of our own that began or ended meanwhile may be newer or older
    } while (writes !== this.#writes);
    // a store may go on with one object of its own and change that
    if (state !== this.#base || !Object.isFrozen(state)) this.#load(state);
    if (this.#writing) this.#readDuringWrite = true;
    this.#syncedAt = performance.now();
    this.#syncedAtClock = this.#options.now();
  }

  /** Starts from what the store holds and brings in again what it lacks. */
  #load(base: PoolState): void {
    const mine = this.state;
    this.#base = base;
    this.state = normalState(base);
    if (this.#writing) this.#apply(this.#writing, this.state, mine);
    this.#apply(this.#pending, this.state, mine);
    this.#options.onLoad(this.state);
  }

  #apply(pending: Pending, target: NormalState, mine: NormalState): void {
    for (const change of pending.changes) change(target);
    const now = this.#options.now();
    for (const [alias, uses] of pending.touched) {
      // an account that another process removed stays removed
      if (!Object.hasOwn(target.accounts, alias)) continue;
      if (!Object.hasOwn(mine.accounts, alias)) continue;
      const stored = target.accounts[alias]!;
      const own = mine.accounts[alias]!;
      // a copy: what is known here goes on changing
      this.#options.merge(stored, structuredClone(own), now);
      if (uses === 0) continue;
      stored.requests += uses;
      stored.lastUsedAt = Math.max(
        stored.lastUsedAt ?? 0,
        own.lastUsedAt ?? 0,
      );
    }
  }

  /** Notes that facts of an account changed in memory, to be written behind; `uses` counts requests. */
  markDirty(alias: string, uses = 0): void {
    const { touched } = this.#pending;
    touched.set(alias, (touched.get(alias) ?? 0) + uses);
    this.#schedule();
  }

  /**
   * Changes the state in memory now and in the store at once.
   *
   * @param change Applied to the memory and, possibly later, to what the store then holds.
   * @returns When it is written, or when writing failed and was put off.
   */
  writeThrough(change: Change): Promise<void> {
    change(this.state);
    this.#options.onChange();
    this.#pending.changes.push(change);
    return this.flush();
  }

  /**
   * As {@linkcode writeThrough}, but does not wait long for a store that is held up:
   * the change counts here already, and the writing goes on.
   */
  write(change: Change): Promise<void> {
    return this.#briefly(this.writeThrough(change));
  }

  /** Writes what is pending, but does not wait long for a store that is held up. */
  settle(): Promise<void> {
    return this.#briefly(this.flush());
  }

  async #briefly(work: Promise<void>): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, BRIEFLY_MS);
    });
    await Promise.race([work, limit]);
    clearTimeout(timer);
  }

  /** Writes what is pending. */
  async flush(): Promise<void> {
    const running = this.#flushing;
    if (running) await running;
    // whoever waited with us may have taken our changes along
    if (this.#flushing) return this.#flushing;
    if (isEmpty(this.#pending)) return;
    this.#flushing = this.#write().finally(() => this.#flushing = undefined);
    return this.#flushing;
  }

  async #write(): Promise<void> {
    const writing = this.#pending;
    this.#writing = writing;
    this.#writes++;
    this.#pending = { changes: [], touched: new Map() };
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      let base = await this.#store.update((stored) =>
        editState(stored, (state) => this.#apply(writing, state, this.state))
      );
      // what was read meanwhile may be newer than what was written
      while (this.#readDuringWrite) {
        this.#readDuringWrite = false;
        base = await this.#store.read();
      }
      this.#writing = undefined;
      this.#load(base);
    } catch (error) {
      this.#putBack(writing);
      this.#options.onWriteError(error);
    } finally {
      this.#writing = undefined;
      this.#readDuringWrite = false;
      this.#writes++;
    }
  }

  #putBack(writing: Pending): void {
    const { changes, touched } = this.#pending;
    for (const [alias, uses] of touched) {
      writing.touched.set(alias, (writing.touched.get(alias) ?? 0) + uses);
    }
    writing.changes.push(...changes);
    this.#pending = writing;
    this.#schedule();
  }

  /** The timer keeps no process alive: a script ends when its own work is done. */
  #schedule(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.flush();
    }, WRITE_BEHIND_MS);
    this.#timer.unref();
  }

  /** Writes what is pending and stops the clockwork. */
  async close(): Promise<void> {
    await this.flush();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

function isEmpty(pending: Pending): boolean {
  return pending.changes.length === 0 && pending.touched.size === 0;
}
