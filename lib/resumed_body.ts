/**
 * A body whose beginning has been read already, for whoever reads the rest.
 *
 * @module
 */
import type { Tail } from "./codex/tail.ts";

/** What a read of a body gives. */
export type Read = ReadableStreamReadResult<Uint8Array>;

/** A body of which a part was read. */
export interface BegunBody {
  /** Whose it is; kept as long as it is read, as Deno forgets the caller's signal with it. */
  response: Response;
  /** Has the lock on it. */
  reader: ReadableStreamDefaultReader<Uint8Array>;
  /** What was read. */
  chunks: Uint8Array[];
  /** A read under way, or the one that came to the end. */
  leftOver: Promise<Read> | undefined;
}

/** After so many parts that lie in too large buffers, another way to read pays off. */
const ROOMY_PARTS = 8;
const BUFFER_BYTES = 64 * 1024;

/**
 * The whole body again, with all its bytes, while `tail` listens. Nothing is
 * read that is not asked for.
 */
export function resumedBody(
  { response, reader, chunks, leftOver }: BegunBody,
  tail: Tail,
): ReadableStream<Uint8Array> {
  let rest: ReadableStreamDefaultReader<Uint8Array> | Refilled = reader;
  let roomyParts = 0;
  let isReading = false;
  let controller: ReadableStreamDefaultController<Uint8Array>;
  const onError = (error: unknown) => controller.error(error);
  const onRead = ({ done, value }: Read) => {
    isReading = false;
    try {
      if (done) {
        tail.end();
        controller.close();
        return;
      }
      if (isRoomy(value)) roomyParts++;
      const part = rest instanceof Refilled ? rest.takeOut(value) : value;
      tail.push(part);
      controller.enqueue(part);
    } catch (error) {
      // changes nothing where the caller has left
      onError(error);
      rest.cancel(error).catch(() => {});
    }
  };
  return new ReadableStream<Uint8Array>({
    // Returns no promise, as that would cost time with every part. Thus it is
    // called again while it reads; what is still wanted then, enqueue() asks for.
    pull(own) {
      if (isReading) return;
      const chunk = chunks.shift();
      if (chunk !== undefined) return own.enqueue(chunk);
      if (rest === reader && roomyParts >= ROOMY_PARTS) {
        rest = refilled(response.body!, reader);
      }
      isReading = true;
      controller = own;
      const reading = leftOver ?? rest.read();
      leftOver = undefined;
      reading.then(onRead, onError);
    },
    cancel: (reason) => rest.cancel(reason),
  }, { highWaterMark: 0 });
}

/** Whether the runtime reads each part into a larger buffer of its own, as Deno does. */
function isRoomy(part: Uint8Array): boolean {
  return part.buffer.byteLength > part.length;
}

function refilled(
  body: ReadableStream<Uint8Array>,
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Refilled | ReadableStreamDefaultReader<Uint8Array> {
  reader.releaseLock();
  try {
    return new Refilled(body.getReader({ mode: "byob" }));
  } catch {
    // its maker gives out parts of something larger
    return body.getReader();
  }
}

/**
 * Has one buffer filled again and again: a new one for each part takes more
 * time than copying does, and small parts would keep all of theirs in memory.
 */
class Refilled {
  readonly #reader: ReadableStreamBYOBReader;
  /** Undefined while it is being filled, or after it was given away. */
  #buffer: ArrayBufferLike | undefined;

  constructor(reader: ReadableStreamBYOBReader) {
    this.#reader = reader;
  }

  /** One at a time. */
  read(): Promise<Read> {
    const buffer = this.#buffer ?? new ArrayBuffer(BUFFER_BYTES);
    this.#buffer = undefined;
    return this.#reader.read(new Uint8Array(buffer)) as Promise<Read>;
  }

  /** What was read, in memory that nobody else writes to. */
  takeOut(part: Uint8Array): Uint8Array {
    // a copy of most of it would cost what a new buffer does
    if (part.length > BUFFER_BYTES / 2) return part;
    this.#buffer = part.buffer;
    return part.slice();
  }

  cancel(reason: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }
}
