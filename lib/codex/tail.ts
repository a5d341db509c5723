/**
 * Listens to a stream that passes by, for the few events that say something
 * about the account. Keeps no more than one such event.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type EventMeaning, readEvent } from "./stream.ts";

const LF = 10;
const MARKERS = ["codex.rate_limits", "response.failed", '"type":"error"'];
/** A line shows within this what it is about, bytes. */
const LINE_HEAD = 256;
/** An event longer than this is not about the account, bytes. */
const LONGEST_EVENT = 32 * 1024;

/** Picks out the events that say something about the account. */
export class Tail {
  readonly #onEvent: (meaning: EventMeaning) => void;
  /** The line that is not complete yet; its beginning, or all of it where it matters. */
  #line = "";
  /** The rest of this line does not matter. */
  #skips = false;

  constructor(onEvent: (meaning: EventMeaning) => void) {
    this.#onEvent = onEvent;
  }

  /** Takes the next bytes of the stream. */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let at = 0; at < bytes.length;) {
      const lineEnd = bytes.indexOf(LF, at);
      const end = lineEnd < 0 ? bytes.length : lineEnd;
      if (!this.#skips) this.#take(bytes, at, end);
      if (lineEnd >= 0) this.#endLine();
      at = end + 1;
    }
  }

  /** Takes a part of a line, as much of it as may matter. */
  #take(bytes: Buffer, start: number, end: number): void {
    const head = LINE_HEAD - this.#line.length;
    if (head > 0) {
      // latin1 never fails on a cut character, and the markers are ASCII
      this.#line += bytes.toString(
        "latin1",
        start,
        Math.min(end, start + head),
      );
      start = Math.min(end, start + head);
      if (this.#line.length < LINE_HEAD) return;
    }
    const matters = this.#line.length < LONGEST_EVENT &&
      MARKERS.some((marker) => this.#line.slice(0, LINE_HEAD).includes(marker));
    if (!matters) {
      this.#skips = true;
      this.#line = "";
      return;
    }
    this.#line += bytes.toString("latin1", start, end);
  }

  #endLine(): void {
    const line = this.#line;
    this.#line = "";
    const skipped = this.#skips;
    this.#skips = false;
    if (skipped || !line.startsWith("data:")) return;
    if (!MARKERS.some((marker) => line.includes(marker))) return;
    const data = Buffer.from(line.slice(5), "latin1").toString("utf8").trim();
    this.#onEvent(readEvent(data, null));
  }
}
