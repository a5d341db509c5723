/**
 * Listens to a stream that passes by, for the few events that say something
 * about the account. Keeps no more than one such event.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { readBlock } from "./event_parser.ts";
import { type EventMeaning, readEvent } from "./stream.ts";

const LF = 10;
const CR = 13;
const MARKER =
  /codex\.rate_limits|response\.failed|"type"\s*:\s*"error"|^event:\s*error/m;
/** An event shows within this what it is about, bytes. */
const HEAD = 256;
/** An event longer than this is not about the account, bytes. */
const LONGEST_EVENT = 64 * 1024;
/** How much is looked at in one go, bytes. */
const PIECE = 16 * 1024;

/** A chunk in which what may matter is found much faster than by looking at each line. */
class Scan {
  /** One character a byte: cheap to make, and it never fails on a cut character. */
  readonly #bytes: Buffer;
  #made: string | undefined;
  readonly #words = /codex\.rate_limits|response\.failed|error/g;
  /** The next place of a word; -1: not looked for yet. */
  #hit = -1;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get #text(): string {
    return this.#made ??= this.#bytes.toString("latin1");
  }

  /** From between two events to the beginning of the next that may matter or is not complete. */
  skipAhead(from: number): number {
    if (this.#hit < from) {
      this.#words.lastIndex = from;
      this.#hit = this.#words.exec(this.#text)?.index ?? this.#text.length;
    }
    for (const blank of ["\n\n", "\n\r\n"]) {
      const end = this.#text.lastIndexOf(blank, this.#hit - blank.length);
      if (end >= from) return end + blank.length;
    }
    return from;
  }
}

/** Picks out the events that say something about the account. */
export class Tail {
  readonly #onEvent: (meaning: EventMeaning) => void;
  /** The event that is not complete yet; its beginning, or all of it where it matters. */
  #event = "";
  /** The rest of this event does not matter. */
  #skips = false;
  #lineIsBlank = true;

  constructor(onEvent: (meaning: EventMeaning) => void) {
    this.#onEvent = onEvent;
  }

  /** Takes the next bytes of the stream. */
  push(chunk: Uint8Array): void {
    // in small pieces: their texts are gone before they cost memory
    for (let at = 0; at < chunk.length; at += PIECE) {
      this.#pushPiece(chunk.subarray(at, at + PIECE));
    }
  }

  #pushPiece(piece: Uint8Array): void {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    const scan = new Scan(bytes);
    for (let at = 0; at < bytes.length;) {
      if (this.#isBetweenEvents) at = scan.skipAhead(at);
      if (at === bytes.length) return;
      // not the Buffer's own search, which some runtimes have in slow script
      const found = piece.indexOf(LF, at);
      const end = found < 0 ? bytes.length : found;
      const isBlank = end === at || (end === at + 1 && bytes[at] === CR);
      this.#lineIsBlank &&= isBlank;
      if (!this.#skips) this.#take(bytes, at, end);
      if (found >= 0) this.#endLine();
      at = end + 1;
    }
  }

  get #isBetweenEvents(): boolean {
    return this.#event === "" && !this.#skips && this.#lineIsBlank;
  }

  /** The stream has ended; its last event may lack the blank line. */
  end(): void {
    const event = this.#event;
    this.#event = "";
    const skipped = this.#skips;
    this.#skips = false;
    if (skipped || !MARKER.test(event)) return;
    const block = Buffer.from(event, "latin1").toString("utf8");
    const { data, event: name } = readBlock(block, 0) ?? {};
    if (data !== undefined) this.#onEvent(readEvent(data, name ?? null));
  }

  /** Takes a part of a line, as much of it as may matter. */
  #take(bytes: Buffer, start: number, end: number): void {
    const head = Math.min(end, start + Math.max(0, HEAD - this.#event.length));
    // latin1 never fails on a cut character, and the markers are ASCII
    this.#event += bytes.toString("latin1", start, head);
    if (head === end) return;
    const size = this.#event.length + end - head;
    if (size <= LONGEST_EVENT && MARKER.test(this.#event.slice(0, HEAD))) {
      this.#event += bytes.toString("latin1", head, end);
    } else {
      this.#skips = true;
      this.#event = "";
    }
  }

  #endLine(): void {
    if (this.#lineIsBlank) this.end();
    else if (!this.#skips) this.#event += "\n";
    this.#lineIsBlank = true;
  }
}
