import { chmod, constants, copyFile, readFile, rename } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { RotatorError } from "../errors.ts";
import { statFile, toStoreError } from "./file.ts";
import type { LockOptions } from "./lock.ts";
import { replaceStore, TempFile } from "./replace.ts";
import {
  corrupt,
  emptyState,
  lastingPart,
  parseState,
  type Snapshot,
  snapshotOf,
  withoutBackup,
} from "./state.ts";

/** What a store's file held when it was read. */
export interface StoreFile extends Snapshot {
  /** Undefined: there is no file. */
  readonly version: string | undefined;
  /** Modification time, epoch ms; 0 without a file. */
  readonly mtimeMs: number;
  readonly openToOthers: boolean;
}

/** One object for all stores that do not exist yet, as nothing changes in it. */
const NOTHING: StoreFile = {
  ...snapshotOf(emptyState()),
  version: undefined,
  mtimeMs: 0,
  openToOthers: false,
};

/** The backup of a store. */
export function backupOf(file: string): string {
  return `${file}.bak`;
}

/**
 * Reads a store's file; a missing one is empty, unless its backup is there.
 *
 * @throws {RotatorError} `store_corrupt` or `store_version`.
 */
export async function readStoreFile(file: string): Promise<StoreFile> {
  // Looked at before it is read: what a writer does in between makes the
  // content newer than its facts, and the next look finds out.
  const facts = await statFile(file);
  if (facts === undefined) return await readMissing(file);
  try {
    if (facts.kind === "folder") throw corrupt(file, "it is a folder");
    if (facts.kind === "other") throw corrupt(file, "it is not a regular file");
    const text = decode(await readFile(file), file);
    return { ...facts, ...snapshotOf(parseState(text, file)) };
  } catch (error) {
    if (!isCorrupt(error) || await statFile(backupOf(file))) throw error;
    throw withoutBackup(error, file);
  }
}

async function readMissing(file: string): Promise<StoreFile> {
  const backup = backupOf(file);
  if (await statFile(backup) === undefined) return NOTHING;
  // The first update of another process may have created both just now.
  if (await statFile(file) !== undefined) return await readStoreFile(file);
  throw new RotatorError(
    "store_corrupt",
    `The store ${file} is missing while its backup ${backup} is there; put the backup back with "codex-rotator restore", or delete it to start anew`,
  );
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw corrupt(file, "it is not UTF-8 text");
  }
}

function isCorrupt(error: unknown): error is RotatorError {
  return error instanceof RotatorError && error.code === "store_corrupt";
}

/** Keeps `FILE.bak` up with what must not be lost of `FILE`. */
export class Backup {
  /** What the backup holds, as long as it has this version. */
  #known: { version: string; lasting: unknown } | undefined;

  /** Writes the new backup beside the old one, where it is due. */
  async prepare(
    main: TempFile,
    next: Snapshot,
  ): Promise<TempFile | undefined> {
    const lasting = lastingPart(next.state);
    if (isDeepStrictEqual(await this.#read(main), lasting)) return undefined;
    const temp = await TempFile.create(backupOf(main.target), main.token);
    try {
      await temp.write(next.text);
      return temp;
    } catch (error) {
      await temp.discard();
      throw error;
    }
  }

  /** What the backup holds; undefined when it has to be written anew. */
  async #read(main: TempFile): Promise<unknown> {
    const path = backupOf(main.target);
    const facts = await statFile(path);
    if (facts === undefined) return undefined;
    if (facts.openToOthers && main.isPrivate) return undefined;
    if (facts.version !== this.#known?.version) {
      try {
        const lasting = lastingPart((await readStoreFile(path)).state);
        this.#known = { version: facts.version, lasting };
      } catch {
        return undefined;
      }
    }
    return this.#known?.lasting;
  }
}

/** What {@linkcode restoreBackup} did. */
export interface RestoredBackup {
  /** When the backup was written, epoch ms. */
  readonly writtenAt: number;
  /** Where the replaced file was kept; null when there was none. */
  readonly kept: string | null;
}

/**
 * Puts `FILE.bak` in the place of the store, whatever is there, which is kept
 * beside it. Only a store that a newer version wrote is left alone.
 *
 * @param path The store's file, or a `file:` URL.
 * @throws {RotatorError} `store_corrupt` when the backup is missing or
 * damaged too, `store_version` when the store is of a newer version; then
 * nothing is changed.
 */
export async function restoreBackup(
  path: string | URL,
  options: LockOptions = {},
): Promise<RestoredBackup> {
  const given = path instanceof URL ? fileURLToPath(path) : path;
  try {
    return await replaceStore(given, async (temp) => {
      const file = temp.target;
      const replaced = await isReadable(file);
      const backup = await readBackup(file, replaced !== undefined);
      await temp.write(backup.text, (await statFile(file))?.mtimeMs);
      const kept = replaced === undefined
        ? null
        : await keepAside(file, replaced ? "replaced" : "corrupt");
      const isDone = await temp.commit();
      return isDone ? { writtenAt: backup.mtimeMs, kept } : undefined;
    }, options);
  } catch (error) {
    throw toStoreError(error, given, "written");
  }
}

/**
 * Whether a store is whole; undefined when there is none. One that a newer
 * version wrote is not damaged: it has newer tokens than the backup.
 */
async function isReadable(file: string): Promise<boolean | undefined> {
  if (await statFile(file) === undefined) return undefined;
  try {
    await readStoreFile(file);
    return true;
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    return false;
  }
}

async function readBackup(file: string, isThere: boolean): Promise<StoreFile> {
  const path = backupOf(file);
  if (await statFile(path) === undefined) {
    const way = isThere ? "move the store away, and " : "";
    throw new RotatorError(
      "store_corrupt",
      `There is no backup ${path}; ${way}add the accounts again with "codex-rotator login" or "codex-rotator import"`,
    );
  }
  try {
    return await readStoreFile(path);
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    throw new RotatorError(
      "store_corrupt",
      `The backup ${path} is damaged, so nothing was changed; add the accounts again with another --store`,
    );
  }
}

/** Nothing is thrown away: a damaged file may still be read by a person. */
async function keepAside(file: string, why: string): Promise<string> {
  const time = new Date().toISOString().replaceAll(":", "-");
  const kept = `${file}.${why}-${time}`;
  if ((await statFile(file))?.kind === "file") {
    await copyFile(file, kept, constants.COPYFILE_EXCL);
    await chmod(kept, 0o600);
  } else {
    await rename(file, kept);
  }
  return kept;
}
