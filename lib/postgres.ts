/**
 * A store in a PostgreSQL database, for several machines that share one pool.
 *
 * Nothing else of the library imports this module, as it needs a client:
 * `npm:postgres`.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import {
  Connection,
  DatabaseError,
  isOutOfReach,
  patiently,
  type Run,
} from "./postgres/connection.ts";
import { plan, withRows } from "./postgres/draft.ts";
import {
  busyError,
  doubtfulError,
  fencedError,
  KEEP,
  Locks,
} from "./postgres/locks.ts";
import { FORGET, LOCK, readChanges, writeRows } from "./postgres/pool_table.ts";
import { createTables, isMissing } from "./postgres/schema.ts";
import { ledgerTable, sessionTable } from "./postgres/tables.ts";
import {
  type PostgresStoreOptions,
  readTarget,
  type Target,
} from "./postgres/target.ts";
import { Watch } from "./postgres/watch.ts";
import { Queue } from "./store/queue.ts";
import { emptyState } from "./store/state.ts";
import type { PoolState, SessionStore, Store } from "./types.ts";

export type { PostgresStoreOptions } from "./postgres/target.ts";
export type { PoolState, SessionStore, Store } from "./types.ts";

/** A store in a PostgreSQL database. */
export interface PostgresStore extends Required<Store>, AsyncDisposable {
  /** The URL without its password. */
  readonly name: string;
  /** Ends its two connections; a later call opens them again. */
  close(): Promise<void>;
}

/**
 * A store in a PostgreSQL database that any number of processes, on any number
 * of machines, may share.
 *
 * A change given to `update` may run more than once, when another process wrote
 * meanwhile; it has to be synchronous and without side effects. Where nobody
 * knows whether it was written, as the database has gone, it is looked for, for 3 s
 * (in an `exclusive` job until `waitLimit`); the error then says so, and `update` with the same
 * function makes it once in any case. What is written inside of an `exclusive`
 * job is refused once another process has taken the lock over. The connections
 * keep no process from ending.
 *
 * @param url `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with the options
 * that `npm:postgres` knows, and `schema`; the environment's `PGPASSWORD` and
 * the like count where the URL is silent.
 * @throws {RotatorError} From its methods: `store_unwritable` when the database
 * cannot be reached or refuses, `store_version`, `store_locked`, `store_corrupt`.
 * @throws {TypeError} When the URL or the schema's name cannot be read.
 */
export function postgresStore(
  url: string | URL,
  options: PostgresStoreOptions = {},
): PostgresStore {
  return new Database(readTarget(url, options), options.waitLimit ?? 30_000);
}

/** Where others wrote at the same time, turns are taken at once for so long, ms. */
const CROWDED_MS = 1_000;
/** Whether a change was written is found out for so long, ms. */
const PATIENCE_MS = 3_000;

/** What is known of the database. */
interface Known {
  readonly revision: number;
  readonly state: PoolState;
  /** The session of the watch in which that was read; 0: none. */
  readonly session: number;
}

type Change = (state: PoolState) => void;

/** One call of `update`. */
interface Update {
  readonly change: Change;
  /** Counts those of this process. */
  readonly number: number;
  /** By `performance.now()`. */
  readonly giveUpAt: number;
  readonly fences: string;
  /** It may have been written, or yet be, although nobody has told. */
  isDoubtful: boolean;
}

class Database implements PostgresStore {
  readonly name: string;
  readonly ledger: PostgresStore["ledger"];
  readonly sessions: SessionStore;
  readonly remote: PostgresStore["remote"];
  readonly #connection: Connection;
  readonly #watch: Watch;
  readonly #locks: Locks;
  readonly #queue = new Queue(() => busyError(this.name));
  readonly #waitLimit: number;
  /** What names this process, which counts its changes. */
  readonly #id = randomUUID();
  #changes = 0;
  /** Those that failed and may have been written, until it is known that they were not. */
  readonly #doubts = new Map<Change, { number: number; isWritten: boolean }>();
  #known: Known | undefined;
  #crowdedUntil = -Infinity;
  readonly #ask: Run = (...args) => this.#connection.ask(...args);

