/**
 * Responses with another body, or with one that is looked into.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";
import { joined } from "./values.ts";

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
