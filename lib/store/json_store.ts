import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { PoolState, Store } from "../types.ts";
import { Backup, readStoreFile, type StoreFile } from "./backup.ts";
import {
  codeOf,
  realFile,
  statFile,
  type TempFile,
  toStoreError,
} from "./file.ts";
import { replaceStore, withLock } from "./lock.ts";
import { applyChange, type Snapshot } from "./state.ts";

/** Options of {@linkcode jsonStore}. */
export interface JsonStoreOptions {
  /** Is told once what is wrong but does not stop the work. */
  onWarning?: (message: string) => void;
  /** How long to wait for other processes (ms). @default {30_000} */
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

/** A change, and who waits for it. */
interface Waiting {
  readonly change: (state: PoolState) => void;
  readonly resolve: (state: PoolState) => void;
  readonly reject: (error: unknown) => void;
}

class JsonFile implements JsonStore {
  readonly path: string;
  readonly #options: JsonStoreOptions;
  readonly #warned = new Set<string>();
  readonly #backup = new Backup();
  #known: StoreFile | undefined;
  #waiting: Waiting[] = [];
  #isWriting = false;

  constructor(path: string, options: JsonStoreOptions) {
    this.path = path;
    this.#options = options;
  }

  async read(): Promise<PoolState> {
    try {
      const facts = await statFile(this.path);
      if (facts === undefined || facts.version !== this.#known?.version) {
        this.#known = await readStoreFile(await realFile(this.path));
      }
      return this.#known.state;
    } catch (error) {
      throw toStoreError(error, this.path, "read");
    }
  }

  update(change: (state: PoolState) => void): Promise<PoolState> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ change, resolve, reject });
      if (!this.#isWriting) this.#writeAll();
    });
  }

  async exclusive<T>(name: string, job: () => Promise<T>): Promise<T> {
    const hash = createHash("sha256").update(name).digest("hex").slice(0, 16);
    let done: Promise<T> | undefined;
    try {
      const file = await realFile(this.path);
      await withLock(`${file}.${hash}.lock`, async () => {
        done = job();
        await Promise.allSettled([done]);
      }, this.#options);
    } catch (error) {
      throw toStoreError(error, this.path, "written");
    }
    return done!;
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      const batch: Waiting[] = [];
      try {
        const tell = await replaceStore(this.path, (temp) => {
          // all that wait by now, and those of an attempt that came to nothing
          batch.push(...this.#waiting.splice(0));
          return this.#write(temp, batch);
        }, this.#options);
        tell();
      } catch (error) {
        const reason = toStoreError(error, this.path, "written");
        const failed = batch.length > 0 ? batch : this.#waiting.splice(0);
        for (const { reject } of failed) reject(reason);
      }
    }
    this.#isWriting = false;
  }

  /** @returns What tells the callers; undefined when nothing has happened. */
  async #write(
    temp: TempFile,
    batch: readonly Waiting[],
  ): Promise<(() => void) | undefined> {
    const before = await this.#readAgain(temp.target);
    let after: Snapshot = before;
    const tell: (() => void)[] = [];
    for (const { change, resolve, reject } of batch) {
      try {
        const { state } = after = applyChange(after, change);
        tell.push(() => resolve(state));
      } catch (error) {
        tell.push(() => reject(error));
      }
    }
    const isDone = await this.#save(temp, before, after);
    return isDone ? () => tell.forEach((it) => it()) : undefined;
  }

  /** Prefers the object that was handed out before, as long as it is true. */
  async #readAgain(file: string): Promise<StoreFile> {
    const read = await readStoreFile(file);
    const known = this.#known;
    const isSame = known?.version === read.version && known?.text === read.text;
    return this.#known = isSame ? known! : read;
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
        const facts = await temp.write(after.text, before.mtimeMs);
        if (facts === undefined || !await temp.commit()) return false;
        this.#known = { ...facts, ...after };
        if (isTooWide) {
          this.#warn(
            `The store ${temp.target} was open to other users and has mode 0600 now; if others had access, sign in again`,
          );
        }
      }
      // Whoever took the lock over meanwhile brings the backup up to date.
      await backup?.commit().catch((error) =>
        this.#warnOfBackup(backup, error)
      );
      return true;
    } finally {
      await backup?.discard();
    }
  }

  /** The store is written by now, so this must not fail the update. */
  #warnOfBackup({ target }: TempFile, error: unknown): void {
    this.#warn(
      `The backup ${target} cannot be written (${
        codeOf(error) ?? "unknown reason"
      }); check what is in its place`,
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
