/**
 * Holds the beginning of a response stream back until it shows content, so
 * that a failure before that can be made good by another account.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";
import { withAbort } from "./account/abort.ts";
import { withBody } from "./response.ts";
import { type Outcome, readStreamFailure } from "./codex/answer.ts";
import type { AboutRequest } from "./codex/headers.ts";
import { type ServerSentEvent, ServerSentEventParser } from "./codex/sse.ts";
import {
  doneItem,
  type EventMeaning,
  ITEM_DONE,
  readEvent,
  type StreamFailure,
} from "./codex/stream.ts";

/** No more of a stream is held back, bytes. */
const MAX_HELD_BYTES = 1024 * 1024;
/** Unless told otherwise, nothing is held back for longer, ms. */
const MAX_HELD_MS = 60_000;

/** What is in every event that says something about the account. */
const ABOUT_ACCOUNT = [
  "codex.rate_limits",
  "response.failed",
  "error",
  "response.completed",
  "response.incomplete",
];

/** How a stream began. */
export type Guarded =
  /** With content, or with a failure that concerns only the caller. */
  | { kind: "open"; response: Response }
  /** With a failure that another account may make good. */
  | {
    kind: "failed";
    failure: StreamFailure;
    outcome: Outcome;
    response: Response;
    /** Content had come, so that it may have been charged. */
    hasContent?: boolean;
  }
  /** It ended or broke before any content. */
  | {
    kind: "broken";
    error: unknown;
    response: Response;
    hasContent?: boolean;
  };

/** Options of {@linkcode guardStream} and {@linkcode foldStream}. */
export interface GuardOptions {
  /** The request, as of now. */
  about: () => AboutRequest;
  /** Called with the events that say something about the account, whenever they come. */
  onEvent: (meaning: EventMeaning) => void;
  /** Called once the stream has ended, however it did. */
  onEnd: () => void;
  signal?: AbortSignal | null | undefined;
  /** Nothing is held back for longer, ms. */
  maxHeldMs?: number;
  /** Called with every item of the output, where somebody wants them. */
  onItem?: (item: unknown) => void;
}

type Read = ReadableStreamReadResult<Uint8Array>;

/** Whether a response is a stream of events; some come without a content type. */
export function isEventStream({ status, body, headers }: Response): boolean {
  if (status !== 200 || !body) return false;
  const type = headers.get("content-type");
  return !type || type.includes("event-stream");
}

/** A stream that is being held back. */
interface Held {
  readonly response: Response;
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly parser: ServerSentEventParser;
  readonly chunks: Uint8Array[];
  /** A read that was not waited for any more. */
  reading: Promise<Read> | undefined;
}

/**
 * Reads a stream until it shows how it goes.
 *
 * @returns The response with all its bytes, and how it began.
 * @throws The reason of the signal, when that aborts first.
 */
export async function guardStream(
  response: Response,
  options: GuardOptions,
): Promise<Guarded> {
  const held: Held = {
    response,
    reader: response.body!.getReader(),
    parser: new ServerSentEventParser(),
    chunks: [],
    reading: undefined,
  };
  const deadline = Promise.withResolvers<"due">();
  const { maxHeldMs = MAX_HELD_MS } = options;
  const timer = setTimeout(() => deadline.resolve("due"), maxHeldMs);
  try {
    const end = await withAbort(
      readPreamble(held, deadline.promise, options),
      options.signal,
    );
    return { ...end, response: passOn(held, options) };
  } catch (error) {
    held.reader.cancel(error).catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** How a stream began, its response apart. */
type Beginning =
  | { kind: "open" }
  | { kind: "failed"; failure: StreamFailure; outcome: Outcome }
  | { kind: "broken"; error: unknown };

async function readPreamble(
  held: Held,
  deadline: Promise<"due">,
  options: GuardOptions,
): Promise<Beginning> {
  for (let bytes = 0; bytes < MAX_HELD_BYTES;) {
    held.reading = held.reader.read();
    const read = await Promise.race([held.reading, deadline])
      .catch((error: unknown) => ({ error }));
    if (read === "due") break;
    if ("error" in read) return { kind: "broken", error: read.error };
    if (read.done) return { kind: "broken", error: undefined };
    held.reading = undefined;
    held.chunks.push(compact(read.value));
    bytes += read.value.length;
    const beginning = judge(held.parser.push(read.value), options);
    if (beginning) return beginning;
  }
  return { kind: "open" };
}

/** What events decide; undefined while nothing is decided. Those behind the one that decided are listened to. */
function judge(
  events: readonly ServerSentEvent[],
  options: GuardOptions,
): Beginning | undefined {
  for (const [index, { data, event }] of events.entries()) {
    const meaning = readEvent(data, event);
    if (meaning.kind === "preamble") continue;
    if (meaning.kind === "rate-limits") {
      options.onEvent(meaning);
      continue;
    }
    if (isEnd(meaning)) options.onEvent(meaning);
    tellItem(data, options);
    listen(events.slice(index + 1), options);
    if (meaning.kind !== "failed") return { kind: "open" };
    const outcome = readStreamFailure(meaning, options.about());
    return outcome.kind === "other"
      ? { kind: "open" }
      : { kind: "failed", failure: meaning, outcome };
  }
  return undefined;
}

function isEnd({ kind }: EventMeaning): boolean {
  return kind === "completed" || kind === "incomplete";
}

/** Passes on the events that say something about the account. */
function listen(
  events: readonly ServerSentEvent[],
  options: GuardOptions,
): void {
  for (const { data, event } of events) {
    tellItem(data, options);
    const meaning = readEvent(data, event);
    const isAboutAccount = meaning.kind === "rate-limits" ||
      meaning.kind === "failed";
    if (isAboutAccount || isEnd(meaning)) options.onEvent(meaning);
  }
}

/** Tells of the item that an event carries. */
function tellItem(data: string, { onItem }: GuardOptions): void {
  const done = onItem && doneItem(data);
  if (done) onItem(done.item);
}

/** The response with all its bytes, read as its reader asks for them, and listened to. */
function passOn(held: Held, options: GuardOptions): Response {
  const { response, reader, parser, chunks } = held;
  const wanted = options.onItem ? [...ABOUT_ACCOUNT, ITEM_DONE] : ABOUT_ACCOUNT;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const chunk = chunks.shift();
      if (chunk) return controller.enqueue(chunk);
      const reading = held.reading ?? reader.read();
      held.reading = undefined;
      reading.catch(options.onEnd);
      const { done, value } = await reading;
      if (done) {
        options.onEnd();
        return controller.close();
      }
      try {
        listen(parser.push(value, wanted), options);
      } catch (error) {
        reader.cancel(error).catch(() => {});
        throw error;
      }
      controller.enqueue(compact(value));
    },
    cancel(reason) {
      options.onEnd();
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
