import { assertEquals } from "@std/assert";
import { readFile } from "node:fs/promises";
import { fromFileUrl } from "@std/path";
import process from "node:process";
import { commandOf, type Runtime, RUNTIMES } from "../runtimes.ts";

export { type Runtime, RUNTIMES } from "../runtimes.ts";

/** Set for the full counts instead of those of an everyday run. */
export const TORTURE = process.env.TORTURE === "1";

const WORKER = fromFileUrl(new URL("./worker.ts", import.meta.url));

/** A worker process and the lines it says. */
export interface Worker {
  readonly child: Deno.ChildProcess;
  /** Gives it a line. */
  tell(): Promise<void>;
  /** The next line; undefined when it has ended. */
  line(): Promise<string | undefined>;
  /** Waits for its end; the lines not yet asked for. */
  rest(): Promise<string[]>;
}

const started = new Set<Deno.ChildProcess>();

/** Starts `worker.ts`. */
export function startWorker(
  runtime: Runtime,
  args: readonly string[],
  denoFlags: readonly string[] = ["-A"],
): Worker {
  // where it is not here, the test is about processes all the same
  const there = RUNTIMES.includes(runtime) ? runtime : "deno";
  const [program, ...flags] = commandOf(there, denoFlags);
  const child = new Deno.Command(program!, {
    args: [...flags, WORKER, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const input = child.stdin.getWriter();
  started.add(child);
  child.status.then(() => started.delete(child));
  const lines = readLines(child.stdout);
  return {
    child,
    tell: () => input.write(new TextEncoder().encode("\n")),
    async line() {
      return (await lines.next()).value ?? undefined;
    },
    async rest() {
      const left = await Array.fromAsync(lines);
      await child.status;
      await input.close().catch(() => {});
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

/** Those of a test that failed would go on writing. */
export async function endWorkers(): Promise<void> {
  for (const child of started) {
    child.kill("SIGKILL");
    await child.status;
    await child.stdin.close().catch(() => {});
  }
}

/** Asserts that every start in a log is followed by the end of the same process. */
export async function assertTakesTurns(log: string): Promise<void> {
  const lines = (await readFile(log, "utf8")).trim().split("\n");
  for (let index = 0; index < lines.length; index += 2) {
    assertEquals(lines[index + 1], lines[index]!.replace("start", "end"));
  }
}
