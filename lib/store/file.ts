/** What is done with single files: created, looked at, removed, and their errors told apart. */
import { randomBytes } from "node:crypto";
import {
  type FileHandle,
  open,
  readlink,
  realpath,
  stat,
  unlink,
} from "node:fs/promises";
import { dirname, resolve } from "node:path";
import process from "node:process";
import { delay } from "../abort.ts";
import { isDenied, RotatorError } from "../errors.ts";

/** The codes of a file that another program's open one is in the way of. */
export const BUSY: readonly string[] = ["EPERM", "EACCES", "EBUSY"];
/** Windows answers so while a deleted file of that name is still open. */
export const DELETED: readonly string[] = process.platform === "win32"
  ? BUSY
  : [];
const BUSY_LIMIT_MS = 2_000;
const MAX_LINKS = 40;

/** The folder that a store's file is in; undefined: it is in none. */
export function folderOf(store: object): string | undefined {
  const { path } = store as { path?: unknown };
  return typeof path === "string" ? dirname(path) : undefined;
}

export function newToken(): string {
  return randomBytes(12).toString("hex");
}

export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return /^E[A-Z0-9]+$/.test(`${code}`) ? `${code}` : undefined;
}

function hasCode(error: unknown, codes: readonly string[]): boolean {
  return codes.includes(codeOf(error) ?? "");
}

/**
 * Repeats what fails with EPERM, EACCES or EBUSY for up to 2 s: on Windows a
 * virus scanner or a reader holds files for a moment.
 */
export async function withBusyRetry<T>(operation: () => Promise<T>) {
  const giveUpAt = performance.now() + BUSY_LIMIT_MS;
  for (let pause = 10;; pause = Math.min(pause * 2, 200)) {
    try {
      return await operation();
    } catch (error) {
      if (!hasCode(error, BUSY) || performance.now() >= giveUpAt) throw error;
    }
    await delay(pause);
  }
}

/** The promise's value, or undefined when it fails with one of these codes. */
export async function unless<T>(
  codes: readonly string[],
  operation: Promise<T>,
): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (!hasCode(error, codes)) throw error;
    return undefined;
  }
}

export function unlessMissing<T>(operation: Promise<T>) {
  return unless(["ENOENT"], operation);
}

export async function remove(path: string): Promise<void> {
  await unlessMissing(withBusyRetry(() => unlink(path)));
}

/**
 * Creates a file that must not exist yet; undefined when it does.
 *
 * @param like Whose owner it gets when root creates it.
 */
export async function createNew(path: string, like = path) {
  const handle = await unless(
    ["EEXIST", ...DELETED],
    open(path, "wx", 0o600),
  );
  if (handle) await keepOwner(handle, like);
  return handle;
}

/** Gives a file that root created to the owner of another one, or of its folder. */
export async function keepOwner(handle: FileHandle, like: string) {
  if (process.platform === "win32" || (await handle.stat()).uid !== 0) return;
  const { uid, gid } = await unlessMissing(stat(like)) ??
    await stat(dirname(like));
  if (uid !== 0) await handle.chown(uid, gid).catch(() => {});
}

/** The file behind symbolic links, also when it does not exist yet. */
export async function realFile(path: string): Promise<string> {
  let file = path;
  for (let links = 0; links < MAX_LINKS; links++) {
    const found = await unlessMissing(realpath(file));
    if (found !== undefined) return found;
    const target = await readlink(file).catch(() => undefined);
    if (target === undefined) break;
    file = resolve(dirname(file), target);
  }
  return file;
}

export interface FileFacts {
  readonly kind: "file" | "folder" | "other";
  /**
   * Tells one version of a file from another. Never to be compared across
   * processes, as runtimes round times differently.
   */
  readonly version: string;
  /** Modification time, epoch ms. */
  readonly mtimeMs: number;
  readonly openToOthers: boolean;
}

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

/** Whether a mode lets others than the owner read or write; never on Windows. */
export function isOpenToOthers(mode: number): boolean {
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
  if (code === undefined || isDenied(error)) return error;
  const [reason, advice] = REASONS[code] ?? DENIED;
  const { path: at } = error as NodeJS.ErrnoException;
  const where = at === undefined || at === path ? "" : `, at ${at}`;
  return new RotatorError(
    "store_unwritable",
    `The store ${path} cannot be ${refused}: ${reason}${where} (${code}); ${advice} and try again`,
    { cause: error },
  );
}

/** What to do where a file cannot be written; undefined: it depends. */
export function writeAdvice(code: string): string | undefined {
  return REASONS[code]?.[1];
}

const DENIED = [
  "access is denied",
  "check the owner and the permissions of the file and its folder",
] as const;

const REASONS: Record<string, readonly [reason: string, advice: string]> = {
  ENOSPC: ["the disk is full", "make room on that disk"],
  EDQUOT: ["the quota of the disk is used up", "make room on that disk"],
  EROFS: [
    "it is on a read-only disk or mount",
    "mount it, or better its folder, writable",
  ],
  EBUSY: [
    "it is in use or mounted as a single file",
    "mount its folder instead of the file",
  ],
  ENOTDIR: ["a part of its path is no folder", "correct the path"],
  EIO: ["the disk fails", "check that disk"],
  EMFILE: ["too many files are open", "close other programs"],
};
