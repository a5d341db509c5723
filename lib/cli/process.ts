import process from "node:process";
import { EXIT } from "./exit.ts";
import { processIo } from "./io.ts";
import { main } from "./main.ts";

/** A command that does not listen must not keep the person waiting longer, ms. */
const PATIENCE = 2000;

/** Whatever keeps the process after its command has ended is cut off, ms. */
const LINGERING = 500;

/** Runs the command line of this process, and sets its exit code. */
export async function runProcess(): Promise<void> {
  const interrupted = new AbortController();
  let isPatient = false;
  process.on("SIGINT", () => {
    if (interrupted.signal.aborted) process.exit(EXIT.interrupted);
    interrupted.abort(new Error("Interrupted"));
    if (isPatient) return;
    setTimeout(() => process.exit(EXIT.interrupted), PATIENCE).unref();
  });
  // Whoever reads the output may stop early, as `head` does.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(process.exitCode ?? 0);
  });
  const io = processIo(interrupted.signal, () => isPatient = true);
  process.exitCode = await main(process.argv.slice(2), io);
  // Deno never gets over a request with a stream that it denied. All is done,
  // so nothing is lost; without such a request the process has ended by then.
  setTimeout(() => process.exit(), LINGERING).unref();
}
