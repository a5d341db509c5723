/**
 * A lock that works with nothing but read and write access to a folder, across
 * processes and runtimes.
 *
 * The lock is a file that its holder creates, and rewrites every second from a
 * counter. Whoever waits and sees the same content for 3.5 s of its own time
 * takes the holder for dead and removes the file; that a process of this machine
 * has ended is known at once where `/proc` can be read. The right to remove the
 * lock of holder T is the file `LOCK.T.end0`, which only one can create; when
 * that one dies at it, `LOCK.T.end1`, and so on. As no token comes twice, a
 * remover that is late finds another token and leaves it alone.
 *
 * Who waits puts down a ticket, a file named by the time, and the oldest ticket
 * goes first. A ticket whose owner does not take the free lock is removed, as
 * its owner has ended; one that was only slow puts it down again.
 *
 * A holder that was suspended for longer and goes on afterwards does not know
 * that it was replaced. What it may still do has to be fenced off by other
 * means: see `replace.ts`.
 */
import { mkdir, readdir, readFile, readlink, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { clearInterval, setInterval } from "node:timers";
import { delay } from "../abort.ts";
import {
  createNew,
  DELETED,
  newToken,
  remove,
  unless,
  unlessMissing,
  withBusyRetry,
} from "./file.ts";
import { lockedError, Queue } from "./queue.ts";

const HEARTBEAT_MS = 1_000;
const STALE_AFTER_MS = 3_500;
/** How long the right to remove may take. */
const REMOVAL_LIMIT_MS = 1_000;
/** A longer gap between two looks means that we were suspended ourselves. */
const MAX_GAP_MS = 1_500;
/** A lock that is seen for so long is worth a look at its holder's process. */
const SUSPICIOUS_AFTER_MS = 100;
/** The owner of the oldest ticket has so long to take the free lock. */
const TICKET_LIMIT_MS = 100;
/** Between two looks of the next one; those behind it look less often. */
const MIN_PAUSE_MS = 4;
const PAUSE_PER_TICKET_MS = 12;
const MAX_PAUSE_MS = 200;
/** Stands for the token of a holder that died before it wrote one. */
const UNTOLD = "untold";

export interface LockOptions {
  /** How long to wait for the lock (ms). @default {30_000} */
  waitLimit?: number;
  /** Called when no lock can be made: throws, or goes on without one. */
  onFailure?: (error: unknown) => void;
}

const queue = new Queue();

/**
 * Runs `job` while this process holds the lock.
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
  return await queue.run(path, giveUpAt, async () => {
    const lock = await acquire(path, giveUpAt).catch((error) => {
      if (options.onFailure === undefined) throw error;
      options.onFailure(error);
    });
    try {
      return await job(lock?.token ?? "");
    } finally {
      await lock?.release();
    }
  });
}

interface Lock {
  readonly token: string;
  /** Never fails: a lock that stays behind is found stale. */
  release(): Promise<void>;
}

async function acquire(path: string, giveUpAt: number): Promise<Lock> {
  const ticket = `${path}.${Date.now()}.${newToken()}.wait`;
  let look: Look = { content: undefined, at: performance.now(), sameForMs: 0 };
  try {
    for (;;) {
      const tickets = await ticketsOf(path);
      const older = tickets.filter((other) => other < ticket);
      const lock = older.length === 0 ? await tryLock(path) : undefined;
      if (lock !== undefined) return lock;
      if (!tickets.includes(ticket)) {
        await (await createNew(ticket, lockedFile(path)))?.close();
      }
      look = await lookAgain(path, look);
      const { content, at, sameForMs } = look;
      if (content === undefined) {
        // its owner has ended, or puts it down again
        if (older[0] && sameForMs > TICKET_LIMIT_MS) await remove(older[0]);
      } else if (await takeFromDead(path, look)) continue;
      if (at >= giveUpAt) throw lockedError(path);
      // a holder that takes long is looked at less often, too
      const slow = Math.min(sameForMs / 20, 50);
      const pause = MIN_PAUSE_MS + PAUSE_PER_TICKET_MS * older.length + slow;
      await delay(Math.min(pause, MAX_PAUSE_MS) * (0.75 + Math.random() / 2));
    }
  } finally {
    await remove(ticket).catch(() => {});
  }
}

