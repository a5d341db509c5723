import { readdir, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type TempFile, unlessMissing, withBusyRetry } from "./file.ts";

const TEMP = /^([0-9a-f]{24})\.(?:bak\.)?tmp$/;
const END_MARK = /^lock\.([0-9a-f]{24}|untold)\.end\d+$/;
const OTHER_LOCK = /^[0-9a-f]{16}\.lock(?:\.\w+\.end\d+)?$/;
/** A lock on another name that nobody touched for so long is dead, ms. */
const ABANDONED_AFTER = 3_600_000;

/**
 * Removes the temporary files of everyone else, so that no earlier holder of
 * the lock can commit any more, and what dead processes left.
 *
 * @param temp The file of the one who holds the lock now, not yet written.
 */
export async function sweep(temp: TempFile): Promise<void> {
  const { target, token, createdAt } = temp;
  const folder = dirname(target);
  const prefix = basename(target) + ".";
  let fenced: string[];
  let rest: string[];
  do {
    const names = await readdir(folder);
    const tails = names.filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length));
    fenced = tails.filter((tail) => isOfAnother(TEMP, tail, token));
    rest = tails.filter((tail) => !fenced.includes(tail));
    for (const tail of fenced) await remove(join(folder, prefix + tail));
    // Again: one that was being renamed just now may have a companion.
  } while (fenced.length > 0);
  for (const tail of rest) {
    const path = join(folder, prefix + tail);
    if (isOfAnother(END_MARK, tail, token)) await remove(path);
    if (OTHER_LOCK.test(tail) && await isAbandoned(path, createdAt)) {
      await remove(path);
    }
  }
}

/** Whether the name is of that kind and belongs to someone else. */
function isOfAnother(kind: RegExp, tail: string, token: string): boolean {
  const owner = kind.exec(tail)?.[1];
  return owner !== undefined && owner !== token;
}

async function isAbandoned(path: string, now: number): Promise<boolean> {
  const found = await unlessMissing(stat(path));
  return found !== undefined && now - found.mtimeMs > ABANDONED_AFTER;
}

async function remove(path: string): Promise<void> {
  await unlessMissing(withBusyRetry(() => unlink(path)));
}
