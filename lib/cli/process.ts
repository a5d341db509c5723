import { EXIT } from "./exit.ts";
import type { Host } from "./host.ts";
import { denoHost } from "./host_deno.ts";
import { type Interruption, processIo } from "./io.ts";
import { main } from "./main.ts";

/** A command that does not listen must not keep the person waiting longer, ms. */
const PATIENCE = 2000;

/** Runs the command line of this process, and ends it with its exit code. */
export async function runProcess(): Promise<void> {
  const host = await openHost();
  const io = processIo(host, interruptionOf(host));
  host.finish(await main(host.args, io));
}

/**
 * The host that this is: Deno itself where there is Deno, as it takes longer
 * to load `node:process` and `node:fs` there than to run a command.
 */
async function openHost(): Promise<Host> {
  return "Deno" in globalThis
    ? denoHost()
    : (await import("./host_node.ts")).host;
}

/** Until somebody asks for the signal, Ctrl-C ends the process as it ends any. */
function interruptionOf(host: Host): Interruption {
  let signal: AbortSignal | undefined;
  let isPatient = false;
  return {
    get signal() {
      return signal ??= listen();
    },
    get isInterrupted() {
      return signal?.aborted === true;
    },
    bePatient: () => isPatient = true,
  };

  function listen(): AbortSignal {
    const interrupted = new AbortController();
    host.onInterrupt(() => {
      if (interrupted.signal.aborted) host.exit(EXIT.interrupted);
      interrupted.abort(new Error("Interrupted"));
      if (!isPatient) host.exitAfter(PATIENCE, EXIT.interrupted);
    });
    return interrupted.signal;
  }
}
