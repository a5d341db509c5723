/**
 * The runtimes that the product runs on, as far as they are on this machine:
 * from the package manager's folder, else from the PATH.
 */
import { existsSync } from "node:fs";

export type Runtime = "deno" | "bun" | "node";

const BIN = new URL("../node_modules/.bin/", import.meta.url);

/** The program of a runtime; undefined where there is none that will do. */
export function programOf(runtime: Runtime): string | undefined {
  if (runtime === "deno") return Deno.execPath();
  const local = decodeURIComponent(new URL(runtime, BIN).pathname);
  if (existsSync(local)) return local;
  try {
    const { code, stdout } = new Deno.Command(runtime, { args: ["--version"] })
      .outputSync();
    const version = new TextDecoder().decode(stdout);
    const major = Number(/\d+/.exec(version)?.[0]);
    if (code !== 0 || (runtime === "node" && major < 24)) return undefined;
    return runtime;
  } catch {
    return undefined;
  }
}

/** Those that are here. Where the tests decide about a change, all must be. */
export const RUNTIMES: readonly Runtime[] = (["deno", "bun", "node"] as const)
  .filter((runtime) => {
    if (programOf(runtime) !== undefined) return true;
    if (Deno.env.get("CI") === "true") throw new Error(`No ${runtime} is here`);
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
  const [program, ...flags] = commandOf(runtime, denoFlags);
  const { success, stdout, stderr } = await new Deno.Command(program!, {
    args: [...flags, decodeURIComponent(script.pathname)],
    signal: AbortSignal.timeout(60_000),
  }).output();
  const decoder = new TextDecoder();
  const text = decoder.decode(stdout);
  if (!success) {
    throw new Error(`${runtime} failed: ${text}${decoder.decode(stderr)}`);
  }
  return text;
}
