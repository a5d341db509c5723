/** Every kind of request body, made anew for each use. */

/** What goes into `fetch`, beside the URL and the method. */
export interface BodyCase {
  body?: () => BodyInit;
  headers?: Record<string, string>;
  /** Wrapped in a `Request`, whose own init may then be overridden. */
  request?: RequestInit;
}

const TEXT = 'Grüße, "€" und 🦕\u0000\r\n';
const BYTES = new TextEncoder().encode(TEXT);
/** A list that the backend takes as it is. */
export const CONFORMING = JSON.stringify(
  {
    model: "gpt-5.5",
    instructions: "Be brief.",
    input: [{ role: "user", content: TEXT }],
    store: false,
    stream: true,
  },
  null,
  1,
);

/** 64 bytes, of which a view takes the middle. */
function buffer(): ArrayBuffer {
  return Uint8Array.from({ length: 64 }, (_, n) => n * 5).buffer;
}

function form(): FormData {
  const data = new FormData();
  data.append("text", TEXT);
  data.append("file", new Blob([BYTES], { type: "text/plain" }), "a file.txt");
  return data;
}

/** A stream in uneven parts. */
export function streamOf(
  bytes: Uint8Array<ArrayBuffer>,
  size = 7,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at += size));
    },
  });
}

function compressed(): ReadableStream<Uint8Array> {
  return new Blob([CONFORMING]).stream()
    .pipeThrough(new CompressionStream("gzip"));
}

const VIEWS = {
  Int8Array: () => new Int8Array(buffer(), 8, 16),
  Uint8Array: () => new Uint8Array(buffer(), 8, 16),
  Uint8ClampedArray: () => new Uint8ClampedArray(buffer(), 8, 16),
  Int16Array: () => new Int16Array(buffer(), 8, 8),
  Uint16Array: () => new Uint16Array(buffer(), 8, 8),
  Int32Array: () => new Int32Array(buffer(), 8, 4),
  Uint32Array: () => new Uint32Array(buffer(), 8, 4),
  Float32Array: () => new Float32Array(buffer(), 8, 4),
  Float64Array: () => new Float64Array(buffer(), 8, 2),
  BigInt64Array: () => new BigInt64Array(buffer(), 8, 2),
  BigUint64Array: () => new BigUint64Array(buffer(), 8, 2),
  DataView: () => new DataView(buffer(), 8, 16),
};

const JSON_TYPE = { "content-type": "application/json" };

/** By what they are called in a test's message. */
export const BODIES: Record<string, BodyCase> = {
  "string": { body: () => TEXT },
  "JSON string": { body: () => CONFORMING, headers: JSON_TYPE },
  "JSON string without a type": { body: () => CONFORMING },
  "JSON bytes": { body: () => new Blob([CONFORMING]), headers: JSON_TYPE },
  "ArrayBuffer": { body: buffer },
  ...Object.fromEntries(
    Object.entries(VIEWS).map(([name, body]) => [name, { body }]),
  ),
  "Blob": { body: () => new Blob([BYTES], { type: "image/png" }) },
  "Blob without a type": { body: () => new Blob([BYTES]) },
  "JSON Blob": {
    body: () => new Blob([CONFORMING], { type: "application/json" }),
  },
  "File": { body: () => new File([BYTES], "a.bin", { type: "a/b" }) },
  "FormData": { body: form },
  "URLSearchParams": {
    body: () => new URLSearchParams({ a: TEXT, b: "1 2+3" }),
  },
  "ReadableStream": { body: () => streamOf(BYTES) },
  "JSON ReadableStream": {
    body: () => streamOf(new TextEncoder().encode(CONFORMING), 11),
    headers: JSON_TYPE,
  },
  "compressed": {
    body: compressed,
    headers: { ...JSON_TYPE, "content-encoding": "gzip" },
  },
  "empty string": { body: () => "" },
  "empty bytes": { body: () => new Uint8Array(0) },
  "empty Blob": { body: () => new Blob([]) },
  "empty stream": { body: () => streamOf(new Uint8Array(0)) },
  "none": {},
  "Request with a string": { body: () => TEXT, request: {} },
  "Request with JSON": {
    body: () => CONFORMING,
    request: { headers: JSON_TYPE },
  },
  "Request with a form": { body: form, request: {} },
  "Request with a stream": { body: () => streamOf(BYTES), request: {} },
  "Request with another body": {
    body: () => BYTES.slice(),
    request: { body: "not this", headers: { "content-type": "a/b" } },
  },
  "Request with other headers": {
    body: () => TEXT,
    request: { headers: { "x-own": "no" } },
    headers: { "content-type": "c/d", "x-own": "yes" },
  },
};

/** Calls a fetch with a body. */
export async function sendBody(
  fetch: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>,
  url: string,
  { body, headers, request }: BodyCase,
): Promise<number> {
  const init: RequestInit = { method: "POST" };
  if (body) Object.assign(init, { body: body(), duplex: "half" });
  if (headers) init.headers = headers;
  const response =
    await (request
      ? fetch(...asRequest(url, init, request))
      : fetch(url, init));
  await response.body?.cancel();
  return response.status;
}

/** The body goes into the `Request`, or where that has one already, overrides it. */
function asRequest(
  url: string,
  init: RequestInit,
  request: RequestInit,
): [Request, RequestInit?] {
  if (request.body) {
    return [new Request(url, { method: "POST", ...request }), init];
  }
  const { headers, ...rest } = init;
  const made = new Request(url, { ...rest, ...request });
  return headers ? [made, { headers }] : [made];
}
