import { chmod, constants, copyFile, rename } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { RotatorError } from "../errors.ts";
import { isCorrupt, readContent, type StoreFile } from "./content.ts";
import {
  commitTemp,
  createTemp,
  discardTemp,
  fillTemp,
  realFile,
  statFile,
  type TempFile,
  toStoreError,
} from "./file.ts";
import { lockedError, type LockOptions, withLock } from "./lock.ts";
import { lastingPart, type Snapshot } from "./state.ts";
import { sweep } from "./sweep.ts";

/** Keeps `FILE.bak` up with what must not be lost of `FILE`. */
export class Backup {
  /** What the backup holds, as long as it has this version. */
  #known: { version: string; lasting: string } | undefined;

  /** Writes the new backup beside the old one, where it is due. */
  async prepare(
    main: TempFile,
    next: Snapshot,
  ): Promise<TempFile | undefined> {
    const lasting = lastingPart(next.state);
    if (await this.#read(main) === lasting) return undefined;
    const temp = await createTemp(main.target, main.token, "bak.tmp");
    try {
      await fillTemp(temp, next.text);
      return temp;
    } catch (error) {
      await discardTemp(temp);
      throw error;
    }
  }

  /** What the backup holds; undefined when it has to be written anew. */
  async #read(main: TempFile): Promise<string | undefined> {
    const path = `${main.target}.bak`;
    const facts = await statFile(path);
    if (facts === undefined) return undefined;
    if (facts.openToOthers && main.isPrivate) return undefined;
    if (facts.version !== this.#known?.version) {
      try {
        const lasting = lastingPart((await readContent(path)).state);
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
    const file = await realFile(given);
    const done = await withLock(
      `${file}.lock`,
      (token) => restore(file, token),
      options,
    );
    if (done === undefined) throw lockedError(`${file}.lock`);
    return done;
  } catch (error) {
    throw toStoreError(error, given, "written");
  }
}

async function restore(
  file: string,
  token: string,
): Promise<RestoredBackup | undefined> {
  const temp = await createTemp(file, token);
  try {
    await sweep(temp);
    await refuseNewer(file);
    const backup = await readBackup(`${file}.bak`);
    const replaced = await statFile(file);
    await fillTemp(temp, backup.text, replaced?.mtimeMs);
    const kept = replaced === undefined ? null : await keepAside(file);
    if (!await commitTemp(temp)) return undefined;
    return { writtenAt: backup.mtimeMs, kept };
  } finally {
    await discardTemp(temp);
  }
}

/** A store that a newer version wrote is not damaged: it has newer tokens than the backup. */
async function refuseNewer(file: string): Promise<void> {
  try {
    await readContent(file);
  } catch (error) {
    if (error instanceof RotatorError && error.code === "store_version") {
      throw error;
    }
  }
}

async function readBackup(path: string): Promise<StoreFile> {
  if (await statFile(path) === undefined) {
    const isThere = await statFile(path.slice(0, -".bak".length)) !== undefined;
    const way = isThere ? "move the store away, and " : "";
    throw new RotatorError(
      "store_corrupt",
      `There is no backup ${path}; ${way}add the accounts again with "cli.ts login" or "cli.ts import"`,
    );
  }
  try {
    return await readContent(path);
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    throw new RotatorError(
      "store_corrupt",
      `The backup ${path} is damaged, so nothing was changed; add the accounts again with another --store`,
    );
  }
}

/** Nothing is thrown away: a damaged file may still be read by a person. */
async function keepAside(file: string): Promise<string> {
  const time = new Date().toISOString().replaceAll(":", "-");
  const facts = await statFile(file);
  const isWhole = await readContent(file).then(() => true, () => false);
  const kept = `${file}.${isWhole ? "replaced" : "corrupt"}-${time}`;
  if (facts?.kind !== "file") {
    await rename(file, kept);
    return kept;
  }
  await copyFile(file, kept, constants.COPYFILE_EXCL);
  await chmod(kept, 0o600);
  return kept;
}
