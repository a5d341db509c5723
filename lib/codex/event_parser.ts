/**
 * Server-sent events out of bytes, cut wherever the network cut them.
 *
 * @module
 */
import { standsAt } from "./word_search.ts";

/** One event of a stream. */
export interface StreamEvent {
  /** The `event:` field; null when there was none. */
  event: string | null;
  /** The `data:` lines, joined. */
  data: string;
  /** How many bytes of the stream lie before the end of this event. */
  end: number;
}

/** An event as it lies in the bytes of a stream; valid until the next bytes are read. */
export interface EventView extends StreamEvent {
  /** The `type` that its data begins with, where that can be told without reading it. */
  readonly type: string | undefined;
}

const LF = 10;
const CR = 13;
const SPACE = 32;
const QUOTE = 34;
const BACKSLASH = 92;
/** No type is longer, bytes. */
const LONGEST_TYPE = 64;
const EVENT = new TextEncoder().encode("event:");
const DATA = new TextEncoder().encode("data:");
const TYPE = new TextEncoder().encode('{"type":"');
/** How streams begin, so that no text has to be made of it. */
const KNOWN = [
  "response.created",
  "response.in_progress",
  "codex.rate_limits",
  "response.output_item.added",
].map((text) => ({ text, bytes: new TextEncoder().encode(text) }));
const decoder = new TextDecoder();

/** Splits a stream of bytes into events. */
export class EventParser {
  /** The bytes of the event that is not complete yet. */
  #open: Uint8Array[] = [];
  #openBytes = 0;
  /** How many bytes belong to complete events. */
  #consumed = 0;
  #lineIsEmpty = true;
  /** A carriage return was the last byte, so a line feed would belong to it. */
  #afterReturn = false;
  /** The line that the carriage return ended was blank. */
  #blank = false;

  /** How many bytes wait for the rest of their event. */
  get pendingBytes(): number {
    return this.#openBytes;
  }

  /** The events that this chunk completes. The chunk may be reused afterwards. */
  push(chunk: Uint8Array): StreamEvent[] {
    return this.#all(chunk);
  }

  /** What is left when the stream has ended without a last blank line. */
  flush(): StreamEvent[] {
    return this.#all(undefined);
  }

  /**
   * The same one event at a time until one is enough: nothing is decoded that
   * is not asked for, and nobody may go on with this parser.
   *
   * @param chunk undefined: the stream has ended.
   */
  pushUntil(
    chunk: Uint8Array | undefined,
    isEnough: (event: EventView) => boolean,
  ): void {
    if (chunk === undefined) {
      const event = this.#take(new Uint8Array(0));
      if (event) isEnough(event);
      return;
    }
    let start = 0;
    let at = 0;
    while (at < chunk.length) {
      const byte = chunk[at];
      let ends = false;
      let skips = false;
      if (this.#afterReturn) {
        this.#afterReturn = false;
        skips = byte === LF;
        if (skips) at++;
        ends = this.#blank;
      }
      if (!skips && !ends) {
        if (byte === LF || byte === CR) {
          at++;
          this.#endLine(byte === CR);
          ends = this.#blank && byte === LF;
        } else {
          this.#lineIsEmpty = false;
          at = endOfLine(chunk, at);
        }
      }
      if (!ends) continue;
      const event = this.#take(chunk.subarray(start, at));
      start = at;
      if (event !== undefined && isEnough(event)) return;
    }
    // A copy, because the caller may fill the same memory again.
    if (start < chunk.length) this.#keep(chunk.slice(start));
  }

  #all(chunk: Uint8Array | undefined): StreamEvent[] {
    const events: StreamEvent[] = [];
    this.pushUntil(chunk, ({ event, data, end }) => {
      events.push({ event, data, end });
      return false;
    });
    return events;
  }

  #endLine(byReturn: boolean): void {
    this.#blank = this.#lineIsEmpty;
    this.#lineIsEmpty = true;
    this.#afterReturn = byReturn;
  }

  #keep(bytes: Uint8Array): void {
    this.#open.push(bytes);
    this.#openBytes += bytes.length;
  }

  /** Closes the block that ends with these bytes. */
  #take(last: Uint8Array): EventView | undefined {
    let bytes = last;
    if (this.#openBytes > 0) {
      this.#keep(last);
      bytes = concat(this.#open, this.#openBytes);
      this.#open = [];
      this.#openBytes = 0;
    }
    this.#lineIsEmpty = true;
    this.#consumed += bytes.length;
    const type = leadingType(bytes);
    if (type !== undefined) return new Unread(bytes, type, this.#consumed);
    const event = readBlock(decoder.decode(bytes), this.#consumed);
    return event && { ...event, type };
  }
}

/** An event of which no more than the type was looked at: most are of no further interest. */
class Unread implements EventView {
  readonly type: string;
  readonly end: number;
  readonly #bytes: Uint8Array;
  #event: StreamEvent | undefined;

  constructor(bytes: Uint8Array, type: string, end: number) {
    this.#bytes = bytes;
    this.type = type;
    this.end = end;
  }

  get event(): string | null {
    return this.#read().event;
  }

  get data(): string {
    return this.#read().data;
  }

  #read(): StreamEvent {
    return this.#event ??= readBlock(decoder.decode(this.#bytes), this.end)!;
  }
}

/**
 * The type that an event's data begins with, where it is written as nearly
 * always. By the byte, as a text would have to be made first.
 */
function leadingType(bytes: Uint8Array): string | undefined {
  let at = 0;
  if (standsAt(bytes, 0, EVENT)) {
    at = endOfLine(bytes, 0);
    if (bytes[at++] !== LF) return undefined;
  }
  if (!standsAt(bytes, at, DATA)) return undefined;
  at += DATA.length;
  if (bytes[at] === SPACE) at++;
  if (!standsAt(bytes, at, TYPE)) return undefined;
  at += TYPE.length;
  const most = Math.min(bytes.length, at + LONGEST_TYPE);
  for (let end = at; end < most; end++) {
    const byte = bytes[end]!;
    if (byte === QUOTE) {
      return textOf(bytes.subarray(at, end));
    }
    if (byte === BACKSLASH || byte === LF || byte === CR) return undefined;
  }
  return undefined;
}

function textOf(type: Uint8Array): string {
  const known = KNOWN.find(({ bytes }) =>
    bytes.length === type.length && standsAt(type, 0, bytes)
  );
  return known ? known.text : decoder.decode(type);
}

function endOfLine(chunk: Uint8Array, from: number): number {
  let at = from;
  while (at < chunk.length && chunk[at] !== LF && chunk[at] !== CR) at++;
  return at;
}

function concat(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** One event out of its lines; undefined where they hold no data. */
export function readBlock(block: string, end: number): StreamEvent | undefined {
  let event: string | null = null;
  let data: string | undefined;
  // the pattern takes far longer, and is rarely needed
  const ends = block.includes("\r") ? /\r\n|\r|\n/ : "\n";
  for (const line of block.split(ends)) {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field !== "data" && field !== "event") continue;
    const from = line[colon + 1] === " " ? colon + 2 : colon + 1;
    const value = colon < 0 ? "" : line.slice(from);
    if (field === "event") event = value || null;
    else data = data === undefined ? value : `${data}\n${value}`;
  }
  return data ? { event, data, end } : undefined;
}
