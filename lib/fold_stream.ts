/**
 * A stream for a caller who did not ask for one: read to its end and given as
 * one response.
 *
 * @module
 */
import { withAbort } from "./account/abort.ts";
import type { Outcome } from "./codex/answer.ts";
import { Folder, statusOfFailure } from "./codex/fold.ts";
import { type ServerSentEvent, ServerSentEventParser } from "./codex/sse.ts";
import { readEvent, readStreamFailure } from "./codex/stream.ts";
import type { Guarded, GuardOptions } from "./stream_guard.ts";
import { withBody } from "./like.ts";

/**
 * Reads a whole stream into one JSON response, for a caller who did not ask
 * for a stream.
 *
 * @param response A response that is a stream of events.
 * @param options The model, the clock, and whom to tell.
 */
export async function foldStream(
  response: Response,
  options: GuardOptions,
): Promise<Guarded> {
  const reader = response.body!.getReader();
  const parser = new ServerSentEventParser();
  const folder = new Folder();
  try {
    for (;;) {
      const { done, value } = await withAbort(reader.read(), options.signal);
      for (const event of done ? parser.end() : parser.push(value)) {
        const end = foldEvent(event, folder, response, options);
        if (!end) continue;
        reader.cancel().catch(() => {});
        return end;
      }
      if (done) throw new TypeError("The stream ended before its response");
    }
  } catch (error) {
    if (options.signal?.aborted) {
      reader.cancel(error).catch(() => {});
      throw error;
    }
    const body = JSON.stringify({
      error: { type: "server_error", message: String(error) },
    });
    return {
      kind: "broken",
      error,
      response: folded(response, body, 502),
    };
  }
}

function foldEvent(
  event: ServerSentEvent,
  folder: Folder,
  response: Response,
  options: GuardOptions,
): Guarded | undefined {
  const meaning = readEvent(event.data, event.event);
  switch (meaning.kind) {
    case "preamble":
    case "done":
      return undefined;
    case "rate-limits":
      options.onEvent(meaning);
      return undefined;
    case "content":
      folder.take(event.data);
      return undefined;
    case "completed":
    case "incomplete": {
      const body = JSON.stringify(folder.finish(meaning.response));
      return { kind: "open", response: folded(response, body, 200) };
    }
    case "failed": {
      const { error } = meaning;
      const read = readStreamFailure(meaning, options.now(), options.model);
      // what has begun may have been charged, as with one that a gateway lost
      const outcome: Outcome = read.kind === "hiccup" && folder.hasContent
        ? { kind: "hiccup", status: 502 }
        : read;
      const body = JSON.stringify({ error });
      const answer = folded(response, body, statusOfFailure(error));
      return outcome.kind === "other"
        ? { kind: "open", response: answer }
        : { kind: "failed", outcome, response: answer };
    }
  }
}

/** One JSON response; what described the stream's bytes is left out. */
function folded(response: Response, body: string, status: number): Response {
  const headers = new Headers(response.headers);
  headers.set("content-type", "application/json");
  for (
    const name of ["content-length", "content-encoding", "transfer-encoding"]
  ) headers.delete(name);
  return withBody(response, body, headers, status);
}
