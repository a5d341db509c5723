/**
 * The first moments of a response stream: until content has come, a failure
 * can still be made good by another account.
 *
 * @module
 */
import type { Outcome } from "./codex/answer.ts";
import {
  type EventMeaning,
  EventParser,
  type EventView,
  readStreamFailure,
  readView,
} from "./codex/stream.ts";
import { Tail } from "./codex/tail.ts";
import type { Deadlines, Wait } from "./deadlines.ts";
import { like } from "./like.ts";
import { type Read, resumedBody } from "./resumed_body.ts";

/** No more of a stream is held back, bytes. */
const MOST_HELD = 64 * 1024;
/** Nothing is held back for longer, ms. */
export const LONGEST_HELD_MS = 15_000;

/** How a stream began. */
export type Guarded =
  /** With content, or with a failure that concerns only the caller. */
  | { kind: "open"; response: Response }
  /** With a failure that another account may make good. */
  | { kind: "failed"; outcome: Outcome; response: Response }
  /** Not at all. */
  | { kind: "broken"; error: unknown; response: Response };

/** What the guard needs to know. */
export interface GuardOptions {
  model: string | undefined;
  /** Epoch ms. */
  now: () => number;
  /** Told of the events that say something about the account, whenever they come. */
  onEvent: (meaning: EventMeaning) => void;
  /** Of {@linkcode LONGEST_HELD_MS}. */
  deadlines: Deadlines;
  /** The caller's; the stream may not listen to it. */
  signal?: AbortSignal | null | undefined;
}

/** Whether a response is a stream of events; some come without a content type. */
export function isEventStream(
  response: Response,
  type: string | null,
): boolean {
  if (response.status !== 200 || !response.body) return false;
  return type === null || type === "" || type.includes("event-stream");
}

/**
 * Reads a stream until it shows how it goes.
 *
 * @param response A response that is a stream of events.
 * @param options The model, the clock, and whom to tell.
 */
export function guardStream(
  response: Response,
  options: GuardOptions,
): Promise<Guarded> {
  return new Promise((resolve, reject) =>
    new Held(response, options, { resolve, reject }).begin()
  );
}

interface Settle {
  resolve(guarded: Guarded): void;
  reject(error: unknown): void;
}

/** A part without most of the memory that the runtime read it into, which would count for nothing here. */
function compact(part: Uint8Array): Uint8Array {
  return part.length <= part.buffer.byteLength / 2 ? part.slice() : part;
}

/** A stream whose beginning is held back. */
class Held {
  readonly #response: Response;
  readonly #options: GuardOptions;
  readonly #settle: Settle;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #chunks: Uint8Array[] = [];
  readonly #parser = new EventParser();
  /** The read under way. */
  #reading!: Promise<Read>;
  /** A read whose result the caller is to see: one under way, or the last of all. */
  #leftOver: Promise<Read> | undefined;
  #wait!: Wait;
  #onAbort: (() => void) | undefined;
  #isSettled = false;
  /** How many bytes are held. */
  #size = 0;
  /** How many of them have been judged. */
  #judged = 0;

  constructor(
    response: Response,
    options: GuardOptions,
    settle: Settle,
  ) {
    this.#response = response;
    this.#options = options;
    this.#settle = settle;
    this.#reader = response.body!.getReader();
  }

  begin(): void {
    const { deadlines, signal } = this.#options;
    this.#wait = deadlines.start(this.#onDue);
    if (signal) {
      this.#onAbort = () => this.#fail(signal.reason);
      signal.addEventListener("abort", this.#onAbort, { once: true });
    }
    this.#read();
  }

  #read(): void {
    this.#reading = this.#reader.read();
    this.#reading.then(
      (read) => this.#settleBy(() => this.#take(read)),
      (error) => this.#settleBy(() => this.#broken(error)),
    );
  }

  /** Held for too long: the read under way belongs to the caller now. */
  readonly #onDue = (): void =>
    this.#settleBy(() => {
      this.#leftOver = this.#reading;
      return this.#open();
    });

  /** Ends the waiting where `find` finds out how the stream goes. */
  #settleBy(find: () => Guarded | undefined): void {
    if (this.#isSettled) return;
    try {
      const guarded = find();
      if (guarded === undefined) return this.#read();
      this.#stop();
      this.#settle.resolve(guarded);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** What the next part shows; undefined while nothing is decided. */
  #take({ done, value }: Read): Guarded | undefined {
    if (done) this.#leftOver = this.#reading;
    else {
      this.#chunks.push(compact(value));
      this.#size += value.length;
    }
    let guarded: Guarded | undefined;
    this.#parser.pushUntil(value, (event) => {
      guarded = this.#judge(event);
      return guarded !== undefined;
    });
    if (guarded) return guarded;
    if (done) return this.#broken(undefined);
    return this.#size >= MOST_HELD ? this.#open() : undefined;
  }

  /** The caller gets what came, and then the end as it was; undefined: a plain end. */
  #broken(error: unknown): Guarded {
    this.#leftOver = this.#reading;
    return { kind: "broken", error, response: this.#rebuilt() };
  }

  /** The caller is gone, or the stream is none that anyone could read, such as one of texts. */
  #fail(error: unknown): void {
    this.#stop();
    this.#reader.cancel(error).catch(() => {});
    this.#settle.reject(error);
  }

  #stop(): void {
    const { deadlines, signal } = this.#options;
    this.#isSettled = true;
    deadlines.cancel(this.#wait);
    if (this.#onAbort) signal?.removeEventListener("abort", this.#onAbort);
  }

  /** What an event decides; undefined while nothing is decided. */
  #judge(event: EventView): Guarded | undefined {
    const { onEvent, now, model } = this.#options;
    this.#judged = event.end;
    const meaning = readView(event);
    switch (meaning.kind) {
      case "preamble":
        return undefined;
      case "rate-limits":
        onEvent(meaning);
        return undefined;
      case "failed": {
        const outcome = readStreamFailure(meaning, now(), model);
        if (outcome.kind === "other") return this.#open();
        return { kind: "failed", outcome, response: this.#rebuilt() };
      }
      case "completed":
      case "incomplete":
      case "done":
      case "content":
        return this.#open();
    }
  }

  /** The stream goes to the caller. */
  #open(): Guarded {
    return { kind: "open", response: this.#rebuilt() };
  }

  /** What was read together with the event that decided has not been listened to yet. */
  #catchUp(tail: Tail): void {
    let skip = this.#judged;
    for (const chunk of this.#chunks) {
      if (skip < chunk.length) tail.push(chunk.subarray(skip));
      skip = Math.max(0, skip - chunk.length);
    }
  }

  /** The response with all its bytes, unchanged. */
  #rebuilt(): Response {
    const tail = new Tail(this.#options.onEvent);
    this.#catchUp(tail);
    const begun = {
      response: this.#response,
      reader: this.#reader,
      chunks: this.#chunks,
      leftOver: this.#leftOver,
    };
    return like(this.#response, resumedBody(begun, tail));
  }
}
