/** A process, run to its end. */
import { spawn as start } from "node:child_process";
import process from "node:process";
import { text } from "node:stream/consumers";
import type { Ran } from "./cli/run.ts";

/** What a process is given. */
export interface SpawnOptions {
  cwd?: string | URL;
  /** Variables besides those of this process. */
  env?: Record<string, string>;
  /** What it reads from its input, which ends then. */
  input?: string;
  /** It is ended after this time (ms). */
  timeout?: number;
}

/** Runs a process to its end; one that a signal ends has the code -1. */
export async function spawn(
  [program, ...args]: readonly string[],
  { input = "", env, ...options }: SpawnOptions = {},
): Promise<Ran> {
  const child = start(program!, args, {
    ...options,
    env: { ...process.env, ...env },
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? -1));
  });
  // it may have ended before it was read
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [out, err, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    ended,
  ]);
  return { code, out, err };
}
