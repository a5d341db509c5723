/** Responses with another body, or with one that is looked into. */
import { clearTimeout, setTimeout } from "node:timers";

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

/** One JSON response; what described the bytes of the original is left out. */
export function asJson(
  response: Response,
  body: string,
  status: number,
): Response {
  const headers = new Headers(response.headers);
  headers.set("content-type", "application/json");
  for (
    const name of ["content-length", "content-encoding", "transfer-encoding"]
  ) headers.delete(name);
  return withBody(response, body, { headers, status });
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

type Source = Pick<
  ReadableStreamDefaultReader<Uint8Array>,
  "read" | "cancel"
>;

interface Watcher {
  onChunk?(chunk: Uint8Array): void;
  /** Called whenever it ends: undefined for whole, null when its reader went away, else the error. */
  onEnd?(error: unknown): void;
}

/** Passes a body on as it is asked for, after the chunks that were read of it already. */
export function relay(
  source: Source,
  { onChunk, onEnd }: Watcher = {},
  chunks: Uint8Array[] = [],
): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const held = chunks.shift();
      if (held) return controller.enqueue(held);
      try {
        const { done, value } = await source.read();
        if (!done) {
          const chunk = compact(value);
          onChunk?.(chunk);
          return controller.enqueue(chunk);
        }
      } catch (error) {
        onEnd?.(error);
        source.cancel(error).catch(() => {});
        throw error;
      }
      onEnd?.(undefined);
      controller.close();
    },
    cancel(reason) {
      onEnd?.(null);
      return source.cancel(reason);
    },
  }, { highWaterMark: 0 });
}

/** A chunk without most of the memory that the runtime read it into. */
export function compact(chunk: Uint8Array): Uint8Array {
  return chunk.length <= chunk.buffer.byteLength / 2 ? chunk.slice() : chunk;
}
