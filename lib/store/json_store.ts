import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { PoolState, Store } from "../types.ts";
import {
  keepGeneration,
  prepareBackup,
  readStoreFile,
  type StoreFile,
  withLaterTokens,
} from "./backup.ts";
import { codeOf, realFile, statFile, toStoreError } from "./file.ts";
import { withLock } from "./lock.ts";
import { currentFile, replaceStore, type TempFile } from "./replace.ts";
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
 * took over meanwhile; it has to be synchronous and without side effects. One
 * that throws rejects its own promise and leaves no trace.
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

class JsonFile implements JsonStore {
  readonly path: string;
  readonly #options: JsonStoreOptions;
  readonly #warned = new Set<string>();
  #known: StoreFile | undefined;

  constructor(path: string, options: JsonStoreOptions) {
    this.path = path;
    this.#options = options;
  }

  async read(): Promise<PoolState> {
    try {
      return (await this.#read()).state;
    } catch (error) {
      throw toStoreError(error, this.path, "read");
    }
  }

  async update(change: (state: PoolState) => void): Promise<PoolState> {
    const done = await replaceStore(this.path, async (temp, left) => {
      const before = await this.#read();
      let after = withLaterTokens(before, left);
      let refused: { reason: unknown } | undefined;
      try {
        after = applyChange(after, change);
      } catch (reason) {
        // what a change throws is not the file's fault
        refused = { reason };
      }
      const isSaved = await this.#save(temp, before, after);
      return isSaved ? { state: after.state, refused } : undefined;
    }, this.#options);
    if (done.refused) throw done.refused.reason;
    return done.state;
  }

  async exclusive<T>(name: string, job: () => Promise<T>): Promise<T> {
    const hash = createHash("sha256").update(name).digest("hex").slice(0, 16);
    const onFailure = (error: unknown) => {
      throw toStoreError(error, this.path, "written");
    };
    const file = await realFile(this.path).catch(onFailure);
    const options = { ...this.#options, onFailure };
    return await withLock(`${file}.${hash}.lock`, job, options);
  }

  /** Returns what was read before as long as the file is the same. */
  async #read(): Promise<StoreFile> {
    const file = await realFile(this.path);
    const facts = await statFile(await currentFile(file));
    if (facts === undefined || facts.version !== this.#known?.version) {
      this.#known = await readStoreFile(file);
    }
    return this.#known;
  }

  /** @returns False when the lock was taken over: then nothing has happened. */
  async #save(temp: TempFile, before: StoreFile, after: Snapshot) {
    const isTooWide = before.openToOthers && temp.isPrivate;
    if (after === before && before.version === undefined) return true;
    await keepGeneration(temp, before, after)
      .catch((error) => this.#warnOfBackup(temp.target, error));
    const backup = await prepareBackup(temp, after);
    try {
      if (after !== before || isTooWide) {
        const facts = await temp.write(after.text, before.mtimeMs);
        if (facts === undefined || !await temp.commit()) return false;
        this.#known = { ...facts, ...after };
      }
      if (isTooWide) {
        this.#warn(
          `The store ${temp.target} was open to other users and has mode 0600 now; if others had access, sign in again`,
        );
      }
      // The store is written by now, so this must not fail the update.
      await backup?.commit()
        .catch((error) => this.#warnOfBackup(temp.target, error));
      return true;
    } finally {
      await backup?.discard();
    }
  }

  #warnOfBackup(file: string, error: unknown): void {
    const code = codeOf(error) ?? "unknown reason";
    this.#warn(
      `The backup ${file}.bak cannot be written (${code}); check what is in its place`,
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
