/**
 * The key of the server, kept beside the store.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  createFolderOf,
  createNew,
  sleep,
  statFile,
  unlessMissing,
} from "../store/file.ts";

/** Holds the key instead of the file. */
export const KEY_VARIABLE = "CODEX_ROTATOR_SERVE_KEY";

/** How often a file that is still being written is looked at again, every 50 ms. */
const MOST_LOOKS = 20;

/** The file of the key. */
export function keyFile(storePath: string): string {
  return join(dirname(storePath), "serve-key");
}

/**
 * Reads the key, and makes one where there is none yet.
 *
 * @param path The file; it will be for its owner only.
 * @throws {Error} When the file holds no key, or others may read it.
 */
export async function readOrMakeKey(path: string): Promise<string> {
  const file = await create(path);
  if (file === undefined) return await readKey(path);
  try {
    const key = randomBytes(32).toString("base64url");
    await file.writeFile(`${key}\n`);
    return key;
  } finally {
    await file.close();
  }
}

async function create(path: string) {
  try {
    await createFolderOf(path);
    return await createNew(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new Error(
      `The key file ${path} cannot be written (${code}); make its folder writable, or name a key in ${KEY_VARIABLE}`,
    );
  }
}

async function readKey(path: string): Promise<string> {
  if ((await statFile(path))?.openToOthers) {
    throw new Error(
      `Others than its owner may read the key in ${path}; delete the file, and a new key is made`,
    );
  }
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const text = await unlessMissing(readFile(path, "utf8"));
    // another process that starts at this moment writes it after it made it
    const key = text?.trim();
    if (key) return usableKey(key, path);
    await sleep(50);
  }
  throw new Error(
    `There is no key in ${path}; delete it, and a new one is made`,
  );
}

/**
 * @param key The key.
 * @param source Where it was found.
 * @throws {TypeError} When no header can carry it.
 */
export function usableKey(key: string, source: string): string {
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new TypeError(
    `${source} holds characters that no header can carry; use letters, digits and punctuation, without spaces`,
  );
}
