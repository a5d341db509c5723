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
/** How much is looked at in one go, bytes. */
const PIECE = 64 * 1024;
const LF = 10;
const CR = 13;
/** The blank line that an event comes after, and that the first one need not have. */
const BLANK = new Uint8Array([LF, LF]);
/** The longest blank line with the end of the line before it, bytes. */
const LONGEST_BLANK = 3;
/** What is kept of the bytes before: the head of an event, in which a word may be cut. */
const KEPT = LONGEST_BLANK + HEAD + WORDS.longest;

/** What is being looked at; one for all streams, as each is done with it at once. */
const view = new Uint8Array((KEPT + PIECE + 7) & ~7);
const fours = new Int32Array(view.buffer);

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
    for (let at = 0; at < chunk.length; at += PIECE) {
      const isWhole = chunk.length <= PIECE;
      const events = this.#look(
        isWhole ? chunk : chunk.subarray(at, at + PIECE),
      );
      for (const event of events) this.#tell(event);
    }
  }

  /** The stream has ended; its last event may lack the blank line. */
  end(): void {
    this.push(BLANK);
  }

  /** The events that matter and are complete now. */
  #look(piece: Uint8Array): string[] {
    const known = this.#before.length;
    const length = known + piece.length;
    view.set(this.#before);
    view.set(piece, known);
    const events: string[] = [];
    let done = 0;
    if (this.#event !== "") {
      done = endOfEvent(0, length);
      this.#event += textOf(known, done < 0 ? length : done);
      if (done < 0) return this.#waitForEnd(length, events);
      events.push(this.#event);
      this.#event = "";
    }
    // a word that ended in the bytes before was found then
    let from = Math.max(done, known - WORDS.longest);
    for (let at; (at = WORDS.find(view, fours, from, length)) >= 0;) {
      const start = startOfEvent(at);
      const end = start < 0 ? at + 1 : endOfEvent(at, length);
      if (end < 0) {
        this.#event = textOf(start, length);
        return this.#waitForEnd(length, events);
      }
      if (start >= 0) {
        events.push(textOf(start, end));
        done = end;
      }
      from = end;
    }
    // most chunks end with an event
    if (view[length - 1] === LF && view[length - 2] === LF) {
      this.#before = BLANK;
    } else this.#keep(Math.max(length - KEPT, done - LONGEST_BLANK), length);
    return events;
  }

  /** All that is still to be recognized of the open event is the blank line behind it. */
  #waitForEnd(length: number, events: string[]): string[] {
    const isTooLong = this.#event.length > LONGEST_EVENT;
    if (isTooLong) this.#event = "";
    this.#keep(length - (isTooLong ? KEPT : LONGEST_BLANK), length);
    return events;
  }

  #keep(from: number, length: number): void {
    const kept = view.subarray(Math.max(0, from), length);
    this.#memory ??= new Uint8Array(KEPT);
    this.#memory.set(kept);
    this.#before = this.#memory.subarray(0, kept.length);
  }

  #tell(event: string): void {
    const block = Buffer.from(event, "latin1").toString("utf8");
    const { data, event: name } = readBlock(block, 0) ?? {};
    if (data !== undefined) this.#onEvent(readEvent(data, name ?? null));
  }
}

/** Where the event begins in whose head this place is; -1: that is not in view, or too far away. */
function startOfEvent(at: number): number {
  const first = Math.max(BLANK.length, at - HEAD);
  for (let n = at; n >= first; n--) {
    if (view[n - 1] !== LF) continue;
    if (view[n - 2] === LF) return n;
    if (view[n - 2] === CR && view[n - 3] === LF) return n;
  }
  return -1;
}

/** Where the next one begins; -1: not before `length`. */
function endOfEvent(from: number, length: number): number {
  for (let n = from; n < length; n++) {
    if (view[n] !== LF) continue;
    const next = view[n + 1] === CR ? n + 2 : n + 1;
    if (next < length && view[next] === LF) return next + 1;
  }
  return -1;
}

function textOf(from: number, to: number): string {
  return Buffer.from(view.buffer, from, to - from).toString("latin1");
}
