import { clearTimeout, setTimeout } from "node:timers";
import { atMost } from "../abort.ts";
import { RotatorError } from "../errors.ts";
import type { PoolState, Store } from "../types.ts";
import type { NormalRecord, NormalState } from "../normal_types.ts";
import { editState, emptyState, normalState } from "./state.ts";

/** A store is read at most this often by `sync`, ms. */
const SYNC_INTERVAL_MS = 1_000;
/** What does not matter at once is written at most this often, ms. */
const WRITE_BEHIND_MS = 10_000;
/** What a store behind a network could not take is tried again after this, ms. */
const RETRY_MS = 1_000;
/** A request waits at most this long for a write, or for a store behind a network, ms. */
const WAIT_LIMIT_MS = 1_000;

type Change = (state: NormalState) => void;

/** What is not in the store yet. */
interface Pending {
  /** Changes that matter at once, in order. */
  changes: Change[];
  /** Accounts with fresher facts, and how often each was used. */
  dirty: Map<string, number>;
  /** Adds all that to what is stored; one function, by which a store knows what it is given again. */
  write: (stored: PoolState) => void;
}

export interface StateCacheOptions {
  /** Finds the stored record of a login: its name may have passed to another one. */
  find: (
    state: NormalState,
    alias: string,
    login: NormalRecord,
  ) => NormalRecord | undefined;
  /** Merges this process's facts of an account into the stored record. */
  merge: (stored: NormalRecord, mine: NormalRecord, now: number) => void;
  /** Epoch ms. */
  now: () => number;
  /** Called after `state` was replaced by what the store holds. */
  onLoad: (state: NormalState) => void;
  /** Called after `write` or `save` changed `state`. */
  onChange: () => void;
  /** A write failed; it is kept and tried again. */
  onWriteError: (error: unknown) => void;
  /** A store behind a network is out of reach; what is known goes on. */
  onOutOfReach: (error: unknown) => void;
}

/**
 * The state in memory, in its normal form and in step with its store: read
 * again at most once per second, written at once where it matters, else behind.
 */
export class StateCache {
  /** The state as this process knows it. Changed in place by its owner. */
  state: NormalState = normalState(emptyState());
  /** Whether anything was written yet, so that the store is one that can be. */
  hasSaved = false;
  #isOutOfReach = false;
  #hasFailed = false;
  readonly #store: Store;
  readonly #options: StateCacheOptions;
  #stored: PoolState | undefined;
  #syncedAt = -Infinity;
  #syncedAtClock = -Infinity;
  #syncing: Promise<void> | undefined;
  #pending = this.#nothing();
  /** What is being written, or could not be: the store may lack it until then. */
  #writing = this.#nothing();
  #flushing: Promise<void> | undefined;
  /** Numbers the reads, in the order they began. */
  #reads = 0;
  /** Reads with a lower number may be older than what was loaded. */
  #newest = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(store: Store, options: StateCacheOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Whether a change that matters at once could not be written yet. */
  get isBehind(): boolean {
    return this.#flushing === undefined &&
      this.#pending.changes.length + this.#writing.changes.length > 0;
  }

