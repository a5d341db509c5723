import { EXIT } from "./exit.ts";
import { type Interruption, processIo } from "./io.ts";
import { main } from "./main.ts";
import { openRuntime, type Runtime } from "./runtime.ts";

/** A command that does not listen must not keep the person waiting longer (ms). */
const PATIENCE = 2000;

/** Runs the command line of this process, and ends it with its exit code. */
export async function runProcess(): Promise<void> {
  const runtime = await openRuntime();
  const io = processIo(runtime, interruptionOf(runtime));
  runtime.finish(await main(runtime.args, io));
}

/** Until somebody asks for the signal, Ctrl-C ends the process as it ends any. */
function interruptionOf(runtime: Runtime): Interruption {
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
    runtime.onInterrupt(() => {
      if (interrupted.signal.aborted) runtime.exit(EXIT.interrupted);
      interrupted.abort(new Error("Interrupted"));
      if (!isPatient) runtime.exitAfter(PATIENCE, EXIT.interrupted);
    });
    return interrupted.signal;
  }
}
