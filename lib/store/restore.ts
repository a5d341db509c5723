import {
  chmod,
  chown,
  constants,
  copyFile,
  rename,
  stat,
} from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { RotatorError } from "../errors.ts";
import { withSpent } from "../spent.ts";
import type { PoolState } from "../types.ts";
import {
  backupOf,
  chosenIn,
  GENERATIONS,
  inspect,
  type Inspected,
  prepareBackup,
  withLaterTokens,
} from "./backup.ts";
import { realFile, statFile } from "./file.ts";
import type { LockOptions } from "./lock.ts";
import { replaceStore } from "./replace.ts";
import { applyChange, mayBeSameLogin, normalState } from "./state.ts";

interface FoundBackup {
  readonly generation: number;
  /** Epoch ms. */
  readonly writtenAt: number;
  /** The accounts in it; undefined when it cannot be read. */
  readonly aliases: readonly string[] | undefined;
}

export async function listBackups(path: string): Promise<FoundBackup[]> {
  const file = await realFile(path);
  const found: FoundBackup[] = [];
  for (let generation = 1; generation <= GENERATIONS; generation++) {
    const path = backupOf(file, generation);
    const facts = await statFile(path);
    if (facts === undefined) continue;
    const backup = await inspect(path).catch((error) => {
      // of a newer version
      if (!(error instanceof RotatorError)) throw error;
    });
    const aliases = typeof backup === "object"
      ? Object.keys(backup.state.accounts)
      : undefined;
    found.push({ generation, writtenAt: facts.mtimeMs, aliases });
  }
  return found;
}

/**
 * Puts a backup in the place of the store, whatever is there, which is kept
 * beside it. Accounts that are in both keep what was observed, renewed and spent
 * since. A store that a newer version wrote is left alone: it is not damaged.
 *
 * @param path The store's file, or a `file:` URL.
 * @returns When the backup was written (epoch ms), and where the replaced file was kept; null when there was none.
 * @throws {RotatorError} `store_corrupt` when the backup is missing or
 * damaged too, `store_version` when the store is of a newer version; then
 * nothing is changed.
 */
export async function restoreBackup(
  path: string | URL,
  options: LockOptions & { generation?: number } = {},
): Promise<{ writtenAt: number; kept: string | null }> {
  const given = path instanceof URL ? fileURLToPath(path) : path;
  const { generation = 1 } = options;
  return await replaceStore(given, async (temp, left) => {
    const file = temp.target;
    const replaced = await inspect(file);
    const backup = await readBackup(backupOf(file, generation), replaced);
    const mirrored = await inspect(backupOf(file));
    const later = [replaced, mirrored].find((it) => typeof it === "object");
    // tokens and spending go on from where they are
    const next = withLaterTokens(
      later
        ? applyChange(backup, (state) => takeObserved(state, later.state))
        : backup,
      left,
    );
    await temp.write(next.text, (await statFile(file))?.mtimeMs);
    const mirror = await prepareBackup(temp, next);
    try {
      const kept = replaced ? await keepAside(file, replaced) : null;
      if (!await temp.commit()) return undefined;
      await mirror?.commit();
      return { writtenAt: backup.mtimeMs, kept };
    } finally {
      await mirror?.discard();
    }
  }, options);
}

/**
 * Takes over what was observed, renewed and spent in a later state; what the
 * owner sets stays as it is.
 *
 * @param state Changed in place.
 */
function takeObserved(state: PoolState, later: PoolState): void {
  for (const [alias, account] of Object.entries(state.accounts)) {
    const found = later.accounts[alias];
    if (!found || !mayBeSameLogin(account, found)) continue;
    const { tokens } = account;
    const known = { ...tokens && { tokens }, ...found, ...chosenIn(account) };
    state.accounts[alias] = structuredClone(known);
  }
  takeSpent(state, later);
}

/** What was spent since counts on for all together, also that of accounts that go. */
function takeSpent(state: PoolState, later: PoolState): void {
  const { settings, accounts } = normalState(later);
  let spent = settings.spentByRemoved;
  for (const [alias, { spent: own }] of Object.entries(accounts)) {
    const kept = state.accounts[alias];
    const isKept = kept && mayBeSameLogin(kept, accounts[alias]!);
    if (own && !isKept) spent = withSpent(spent, own, Date.now());
  }
  if (spent) state.settings.spentByRemoved = spent;
}

async function readBackup(path: string, replaced: Inspected) {
  const backup = await inspect(path);
  if (backup === "damaged") {
    throw new RotatorError(
      "store_corrupt",
      `The backup ${path} is damaged, so nothing was changed; add the accounts again with another --store`,
    );
  }
  if (backup !== undefined) return backup;
  const way = replaced === undefined ? "" : "move the store away, and ";
  throw new RotatorError(
    "store_corrupt",
    `There is no backup ${path}; ${way}add the accounts again with "codex-rotator login" or "codex-rotator import"`,
  );
}

/** Nothing is thrown away: a damaged file may still be read by a person. */
async function keepAside(file: string, found: Inspected) {
  const time = new Date().toISOString().replaceAll(":", "-");
  const word = found === "damaged" ? "corrupt" : "replaced";
  const kept = `${file}.${word}-${time}`;
  const facts = await stat(file);
  if (facts.isFile()) {
    await copyFile(file, kept, constants.COPYFILE_EXCL);
    await chmod(kept, 0o600);
    await chown(kept, facts.uid, facts.gid).catch(() => {});
  } else {
    await rename(file, kept);
  }
  return kept;
}
