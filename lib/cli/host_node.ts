import process from "node:process";
import type { Host } from "./host.ts";

/** Whatever keeps the process after its command has ended is cut off, ms. */
const LINGERING = 500;

// Whoever reads the output may stop early, as `head` does.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(process.exitCode ?? 0);
  process.stderr.write(`Error: ${error.message}\n`);
  process.exit(1);
});

/** Node, and what is like it. */
export const host: Host = {
  args: process.argv.slice(2),
  isWindows: process.platform === "win32",
  noColor: Boolean(process.env.NO_COLOR),
  env: (name) => process.env[name],
  write: (to, text) => void streamOf(to).write(text),
  isTerminal: (stream) => streamOf(stream).isTTY === true,
  size() {
    const { isTTY, columns, rows } = process.stdout;
    return isTTY && columns && rows ? { columns, rows } : undefined;
  },
  onInterrupt: (listener) => void process.on("SIGINT", listener),
  exitAfter: (ms, code) =>
    void setTimeout(() => process.exit(code), ms).unref(),
  exit: (code) => process.exit(code),
  // what was written may still be on its way
  finish(code) {
    process.exitCode = code;
    host.exitAfter(LINGERING, code);
  },
};

function streamOf(name: "out" | "err"): NodeJS.WriteStream {
  return name === "out" ? process.stdout : process.stderr;
}