  /** Loads what other processes wrote, unless that was done within the last second. */
  async sync(): Promise<void> {
    const age = performance.now() - this.#syncedAt;
    const ageByClock = Math.abs(this.#options.now() - this.#syncedAtClock);
    if (age < SYNC_INTERVAL_MS && ageByClock < SYNC_INTERVAL_MS) return;
    const { remote } = this.#store;
    const isKnown = remote !== undefined && this.#stored !== undefined;
    if (isKnown && remote.isCurrent()) return;
    const syncing = this.#syncing ??=
      (isKnown ? this.#readRemote() : this.#read())
        .finally(() => this.#syncing = undefined);
    if (!isKnown) return await syncing;
    if (this.#isOutOfReach) return void syncing.catch(() => {});
    await atMost(WAIT_LIMIT_MS, syncing);
    if (this.#syncing === syncing) {
      this.#noteOutOfReach(new Error("it did not answer in time"));
    }
  }

  /** Reads a store that may be out of reach: what is known goes on then. */
  async #readRemote(): Promise<void> {
    try {
      await this.#read();
    } catch (error) {
      const isOut = error instanceof RotatorError &&
        error.code === "store_unwritable";
      if (!isOut) throw error;
      this.#noteSync();
      return this.#noteOutOfReach(error);
    }
    if (!this.#isOutOfReach) return;
    this.#isOutOfReach = false;
    void this.flush();
  }

  /** No request waits for the store until it is back. */
  #noteOutOfReach(error: unknown): void {
    if (!this.#isOutOfReach) this.#options.onOutOfReach(error);
    this.#isOutOfReach = true;
  }

  /** Loads what other processes wrote until now. */
  async reload(): Promise<void> {
    // a read under way may have begun too early to see it
    await this.#syncing?.catch(() => {});
    await this.#read();
  }

  /** As {@linkcode reload}; where a store behind a network is out of reach, what is known goes on. */
  async reloadIfReached(): Promise<void> {
    if (!this.#store.remote || !this.#stored) return await this.reload();
    await this.#syncing?.catch(() => {});
    await this.#readRemote();
  }

  /** Notes that facts of an account changed in memory, to be written behind; `uses` counts requests. */
  markDirty(alias: string, uses = 0): void {
    const { dirty } = this.#pending;
    dirty.set(alias, (dirty.get(alias) ?? 0) + uses);
    this.#schedule();
  }

  /**
   * Changes the state in memory now and in the store at once; waits at most a
   * second for that.
   *
   * @param change Run on the memory and later on what the store then holds;
   * without one, what is pending is written.
   */
  async write(change?: Change): Promise<void> {
    await atMost(WAIT_LIMIT_MS, change ? this.save(change) : this.flush());
  }

  /** As {@linkcode write}, for one login: where that is gone, nothing changes. */
  writeRecord(
    { alias, record }: { alias: string; record: NormalRecord },
    change: (stored: NormalRecord) => void,
  ): Promise<void> {
    return this.write((state) => {
      const stored = this.#options.find(state, alias, record);
      if (stored) change(stored);
    });
  }

  /** As {@linkcode write}, but waits until the store has it or writing failed. */
  save(change: Change): Promise<void> {
    change(this.state);
    this.#options.onChange();
    this.#pending.changes.push(change);
    return this.flush();
  }

  /** Writes what is pending. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#flushing;
    // whoever waited as well may have begun to write our changes
    if (this.#flushing) return this.#flushing;
    if (isEmpty(this.#pending) && isEmpty(this.#writing)) return;
    this.#flushing = this.#write().finally(() => this.#flushing = undefined);
    return this.#flushing;
  }

  /** Writes what is pending; nothing is written by itself afterwards. */
  async close(): Promise<void> {
    await this.flush();
    clearTimeout(this.#timer);
  }

  async #read(): Promise<void> {
    let read: number;
    let stored: PoolState;
    do {
      read = ++this.#reads;
      stored = await this.#store.read();
    } while (read < this.#newest);
    this.#newest = read;
    // a store may go on with one object of its own and change that
    if (stored !== this.#stored || !Object.isFrozen(stored)) this.#load(stored);
    this.#noteSync();
  }

  #noteSync(): void {
    this.#syncedAt = performance.now();
    this.#syncedAtClock = this.#options.now();
  }

  /** Starts from what the store holds and adds what it lacks. */
  #load(stored: PoolState): void {
    const mine = this.state;
    this.#stored = stored;
    this.state = normalState(stored);
    this.#apply(this.#writing, this.state, mine);
    this.#apply(this.#pending, this.state, mine);
    this.#options.onLoad(this.state);
  }

  #apply(pending: Pending, target: NormalState, mine: NormalState): void {
    for (const change of pending.changes) change(target);
    const now = this.#options.now();
    for (const [alias, uses] of pending.dirty) {
      const own = mine.accounts[alias];
      const stored = own && this.#options.find(target, alias, own);
      // an account that another process removed stays removed
      if (!stored) continue;
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

  async #write(): Promise<void> {
    // what could not be written comes first, and as it was
    if (!isEmpty(this.#writing) && !await this.#tryWriting()) return;
    this.#writing = this.#pending;
    this.#pending = this.#nothing();
    await this.#tryWriting();
  }

  async #tryWriting(): Promise<boolean> {
    if (isEmpty(this.#writing)) return true;
    const reads = this.#reads;
    try {
      const written = await this.#store.update(this.#writing.write);
      this.hasSaved = true;
      this.#hasFailed = false;
      this.#writing = this.#nothing();
      const isNewest = reads === this.#reads;
      this.#newest = ++this.#reads;
      if (isNewest) this.#load(written);
      // what was read meanwhile may be newer than what was written
      else this.#syncedAt = -Infinity;
      return true;
    } catch (error) {
      this.#schedule(this.#store.remote && RETRY_MS);
      // what is tried again every second is not told every second
      if (!this.#store.remote || !this.#hasFailed) {
        this.#options.onWriteError(error);
      }
      this.#hasFailed = true;
      return false;
    }
  }

  #nothing(): Pending {
    const pending: Pending = {
      changes: [],
      dirty: new Map(),
      write: (stored) =>
        editState(stored, (state) => this.#apply(pending, state, this.state)),
    };
    return pending;
  }

  /** The timer keeps no process alive: a script ends when its own work is done. */
  #schedule(wait?: number): void {
    if (wait !== undefined) clearTimeout(this.#timer);
    else if (this.#timer) return;
    this.#timer = setTimeout(() => void this.flush(), wait ?? WRITE_BEHIND_MS)
      .unref();
  }
}

function isEmpty({ changes, dirty }: Pending): boolean {
  return changes.length === 0 && dirty.size === 0;
}
