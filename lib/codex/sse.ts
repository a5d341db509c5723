import { joined } from "../values.ts";

export interface ServerSentEvent {
  /** The `event` field; null when there was none. */
  event: string | null;
  /** The `data` lines, joined by line feeds. */
  data: string;
}

const LF = 10;
const CR = 13;
const BYTE_ORDER_MARK = "\uFEFF";
/** An empty line, in each of the three ways in which a line may end. */
const EMPTY_LINE = /(?:\r\n|\n|\r(?!\n)){2}/g;
/** Unless told otherwise, longer events are dropped, characters. */
const MAX_EVENT_LENGTH = 1024 * 1024;
// the mark is no content at the beginning of a stream, and content elsewhere
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Splits a stream of bytes, cut anywhere, into server-sent events. */
export class ServerSentEventParser {
  readonly #maxLength: number;
  /** The line that has no end yet: a character may be cut, but no line end is part of one. */
  #line: Uint8Array[] = [];
  #lineLength = 0;
  /** The whole lines of the event that has no end yet. */
  #open = "";
  /** The event that has no end yet is dropped. */
  #isTooLong = false;
  #hasBegun = false;

  /** @param maxLength Longer events are dropped, characters. */
  constructor(maxLength: number = MAX_EVENT_LENGTH) {
    this.#maxLength = maxLength;
  }

  /**
   * Returns the events that this chunk completes. The end of the stream
   * completes none.
   *
   * @param wanted Only events that match this need to be returned.
   */
  push(chunk: Uint8Array, wanted?: RegExp): ServerSentEvent[] {
    const end = endOfLines(chunk);
    const texts = end === 0
      ? []
      : this.#complete(chunk.subarray(0, end), wanted);
    if (end < chunk.length) this.#hold(chunk.slice(end));
    this.#limit();
    return texts.map(parseEvent).filter((it) => it !== undefined);
  }

  /** The texts of the events that these whole lines complete. */
  #complete(lines: Uint8Array, wanted?: RegExp): string[] {
    this.#hold(lines);
    const [whole, ...more] = this.#line;
    let added = decoder.decode(
      // copied for nothing, a long stream would double its garbage
      more.length === 0 ? whole : joined(this.#line, this.#lineLength),
    );
    this.#line = [];
    this.#lineLength = 0;
    if (!this.#hasBegun && added[0] === BYTE_ORDER_MARK) added = added.slice(1);
    this.#hasBegun = true;
    const text = this.#open + added;
    const isWanted = (part: string) => wanted?.test(part) ?? true;
    const texts: string[] = [];
    let start = 0;
    // the end of the last line known may be the first half of an empty line
    const from = Math.max(0, this.#open.length - 2);
    for (const [begin, end] of emptyLines(text, from, isWanted(text))) {
      const part = text.slice(start, begin);
      const isKept = !this.#isTooLong && part.length <= this.#maxLength;
      if (isKept && isWanted(part)) texts.push(part);
      this.#isTooLong = false;
      start = end;
    }
    this.#open = text.slice(start);
    return texts;
  }

  #hold(part: Uint8Array): void {
    this.#line.push(part);
    this.#lineLength += part.length;
  }

  /** Drops an event that has become too long, except for the end of its last line. */
  #limit(): void {
    if (this.#open.length + this.#lineLength <= this.#maxLength) return;
    this.#isTooLong = true;
    this.#open = this.#lineLength === 0 ? this.#open.slice(-2) : "";
    this.#line = [];
    this.#lineLength = 0;
  }
}

/** Where empty lines begin and end in a text; of one in which nothing is wanted the last one. */
function* emptyLines(
  text: string,
  from: number,
  areWanted: boolean,
): Generator<readonly [number, number]> {
  if (!areWanted && !text.includes("\r")) {
    const last = text.lastIndexOf("\n\n");
    if (last >= from) yield [last, last + 2];
    return;
  }
  EMPTY_LINE.lastIndex = from;
  for (let match: RegExpExecArray | null; (match = EMPTY_LINE.exec(text));) {
    yield [match.index, EMPTY_LINE.lastIndex];
  }
}

/** Where the last line of a chunk that has an end ends; 0 where none has. */
function endOfLines(chunk: Uint8Array): number {
  for (let index = chunk.length; index > 0; index--) {
    const byte = chunk[index - 1];
    if (byte === LF || byte === CR) return index;
  }
  return 0;
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
  return data === undefined ? undefined : { event, data };
}
