/** What the tests of stores share. */
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "@std/path";
import process from "node:process";
import type { PoolState } from "../../lib/types.ts";
import { spawn } from "../spawn.ts";
import { endWorkers } from "./processes.ts";

export const isWindows = process.platform === "win32";
/** Modes mean nothing to the superuser, who may write everywhere. */
export const isSuperuser = !isWindows && process.getuid?.() === 0;

/** Runs `test` with a folder of its own. */
export async function withFolder(
  test: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "codex-rotator-store-"));
  try {
    await test(folder);
  } finally {
    await removeAll(folder);
  }
}

/** A test that failed may still start workers, which end as well. */
async function removeAll(folder: string): Promise<void> {
  for (let turn = 0; turn < 5; turn++) {
    await endWorkers();
    try {
      return await rm(folder, { recursive: true, force: true });
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

/** Runs `test` with the path of a store in a folder of its own. */
export function withPath(
  test: (path: string, folder: string) => Promise<void>,
): () => Promise<void> {
  return () =>
    withFolder((folder) => test(join(folder, "accounts.json"), folder));
}

/** A change that counts. */
export function count(state: PoolState): void {
  const account = state.accounts["a"] ??= {};
  account.requests = (account.requests ?? 0) + 1;
}

/** A change that adds an account. */
export function addAccount(alias: string): (state: PoolState) => void {
  return (state) => {
    state.accounts[alias] = { tokens: { access: `token-of-${alias}` } };
  };
}

/** The permission bits of a file. */
export async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

/** What is in a JSON file. */
export async function readJson(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, "utf8"));
}

/** What is in a store's file. */
export async function readState(path: string): Promise<PoolState> {
  return await readJson(path) as PoolState;
}

/**
 * Runs `test` with something mounted.
 *
 * @param args Those of `mount`; the last one is where.
 * @returns False where it is not allowed to mount.
 */
export async function withMount(
  args: readonly string[],
  test: () => Promise<void>,
): Promise<boolean> {
  const run = async (...command: string[]) => (await spawn(command)).code === 0;
  if (!await run("mount", ...args)) return false;
  try {
    await test();
  } finally {
    await run("umount", args.at(-1)!);
  }
  return true;
}
