/**
 * What the measurements share: medians, tables, folders and processes. Runs on
 * every runtime.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Runs a job with a folder of its own. */
export async function withFolder(
  job: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "codex-rotator-bench-"));
  try {
    await job(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A value of the sorted list, by its share of the way through it. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))] ?? NaN;
}

/** The middle value. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Measures all in turns, so that a slow moment hits them alike; the median of each. */
export async function medians<T>(
  subjects: ReadonlyMap<string, T>,
  rounds: number,
  warmUp: number,
  measure: (subject: T) => Promise<number>,
): Promise<Map<string, number>> {
  const found = new Map([...subjects.keys()].map((it) => [it, [] as number[]]));
  for (let round = -warmUp; round < rounds; round++) {
    for (const [name, subject] of subjects) {
      const value = await measure(subject);
      if (round >= 0) found.get(name)!.push(value);
    }
  }
  return new Map([...found].map(([name, values]) => [name, median(values)]));
}

/** The runtime that this runs on, with its version. */
export function runtimeName(): string {
  const { deno, bun, node } = process.versions as Record<string, string>;
  if (deno) return `Deno ${deno}`;
  return bun ? `Bun ${bun}` : `Node ${node}`;
}

/** Prints a line. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Prints rows below their heads; all but the first column are set to the right. */
export function printTable(
  title: string,
  heads: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const widths = heads.map((head, n) =>
    Math.max(head.length, ...rows.map((row) => row[n]?.length ?? 0))
  );
  const lines = [heads, ...rows].map((row) =>
    row.map((cell, n) =>
      n === 0 ? cell.padEnd(widths[n]!) : cell.padStart(widths[n]!)
    ).join("   ").trimEnd()
  );
  // in one write: other runtimes may print at the same time
  print(`${runtimeName()}; ${title}\n${lines.join("\n")}\n`);
}

/** A process of its own, told about line by line. */
export interface Helper {
  readonly child: ChildProcess;
  /** The next line that it prints; undefined when it has ended. */
  line(): Promise<string | undefined>;
}

/** Starts a script on this same runtime, in a process of its own. */
export function startScript(
  url: string | URL,
  ...args: readonly string[]
): Helper {
  const flags = process.versions.deno ? ["run", "-A", "--no-prompt"] : [];
  const child = spawn(process.execPath, [
    ...flags,
    fileURLToPath(url),
    ...args,
  ], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })
    [Symbol.asyncIterator]();
  return {
    child,
    line: async () => (await lines.next()).value ?? undefined,
  };
}
