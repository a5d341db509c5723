import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { PoolState, Store } from "../types.ts";
import { Backup } from "./backup.ts";
import { readContent, type StoreFile } from "./content.ts";
import {
  codeOf,
  commitTemp,
  createTemp,
  discardTemp,
  fillTemp,
  realFile,
  statFile,
  type TempFile,
  toStoreError,
} from "./file.ts";
import { lockedError, withLock } from "./lock.ts";
import { applyChange, type Snapshot } from "./state.ts";
import { sweep } from "./sweep.ts";

/** Options of {@linkcode jsonStore}. */
export interface JsonStoreOptions {
  /** Is told once what is wrong but does not stop the work. */
  onWarning?: (message: string) => void;
  /** How long to wait for other processes, ms. @default {30_000} */
  waitLimit?: number;
}

/** A store in a JSON file. */
export interface JsonStore extends Store {
  /** The file as it was given. */
  readonly path: string;
}

/**
 * A store in a JSON file that any number of processes may share.
 *
 * A change given to `update` may run more than once, when another process
 * took over meanwhile; it has to be synchronous and without side effects.
 * Changes that wait at the same time are written together; one that throws
 * rejects its own promise and leaves no trace.
 *
 * @param path The file, or a `file:` URL. It is created by the first update.
 * @throws {RotatorError} From its methods: `store_corrupt`, `store_version`,
 * `store_locked`, `store_unwritable`.
 * @throws {TypeError} When the path is empty.
 */
export function jsonStore(
  path: string | URL,
  options: JsonStoreOptions = {},
): JsonStore {
  const file = path instanceof URL ? fileURLToPath(path) : path;
  if (file === "") {
    throw new TypeError("The path of the store is empty; pass a file path");
  }
  return new JsonFile(file, options);
}

interface Pending {
  readonly change: (state: PoolState) => void;
  readonly resolve: (state: PoolState) => void;
  readonly reject: (error: unknown) => void;
}

/** How often an update starts over after others took its lock away. */
const TURNS = 10;

class JsonFile implements JsonStore {
  readonly path: string;
  readonly #options: JsonStoreOptions;
  readonly #warned = new Set<string>();
  readonly #backup = new Backup();
  #cache: StoreFile | undefined;
  #pending: Pending[] = [];
  #isWriting = false;

  constructor(path: string, options: JsonStoreOptions) {
    this.path = path;
    this.#options = options;
  }

  async read(): Promise<PoolState> {
    try {
      const facts = await statFile(this.path);
      if (facts === undefined || facts.version !== this.#cache?.version) {
        this.#cache = await readContent(await realFile(this.path));
      }
      return this.#cache.state;
    } catch (error) {
      throw toStoreError(error, this.path, "read");
    }
  }

  update(change: (state: PoolState) => void): Promise<PoolState> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ change, resolve, reject });
      if (!this.#isWriting) this.#writeAll();
    });
  }

  async exclusive<T>(name: string, job: () => Promise<T>): Promise<T> {
    const hash = createHash("sha256").update(name).digest("hex").slice(0, 16);
    let settle: (() => T) | undefined;
    try {
      const file = await realFile(this.path);
      await withLock(`${file}.${hash}.lock`, async () => {
        settle = await outcomeOf(job);
      }, this.#options);
    } catch (error) {
      throw toStoreError(error, this.path, "written");
    }
    return settle!();
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#pending.length > 0) {
      const batch: Pending[] = [];
      try {
        await this.#writeBatch(batch);
      } catch (error) {
        const failed = batch.length > 0 ? batch : this.#pending.splice(0);
        const reason = toStoreError(error, this.path, "written");
        for (const { reject } of failed) reject(reason);
      }
    }
    this.#isWriting = false;
  }

  /** Fills `batch` once the lock is held, with all that waits by then. */
  async #writeBatch(batch: Pending[]): Promise<void> {
    for (let turn = 0; turn < TURNS; turn++) {
      const file = await realFile(this.path);
      const settle = await withLock(`${file}.lock`, async (token) => {
        batch.push(...this.#pending.splice(0));
        return await this.#attempt(file, token, batch);
      }, this.#options);
      if (settle !== undefined) return settle();
    }
    throw lockedError(`${this.path}.lock`);
  }

  /**
   * One round under the lock.
   *
   * @returns What tells the callers; undefined when the lock was taken over
   * and nothing has happened.
   */
  async #attempt(
    file: string,
    token: string,
    batch: readonly Pending[],
  ): Promise<(() => void) | undefined> {
    // The order matters: our file first, then everyone else's away, then read.
    // Of two that believe to hold the lock at least one loses its file, and
    // the other has read what the first one wrote, if it did.
    const temp = await createTemp(file, token);
    try {
      await sweep(temp);
      const before = await readContent(file);
      let after: Snapshot = this.#remember(before);
      const settle: (() => void)[] = [];
      for (const { change, resolve, reject } of batch) {
        try {
          after = applyChange(after, change);
          settle.push(() => resolve(after.state));
        } catch (error) {
          settle.push(() => reject(error));
        }
      }
      if (!await this.#save(temp, before, after)) return undefined;
      return () => settle.forEach((tell) => tell());
    } finally {
      await discardTemp(temp);
    }
  }

  /** Prefers the object that was handed out before, as long as it is true. */
  #remember(content: StoreFile): StoreFile {
    const known = this.#cache;
    if (known?.version === content.version && known?.text === content.text) {
      return known;
    }
    this.#cache = content;
    return content;
  }

  async #save(
    temp: TempFile,
    before: StoreFile,
    after: Snapshot,
  ): Promise<boolean> {
    const isSame = after.text === before.text;
    const isTooWide = before.openToOthers && temp.isPrivate;
    if (isSame && before.version === undefined) return true;
    const backup = await this.#backup.prepare(temp, after);
    try {
      if (!isSame || isTooWide) {
        const facts = await fillTemp(temp, after.text, before.mtimeMs);
        if (facts === undefined || !await commitTemp(temp)) return false;
        this.#cache = { ...facts, ...after };
        if (isTooWide) this.#warnOfMode(temp.target);
      }
      if (backup !== undefined) await this.#saveBackup(backup);
      return true;
    } finally {
      if (backup !== undefined) await discardTemp(backup);
    }
  }

  /** The store is written by now, so this must not fail the update. */
  async #saveBackup(backup: TempFile): Promise<void> {
    try {
      // Whoever took the lock over meanwhile brings the backup up to date.
      await commitTemp(backup);
    } catch (error) {
      const code = codeOf(error) ?? "unknown reason";
      this.#warn(
        `The backup ${backup.target} cannot be written (${code}); check what is in its place`,
      );
    }
  }

  #warnOfMode(file: string): void {
    this.#warn(
      `The store ${file} was open to other users and has mode 0600 now; if others had access, sign in again`,
    );
  }

  #warn(message: string): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    try {
      this.#options.onWarning?.(message);
    } catch {
      // A callback that throws disturbs nothing.
    }
  }
}

/** What a job came to, apart from what went wrong around it. */
async function outcomeOf<T>(job: () => Promise<T>): Promise<() => T> {
  try {
    const value = await job();
    return () => value;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}