/** The tickets of those who wait, the oldest first. */
async function ticketsOf(path: string): Promise<string[]> {
  const folder = dirname(path);
  const names = await unlessMissing(readdir(folder));
  if (names === undefined) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  const prefix = basename(path) + ".";
  return (names ?? [])
    .filter((it) => it.startsWith(prefix) && it.endsWith(".wait"))
    .sort().map((name) => join(folder, name));
}

interface Look {
  /** Undefined: it was free. */
  readonly content: string | undefined;
  /** By `performance.now()`. */
  readonly at: number;
  readonly sameForMs: number;
}

async function lookAgain(path: string, before: Look): Promise<Look> {
  const content = await readLock(path);
  const at = performance.now();
  const gap = Math.min(at - before.at, MAX_GAP_MS);
  const isSame = content === before.content;
  return { content, at, sameForMs: isSame ? before.sameForMs + gap : 0 };
}

/** Whether the lock's holder is dead and the lock was removed by us. */
async function takeFromDead(path: string, { content, sameForMs }: Look) {
  if (sameForMs < SUSPICIOUS_AFTER_MS) return false;
  const isGone = await hasEnded(content!);
  const deadAfter = isGone ? SUSPICIOUS_AFTER_MS : STALE_AFTER_MS;
  if (sameForMs < deadAfter) return false;
  const round = Math.floor((sameForMs - deadAfter) / REMOVAL_LIMIT_MS);
  return await takeAway(path, tokenIn(content), round);
}

async function tryLock(path: string): Promise<Lock | undefined> {
  const handle = await createNew(path, lockedFile(path));
  if (handle === undefined) return undefined;
  const token = newToken();
  const owner = await ownProcess();
  let beats = 0;
  // Through the open file, so that a successor's lock is never written to.
  const beat = () => {
    const count = String(beats++).padStart(8, "0");
    return handle.write(`${token} ${count} ${owner}\n`, 0);
  };
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

function lockedFile(path: string): string {
  return path.replace(/(?:\.[0-9a-f]{16})?\.lock$/, "");
}

function readLock(path: string): Promise<string | undefined> {
  return unless(["ENOENT", ...DELETED], readFile(path, "utf8"));
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
  const right = await createNew(mark(round), lockedFile(path));
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

let own: Promise<string> | undefined;

/** This process as others can tell it from any other; empty where it cannot be told. */
function ownProcess(): Promise<string> {
  return own ??= (async () => {
    // Deno asks its user before it reads there
    if (navigator.userAgent.startsWith("Deno/")) return "";
    try {
      const started = await startOf(process.pid);
      // those of another user, container or machine cannot be seen from here
      const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
      const space = await readlink("/proc/self/ns/pid");
      const where = `${process.getuid?.()}/${space}/${boot.trim()}`;
      return started === undefined ? "" : `${process.pid} ${started} ${where}`;
    } catch {
      return "";
    }
  })();
}

/** Whether the process that wrote a lock is known to have ended. */
async function hasEnded(content: string): Promise<boolean> {
  const [, , pid, started, where] = content.trim().split(" ");
  const owner = await ownProcess();
  if (where === undefined || !owner.endsWith(` ${where}`)) return false;
  try {
    return await startOf(Number(pid)) !== started;
  } catch {
    return false;
  }
}

/** When a process was started, as the kernel counts; undefined when it has ended. */
async function startOf(pid: number): Promise<string | undefined> {
  const reading = readFile(`/proc/${pid}/stat`, "utf8");
  const text = await unless(["ENOENT", "ESRCH"], reading);
  // the name in parentheses may hold anything
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ") ?? ["X"];
  return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
}
