/** The command line in one file, and what a process leaves behind. */
import { fromFileUrl } from "@std/path";
import type { Ran } from "./cli/run.ts";

const ROOT = fromFileUrl(new URL("..", import.meta.url));

/** What a process is given. */
export interface SpawnOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** What it reads from its input, which ends then. */
  input?: string;
}

/** Runs a process to its end. */
export async function spawn(
  [program, ...args]: readonly string[],
  { input, ...options }: SpawnOptions = {},
): Promise<Ran> {
  const child = new Deno.Command(program!, {
    args,
    ...options,
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  }
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/**
 * Writes library and command line to one file, which runs on every runtime and
 * wherever HOME points.
 */
export async function bundleTo(file: string): Promise<void> {
  // as deno.json has it, else from npm
  for (const imports of [[], ["--import-map=tests/npm_imports.json"]]) {
    const { code } = await spawn([
      Deno.execPath(),
      "bundle",
      "--quiet",
      "--platform=deno",
      ...imports,
      "-o",
      file,
      "lib/cli/bundle.ts",
    ], { cwd: ROOT });
    if (code === 0) return;
  }
  throw new Error("The bundle could not be made");
}
