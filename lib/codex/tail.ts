/**
 * Listens to a stream that passes by, for the few events that say something
 * about the account. Keeps no more than one such event.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { readBlock } from "./event_parser.ts";
import { type EventMeaning, readEvent } from "./stream.ts";
import { WordSearch } from "./word_search.ts";

/** What stands in front of a value in JSON. */
const BEFORE_VALUE = ['":', ": ", ":\t", "  ", " :", "\t:"];
/** What stands behind it. */
const BEHIND_VALUE = [
  ',"',
  ", ",
  ",\n",
  ",\r",
  ",\t",
  "}\n",
  "}\r",
  "} ",
  "}\t",
]
  .concat(" ,", " }", "\t,", "\t}", "\nd", "\r\n");
/** What stands behind the name of an event: the end of the line, and the next one. */
const BEHIND_NAME = ["\nda", "\nid", "\nre", "\nev", "\n: ", "\n\n", "\r\n\r"]
  .concat(["d", "i", "r", "e", ":"].map((next) => `\r\n${next}`));

/**
 * An event that says something about the account has one of these at its
 * beginning. With what stands around, as the shorter a word is, the more of
 * other events begin like it and take time to be told from it.
 */
const WORDS = new WordSearch([
  "codex.rate_limits",
  ...BEHIND_VALUE.map((behind) => `response.failed"${behind}`),
  ...BEFORE_VALUE.flatMap((before) =>
    BEHIND_VALUE.map((behind) => `${before}"error"${behind}`)
  ),
  ...["response.failed", "event: error", "event:error"].flatMap((name) =>
    BEHIND_NAME.map((behind) => name + behind)
  ),
]);
/** An event shows within this what it is about, bytes. */
const HEAD = 256;
/** An event longer than this is not about the account, bytes. */
const LONGEST_EVENT = 1024 * 1024;
/** A longer chunk is looked at where it lies, bytes. */
const LONGEST_COPY = 4 * 1024;
const LF = 10;
const CR = 13;
/** The blank line that an event comes after, and that the first one need not have. */
const BLANK = new Uint8Array([LF, LF]);
/** The longest blank line with the end of the line before it, bytes. */
const LONGEST_BLANK = 3;
/** What is kept of the bytes before: the head of an event, in which a word may be cut. */
const KEPT = LONGEST_BLANK + HEAD + WORDS.longest;

/** Bytes, and the same memory in fours. */
interface View {
  readonly bytes: Uint8Array;
  readonly fours: Int32Array;
}

/** Where copies are looked at; one for all streams, as each is done with it at once. */
const copies = viewOf(new Uint8Array((KEPT + LONGEST_COPY + 3) & ~3), 0);
/** So much of a long chunk is copied, to be seen together with what came before it. */
const BORDER = (KEPT + 7) & ~3;

/** Picks out the events that say something about the account. */
export class Tail {
  readonly #onEvent: (meaning: EventMeaning) => void;
  /** The end of what was looked at. */
  #before: Uint8Array = BLANK;
  /** It is filled anew each time, as memory costs more than copying. */
  #memory: Uint8Array | undefined;
  /** An event that matters and is not complete yet; latin1 never fails on a cut character. */
  #event = "";

  constructor(onEvent: (meaning: EventMeaning) => void) {
    this.#onEvent = onEvent;
  }

