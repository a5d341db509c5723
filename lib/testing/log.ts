/**
 * What the stand-in remembers of the requests it got.
 *
 * @module
 */
import { createHash } from "node:crypto";
import * as zlib from "node:zlib";

/** What a request was for. */
export type FakeKind =
  | "responses"
  | "compact"
  | "models"
  | "search"
  | "images"
  | "memories"
  | "usage"
  | "token"
  | "authorize"
  | "device"
  | "other";

/** What is known of a request when it arrives. */
export type Arrival = Pick<
  Entry,
  "at" | "kind" | "method" | "path" | "headers" | "body"
>;

/** One request as it arrived, and what became of it. Holds tokens: never print it. */
export type FakeLogEntry = Readonly<Entry>;

/** A log entry while its request is under way. */
export class Entry {
  /** Position among all requests, from 1. */
  declare readonly n: number;
  /** When it arrived (epoch ms of the stand-in's clock). */
  declare readonly at: number;
  /** What it was for. */
  declare readonly kind: FakeKind;
  /** How many requests of this kind were under way when it arrived, itself included. */
  declare readonly parallel: number;
  /** In upper case. */
  declare readonly method: string;
  /** With the query. */
  declare readonly path: string;
  /** Names in lower case. */
  declare readonly headers: Readonly<Record<string, string>>;
  /** As it came over the wire. */
  declare readonly body: Uint8Array;
  /** The account whose token was shown; null: none. */
  account: string | null = null;
  /** 0 until the headers of the answer were sent. */
  status = 0;
  /** It drew purchased credits. */
  charged = false;
  /** The client went away before the answer was complete. */
  aborted = false;
  /** The exchange is over, one way or another. */
  done = false;
  #text: string | undefined;
  #json: { readonly value: unknown } | undefined;

  /**
   * Begins an entry.
   *
   * @param facts What is known when it arrives.
   */
  constructor(facts: Arrival & { n: number; parallel: number }) {
    Object.assign(this, facts);
  }

  /** SHA-256 of `body`, in hex. */
  get bodyHash(): string {
    return createHash("sha256").update(this.body).digest("hex");
  }

  /** The body as text, decompressed. */
  get text(): string {
    return this.#text ??= new TextDecoder().decode(
      decompress(this.body, this.headers["content-encoding"]) ?? this.body,
    );
  }

  /** The body as JSON; undefined when it is none. */
  get json(): unknown {
    return (this.#json ??= { value: parsed(this.text) }).value;
  }

  /** The `model` of its JSON body. */
  get model(): string | null {
    const { model } = Object(this.json);
    return typeof model === "string" ? model : null;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** As far as this runtime can. */
const DECODERS: Record<string, (body: Uint8Array) => Uint8Array> = {
  gzip: zlib.gunzipSync,
  deflate: zlib.inflateSync,
  br: zlib.brotliDecompressSync,
  zstd: zlib.zstdDecompressSync,
};

/** Decompresses a body; undefined where it is not what it claims to be, or this runtime cannot. */
export function decompress(body: Uint8Array, encoding: string | undefined) {
  if (encoding === undefined) return body;
  try {
    return DECODERS[encoding]?.(body);
  } catch {
    return undefined;
  }
}

export class RequestLog {
  readonly entries: Entry[] = [];
  readonly #waiters = new Set<(news: Entry | Error) => void>();
  readonly #running = new Set<Entry>();
  #count = 0;

  add(arrival: Arrival): Entry {
    const alike = [...this.#running].filter((it) => it.kind === arrival.kind);
    const parallel = alike.length + 1;
    const entry = new Entry({ ...arrival, n: ++this.#count, parallel });
    this.entries.push(entry);
    this.#running.add(entry);
    return entry;
  }

  /** Tells those who wait that an entry is new or changed. */
  changed(entry: Entry): void {
    if (entry.done) this.#running.delete(entry);
    for (const tell of [...this.#waiters]) tell(entry);
  }

  /** The first entry that matches, now or later. */
  async seen(
    matches: (entry: FakeLogEntry) => boolean,
    timeoutMs: number,
  ): Promise<FakeLogEntry> {
    const known = this.entries.find(matches);
    if (known !== undefined) return known;
    const { promise, resolve, reject } = Promise.withResolvers<FakeLogEntry>();
    const tell = (news: Entry | Error) => {
      if (news instanceof Error) reject(news);
      else if (matches(news)) resolve(news);
    };
    this.#waiters.add(tell);
    const timer = setTimeout(() => {
      const many = `${this.entries.length} are in the log`;
      tell(new Error(`No such request within ${timeoutMs} ms; ${many}`));
    }, timeoutMs);
    return await promise.finally(() => {
      clearTimeout(timer);
      this.#waiters.delete(tell);
    });
  }

  close(): void {
    const closed = new Error("The stand-in was closed before such a request");
    for (const tell of this.#waiters) tell(closed);
  }
}
