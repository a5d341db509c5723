import { assertEquals } from "@std/assert";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { fromFileUrl, join } from "@std/path";

export type Runtime = "deno" | "bun" | "node";

export const RUNTIMES: readonly Runtime[] = ["deno", "bun", "node"];

/** Set for the full counts instead of those of an everyday run. */
export const TORTURE = Deno.env.get("TORTURE") === "1";

const BIN = fromFileUrl(new URL("../../node_modules/.bin/", import.meta.url));
const WORKER = fromFileUrl(new URL("./worker.ts", import.meta.url));

/** A worker process and the lines it says. */
export interface Worker {
  readonly child: Deno.ChildProcess;
  /** The next line; undefined when it has ended. */
  line(): Promise<string | undefined>;
  /** Waits for its end; the lines not yet asked for. */
  rest(): Promise<string[]>;
}

/** Starts `worker.ts`. */
export function startWorker(
  runtime: Runtime,
  args: readonly string[],
  denoFlags: readonly string[] = ["-A"],
): Worker {
  const flags = runtime === "deno" ? ["run", "--no-prompt", ...denoFlags] : [];
  const program = runtime === "deno" ? Deno.execPath() : join(BIN, runtime);
  const child = new Deno.Command(program, {
    args: [...flags, WORKER, ...args],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const lines = readLines(child.stdout);
  return {
    child,
    async line() {
      return (await lines.next()).value ?? undefined;
    },
    async rest() {
      const left = await Array.fromAsync(lines);
      await child.status;
      return left;
    },
  };
}

async function* readLines(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<string, undefined> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    yield* lines;
  }
}

/** Runs `test` with a folder of its own. */
export async function withFolder(
  test: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "codex-rotator-store-"));
  try {
    await test(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Asserts that every start in a log is followed by the end of the same process. */
export async function assertTakesTurns(log: string): Promise<void> {
  const lines = (await readFile(log, "utf8")).trim().split("\n");
  for (let index = 0; index < lines.length; index += 2) {
    assertEquals(lines[index + 1], lines[index]!.replace("start", "end"));
  }
}
