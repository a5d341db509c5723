/** The command line in one file, and what a process leaves behind. */
import type { Ran } from "./cli/run.ts";

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
