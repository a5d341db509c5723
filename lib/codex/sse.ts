/** One server-sent event. */
export interface ServerSentEvent {
  /** The `event` field; null when there was none. */
  event: string | null;
  /** The `data` lines, joined by line feeds. */
  data: string;
}

const LF = 10;
const CR = 13;
/** An empty line, in each of the three ways in which a line may end. */
const EMPTY_LINE = /(?:\r\n|\n|\r(?!\n)){2}/g;
/** A longer event is dropped, characters. */
const MAX_EVENT_LENGTH = 1024 * 1024;
const decoder = new TextDecoder();

/** Splits a stream of bytes, cut anywhere, into server-sent events. */
export class ServerSentEventParser {
  /** The line that has no end yet: a character may be cut, but no line end is part of one. */
  #line: Uint8Array = new Uint8Array();
  /** The whole lines of the event that has no end yet. */
  #open = "";

  /**
   * Returns the events that this chunk completes.
   *
   * @param wanted Only events that hold one of these texts need to be returned.
   */
  push(chunk: Uint8Array, wanted?: readonly string[]): ServerSentEvent[] {
    const end = chunk.lastIndexOf(LF) + 1 || chunk.lastIndexOf(CR) + 1;
    if (end === 0) {
      this.#line = join(this.#line, chunk.slice());
      return [];
    }
    const lines = decoder.decode(join(this.#line, chunk.subarray(0, end)));
    this.#line = chunk.slice(end);
    const known = this.#open.length;
    const text = this.#open + lines;
    if (wanted && !wanted.some((it) => text.includes(it))) {
      const end = Math.max(
        text.lastIndexOf("\n\n"),
        text.lastIndexOf("\r\n\r\n"),
      );
      this.#keep(end < 0 ? text : text.slice(end + 2));
      return [];
    }
    const events: ServerSentEvent[] = [];
    let start = 0;
    // an empty line may have been cut in two
    EMPTY_LINE.lastIndex = Math.max(0, known - 3);
    for (let match: RegExpExecArray | null; (match = EMPTY_LINE.exec(text));) {
      const event = parseEvent(text.slice(start, match.index));
      if (event) events.push(event);
      start = EMPTY_LINE.lastIndex;
    }
    this.#keep(text.slice(start));
    return events;
  }

  /** Returns the event that the end of the stream completes, if any. */
  end(): ServerSentEvent[] {
    const event = parseEvent(this.#open + decoder.decode(this.#line));
    this.#open = "";
    this.#line = new Uint8Array();
    return event ? [event] : [];
  }

  #keep(text: string): void {
    this.#open = text.length > MAX_EVENT_LENGTH ? "" : text;
  }
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}

function parseEvent(text: string): ServerSentEvent | undefined {
  let event: string | null = null;
  let data: string | undefined;
  for (const line of text.split(text.includes("\r") ? /\r\n|\r|\n/ : "\n")) {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field !== "data" && field !== "event") continue;
    const from = line[colon + 1] === " " ? colon + 2 : colon + 1;
    const value = colon < 0 ? "" : line.slice(from);
    if (field === "event") event = value || null;
    else data = data === undefined ? value : `${data}\n${value}`;
  }
  return data ? { event, data } : undefined;
}
