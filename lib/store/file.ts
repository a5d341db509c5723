/**
 * The few things done with files: whole replacement through a temporary file,
 * and errors told apart.
 */
import {
  type FileHandle,
  mkdir,
  open,
  readlink,
  realpath,
  rename,
  stat,
  unlink,
  utimes,
} from "node:fs/promises";
import { dirname, resolve } from "node:path";
import process from "node:process";
import { RotatorError } from "../errors.ts";

const BUSY_CODES: ReadonlySet<string> = new Set(["EPERM", "EACCES", "EBUSY"]);
const BUSY_LIMIT = 2_000;
const LINKS_LIMIT = 40;

/** A random name that no one else has. */
export function newToken(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (it) => it.toString(16).padStart(2, "0")).join("");
}

/** The code of a system error, or undefined for any other. */
export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" ? code : undefined;
}

/** Whether another program's open file may be what is in the way. */
export function isBusy(error: unknown): boolean {
  return BUSY_CODES.has(codeOf(error) ?? "");
}

/** Waits for `ms` milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Clock of {@linkcode withBusyRetry}. */
export interface BusyRetryOptions {
  /** Monotonic time, ms. @default {performance.now} */
  now?: () => number;
  /** @default {a timer} */
  sleep?: (ms: number) => Promise<void>;
}

/**
 * Repeats what fails with EPERM, EACCES or EBUSY for up to 2 s: on Windows a
 * virus scanner or a reader holds files for a moment.
 */
export async function withBusyRetry<T>(
  operation: () => Promise<T>,
  options: BusyRetryOptions = {},
): Promise<T> {
  const now = options.now ?? (() => performance.now());
  const pause = options.sleep ?? sleep;
  const giveUpAt = now() + BUSY_LIMIT;
  for (let wait = 10;; wait = Math.min(wait * 2, 200)) {
    try {
      return await operation();
    } catch (error) {
      if (!isBusy(error) || now() >= giveUpAt) throw error;
    }
    await pause(wait);
  }
}

/** The promise's value, or undefined when the file is not there. */
export async function unlessMissing<T>(
  operation: Promise<T>,
): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    return undefined;
  }
}

/** Creates a file that must not exist yet; undefined when it does. */
export async function createNew(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "wx", 0o600);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return undefined;
    // Windows answers so while a deleted file of that name is still open.
    if (process.platform === "win32" && isBusy(error)) return undefined;
    throw error;
  }
}

/** Creates the folder of `path`, private, where it is missing. */
export async function createFolderOf(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
}

/** The file behind symbolic links, also when it does not exist yet. */
export async function realFile(path: string): Promise<string> {
  let file = path;
  for (let links = 0; links < LINKS_LIMIT; links++) {
    const found = await unlessMissing(realpath(file));
    if (found !== undefined) return found;
    const target = await linkTarget(file);
    if (target === undefined) return file;
    file = resolve(dirname(file), target);
  }
  return file;
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "EINVAL") return undefined;
    throw error;
  }
}

/** What a look at a file tells without reading it. */
export interface FileFacts {
  readonly kind: "file" | "folder" | "other";
  /**
   * Tells one version of a file from another. Never to be compared across
   * processes, as runtimes round times differently.
   */
  readonly version: string;
  /** Modification time, epoch ms. */
  readonly mtimeMs: number;
  /** Others than its owner may read or write it; false on Windows. */
  readonly openToOthers: boolean;
}

/** Looks at a file; undefined when there is none. */
export async function statFile(path: string): Promise<FileFacts | undefined> {
  const found = await unlessMissing(stat(path, { bigint: true }));
  if (found === undefined) return undefined;
  return {
    kind: found.isFile() ? "file" : found.isDirectory() ? "folder" : "other",
    version: `${found.ino}:${found.size}:${found.mtimeNs}`,
    mtimeMs: Number(found.mtimeMs),
    openToOthers: isOpenToOthers(Number(found.mode)),
  };
}

function isOpenToOthers(mode: number): boolean {
  return process.platform !== "win32" && (mode & 0o077) !== 0;
}

/**
 * The error of a file operation as people need it.
 *
 * @returns A `store_unwritable` error for what the system refused; anything
 * else, such as the permission errors of Deno, as it is.
 */
export function toStoreError(
  error: unknown,
  path: string,
  refused: "read" | "written",
): unknown {
  const code = codeOf(error);
  // Deno's own refusals name the flag that is missing.
  const isDenied = error instanceof Error && error.name === "NotCapable";
  if (isDenied || code === undefined || !/^E[A-Z0-9]+$/.test(code)) {
    return error;
  }
  const advice = code === "ENOSPC" || code === "EDQUOT"
    ? "make room on that disk"
    : "check the owner and the permissions of the file and its folder";
  return new RotatorError(
    "store_unwritable",
    `The store ${path} cannot be ${refused} (${code}); ${advice} and try again`,
    { cause: error },
  );
}

/** A file in the making, to replace `target` whole. */
export interface TempFile {
  readonly target: string;
  readonly path: string;
  /** The acquisition of the lock that it belongs to. */
  readonly token: string;
  readonly handle: FileHandle;
  /** As the file system tells the time, epoch ms. */
  readonly createdAt: number;
  /** False where the file system keeps no modes. */
  readonly isPrivate: boolean;
}

/**
 * Creates the temporary file by which the holder of the lock will replace
 * `file`, or its backup. Whoever holds the lock next removes it.
 */
export async function createTemp(
  file: string,
  token: string,
  kind: "tmp" | "bak.tmp" = "tmp",
): Promise<TempFile> {
  const target = kind === "tmp" ? file : `${file}.bak`;
  const path = `${file}.${token}.${kind}`;
  const handle = await open(path, "wx", 0o600);
  const { mtimeMs, mode } = await handle.stat();
  const isPrivate = !isOpenToOthers(mode);
  return { target, path, token, handle, createdAt: mtimeMs, isPrivate };
}

/**
 * Writes the content to disk.
 *
 * @param after The modification time of the file to be replaced, epoch ms.
 * Ours becomes later, whatever the clock says, so that a reader who compares
 * times can tell the two apart.
 * @returns What {@linkcode statFile} will say of it; undefined when someone who
 * took the lock over has removed it.
 */
export async function fillTemp(
  temp: TempFile,
  content: string,
  after = 0,
): Promise<FileFacts | undefined> {
  await temp.handle.writeFile(content);
  await temp.handle.sync();
  await temp.handle.close();
  const facts = await statFile(temp.path);
  const earliest = Math.floor(after) + 1;
  if (facts === undefined || facts.mtimeMs >= earliest) return facts;
  // Half a millisecond more survives the rounding to seconds and back.
  const seconds = (earliest + 0.5) / 1000;
  await unlessMissing(utimes(temp.path, seconds, seconds));
  return await statFile(temp.path);
}

/**
 * Puts the temporary file in the place of its target.
 *
 * @returns False when someone who took the lock over has removed it: then
 * nothing has happened.
 */
export async function commitTemp(temp: TempFile): Promise<boolean> {
  try {
    await withBusyRetry(() => rename(temp.path, temp.target));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
  await syncFolderOf(temp.target);
  return true;
}

/** Removes what is left of it, if anything. */
export async function discardTemp(temp: TempFile): Promise<void> {
  await temp.handle.close().catch(() => {});
  await unlessMissing(unlink(temp.path)).catch(() => {});
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
