import { isUtf8 } from "node:buffer";
import { readFile } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { delay } from "../abort.ts";
import { RotatorError } from "../errors.ts";
import type { AccountRecord, PoolState } from "../types.ts";
import { type FileFacts, remove, statFile } from "./file.ts";
import { quotedCommand } from "./paths.ts";
import { currentFile, TempFile } from "./replace.ts";
import {
  adoptTokens,
  applyChange,
  corrupt,
  emptyState,
  lastingPart,
  mayBeSameLogin,
  parseState,
  type Snapshot,
  snapshotOf,
  withoutBackup,
} from "./state.ts";

/** A store that cannot be understood is read again after this. */
const REREAD_AFTER_MS = 50;

/** Account fields that only its owner sets. */
const OWNER_FIELDS = [
  "enabled",
  "weight",
  "priority",
  "reserve",
  "source",
] as const;

/** What a store's file held when it was read. */
export interface StoreFile
  extends Snapshot, Omit<FileFacts, "kind" | "version"> {
  /** Undefined: there is no file. */
  readonly version: string | undefined;
}

/** One object for all stores that do not exist yet, as nothing changes in it. */
const NOTHING: StoreFile = {
  ...snapshotOf(emptyState()),
  version: undefined,
  mtimeMs: 0,
  openToOthers: false,
};

export const GENERATIONS = 3;

/**
 * A backup of a store: the first mirrors it, the others are what it was before
 * its owner changed something.
 */
export function backupOf(file: string, generation = 1): string {
  return generation === 1 ? `${file}.bak` : `${file}.bak.${generation}`;
}

/**
 * Reads a store's file; a missing one is empty, unless its backup is there.
 *
 * @throws {RotatorError} `store_corrupt` or `store_version`.
 */
export async function readStoreFile(file: string): Promise<StoreFile> {
  for (let isAgain = false;; isAgain = true) {
    try {
      return await readOnce(file);
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      if (isAgain && await statFile(backupOf(file))) throw error;
      if (isAgain) throw withoutBackup(error, file);
    }
    // someone may be writing to it by hand
    await delay(REREAD_AFTER_MS);
  }
}

async function readOnce(file: string): Promise<StoreFile> {
  const source = await currentFile(file);
  // Looked at before it is read: what a writer does in between makes the
  // content newer than its facts, and the next look finds out.
  const facts = await statFile(source);
  if (facts === undefined) return await readMissing(file);
  if (facts.kind === "folder") throw corrupt(file, "it is a folder");
  if (facts.kind === "other") throw corrupt(file, "it is not a regular file");
  const bytes = await readFile(source);
  if (!isUtf8(bytes)) throw corrupt(file, "it is not UTF-8 text");
  return { ...facts, ...snapshotOf(parseState(bytes.toString(), file)) };
}

async function readMissing(file: string): Promise<StoreFile> {
  const backup = backupOf(file);
  if (await statFile(backup) === undefined) return NOTHING;
  // The first update of another process may have created both just now.
  if (await statFile(file) !== undefined) return await readStoreFile(file);
  throw new RotatorError(
    "store_corrupt",
    `The store ${file} is missing while its backup ${backup} is there; put the backup back with ${
      quotedCommand("restore", file)
    }, or delete it to start anew`,
  );
}

function isCorrupt(error: unknown): error is RotatorError {
  return error instanceof RotatorError && error.code === "store_corrupt";
}

export type Inspected = StoreFile | "damaged" | undefined;

/** As {@linkcode readStoreFile}, but tells what is wrong; undefined: there is no file. */
export async function inspect(file: string): Promise<Inspected> {
  if (await statFile(file) === undefined) return undefined;
  try {
    return await readStoreFile(file);
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    return "damaged";
  }
}

/** A state with the tokens of later ones, given as texts; what is not whole is skipped. */
export function withLaterTokens(state: Snapshot, later: readonly string[]) {
  if (later.length === 0) return state;
  return applyChange(state, (draft) => {
    for (const text of later) {
      try {
        adoptTokens(draft, parseState(text, "later"));
      } catch {
        // its writer died before it had written all
      }
    }
  });
}

/** Writes a new first backup beside the old one, where that one does not mirror the store. */
export async function prepareBackup(main: TempFile, next: Snapshot) {
  const found = await readOnce(backupOf(main.target)).catch(() => undefined);
  const isMirror = found?.version !== undefined &&
    !(found.openToOthers && main.isPrivate) &&
    isDeepStrictEqual(lastingPart(found.state), lastingPart(next.state));
  return isMirror ? undefined : await writeBackup(main, 1, next.text);
}

/**
 * Keeps what a store was before its owner changed it. An account that is
 * removed leaves no tokens in there.
 */
export async function keepGeneration(
  main: TempFile,
  { state, version, text }: StoreFile,
  next: Snapshot,
): Promise<void> {
  const [before, after] = [state, next.state].map(ownerPart);
  if (version === undefined || isDeepStrictEqual(before, after)) return;
  const third = backupOf(main.target, 3);
  let older = await inspect(backupOf(main.target, 2));
  if (typeof older !== "object") older = await inspect(third);
  if (older === "damaged") await remove(third);
  else if (older) {
    await replaceBackup(main, 3, withoutRemoved(older.text, next.state));
  }
  await replaceBackup(main, 2, withoutRemoved(text, next.state));
}

async function replaceBackup(main: TempFile, generation: number, text: string) {
  const temp = await writeBackup(main, generation, text);
  await temp.commit().finally(() => temp.discard());
}

async function writeBackup(main: TempFile, generation: number, text: string) {
  const { target, token } = main;
  const path = backupOf(target, generation);
  const temp = await TempFile.create(path, token, target);
  try {
    await temp.write(text);
    return temp;
  } catch (error) {
    await temp.discard();
    throw error;
  }
}

/** What its owner changes, as opposed to what is observed and renewed. */
function ownerPart({ settings, accounts }: PoolState): unknown {
  const chosen = Object.entries(accounts).map(([alias, account]) => {
    const { accountId, userId, source } = account;
    const own = { ...chosenIn(account), source: source?.path };
    return { alias, accountId, userId, ...own };
  });
  return { settings, chosen };
}

export function chosenIn(account: AccountRecord): AccountRecord {
  return Object.fromEntries(OWNER_FIELDS.map((name) => [name, account[name]]));
}

/** A backup without the tokens of accounts that are not there any more, also under another name. */
function withoutRemoved(text: string, { accounts }: PoolState): string {
  const present = Object.values(accounts);
  const backup = { text, state: parseState(text, "backup") };
  return applyChange(backup, (state) => {
    for (const [alias, account] of Object.entries(state.accounts)) {
      const { tokens, accountId, userId } = account;
      const isPresent = accounts[alias] !== undefined ||
        present.some((it) =>
          isDeepStrictEqual(it.tokens, tokens) ||
          (accountId && userId && mayBeSameLogin(it, account))
        );
      if (!isPresent) delete account.tokens;
    }
  }).text;
}
