/**
 * A stream for a caller who did not ask for one: read to its end and given as
 * one JSON response.
 */
import { withAbort } from "./abort.ts";
import { type Outcome, readStreamFailure } from "./codex/answer.ts";
import { statusOfFailure } from "./codex/error_table.ts";
import { type ServerSentEvent, ServerSentEventParser } from "./codex/sse.ts";
import { doneItem, readEvent } from "./codex/stream.ts";
import { asJson } from "./response.ts";
import type { GuardOptions } from "./stream_guard.ts";
import type { Answer, NetworkError } from "./tries.ts";

/** A larger response is not put together, bytes. */
const MAX_FOLDED_BYTES = 64 * 1024 * 1024;

/** Reads a whole stream into one JSON response, for a caller who did not ask for a stream. */
export async function foldStream(
  response: Response,
  options: GuardOptions,
): Promise<Answer | NetworkError> {
  const reader = response.body!.getReader();
  // an image may be larger than anything that is only listened to
  const parser = new ServerSentEventParser(Infinity);
  const folder = new Folder();
  try {
    for (let size = 0;;) {
      const { done, value } = await withAbort(reader.read(), options.signal);
      if (done) throw new TypeError("The stream ended before its response");
      size += value.length;
      if (size > MAX_FOLDED_BYTES) return tooLarge(reader, response, folder);
      for (const event of parser.push(value)) {
        const end = foldEvent(event, folder, { response, options });
        if (!end) continue;
        reader.cancel().catch(() => {});
        return end;
      }
    }
  } catch (error) {
    if (!options.signal?.aborted) {
      return { error, hasContent: folder.hasContent };
    }
    reader.cancel(error).catch(() => {});
    throw error;
  }
}

/** What nobody can hold is not asked for again. */
function tooLarge(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  response: Response,
  { hasContent }: Folder,
): Answer {
  reader.cancel().catch(() => {});
  const message =
    "The response is larger than 64 MiB; ask for a stream (stream: true) instead";
  const body = JSON.stringify({ error: { type: "server_error", message } });
  const answer = asJson(response, body, 502);
  return { outcome: { kind: "other" }, response: answer, hasContent };
}

function foldEvent(
  event: ServerSentEvent,
  folder: Folder,
  { response, options }: { response: Response; options: GuardOptions },
): Answer | undefined {
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
    case "ended": {
      options.onEvent(meaning);
      const whole = folder.finish(meaning.response);
      whole.output.forEach((item) => options.onItem?.(item));
      const answer = asJson(response, JSON.stringify(whole), 200);
      return { outcome: { kind: "ok" }, response: answer };
    }
    case "failed": {
      const { error, headers: failureHeaders } = meaning;
      const { hasContent } = folder;
      const read = readStreamFailure(meaning, options.about());
      // what has begun may have been charged, as with one that a gateway lost
      const outcome: Outcome = read.kind === "transient" && hasContent
        ? { kind: "transient", status: 502 }
        : read;
      const body = JSON.stringify({ error });
      const answer = asJson(response, body, statusOfFailure(error));
      return { outcome, response: answer, hasContent, failureHeaders };
    }
  }
}

/** Collects what a stream says, until it says that it is complete. */
class Folder {
  readonly #items = new Map<number, unknown>();
  #hasContent = false;

  get hasContent(): boolean {
    return this.#hasContent;
  }

  take(data: string): void {
    this.#hasContent = true;
    const done = doneItem(data);
    if (done) this.#items.set(done.index ?? this.#items.size, done.item);
  }

  /** The whole response; its output is put together where it carries none. */
  finish(
    response: Record<string, unknown>,
  ): Record<string, unknown> & { output: unknown[] } {
    const { output } = response;
    if (Array.isArray(output) && output.length > 0) {
      return { ...response, output };
    }
    const items = [...this.#items].sort(([a], [b]) => a - b);
    return { ...response, output: items.map(([, item]) => item) };
  }
}
