/**
 * The runtimes that the product runs on, as far as they are on this machine:
 * from the package manager's folder, else from the PATH.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { spawn } from "./spawn.ts";

export type Runtime = "deno" | "bun" | "node";

/** The one that runs this. */
export const CURRENT: Runtime = "Deno" in globalThis
  ? "deno"
  : "Bun" in globalThis
  ? "bun"
  : "node";

/** Where packages have them; on Windows there are but scripts in `.bin`. */
const INSTALLED: Record<Runtime, string> = process.platform === "win32"
  ? { deno: "deno/deno.exe", bun: "bun/bin/bun.exe", node: "node/bin/node.exe" }
  : { deno: ".bin/deno", bun: ".bin/bun", node: ".bin/node" };

/** The program of a runtime; undefined where there is none that will do. */
export function programOf(runtime: Runtime): string | undefined {
  if (runtime === CURRENT) return process.execPath;
  const path = `../node_modules/${INSTALLED[runtime]}`;
  const installed = fileURLToPath(new URL(path, import.meta.url));
  if (existsSync(installed)) return installed;
  const { status, stdout } = spawnSync(runtime, ["--version"], {
    encoding: "utf8",
  });
  const major = Number(/\d+/.exec(stdout ?? "")?.[0]);
  if (status !== 0 || (runtime === "node" && major < 24)) return undefined;
  return runtime;
}

/** Those that are here. Where the tests decide about a change, all must be. */
export const RUNTIMES: readonly Runtime[] = (["deno", "bun", "node"] as const)
  .filter((runtime) => {
    if (programOf(runtime) !== undefined) return true;
    if (process.env.CI === "true") throw new Error(`No ${runtime} is here`);
    return false;
  });

/** What runs a TypeScript file on a runtime, before the file's name. */
export function commandOf(
  runtime: Runtime,
  denoFlags: readonly string[] = ["-A"],
): string[] {
  const program = programOf(runtime);
  if (program === undefined) throw new Error(`No ${runtime} is here`);
  return runtime === "deno"
    ? [program, "run", "--no-prompt", ...denoFlags]
    : [program];
}

/** Runs a script on a runtime to its end, and gives what it printed. */
export async function runScript(
  runtime: Runtime,
  script: URL,
  denoFlags: readonly string[],
): Promise<string> {
  const command = [...commandOf(runtime, denoFlags), fileURLToPath(script)];
  const { code, out, err } = await spawn(command, { timeout: 60_000 });
  if (code !== 0) throw new Error(`${runtime} failed: ${out}${err}`);
  return out;
}
