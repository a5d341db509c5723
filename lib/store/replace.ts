/**
 * Replaces a store's file whole: the new content is written to a temporary file
 * and renamed, by the holder of the store's lock alone.
 *
 * A file that is mounted by itself cannot be renamed onto. It is written in
 * place then: the temporary file becomes `FILE.journal`, which counts instead of
 * the file until its content is in there.
 */
import {
  type FileHandle,
  open,
  readdir,
  readFile,
  rename,
  stat,
  unlink,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import {
  type FileFacts,
  isOpenToOthers,
  keepOwner,
  newToken,
  realFile,
  remove,
  statFile,
  toStoreError,
  unless,
  unlessMissing,
  withBusyRetry,
} from "./file.ts";
import { type LockOptions, withLock } from "./lock.ts";
import { lockedError } from "./queue.ts";

const TURNS = 10;

type Replace<T> = (
  temp: TempFile,
  left: readonly string[],
) => Promise<T | undefined>;

/**
 * Replaces a store's file while this process holds its lock.
 *
 * @param job Gets the file in the making, before anything was read, and what
 * writers that died had written. Run again when it returns undefined: the lock
 * was taken over and nothing has happened.
 * @throws {RotatorError} `store_locked` when others held it all the time.
 */
export async function replaceStore<T>(
  path: string,
  job: Replace<T>,
  options: LockOptions = {},
): Promise<T> {
  try {
    for (let turn = 0; turn < TURNS; turn++) {
      const file = await realFile(path);
      const once = (token: string) => replaceOnce(file, token, job);
      const done = await withLock(`${file}.lock`, once, options);
      if (done !== undefined) return done;
    }
    throw lockedError(`${path}.lock`);
  } catch (error) {
    throw toStoreError(error, path, "written");
  }
}

async function replaceOnce<T>(file: string, token: string, job: Replace<T>) {
  // The order matters: our file first, then everyone else's away, then read. Of
  // two that believe to hold the lock at least one loses its file, and the
  // other has read what the first one wrote, if it did.
  const temp = await TempFile.create(file, token);
  try {
    const found = await sweep(temp);
    await finishJournal(file);
    const done = await job(temp, await readNewer(found, file));
    if (done === undefined) return undefined;
    await syncFolderOf(file);
    // not earlier: they may hold the only copy of a token
    for (const path of found) await remove(path);
    return done;
  } finally {
    await temp.discard();
  }
}

/** The texts of those that were written after the file. */
async function readNewer(paths: string[], file: string): Promise<string[]> {
  const texts: string[] = [];
  const { mtimeMs } = await statFile(file) ?? { mtimeMs: 0 };
  for (const path of paths) {
    const facts = await statFile(path);
    if (facts && facts.mtimeMs > mtimeMs) {
      texts.push(await readFile(path, "utf8").catch(() => ""));
    }
  }
  return texts;
}

/** The file that holds a store's content now. */
export async function currentFile(file: string): Promise<string> {
  const journal = journalOf(file);
  return await statFile(journal) === undefined ? file : journal;
}

function journalOf(file: string): string {
  return `${file}.journal`;
}

async function finishJournal(file: string): Promise<void> {
  const journal = await unlessMissing(open(journalOf(file), "r"));
  if (journal === undefined) return;
  const content = await journal.readFile();
  const { atime, mtime } = await journal.stat();
  await journal.close();
  const handle = await open(file, "r+");
  try {
    await handle.writeFile(content);
    await handle.truncate(content.length);
    await handle.utimes(atime, mtime);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await remove(journalOf(file));
}

/**
 * A file in the making, by which the holder of the lock will replace `target`
 * whole. Whoever holds the lock next takes it away.
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

  /** @param like Whose owner it gets when root creates it. */
  static async create(
    target: string,
    token: string,
    like = target,
  ): Promise<TempFile> {
    const handle = await open(tempPath(target, token), "wx", 0o600);
    await keepOwner(handle, like);
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
   * who took the lock over has taken it away.
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

  /** @returns False when someone who took the lock over has taken it away: then nothing has happened. */
  async commit(): Promise<boolean> {
    if (await this.#moveTo(this.target)) return true;
    if (await statFile(this.#path) === undefined) return false;
    // what is mounted by itself is written in place, if it can be
    await (await open(this.target, "r+")).close();
    if (!await this.#moveTo(journalOf(this.target))) return false;
    await finishJournal(this.target);
    return true;
  }

  /** @returns False when it is gone, or its target is mounted by itself. */
  async #moveTo(target: string): Promise<boolean> {
    const codes = ["ENOENT"];
    if (process.platform !== "win32") codes.push("EBUSY");
    const move = () => rename(this.#path, target).then(() => true);
    return await withBusyRetry(() => unless(codes, move())) ?? false;
  }

  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {});
    await unlink(this.#path).catch(() => {});
  }
}

function tempPath(target: string, token: string): string {
  return `${target}.${token}.tmp`;
}

/** Without it a rename may be forgotten when the power fails; not every system can. */
async function syncFolderOf(path: string): Promise<void> {
  const folder = await open(dirname(path), "r").catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}

const TEMP = /^(?:bak\.)?[0-9a-f]{24}\.(?:bak\.)?tmp$/;
const LEFT = /^[0-9a-f]{24}\.left$/;
const DEAD =
  /^bak\.\d\.[0-9a-f]{24}\.tmp$|^lock\.(?:[0-9a-f]{24}|untold)\.end\d+$/;
const OTHER_LOCK =
  /^[0-9a-f]{16}\.lock(?:\.\w+\.end\d+)?$|\block\.\d+\.\w+\.wait$/;
/** A lock on another name, or a ticket, that nobody touched for so long is dead. */
const ABANDONED_AFTER_MS = 3_600_000;

/**
 * Takes away the temporary files of everyone else, so that no earlier holder of
 * the lock can commit any more, and removes what dead processes left.
 *
 * @param own The file of the one who holds the lock now, not yet written.
 * @returns Files that may hold what a writer had on disk when it died.
 */
async function sweep(own: TempFile): Promise<string[]> {
  const folder = dirname(own.target);
  const prefix = basename(own.target) + ".";
  const left = new Set<string>();
  for (let isDone = false; !isDone;) {
    isDone = true;
    for (const name of await readdir(folder)) {
      const tail = name.startsWith(prefix) ? name.slice(prefix.length) : "";
      const path = join(folder, name);
      if (tail === "" || tail.includes(own.token)) continue;
      if (LEFT.test(tail)) left.add(path);
      else if (TEMP.test(tail)) {
        // Again: one that was being renamed just now may have a companion.
        isDone = false;
        const kept = await takeAway(path, own);
        if (kept) left.add(kept);
      } else if (await isAbandoned(path, tail, own)) await remove(path);
    }
  }
  return [...left];
}

/** Takes a writer's file from it; undefined when there is nothing in it or it is gone. */
async function takeAway(path: string, { target }: TempFile) {
  const facts = await unlessMissing(stat(path));
  if (facts === undefined || facts.size === 0) return await remove(path);
  const kept = `${target}.${newToken()}.left`;
  const move = withBusyRetry(() => rename(path, kept));
  return await unlessMissing(move.then(() => kept));
}

async function isAbandoned(
  path: string,
  tail: string,
  { createdAt }: TempFile,
): Promise<boolean> {
  if (DEAD.test(tail) || !OTHER_LOCK.test(tail)) return DEAD.test(tail);
  const { mtimeMs } = await statFile(path) ?? { mtimeMs: createdAt };
  return createdAt - mtimeMs > ABANDONED_AFTER_MS;
}
