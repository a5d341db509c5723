/**
 * Replaces a store's file whole: the new content is written to a temporary file
 * and renamed, by the holder of the store's lock alone.
 */
import {
  type FileHandle,
  open,
  readdir,
  rename,
  unlink,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  codeOf,
  type FileFacts,
  isOpenToOthers,
  realFile,
  remove,
  statFile,
  withBusyRetry,
} from "./file.ts";
import { type LockOptions, withLock } from "./lock.ts";
import { lockedError } from "./queue.ts";

/** How often an update starts over after others took its lock away. */
const TURNS = 10;

/**
 * Replaces a store's file while this process holds its lock.
 *
 * @param path The store as it was given.
 * @param job Gets the file in the making, before anything was read. Run again
 * when it returns undefined: the lock was taken over and nothing has happened.
 * @throws {RotatorError} `store_locked` when others held it all the time.
 */
export async function replaceStore<T>(
  path: string,
  job: (temp: TempFile) => Promise<T | undefined>,
  options: LockOptions = {},
): Promise<T> {
  for (let turn = 0; turn < TURNS; turn++) {
    const file = await realFile(path);
    const done = await withLock(`${file}.lock`, async (token) => {
      // The order matters: our file first, then everyone else's away, then
      // read. Of two that believe to hold the lock at least one loses its
      // file, and the other has read what the first one wrote, if it did.
      const temp = await TempFile.create(file, token);
      try {
        await sweep(temp);
        const done = await job(temp);
        if (done !== undefined) await syncFolderOf(file);
        return done;
      } finally {
        await temp.discard();
      }
    }, options);
    if (done !== undefined) return done;
  }
  throw lockedError(`${path}.lock`);
}

/**
 * A file in the making, by which the holder of the lock will replace `target`
 * whole. Whoever holds the lock next removes it.
 */
export class TempFile {
  readonly target: string;
  /** The acquisition of the lock that it belongs to. */
  readonly token: string;
  /** As the file system tells the time, epoch ms. */
  createdAt = 0;
  /** False where the file system keeps no modes. */
  isPrivate = true;
  readonly #path: string;
  readonly #handle: FileHandle;

  private constructor(target: string, token: string, handle: FileHandle) {
    this.target = target;
    this.token = token;
    this.#path = tempPath(target, token);
    this.#handle = handle;
  }

  static async create(target: string, token: string): Promise<TempFile> {
    const handle = await open(tempPath(target, token), "wx", 0o600);
    const temp = new TempFile(target, token, handle);
    const { mtimeMs, mode } = await handle.stat();
    temp.createdAt = mtimeMs;
    temp.isPrivate = !isOpenToOthers(mode);
    return temp;
  }

  /**
   * Writes the content to disk.
   *
   * @param after The modification time of the file to be replaced, epoch ms.
   * Ours becomes later, whatever the clock says, so that a reader who compares
   * times can tell the two apart.
   * @returns What {@linkcode statFile} will tell of it; undefined when someone
   * who took the lock over has removed it.
   */
  async write(content: string, after = 0): Promise<FileFacts | undefined> {
    await this.#handle.writeFile(content);
    const earliest = Math.floor(after) + 1;
    if ((await this.#handle.stat()).mtimeMs < earliest) {
      // Half a millisecond more survives the rounding to seconds and back.
      const seconds = (earliest + 0.5) / 1000;
      await this.#handle.utimes(seconds, seconds);
    }
    await this.#handle.sync();
    await this.#handle.close();
    return await statFile(this.#path);
  }

  /**
   * Puts it in the place of its target.
   *
   * @returns False when someone who took the lock over has removed it: then
   * nothing has happened.
   */
  async commit(): Promise<boolean> {
    try {
      await withBusyRetry(() => rename(this.#path, this.target));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return false;
      throw error;
    }
    return true;
  }

  /** Removes what is left of it, if anything. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {});
    await unlink(this.#path).catch(() => {});
  }
}

function tempPath(target: string, token: string): string {
  return `${target}.${token}.tmp`;
}

/** Without it a rename may be forgotten when the power fails. */
async function syncFolderOf(path: string): Promise<void> {
  try {
    const folder = await open(dirname(path), "r");
    await folder.sync().finally(() => folder.close());
  } catch {
    // Not every system can; the file is whole either way.
  }
}

const TEMP = /^(?:bak\.)?[0-9a-f]{24}\.(?:bak\.)?tmp$/;
const END_MARK = /^lock\.(?:[0-9a-f]{24}|untold)\.end\d+$/;
const OTHER_LOCK = /^[0-9a-f]{16}\.lock(?:\.\w+\.end\d+)?$|\.wait$/;
/** A lock on another name, or a ticket, that nobody touched for so long is dead. */
const ABANDONED_AFTER_MS = 3_600_000;

/**
 * Removes the temporary files of everyone else, so that no earlier holder of
 * the lock can commit any more, and what dead processes left.
 *
 * @param own The file of the one who holds the lock now, not yet written.
 */
export async function sweep(own: TempFile): Promise<void> {
  const folder = dirname(own.target);
  const prefix = basename(own.target) + ".";
  for (let isDone = false; !isDone;) {
    isDone = true;
    for (const name of await readdir(folder)) {
      const tail = name.startsWith(prefix) ? name.slice(prefix.length) : "";
      if (tail === "" || tail.includes(own.token)) continue;
      const path = join(folder, name);
      // Again: one that was being renamed just now may have a companion.
      if (TEMP.test(tail)) isDone = false;
      else if (OTHER_LOCK.test(tail)) {
        const facts = await statFile(path);
        const age = own.createdAt - (facts?.mtimeMs ?? Infinity);
        if (age <= ABANDONED_AFTER_MS) continue;
      } else if (!END_MARK.test(tail)) continue;
      await remove(path);
    }
  }
}
