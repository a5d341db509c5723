/**
 * How the stream of a response is read: its beginning is held back until it
 * shows content, so that a failure before that can be made good by another
 * account; for a caller who did not ask for a stream, all of it.
 */
import { clearTimeout, setTimeout } from "node:timers";
import { deferred, withAbort } from "./abort.ts";
import { readStreamFailure } from "./codex/answer.ts";
import { type Outcome, statusOfFailure } from "./codex/error_table.ts";
import type { AboutRequest } from "./codex/headers.ts";
import { type ServerSentEvent, ServerSentEventParser } from "./codex/sse.ts";
import {
  doneItem,
  type EventMeaning,
  ITEM_DONE,
  readEvent,
} from "./codex/stream.ts";
import { asJson, compact, relay, withBody } from "./response.ts";
import type { Answer, NetworkError } from "./tries.ts";

/** No more of a stream is held back, bytes. */
const MAX_HELD_BYTES = 1024 * 1024;
/** Unless told otherwise, nothing is held back for longer, ms. */
const MAX_HELD_MS = 60_000;

/** What is in every event that says something about the account: one search, as every byte is looked at. */
const ABOUT_ACCOUNT =
  /codex\.rate_limits|response\.(?:failed|completed|incomplete)|error/;
/** The same, and the items. */
const ACCOUNT_OR_ITEM = new RegExp(
  `${ABOUT_ACCOUNT.source}|${ITEM_DONE.replaceAll(".", "\\.")}`,
);

/** Options of {@linkcode guardStream} and {@linkcode foldStream}. */
export interface GuardOptions {
  about: () => AboutRequest;
  /** Called with the events that say something about the account, whenever they come. */
  onEvent: (meaning: EventMeaning) => void;
  /** Called with the headers of a failure that is not passed on. */
  onHeaders: (headers: unknown) => void;
  /** Called once the stream has ended, however it did. */
  onEnd: () => void;
  signal?: AbortSignal | null | undefined;
  /** Nothing is held back for longer, ms. */
  maxHeldMs?: number;
  /** Called with every item of the output, where somebody wants them. */
  onItem?: (item: unknown) => void;
}

/** Whether a response is a stream of events; some come without a content type. */
export function isEventStream({ status, body, headers }: Response): boolean {
  if (status !== 200 || !body) return false;
  const type = headers.get("content-type");
  return !type || type.includes("event-stream");
}

interface Held {
  readonly response: Response;
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly parser: ServerSentEventParser;
  readonly chunks: Uint8Array[];
  /** A read that was not waited for any more. */
  reading: Promise<ReadableStreamReadResult<Uint8Array>> | undefined;
}

/**
 * Reads a stream until it shows content, or a failure. One that concerns only
 * the caller is content.
 *
 * @returns The response with all its bytes, and what its beginning means.
 * @throws The reason of the signal, when that aborts first.
 */
