import { readFile } from "node:fs/promises";
import { RotatorError } from "../errors.ts";
import type { PoolState } from "../types.ts";
import { realFile, statFile, toStoreError } from "./file.ts";
import {
  corrupt,
  emptyState,
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

/**
 * Reads a store's file; a missing one is empty, unless its backup is there.
 *
 * @throws {RotatorError} `store_corrupt` or `store_version`.
 */
export async function readContent(file: string): Promise<StoreFile> {
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
    if (!isCorrupt(error) || await statFile(`${file}.bak`)) throw error;
    throw withoutBackup(error, file);
  }
}

/** Whether a store was read and could not be understood. */
export function isCorrupt(error: unknown): error is RotatorError {
  return error instanceof RotatorError && error.code === "store_corrupt";
}

/**
 * What a store holds, for those who only read it.
 *
 * @throws {RotatorError} As {@linkcode readContent}, and `store_unwritable`.
 */
export async function readStore(path: string): Promise<PoolState> {
  try {
    return (await readContent(await realFile(path))).state;
  } catch (error) {
    throw toStoreError(error, path, "read");
  }
}

async function readMissing(file: string): Promise<StoreFile> {
  if (await statFile(`${file}.bak`) === undefined) return NOTHING;
  // The first update of another process may have created both just now.
  if (await statFile(file) !== undefined) return await readContent(file);
  throw new RotatorError(
    "store_corrupt",
    `The store ${file} is missing while its backup ${file}.bak is there; put the backup back with "cli.ts restore", or delete it to start anew`,
  );
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw corrupt(file, "it is not UTF-8 text");
  }
}
