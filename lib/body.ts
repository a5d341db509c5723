/** A caller's request body in a form that can be sent again, byte for byte. */
import { withAbort } from "./abort.ts";
import { relay } from "./response.ts";
import { joined } from "./values.ts";

export interface ReplayBody {
  /** What `fetch` is given; undefined when there is no body. */
  body: BodyInit | undefined;
  /** The content type that the runtime would have set. */
  contentType: string | null;
  /** It can be sent more than once. */
  replayable: boolean;
}

/** What `fetch` calls a bare string. */
export const STRING_TYPE = "text/plain;charset=UTF-8";
/** Default of {@linkcode readBody}'s bound, bytes. */
export const MAX_REPLAY_BYTES = 32 * 1024 * 1024;

/** Takes a body as `fetch` would; a stream longer than `maxBytes` is sent once, not buffered. */
export async function readBody(
  body: BodyInit | null | undefined,
  maxBytes: number,
  signal?: AbortSignal | null,
): Promise<ReplayBody> {
  if (body === null || body === undefined) return whole(undefined);
  if (typeof body === "string") return whole(body, STRING_TYPE);
  if (body instanceof Blob) return await readBlob(body, maxBytes);
  // wrapped in a Response, one of a Request would not count as used in Deno
  if (body instanceof ReadableStream) {
    return await readStream(body, maxBytes, signal);
  }
  // copies bytes at once, as the caller may go on writing into its buffer, and
  // draws a form's boundary, which is another one each time
  const encoded = new Response(body as BodyInit);
  const isWhole = body instanceof ArrayBuffer || ArrayBuffer.isView(body) ||
    body instanceof FormData || body instanceof URLSearchParams;
  if (!isWhole) {
    return encoded.body
      ? await readStream(encoded.body, maxBytes, signal)
      : whole(undefined);
  }
  // read before the body: afterwards Bun does not know it any more
  const contentType = encoded.headers.get("content-type");
  return whole(new Uint8Array(await encoded.arrayBuffer()), contentType);
}

/** A body that can be sent again. */
export function whole(
  body: BodyInit | undefined,
  contentType: string | null = null,
): ReplayBody {
  return { body, contentType, replayable: true };
}

/** A blob can be read as often as it takes; what may be JSON is looked into. */
async function readBlob(blob: Blob, maxBytes: number): Promise<ReplayBody> {
  const type = blob.type || null;
  const isRead = (type === null || type.includes("json")) &&
    blob.size <= maxBytes;
  return whole(isRead ? new Uint8Array(await blob.arrayBuffer()) : blob, type);
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
      if (done) return whole(joined(chunks, size));
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
  const body = relay(reader, {}, chunks);
  return { body, contentType: null, replayable: false };
}

/** More than this is not made of a compressed body, bytes. */
const MAX_DECOMPRESSED_BYTES = 128 * 1024 * 1024;

/** What the functions of `node:zlib` that are used here have in common. */
type Decoder = (
  body: Uint8Array,
  options: { maxOutputLength: number },
  done: (error: Error | null, bytes: Uint8Array) => void,
) => void;

/**
 * The text or bytes that a body of this `Content-Encoding` stands for; undefined
 * where it is not at hand or not what it claims to be, or this runtime cannot
 * read it.
 */
export async function decompressed(
  { body }: ReplayBody,
  encoding: string | undefined,
): Promise<string | Uint8Array | undefined> {
  const name = encoding?.trim().toLowerCase() || "identity";
  if (name === "identity" && typeof body === "string") return body;
  if (!(body instanceof Uint8Array)) return undefined;
  if (name === "identity") return body;
  // loaded when first needed: hardly anybody does
  const zlib = await import("node:zlib");
  const decoders = new Map<string, Decoder | undefined>([
    ["gzip", zlib.gunzip],
    ["x-gzip", zlib.gunzip],
    ["deflate", zlib.inflate],
    ["br", zlib.brotliDecompress],
    // not before Node 22.15
    ["zstd", zlib.zstdDecompress],
  ]);
  const decode = decoders.get(name);
  if (!decode) return undefined;
  const limits = { maxOutputLength: MAX_DECOMPRESSED_BYTES };
  return await new Promise((resolve) =>
    decode(
      body,
      limits,
      (error, bytes) => resolve(error ? undefined : new Uint8Array(bytes)),
    )
  );
}