  /** Takes the next bytes of the stream. */
  push(chunk: Uint8Array): void {
    if (chunk.length <= LONGEST_COPY) {
      const { length } = this.#before;
      return this.#keep(
        copies.bytes,
        this.#lookAtCopy(chunk),
        length + chunk.length,
      );
    }
    let start = 0;
    let known = 0;
    const isAligned = chunk.byteOffset % 4 === 0;
    if (this.#before !== BLANK || !isAligned) {
      const length = this.#before.length + BORDER;
      // what is still needed of the copy lies in front of the rest
      const from = this.#lookAtCopy(chunk.subarray(0, BORDER));
      const needed = BORDER - length + from;
      start = needed - (chunk.byteOffset + needed) % 4;
      known = BORDER - start;
    }
    const view = viewOf(chunk, start);
    const length = chunk.length - start;
    this.#keep(view.bytes, this.#look(view, known, length), length);
  }

  /** The stream has ended; its last event may lack the blank line. */
  end(): void {
    this.push(BLANK);
  }

  #lookAtCopy(piece: Uint8Array): number {
    const known = this.#before.length;
    copies.bytes.set(this.#before);
    copies.bytes.set(piece, known);
    return this.#look(copies, known, known + piece.length);
  }

  /**
   * Tells of the events that matter and are complete now.
   *
   * @param known How many of the bytes have been looked at before; none: an event begins with them.
   * @param length How many there are.
   * @returns From where on they are still needed.
   */
  #look(view: View, known: number, length: number): number {
    const { bytes, fours } = view;
    let done = 0;
    if (this.#event !== "") {
      done = endOfEvent(bytes, 0, length);
      this.#event += textOf(bytes, known, done < 0 ? length : done);
      if (done < 0) return this.#waitForEnd(length);
      this.#tell();
    }
    // a word that ended in the bytes before was found then
    let from = Math.max(done, known - WORDS.longest);
    for (let at; (at = WORDS.find(bytes, fours, from, length)) >= 0;) {
      const start = startOfEvent(bytes, at, known === 0);
      const end = start < 0 ? at + 1 : endOfEvent(bytes, at, length);
      if (start >= 0) {
        this.#event = textOf(bytes, start, end < 0 ? length : end);
        if (end < 0) return this.#waitForEnd(length);
        this.#tell();
        done = end;
      }
      from = end;
    }
    const isBlank = bytes[length - 1] === LF && bytes[length - 2] === LF;
    // most chunks end with an event
    if (isBlank) return length;
    return Math.max(0, length - KEPT, done - LONGEST_BLANK);
  }

  /** All that is still to be recognized of the open event is the blank line behind it. */
  #waitForEnd(length: number): number {
    const isTooLong = this.#event.length > LONGEST_EVENT;
    if (isTooLong) this.#event = "";
    return Math.max(0, length - (isTooLong ? KEPT : LONGEST_BLANK));
  }

  #keep(bytes: Uint8Array, from: number, length: number): void {
    if (from === length) {
      this.#before = BLANK;
      return;
    }
    this.#memory ??= new Uint8Array(KEPT);
    this.#memory.set(bytes.subarray(from, length));
    this.#before = this.#memory.subarray(0, length - from);
  }

  /** The event that was picked out is complete. */
  #tell(): void {
    const block = Buffer.from(this.#event, "latin1").toString("utf8");
    this.#event = "";
    const { data, event: name } = readBlock(block, 0) ?? {};
    if (data !== undefined) this.#onEvent(readEvent(data, name ?? null));
  }
}

/** Bytes from a place on that is a multiple of four in their memory. */
function viewOf(chunk: Uint8Array, start: number): View {
  const bytes = chunk.subarray(start);
  const { buffer, byteOffset, length } = bytes;
  return { bytes, fours: new Int32Array(buffer, byteOffset, length >> 2) };
}

/** Where the event begins in whose head this place is; -1: that is not to be seen, or too far away. */
function startOfEvent(
  bytes: Uint8Array,
  at: number,
  isFirst: boolean,
): number {
  const first = Math.max(BLANK.length, at - HEAD);
  for (let n = at; n >= first; n--) {
    if (bytes[n - 1] !== LF) continue;
    if (bytes[n - 2] === LF) return n;
    if (bytes[n - 2] === CR && bytes[n - 3] === LF) return n;
  }
  return isFirst && at <= HEAD ? 0 : -1;
}

/** Where the next one begins; -1: not before `length`. */
function endOfEvent(bytes: Uint8Array, from: number, length: number): number {
  for (let n = from; n < length; n++) {
    if (bytes[n] !== LF) continue;
    const next = bytes[n + 1] === CR ? n + 2 : n + 1;
    if (next < length && bytes[next] === LF) return next + 1;
  }
  return -1;
}

function textOf(bytes: Uint8Array, from: number, to: number): string {
  const { buffer, byteOffset } = bytes;
  return Buffer.from(buffer, byteOffset + from, to - from).toString("latin1");
}
