/** Responses and streams without a network. */

/** A JSON answer. */
export function json(
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): Response {
  const all = { "content-type": "application/json", ...headers };
  return new Response(JSON.stringify(body), { status, headers: all });
}

const encoder = new TextEncoder();

/** A stream of events; `write` sends them and takes its time. It fails when the signal is aborted. */
export function streamOf(
  signal: AbortSignal,
  write: (send: (event: Record<string, unknown>) => void) => Promise<void>,
): ReadableStream<Uint8Array> {
  let isOpen = true;
  return new ReadableStream({
    start(controller) {
      const send = (event: Record<string, unknown>) => {
        if (!isOpen) return;
        const text = `event: ${event["type"]}\ndata: ${
          JSON.stringify(event)
        }\n\n`;
        controller.enqueue(encoder.encode(text));
      };
      write(send).then(
        () => {
          if (isOpen) controller.close();
        },
        (error) => {
          if (isOpen) controller.error(signal.reason ?? error);
        },
      );
    },
    cancel() {
      isOpen = false;
    },
  });
}
