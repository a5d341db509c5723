/**
 * What of a message is passed on, in either direction.
 *
 * @module
 */

/** Speak of one connection only. */
const HOP_BY_HOP = [
  "connection",
  "expect",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];
/** Belong to the caller and this server, not to the account's owner and the backend. */
const FROM_CALLER: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  // the runtime's own fetch asks for what it can decode
  "accept-encoding",
  "authorization",
  "content-length",
  "cookie",
  "forwarded",
  "host",
  "referer",
  "via",
]);
const FROM_BACKEND: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  "alt-svc",
  // the body has been decoded
  "content-encoding",
  "content-length",
  "set-cookie",
  "strict-transport-security",
]);
const NEVER_IN = /^(?:x-forwarded-|sec-)/;
const NEVER_OUT = /^access-control-/;

/** The headers of a caller's request, for the backend. */
export function headersIn(headers: Headers): Headers {
  return kept(headers, FROM_CALLER, NEVER_IN);
}

/** The headers of the backend's answer, for the caller. */
export function headersOut(headers: Headers): Headers {
  return kept(headers, FROM_BACKEND, NEVER_OUT);
}

function kept(
  headers: Headers,
  dropped: ReadonlySet<string>,
  pattern: RegExp,
): Headers {
  const named = (headers.get("connection") ?? "").toLowerCase().split(",")
    .map((name) => name.trim());
  const result = new Headers();
  headers.forEach((value, name) => {
    if (dropped.has(name) || pattern.test(name) || named.includes(name)) return;
    result.append(name, value);
  });
  return result;
}

/**
 * Reads a request's body.
 *
 * @param request The request.
 * @param most More bytes are too many.
 * @returns Its bytes, or undefined when there are too many.
 */
export async function readBounded(
  request: Request,
  most: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (Number(request.headers.get("content-length") ?? 0) > most) {
    return undefined;
  }
  const reader = request.body?.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  for (let size = 0; reader;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    // the rest is not cancelled, which would cut the answer off as well
    if (size > most) return undefined;
    chunks.push(value);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/**
 * A body that is passed on as it is asked for.
 *
 * @param body The body.
 * @param onEnd Told how it ended: `undefined` for whole, `null` when its
 * reader went away, else the error.
 */
export function relay(
  body: ReadableStream<Uint8Array>,
  onEnd: (error: unknown) => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        onEnd(undefined);
        controller.close();
      } catch (error) {
        onEnd(error);
        throw error;
      }
    },
    cancel(reason) {
      onEnd(null);
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}
