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
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let at = 0; at < bytes.length;) {
      const found = bytes.indexOf(LF, at);
      const end = found < 0 ? bytes.length : found;
      const isBlank = end === at || (end === at + 1 && bytes[at] === CR);
      this.#lineIsBlank &&= isBlank;
      if (!this.#skips) this.#take(bytes, at, end);
      if (found >= 0) this.#endLine();
      at = end + 1;
    }
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