export async function guardStream(
  response: Response,
  options: GuardOptions,
): Promise<Answer> {
  const held: Held = {
    response,
    reader: response.body!.getReader(),
    parser: new ServerSentEventParser(),
    chunks: [],
    reading: undefined,
  };
  const deadline = deferred<"due">();
  const { maxHeldMs = MAX_HELD_MS } = options;
  const timer = setTimeout(() => deadline.resolve("due"), maxHeldMs);
  try {
    const outcome = await withAbort(
      readPreamble(held, deadline.promise, options),
      options.signal,
    );
    return { outcome, response: passOn(held, options), isStream: true };
  } catch (error) {
    held.reader.cancel(error).catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

const OPEN: Outcome = { kind: "ok" };
/** It may have been served, and charged, like one that a gateway lost. */
const BROKEN: Outcome = { kind: "transient", status: 502 };

/** What the beginning of a stream means. */
async function readPreamble(
  held: Held,
  deadline: Promise<"due">,
  options: GuardOptions,
): Promise<Outcome> {
  for (let bytes = 0; bytes < MAX_HELD_BYTES;) {
    held.reading = held.reader.read();
    const read = await Promise.race([held.reading, deadline])
      .catch(() => undefined);
    if (read === "due") break;
    if (!read || read.done) return BROKEN;
    held.reading = undefined;
    held.chunks.push(compact(read.value));
    bytes += read.value.length;
    const outcome = judge(held.parser.push(read.value), options);
    if (outcome) return outcome;
  }
  return OPEN;
}

/** What events decide; undefined while nothing is decided. Those behind the one that decided are listened to. */
function judge(
  events: readonly ServerSentEvent[],
  options: GuardOptions,
): Outcome | undefined {
  for (const [index, { data, event }] of events.entries()) {
    const meaning = readEvent(data, event);
    if (meaning.kind === "preamble") continue;
    if (meaning.kind === "rate-limits") {
      options.onEvent(meaning);
      continue;
    }
    if (meaning.kind !== "failed") {
      listen(events.slice(index), options);
      return OPEN;
    }
    listen(events.slice(index + 1), options);
    const outcome = readStreamFailure(meaning, options.about());
    options.onHeaders(meaning.headers);
    return outcome.kind === "other" ? OPEN : outcome;
  }
  return undefined;
}

/** Passes on the events that say something about the account, and the items. */
function listen(
  events: readonly ServerSentEvent[],
  { onEvent, onItem }: GuardOptions,
): void {
  for (const { data, event } of events) {
    const done = onItem && doneItem(data);
    if (done) onItem(done.item);
    const meaning = readEvent(data, event);
    switch (meaning.kind) {
      case "rate-limits":
      case "failed":
      case "ended":
        onEvent(meaning);
    }
  }
}

/** The response with all its bytes, read as its reader asks for them, and listened to. */
function passOn(held: Held, options: GuardOptions): Response {
  const { response, reader, parser, chunks } = held;
  const wanted = options.onItem ? ACCOUNT_OR_ITEM : ABOUT_ACCOUNT;
  const source = {
    read() {
      const reading = held.reading ?? reader.read();
      held.reading = undefined;
      return reading;
    },
    cancel: (reason?: unknown) => reader.cancel(reason),
  };
  const watcher = {
    onChunk(chunk: Uint8Array) {
      listen(parser.push(chunk, wanted), options);
    },
    onEnd() {
      // held as long as its body: Deno forgets the caller's signal with it
      void response;
      options.onEnd();
    },
  };
  return withBody(response, relay(source, watcher, chunks));
}

/** A larger response is not put together, bytes. */
const MAX_FOLDED_BYTES = 64 * 1024 * 1024;

/** Reads a whole stream into one JSON response, for a caller who did not ask for a stream. */
export async function foldStream(
  response: Response,
  options: GuardOptions,
): Promise<Answer | NetworkError> {
  const { signal } = options;
  const reader = response.body!.getReader();
  // an image may be larger than anything that is only listened to
  const parser = new ServerSentEventParser(Infinity);
  const folded: Folded = { items: new Map(), hasContent: false };
  try {
    for (let size = 0;;) {
      const { done, value } = await withAbort(reader.read(), signal);
      if (done) throw new TypeError("The stream ended before its response");
      size += value.length;
      if (size > MAX_FOLDED_BYTES) return tooLarge(response, folded);
      for (const event of parser.push(value)) {
        const answer = foldEvent(event, folded, { response, options });
        if (answer) return answer;
      }
    }
  } catch (error) {
    signal?.throwIfAborted();
    return { error, hasContent: folded.hasContent };
  } finally {
    reader.cancel(signal?.reason).catch(() => {});
  }
}

/** What a stream said of its response so far. */
interface Folded {
  /** The output by its place. */
  readonly items: Map<number, unknown>;
  hasContent: boolean;
}

/** What nobody can hold is not asked for again. */
function tooLarge(response: Response, { hasContent }: Folded): Answer {
  const message =
    "The response is larger than 64 MiB; ask for a stream (stream: true) instead";
  const body = JSON.stringify({ error: { type: "server_error", message } });
  const answer = asJson(response, body, 502);
  return { outcome: { kind: "other" }, response: answer, hasContent };
}

function foldEvent(
  { data, event }: ServerSentEvent,
  folded: Folded,
  { response, options }: { response: Response; options: GuardOptions },
): Answer | undefined {
  const { items, hasContent } = folded;
  const meaning = readEvent(data, event);
  switch (meaning.kind) {
    case "preamble":
    case "done":
      return undefined;
    case "rate-limits":
      options.onEvent(meaning);
      return undefined;
    case "content": {
      folded.hasContent = true;
      const done = doneItem(data);
      if (done) items.set(done.index ?? items.size, done.item);
      return undefined;
    }
    case "ended": {
      options.onEvent(meaning);
      const output = outputOf(meaning.response, items);
      output.forEach((item) => options.onItem?.(item));
      const body = JSON.stringify({ ...meaning.response, output });
      return { outcome: { kind: "ok" }, response: asJson(response, body, 200) };
    }
    case "failed": {
      const { error, status, headers } = meaning;
      options.onHeaders(headers);
      const read = readStreamFailure(meaning, options.about());
      // what has begun may have been charged, as with one that a gateway lost
      const outcome = read.kind === "transient" && hasContent
        ? { ...read, status: 502 }
        : read;
      const body = JSON.stringify({ error });
      const answer = asJson(response, body, statusOfFailure(error, status));
      return { outcome, response: answer, hasContent };
    }
  }
}

/** The output of a whole response, put together where it carries none. */
function outputOf(
  { output }: Record<string, unknown>,
  items: Folded["items"],
): unknown[] {
  if (Array.isArray(output) && output.length > 0) return output;
  return [...items].sort(([a], [b]) => a - b).map(([, item]) => item);
}
