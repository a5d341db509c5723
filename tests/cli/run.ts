/** Runs commands in this process, with a world of their own. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "@std/path";
import { readFileSync } from "node:fs";
import process from "node:process";
import type { Io } from "../../lib/cli/io.ts";
import { main } from "../../lib/cli/main.ts";
import type { AccountRecord, PoolState, Settings } from "../../lib/types.ts";

/** What a command line left behind. */
export interface Ran {
  code: number;
  out: string;
  err: string;
}

/** Runs one command line with an environment of its own. */
export async function run(
  args: readonly string[],
  env: Record<string, string> = {},
  changes: Partial<Io> = {},
): Promise<Ran> {
  const ran = { out: "", err: "" };
  const signal = changes.signal ?? new AbortController().signal;
  const code = await main(args, {
    env: (name) => Object.hasOwn(env, name) ? env[name] : undefined,
    isWindows: process.platform === "win32",
    program: () => "cli.ts",
    out: (text) => void (ran.out += text),
    err: (text) => void (ran.err += text),
    errIsTerminal: false,
    outIsTerminal: false,
    color: false,
    columns: 120,
    rows: 24,
    now: Date.now,
    ...changes,
    signal,
    get isInterrupted() {
      return signal.aborted;
    },
  });
  return { code, ...ran };
}

/** A folder with a store in it, gone at the end of the test. */
export interface Bench extends AsyncDisposable {
  readonly folder: string;
  readonly path: string;
  /** Runs a command on the store. */
  run(...args: string[]): Promise<Ran>;
  state(): PoolState;
}

/** A store file with the given accounts and settings; none without accounts. */
export async function bench(
  accounts?: Record<string, AccountRecord>,
  settings: Settings = {},
): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), "codex-rotator-test-"));
  const path = join(folder, "accounts.json");
  if (accounts !== undefined) {
    const state: PoolState = { version: 1, settings, accounts };
    await writeFile(path, JSON.stringify(state), { mode: 0o600 });
  }
  return {
    folder,
    path,
    run: (...args) => run([...args, "--store", path]),
    state: () => JSON.parse(readFileSync(path, "utf8")),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** A login with tokens that must never be seen. */
export function account(
  name: string,
  changes: AccountRecord = {},
): AccountRecord {
  return {
    accountId: `account-${name}`,
    userId: `user-${name}`,
    email: `${name}@example.com`,
    plan: "plus",
    tokens: {
      access: `canary-access-${name}`,
      refresh: `canary-refresh-${name}`,
      id: `canary-id-${name}`,
      expiresAt: Date.now() + 3_600_000,
    },
    ...changes,
  };
}