  constructor(target: Target, waitLimit: number) {
    this.name = target.name;
    this.#waitLimit = waitLimit;
    this.#connection = new Connection(target);
    this.#watch = new Watch(target, KEEP);
    const ask: Run = (...args) => this.#withTables(() => this.#ask(...args));
    this.#locks = new Locks(ask, this.#watch, { ...target, waitLimit });
    this.ledger = ledgerTable(ask);
    this.sessions = sessionTable(ask);
    this.remote = { isCurrent: () => this.#isCurrent() };
  }

  async read(): Promise<PoolState> {
    await this.#withTables(() => this.#load());
    return this.#known!.state;
  }

  async update(change: Change): Promise<PoolState> {
    const giveUpAt = performance.now() + this.#waitLimit;
    const { fences } = this.#locks;
    return await this.#queue.run("update", giveUpAt, async () => {
      const number = this.#doubts.get(change)?.number ?? ++this.#changes;
      const update = { change, number, giveUpAt, fences, isDoubtful: false };
      try {
        const state = await this.#withTables(() => this.#update(update));
        this.#doubts.delete(change);
        return state;
      } catch (error) {
        const doubt = { number, isWritten: false };
        if (update.isDoubtful) this.#doubts.set(change, doubt);
        throw this.#doubts.has(change) ? doubtfulError(error) : error;
      }
    });
  }

  exclusive<T>(name: string, job: () => Promise<T>): Promise<T> {
    return this.#locks.run(name, job);
  }

  async close(): Promise<void> {
    await Promise.all([this.#watch.close(), this.#connection.close()]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #isCurrent(): boolean {
    this.#watch.want();
    const { session, revision } = this.#watch;
    return session !== 0 && session === this.#known?.session &&
      revision <= this.#known.revision;
  }

  async #withTables<T>(job: () => Promise<T>): Promise<T> {
    try {
      return await job();
    } catch (error) {
      if (!(error instanceof DatabaseError && isMissing(error))) throw error;
    }
    await createTables(this.#connection);
    return await job();
  }

  async #update(update: Update): Promise<PoolState> {
    // new tokens, which are saved inside of an exclusive job, must not be lost
    let patientUntil = update.fences === "{}" ? 0 : update.giveUpAt;
    if (!this.#known) await patiently(patientUntil, () => this.#load());
    if (this.#doubts.get(update.change)?.isWritten) return this.#known!.state;
    // most often nobody else writes at the same time; else they take turns
    let isAlone = performance.now() < this.#crowdedUntil;
    for (let failures = 0;; isAlone = true) {
      try {
        const written = isAlone
          ? await this.#connection.transaction((run) =>
            this.#alone(update, run)
          )
          : await this.#attempt(update, this.#connection.run);
        // not before it is committed
        if (written) return this.#keep(written, update);
        this.#crowdedUntil = performance.now() + CROWDED_MS;
      } catch (error) {
        if (!isOutOfReach(error)) throw error;
        // the connection may have been broken already
        const isFirst = failures++ === 0 && error.kind === "lost";
        if (isFirst && !update.isDoubtful) continue;
        if (update.isDoubtful) {
          const until = performance.now() + PATIENCE_MS;
          patientUntil = Math.max(patientUntil, until);
        }
        if (performance.now() >= patientUntil) throw error;
        const last = await patiently(patientUntil, () => this.#load());
        if (last === update.number) return this.#known!.state;
        if (performance.now() >= update.giveUpAt) throw error;
      }
    }
  }

  #keep(written: Known, { number }: Update): PoolState {
    // what was read meanwhile may be newer
    if (written.revision > this.#known!.revision) {
      this.#known = written;
      // what was not written until now finds another revision
      for (const [change, { isWritten }] of this.#doubts) {
        if (!isWritten) this.#doubts.delete(change);
      }
    }
    if (number === 1) void this.#ask(FORGET).catch(() => {});
    return written.state;
  }

  /** Makes a change while all others wait. */
  async #alone(update: Update, run: Run): Promise<Known> {
    const [, last] = await Promise.all([run(LOCK), this.#load(run)]);
    if (last === update.number) return this.#known!;
    const written = await this.#attempt(update, run);
    if (written) return written;
    throw fencedError(this.name);
  }

  /** Makes a change from what is known; returns undefined where that is outdated. */
  async #attempt(update: Update, run: Run): Promise<Known | undefined> {
    const { change, number, fences } = update;
    const known = this.#known!;
    const { revision, state } = known;
    const planned = plan(state, change);
    if (planned.kind !== "rows") {
      await this.#load(run);
      if (this.#known!.revision !== revision) return undefined;
      if (planned.kind === "refused") throw planned.reason;
      return known;
    }
    const { rows } = planned;
    const channel = this.#connection.target.schema;
    const writing = { revision, process: this.#id, change: number, fences };
    // one that was lost may still come to the server
    const { isDoubtful } = update;
    update.isDoubtful = true;
    const next = await writeRows(run, { ...writing, channel, rows })
      .catch((error) => {
        const isLost = isOutOfReach(error) && error.kind === "lost";
        update.isDoubtful = isDoubtful || isLost;
        throw error;
      });
    if (next !== undefined) {
      return { ...known, revision: next, state: withRows(state, rows) };
    }
    update.isDoubtful = false;
    return undefined;
  }

  /** Reads what changed; returns the number of the last change of this process. */
  async #load(run = this.#ask): Promise<number> {
    const { session } = this.#watch;
    const since = this.#known?.revision ?? 0;
    const about = { name: this.name, since, process: this.#id };
    const found = await readChanges(run, about);
    for (const doubt of this.#doubts.values()) {
      doubt.isWritten ||= doubt.number === found.change;
    }
    const known = this.#known;
    if (found.revision < since) {
      // an older copy was put in its place
      this.#known = undefined;
      this.#watch.revision = 0;
      return await this.#load(run);
    }
    if (found.revision === known?.revision) this.#known = { ...known, session };
    else if (found.revision > (known?.revision ?? 0)) {
      const state = withRows(known?.state ?? emptyState(), found);
      this.#known = { revision: found.revision, state, session };
    }
    return found.change;
  }
}
