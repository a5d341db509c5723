/**
 * Holds the beginning of a response stream back until it shows content, so
 * that a failure before that can be made good by another account.
 *
 * @module
 */
import type { Outcome } from "./codex/answer.ts";
import { type ServerSentEvent, ServerSentEventParser } from "./codex/sse.ts";
import {
  type EventMeaning,
  readEvent,
  readStreamFailure,
} from "./codex/stream.ts";
import type { Deadlines } from "./deadlines.ts";
import { withBody } from "./like.ts";

/** No more of a stream is held back, bytes. */
const MAX_HELD_BYTES = 64 * 1024;
/** Nothing is held back for longer, ms. */
export const LONGEST_HELD_MS = 15_000;

/** What stands in every event that says something about the account. */
const ABOUT_ACCOUNT = ["codex.rate_limits", "response.failed", "error"];

/** How a stream began. */
export type Guarded =
  /** With content, or with a failure that concerns only the caller. */
  | { kind: "open"; response: Response }
  /** With a failure that another account may make good. */
  | { kind: "failed"; outcome: Outcome; response: Response }
  /** It ended or broke before any content. */
  | { kind: "broken"; error: unknown; response: Response };

/** Options of {@linkcode guardStream}. */
export interface GuardOptions {
  model: string | undefined;
  /** Epoch ms. */
  now: () => number;
  /** Told of the events that say something about the account, whenever they come. */
  onEvent: (meaning: EventMeaning) => void;
  deadlines: Deadlines;
  signal?: AbortSignal | null | undefined;
}

type Read = ReadableStreamReadResult<Uint8Array>;

/** Whether a response is a stream of events; some come without a content type. */
export function isEventStream(
  response: Response,
  type: string | null,
): boolean {
  if (response.status !== 200 || !response.body) return false;
  return type === null || type === "" || type.includes("event-stream");
}

/**
 * Reads a stream until it shows how it goes.
 *
 * @returns The response with all its bytes, and how it began.
 * @throws The reason of `signal`, when that aborts first.
 */
export async function guardStream(
  response: Response,
  options: GuardOptions,
): Promise<Guarded> {
  const { deadlines, signal } = options;
  const reader = response.body!.getReader();
  const parser = new ServerSentEventParser();
  const held: Uint8Array[] = [];
  let heldBytes = 0;
  let reading: Promise<Read> | undefined;
  const whole = () => passOn(response, reader, held, reading, parser, options);
  const wait = Promise.withResolvers<"due">();
  const deadline = deadlines.start(() => wait.resolve("due"));
  const onAbort = () => wait.reject(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    while (heldBytes < MAX_HELD_BYTES) {
      reading = reader.read();
      const read = await Promise.race([reading, wait.promise])
        .catch((error: unknown) => ({ error }));
      signal?.throwIfAborted();
      if (read === "due") break;
      if ("error" in read) {
        return { kind: "broken", error: read.error, response: whole() };
      }
      if (!read.done) {
        reading = undefined;
        held.push(compact(read.value));
        heldBytes += read.value.length;
      }
      const events = read.done ? parser.end() : parser.push(read.value);
      const outcome = judge(events, options);
      if (outcome === "open") break;
      if (outcome) return { kind: "failed", outcome, response: whole() };
      if (read.done) {
        return { kind: "broken", error: undefined, response: whole() };
      }
    }
    return { kind: "open", response: whole() };
  } catch (error) {
    reader.cancel(error).catch(() => {});
    throw error;
  } finally {
    deadlines.cancel(deadline);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** What events decide; undefined while nothing is decided. Those behind the one that decided are listened to. */
function judge(
  events: readonly ServerSentEvent[],
  options: GuardOptions,
): Outcome | "open" | undefined {
  for (const [index, { data, event }] of events.entries()) {
    const meaning = readEvent(data, event);
    if (meaning.kind === "preamble") continue;
    if (meaning.kind === "rate-limits") {
      options.onEvent(meaning);
      continue;
    }
    if (meaning.kind === "failed") {
      const outcome = readStreamFailure(meaning, options.now(), options.model);
      listen(events.slice(index + 1), options);
      return outcome.kind === "other" ? "open" : outcome;
    }
    listen(events.slice(index + 1), options);
    return "open";
  }
  return undefined;
}

/** Tells of the events that say something about the account. */
function listen(
  events: readonly ServerSentEvent[],
  { onEvent }: GuardOptions,
): void {
  for (const { data, event } of events) {
    const meaning = readEvent(data, event);
    if (meaning.kind === "rate-limits" || meaning.kind === "failed") {
      onEvent(meaning);
    }
  }
}

/** The response with all its bytes, read as its reader asks for them, and listened to. */
function passOn(
  response: Response,
  reader: ReadableStreamDefaultReader<Uint8Array>,
  held: Uint8Array[],
  reading: Promise<Read> | undefined,
  parser: ServerSentEventParser,
  options: GuardOptions,
): Response {
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const chunk = held.shift();
      if (chunk) return controller.enqueue(chunk);
      const { done, value } = await (reading ?? reader.read());
      try {
        listen(
          done ? parser.end() : parser.push(value, ABOUT_ACCOUNT),
          options,
        );
      } catch (error) {
        reader.cancel(error).catch(() => {});
        throw error;
      }
      reading = undefined;
      if (done) controller.close();
      else controller.enqueue(compact(value));
    },
    cancel(reason) {
      // held as long as its body: Deno forgets the caller's signal with it
      void response;
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
  return withBody(response, body);
}

/** A chunk without most of the memory that the runtime read it into. */
function compact(chunk: Uint8Array): Uint8Array {
  return chunk.length <= chunk.buffer.byteLength / 2 ? chunk.slice() : chunk;
}
