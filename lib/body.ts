/**
 * A caller's request body in a form that can be sent again, byte for byte.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";
import { withAbort } from "./account/abort.ts";

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
  // the stream of a Response of known content would count as that content
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  const stream = new ReadableStream<Uint8Array>({
    // read only when asked for: a request that never starts leaves nothing behind
    async pull(controller) {
      reader ??= new Response(body).body!.getReader();
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader?.cancel(reason),
  }, { highWaterMark: 0 });
  return { body: stream, duplex: "half" };
}

/** What `fetch` calls a bare string. */
export const STRING_TYPE = "text/plain;charset=UTF-8";
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
  if (typeof body === "string") return whole(body, body, STRING_TYPE);
  if (body instanceof Blob) return readBlob(body, maxBytes);
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
  // wrapped in a Response, one of a Request would not count as used in Deno
  const stream = body instanceof ReadableStream
    ? body
    : new Response(body as BodyInit).body;
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

/** A blob can be read as often as it takes; what may be JSON is looked into. */
async function readBlob(blob: Blob, maxBytes: number): Promise<ReplayBody> {
  const type = blob.type || null;
  const maySay = type === null || type.includes("json");
  return maySay && blob.size <= maxBytes
    ? ofBytes(new Uint8Array(await blob.arrayBuffer()), type)
    : whole(blob, undefined, type);
}

/** A form's boundary is drawn anew each time, so it is encoded once. */
async function encoded(response: Response): Promise<ReplayBody> {
  // read before the body: afterwards Bun does not know it any more
  const contentType = response.headers.get("content-type");
  return ofBytes(new Uint8Array(await response.arrayBuffer()), contentType);
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
      if (!(value instanceof Uint8Array)) {
        throw new TypeError(
          `A body's stream must be made of Uint8Arrays, but a chunk is ${typeof value}`,
        );
      }
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

/** More than this is not made of a compressed body, bytes. */
const MAX_DECOMPRESSED_BYTES = 128 * 1024 * 1024;

/**
 * The bytes that a body stands for; undefined where it is not what it claims
 * to be, or this runtime cannot read it.
 *
 * @param encoding Its `Content-Encoding`.
 */
export async function decompressed(
  body: ReplayBody["readable"],
  encoding: string | null | undefined,
): Promise<ReplayBody["readable"]> {
  const name = encoding?.trim().toLowerCase() || "identity";
  if (name === "identity" || body === undefined) return body;
  if (typeof body === "string") return undefined;
  // loaded when first needed: hardly anybody does
  const zlib = await import("node:zlib");
  const decoders = new Map([
    ["gzip", zlib.gunzip],
    ["x-gzip", zlib.gunzip],
    ["deflate", zlib.inflate],
    ["br", zlib.brotliDecompress],
    // not before Node 22.15
    ["zstd", zlib.zstdDecompress],
  ]);
  const decode = decoders.get(name);
  if (!decode) return undefined;
  const { promise, resolve } = Promise.withResolvers<ReplayBody["readable"]>();
  decode(
    body,
    { maxOutputLength: MAX_DECOMPRESSED_BYTES },
    (error, bytes) => resolve(error ? undefined : new Uint8Array(bytes)),
  );
  return await promise;
}

/** A response like another one, with another body. */
export function withBody(
  response: Response,
  body: BodyInit,
  { status, statusText, headers }: ResponseInit = response,
): Response {
  const init: ResponseInit = {
    status: status ?? response.status,
    statusText: statusText ?? "",
    headers: headers ?? response.headers,
  };
  return describedBy(response, new Response(body, init));
}

/** Says of a response where its original came from, and of its clones. */
function describedBy(original: Response, response: Response): Response {
  return Object.defineProperties(response, {
    url: { get: () => original.url },
    redirected: { get: () => original.redirected },
    clone: {
      value: () =>
        describedBy(original, Response.prototype.clone.call(response)),
    },
  });
}

/** More of an error's body is not looked at, bytes. */
const MAX_ERROR_BYTES = 64 * 1024;
/** An error's body that takes longer is not waited for, ms. */
const ERROR_BODY_MS = 5_000;
/** The beginning of a body as text, leaving it unread for the caller. */
export async function peek(response: Response): Promise<string> {
  const reader = response.clone().body?.getReader();
  if (!reader) return "";
  const timer = setTimeout(() => void reader.cancel(), ERROR_BODY_MS);
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (let size = 0; size < MAX_ERROR_BYTES;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.length;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // what came until then is what there is
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
  return text;
}

/** A larger answer is not looked into, bytes. */
const MAX_WATCHED_BYTES = 8 * 1024 * 1024;

/**
 * A response whose text is told at its end, however that comes.
 *
 * @param onEnd Called once; undefined where the body did not come whole or is too large.
 */
export function watchBody(
  response: Response,
  onEnd: (text: string | undefined) => void,
): Response {
  const reader = response.body!.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const reading = reader.read();
      reading.catch(() => onEnd(undefined));
      const { done, value } = await reading;
      if (done) {
        const isWhole = size <= MAX_WATCHED_BYTES;
        const text = new TextDecoder().decode(
          joined(chunks, isWhole ? size : 0),
        );
        onEnd(isWhole ? text : undefined);
        return controller.close();
      }
      size += value.length;
      if (size <= MAX_WATCHED_BYTES) chunks.push(value);
      else chunks.length = 0;
      controller.enqueue(value);
    },
    cancel(reason) {
      onEnd(undefined);
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
  return withBody(response, body);
}
