/**
 * A caller's request body in a form that can be sent again, byte for byte.
 *
 * @module
 */
import { withAbort } from "./abort.ts";

/** A body that can be sent, and how often. */
export interface ReplayBody {
  /** What `fetch` is given; undefined when there is no body. */
  body: BodyInit | undefined;
  /** Its bytes or text, where they are at hand. */
  readable: string | Uint8Array<ArrayBuffer> | undefined;
  /** The content type that the runtime would have set. */
  contentType: string | null;
  /** It can be sent more than once. */
  replayable: boolean;
}

/**
 * A body for a request that must not reach the server twice. Deno sends a
 * request again by itself when a connection that was used before breaks,
 * unless its body is a stream.
 */
export function sentOnce(
  body: BodyInit,
): { body: BodyInit; duplex?: "half" } {
  const again = globalThis.navigator?.userAgent?.startsWith("Deno/") ?? false;
  if (!again) return { body };
  const stream = new Response(body).body;
  return stream ? { body: stream, duplex: "half" } : { body };
}

/** Default of {@linkcode readBody}'s bound, bytes. */
export const MAX_REPLAY_BYTES = 32 * 1024 * 1024;

/**
 * Takes a body as `fetch` would.
 *
 * @param body What the caller gave.
 * @param maxBytes A stream longer than this is sent once, not buffered.
 * @param signal The caller's signal.
 */
export function readBody(
  body: BodyInit | null | undefined,
  maxBytes: number,
  signal?: AbortSignal | null,
): ReplayBody | Promise<ReplayBody> {
  if (body === null || body === undefined) {
    return whole(undefined, undefined, null);
  }
  if (typeof body === "string") return whole(body, body, null);
  if (body instanceof Blob) {
    return whole(body, undefined, body.type || null);
  }
  // the caller may go on writing into its buffer
  if (body instanceof ArrayBuffer) {
    return ofBytes(new Uint8Array(body.slice(0)));
  }
  if (ArrayBuffer.isView(body)) {
    return ofBytes(
      new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice(),
    );
  }
  if (body instanceof FormData || body instanceof URLSearchParams) {
    return encoded(new Response(body));
  }
  const stream = new Response(body as BodyInit).body;
  return stream
    ? readStream(stream, maxBytes, signal)
    : whole(undefined, undefined, null);
}

function whole(
  body: BodyInit | undefined,
  readable: ReplayBody["readable"],
  contentType: string | null,
): ReplayBody {
  return { body, readable, contentType, replayable: true };
}

function ofBytes(
  bytes: Uint8Array<ArrayBuffer>,
  contentType: string | null = null,
): ReplayBody {
  return whole(bytes, bytes, contentType);
}

/** A form's boundary is drawn anew each time, so it is encoded once. */
async function encoded(response: Response): Promise<ReplayBody> {
  const bytes = new Uint8Array(await response.arrayBuffer());
  return ofBytes(bytes, response.headers.get("content-type"));
}

async function readStream(
  stream: ReadableStream<Uint8Array>,
  maxBytes: number,
  signal?: AbortSignal | null,
): Promise<ReplayBody> {
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    while (size <= maxBytes) {
      const { done, value } = await withAbort(reader.read(), signal);
      if (done) return ofBytes(joined(chunks, size));
      chunks.push(value);
      size += value.length;
    }
  } catch (error) {
    reader.cancel(error).catch(() => {});
    throw error;
  }
  const body = continued(chunks, reader);
  return { body, readable: undefined, contentType: null, replayable: false };
}

function joined(
  chunks: readonly Uint8Array[],
  size: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

/** What was read already, then the rest as it comes. */
function continued(
  chunks: Uint8Array[],
  reader: ReadableStreamDefaultReader<Uint8Array>,
): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const chunk = chunks.shift();
      if (chunk) return controller.enqueue(chunk);
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel(reason) {
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}
