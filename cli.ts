#!/usr/bin/env -S deno run --allow-env --allow-read --allow-write --allow-net
/**
 * The command line of codex-rotator; imported, it is the library.
 *
 * @module
 */
import process from "node:process";
import { processIo } from "./lib/cli/io.ts";
import { main } from "./lib/cli/main.ts";

export * from "./mod.ts";

if (import.meta.main) {
  const interrupted = new AbortController();
  process.on("SIGINT", () => {
    if (interrupted.signal.aborted) process.exit(130);
    interrupted.abort(new Error("Interrupted"));
    // A command that does not listen must not keep the person waiting.
    setTimeout(() => process.exit(130), 2000).unref();
  });
  // Whoever reads the output may stop early, as `head` does.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(process.exitCode ?? 0);
  });
  process.exitCode = await main(
    process.argv.slice(2),
    processIo(interrupted.signal),
  );
}
