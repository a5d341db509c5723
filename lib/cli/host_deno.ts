import type { Host } from "./host.ts";

const encoder = new TextEncoder();
/** A terminal that does not take more right now is asked again after this, ms. */
const BUSY_MS = 5;

/** Deno without what imitates Node in it. */
export function denoHost(): Host {
  return {
    args: Deno.args,
    isWindows: Deno.build.os === "windows",
    // known without a permission
    noColor: Deno.noColor,
    env: (name) => Deno.env.get(name),
    write: (to, text) => writeAll(streamOf(to), encoder.encode(text)),
    isTerminal: (stream) => streamOf(stream).isTerminal(),
    size() {
      try {
        return Deno.stdout.isTerminal() ? Deno.consoleSize() : undefined;
      } catch {
        return undefined;
      }
    },
    quickRead(path) {
      try {
        // others than regular files may have nothing to read for ever
        if (!Deno.statSync(path).isFile) return undefined;
        const text = Deno.readTextFileSync(path);
        // there may have been something that is no text
        return text.includes("\ufffd") ? undefined : text;
      } catch {
        return undefined;
      }
    },
    onInterrupt: (listener) => Deno.addSignalListener("SIGINT", listener),
    exitAfter(ms, code) {
      Deno.unrefTimer(setTimeout(() => Deno.exit(code), ms));
    },
    exit: (code) => Deno.exit(code),
    // At once: all was written, and Deno never gets over a request with a stream
    // that it denied.
    finish: (code) => Deno.exit(code),
  };
}

function streamOf(name: "out" | "err"): typeof Deno.stdout {
  return name === "out" ? Deno.stdout : Deno.stderr;
}

/** Ends at once, but what waits for the end of a process gets its turn, also in what imitates Node. */
function leave(): never {
  (globalThis as { process?: { emit(name: string): void } }).process
    ?.emit("exit");
  Deno.exit();
}

function writeAll(stream: typeof Deno.stdout, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    try {
      at += stream.writeSync(bytes.subarray(at));
    } catch (error) {
      // whoever reads the output may stop early, as `head` does
      if (error instanceof Deno.errors.BrokenPipe) leave();
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_MS);
    }
  }
}
