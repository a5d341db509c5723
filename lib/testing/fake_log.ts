/**
 * What the stand-in remembers of the requests it got.
 *
 * @module
 */

import { createHash } from "node:crypto";
import * as zlib from "node:zlib";
import type { FakeKind, FakeLogEntry } from "./fake_types.ts";

/** What came over the wire. */
export interface FakeRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** A log entry while its request is under way. */
export class Entry implements FakeLogEntry {
  readonly n: number;
  readonly at: number;
  readonly kind: FakeKind;
  readonly parallel: number;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly bodyBytes: number;
  readonly bodyHash: string;
  account: string | null = null;
  status = 0;
  charged = false;
  aborted = false;
  done = false;
  #text: string | undefined;
  #json: { readonly value: unknown } | undefined;

  constructor(
    request: FakeRequest,
    place: { n: number; at: number; kind: FakeKind; parallel: number },
  ) {
    this.n = place.n;
    this.at = place.at;
    this.kind = place.kind;
    this.parallel = place.parallel;
    this.method = request.method;
    this.path = request.url.pathname + request.url.search;
    this.headers = request.headers;
    this.body = request.body;
    this.bodyBytes = request.body.byteLength;
    this.bodyHash = createHash("sha256").update(request.body).digest("hex");
  }

  get text(): string {
    return this.#text ??= new TextDecoder().decode(
      decompress(this.body, this.headers["content-encoding"]),
    );
  }

  get json(): unknown {
    return (this.#json ??= { value: parsed(this.text) }).value;
  }

  get model(): string | null {
    const model = (this.json as { model?: unknown } | null | undefined)?.model;
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

// A body that cannot be decompressed is logged as it came.
function decompress(
  body: Uint8Array,
  encoding: string | undefined,
): Uint8Array {
  try {
    if (encoding === "gzip") return zlib.gunzipSync(body);
    if (encoding === "zstd") return zlib.zstdDecompressSync(body);
  } catch { /* not what it claims to be */ }
  return body;
}

interface Waiter {
  readonly matches: (entry: FakeLogEntry) => boolean;
  readonly found: (entry: FakeLogEntry) => void;
  readonly failed: (error: Error) => void;
}

/** All requests, and those who wait for one. */
export class RequestLog {
  readonly entries: Entry[] = [];
  readonly #waiters = new Set<Waiter>();
  readonly #running = new Set<Entry>();
  #count = 0;

  /** Enters a request that arrived. */
  add(request: FakeRequest, kind: FakeKind, at: number): Entry {
    let parallel = 1;
    for (const other of this.#running) if (other.kind === kind) parallel++;
    const n = ++this.#count;
    const entry = new Entry(request, { n, at, kind, parallel });
    this.entries.push(entry);
    this.#running.add(entry);
    return entry;
  }

  /** Tells the waiters that something about an entry is new. */
  changed(entry: Entry): void {
    if (entry.done) this.#running.delete(entry);
    for (const waiter of [...this.#waiters]) {
      if (waiter.matches(entry)) waiter.found(entry);
    }
  }

  /** The first entry that matches, now or later. */
  seen(
    matches: (entry: FakeLogEntry) => boolean,
    timeoutMs: number,
  ): Promise<FakeLogEntry> {
    const known = this.entries.find(matches);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        matches,
        found: (entry) => (settle(), resolve(entry)),
        failed: (error) => (settle(), reject(error)),
      };
      const timer = setTimeout(() => {
        waiter.failed(
          new Error(
            `No such request within ${timeoutMs} ms; ${this.entries.length} are in the log`,
          ),
        );
      }, timeoutMs);
      this.#waiters.add(waiter);
    });
  }

  /** Ends all waiting. */
  close(): void {
    for (const waiter of [...this.#waiters]) {
      waiter.failed(new Error("The stand-in was closed before such a request"));
    }
  }
}
