/**
 * A lock that works with nothing but read and write access to a folder, across
 * processes and runtimes.
 *
 * The lock is a file that its holder creates, and rewrites every second from a
 * counter. Whoever waits and sees the same content for 3.5 s of its own time
 * takes the holder for dead and removes the file. The right to remove the lock
 * of holder T is the file `LOCK.T.end0`, which only one can create; when that
 * one dies at it, `LOCK.T.end1`, and so on. As no token comes twice, a remover
 * that is late finds another token and leaves it alone.
 *
 * A holder that was suspended for longer and goes on afterwards does not know
 * that it was replaced. What it may still do has to be fenced off by other
 * means: see `sweep()`.
 */
import { type FileHandle, readFile, unlink } from "node:fs/promises";
import process from "node:process";
import {
  clearInterval,
  clearTimeout,
  setInterval,
  setTimeout,
} from "node:timers";
import { RotatorError } from "../errors.ts";
import {
  codeOf,
  createFolderOf,
  createNew,
  isBusy,
  newToken,
  realFile,
  remove,
  sleep,
  sweep,
  TempFile,
  withBusyRetry,
} from "./file.ts";

const HEARTBEAT_MS = 1_000;
const STALE_AFTER_MS = 3_500;
/** How long the right to remove may take. */
const REMOVAL_LIMIT_MS = 1_000;
/** A longer gap between two looks means that we were suspended ourselves. */
const MAX_GAP_MS = 500;
const MIN_PAUSE_MS = 2;
const MAX_PAUSE_MS = 50;
/** Stands for the token of a holder that died before it wrote one. */
const UNTOLD = "untold";

/** Options of {@linkcode withLock}. */
export interface LockOptions {
  /** How long to wait for the lock (ms). @default {30_000} */
  waitLimit?: number;
}

/** For each key the end of its queue. */
export type Queues = Map<string, Promise<unknown>>;

const lockQueues: Queues = new Map();

/**
 * Runs `job` while this process holds the lock, and releases it.
 *
 * @param path The lock file. Its folder is created where it is missing.
 * @param job Gets the random token of this acquisition.
 * @throws {RotatorError} `store_locked` when others held it all the time.
 */
export async function withLock<T>(
  path: string,
  job: (token: string) => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  const giveUpAt = performance.now() + (options.waitLimit ?? 30_000);
  return await inOrder(lockQueues, path, giveUpAt, async () => {
    const { token, release } = await acquire(path, giveUpAt);
    try {
      return await job(token);
    } finally {
      await release();
    }
  });
}

/**
 * Runs jobs of the same key one after another, in the order they came.
 *
 * @param giveUpAt When to stop waiting, in time of `performance.now()`.
 * @throws {RotatorError} `store_locked` when its turn has not come by then.
 */
export async function inOrder<T>(
  queues: Queues,
  key: string,
  giveUpAt: number,
  job: () => Promise<T>,
): Promise<T> {
  const before = queues.get(key);
  const { promise: done, resolve: leave } = Promise.withResolvers<void>();
  const end = Promise.all([before, done]);
  queues.set(key, end);
  const { promise: late, reject } = Promise.withResolvers<never>();
  const wait = Math.max(0, giveUpAt - performance.now());
  const timer = setTimeout(() => reject(lockedError(key)), wait);
  try {
    if (before !== undefined) await Promise.race([before, late]);
    clearTimeout(timer);
    return await job();
  } finally {
    clearTimeout(timer);
    leave();
    end.then(() => {
      if (queues.get(key) === end) queues.delete(key);
    });
  }
}

function lockedError(path: string): RotatorError {
  return new RotatorError(
    "store_locked",
    `The lock ${path} did not come free in time; close the programs that use this store, delete the file if it remains, and try again`,
  );
}

/** A lock that this process holds. */
interface Lock {
  readonly token: string;
  /** Never fails: a lock that stays behind is found stale. */
  release(): Promise<void>;
}

async function acquire(path: string, giveUpAt: number): Promise<Lock> {
  let seen: string | undefined;
  let seenAt = performance.now();
  let unchangedMs = 0;
  let pause = MIN_PAUSE_MS;
  for (;;) {
    const lock = await tryLock(path);
    if (lock !== undefined) return lock;
    const content = await readLock(path);
    const now = performance.now();
    const isSame = content !== undefined && content === seen;
    unchangedMs = isSame ? unchangedMs + Math.min(now - seenAt, MAX_GAP_MS) : 0;
    [seen, seenAt] = [content, now];
    const overdue = unchangedMs - STALE_AFTER_MS;
    if (overdue >= 0) {
      const round = Math.floor(overdue / REMOVAL_LIMIT_MS);
      // Whoever removed a dead holder's lock goes first, or it might never.
      if (await takeAway(path, tokenIn(content), round)) continue;
    }
    if (now >= giveUpAt) throw lockedError(path);
    await sleep(pause * (0.5 + Math.random()));
    pause = Math.min(pause * 2, MAX_PAUSE_MS);
  }
}

async function tryLock(path: string): Promise<Lock | undefined> {
  const handle = await createLockFile(path);
  if (handle === undefined) return undefined;
  const token = newToken();
  let beats = 0;
  // Through the open file, so that a successor's lock is never written to.
  const beat = () =>
    handle.write(`${token} ${String(beats++).padStart(8, "0")}\n`, 0);
  try {
    await beat();
  } catch (error) {
    await handle.close();
    await remove(path);
    throw error;
  }
  let beaten: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    beaten = beaten.then(beat).catch(() => {});
  }, HEARTBEAT_MS);
  timer.unref();
  const stop = async () => {
    clearInterval(timer);
    await beaten;
    await handle.close();
  };
  // Taken over already if we were suspended before the token was written.
  if (tokenIn(await readLock(path)) !== token) {
    await stop();
    return undefined;
  }
  const release = async () => {
    await stop();
    await takeAway(path, token, 0).catch(() => {});
  };
  return { token, release };
}

async function createLockFile(path: string): Promise<FileHandle | undefined> {
  try {
    return await createNew(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    await createFolderOf(path);
    return await createNew(path);
  }
}

async function readLock(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    // Being deleted, as Windows tells it.
    if (process.platform === "win32" && isBusy(error)) return undefined;
    throw error;
  }
}

function tokenIn(content: string | undefined): string | undefined {
  if (content === undefined) return undefined;
  return /^([0-9a-f]{24}) /.exec(content)?.[1] ?? UNTOLD;
}

/**
 * Removes the lock if it is still the one of `token`.
 *
 * @param round 0, or the number of removers that seem to have died at it.
 * @returns Whether it was there and has been removed.
 */
async function takeAway(
  path: string,
  token: string | undefined,
  round: number,
): Promise<boolean> {
  const mark = (round: number) => `${path}.${token}.end${round}`;
  const right = await createNew(mark(round));
  if (right === undefined) return false;
  try {
    await right.close();
    if (tokenIn(await readLock(path)) !== token) return false;
    await withBusyRetry(() => unlink(path));
    return true;
  } finally {
    for (let past = round; past >= 0; past--) await remove(mark(past));
  }
}

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
        return await job(temp);
      } finally {
        await temp.discard();
      }
    }, options);
    if (done !== undefined) return done;
  }
  throw lockedError(`${path}.lock`);
}
