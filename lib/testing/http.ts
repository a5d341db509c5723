/**
 * How the stand-in puts an answer on the wire: in parts, late, cut off or
 * never, and no faster than the client reads.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Entry } from "./log.ts";
import type { FakeAnswer } from "./types.ts";

/** A part of a body, or a wait before the next one (ms, or until a promise is settled). */
export type Part = string | Uint8Array | { wait: number | Promise<unknown> };

export type HeaderFields = Record<string, string>;

/** An answer, and how it is sent. */
export interface Plan {
  readonly status: number;
  readonly headers: HeaderFields;
  readonly parts: Iterable<Part>;
  /** When it is sent: so many ms late, or once a promise is settled. */
  readonly after?: number | Promise<unknown> | undefined;
  readonly script?: FakeAnswer;
  /** Called once the exchange is over, one way or another. */
  readonly atEnd?: () => void;
}

/** A whole body of a known length. */
export function text(
  status: number,
  body: string,
  type = "text/plain; charset=utf-8",
): Plan {
  const length = String(Buffer.byteLength(body));
  return {
    status,
    headers: { "content-type": type, "content-length": length },
    parts: body === "" ? [] : [body],
  };
}

export function json(status: number, value: unknown): Plan {
  return text(status, JSON.stringify(value), "application/json");
}

export function html(status: number, page: string): Plan {
  return text(status, page, "text/html; charset=UTF-8");
}

export const EVENT_STREAM = {
  "content-type": "text/event-stream; charset=utf-8",
};

/** Events, each in a part of its own; waits and texts are sent as they are. */
export function stream(headers: HeaderFields, events: Iterable<unknown>): Plan {
  return { status: 200, headers, parts: encoded(events) };
}

function* encoded(events: Iterable<unknown>): Generator<Part> {
  for (const event of events) {
    const { type, wait } = Object(event);
    const name = typeof type === "string" ? `event: ${type}\n` : "";
    yield typeof event === "string" || wait !== undefined
      ? event as Part
      : `${name}data: ${JSON.stringify(event)}\n\n`;
  }
}

/**
 * Makes an answer as the script says.
 *
 * @param ordinary The answer otherwise; called only when it is sent, as making it uses up quota or tokens.
 */
export function scripted(
  script: FakeAnswer | undefined,
  ordinary: () => Plan,
  streamHeaders: () => HeaderFields = () => EVENT_STREAM,
): Plan {
  if (script === undefined) return ordinary();
  const plan = replacement(script, streamHeaders) ?? ordinary();
  const headers = { ...plan.headers };
  for (const [name, value] of Object.entries(script.headers ?? {})) {
    headers[name.toLowerCase()] = value;
  }
  return { ...plan, headers, script };
}

function replacement(
  script: FakeAnswer,
  streamHeaders: () => HeaderFields,
): Plan | undefined {
  const { status, body, raw, events, redirect: location, hang } = script;
  if (location !== undefined) {
    return { status: status ?? 307, headers: { location }, parts: [] };
  }
  if (raw !== undefined) {
    const single = typeof raw === "string" || raw instanceof Uint8Array;
    const parts = single ? [raw] : raw;
    return { status: status ?? 200, headers: {}, parts };
  }
  if (events !== undefined) {
    return { ...stream(streamHeaders(), events), status: status ?? 200 };
  }
  if (typeof body === "object") return json(status ?? 200, body);
  if (body?.startsWith("<")) return html(status ?? 200, body);
  if (body !== undefined || status !== undefined || hang) {
    return text(status ?? 200, body ?? "");
  }
  return undefined;
}

/** Reads what of the body arrives, and whether that is all of it. */
export async function readBody(request: IncomingMessage) {
  const chunks: Uint8Array[] = [];
  let complete = true;
  try {
    for await (const chunk of request) chunks.push(chunk);
  } catch {
    complete = false;
  }
  return { body: new Uint8Array(Buffer.concat(chunks)), complete };
}

/** One answer on its way to a client that may go away at any time. */
export class Delivery {
  readonly #response: ServerResponse;
  readonly #entry: Entry;
  readonly #plan: Plan;
  readonly #changed: () => void;
  readonly #gone = new AbortController();
  /** Rejects when the client goes away. */
  readonly #left: Promise<never>;

  constructor(
    response: ServerResponse,
    entry: Entry,
    plan: Plan,
    changed: () => void,
  ) {
    this.#response = response;
    this.#entry = entry;
    this.#plan = plan;
    this.#changed = changed;
    const { signal } = this.#gone;
    this.#left = new Promise((_, reject) => signal.onabort = reject);
    this.#left.catch(() => {});
    if (response.destroyed) this.#gone.abort();
    response.on("close", () => {
      this.#gone.abort();
      this.#finish(true);
    });
    // A client that goes away is no error of ours.
    response.on("error", () => {});
  }

  /** Sends it all, or as much as the plan says and the client takes. */
  async send(): Promise<void> {
    const { script = {}, status, headers, parts, after } = this.#plan;
    try {
      for (const wait of [script.delayMs, script.until, after]) {
        await this.#wait(wait);
      }
      if (script.hang) await this.#left;
      if (script.drop === "before-headers") return this.#cut();
      this.#entry.status = status;
      this.#response.writeHead(status, headers);
      this.#changed();
      await this.#sendBody(parts, script);
    } catch (error) {
      if (!this.#gone.signal.aborted) throw error;
      this.#finish(true);
    }
  }

  /** Writes the body as fast as it is read, all of it or up to the cut. */
  async #sendBody(all: Iterable<Part>, { drop, chunkDelayMs }: FakeAnswer) {
    const parts = drop === undefined ? all : beginning(all, drop);
    if (drop === 0) this.#response.flushHeaders();
    let flushed = Promise.resolve();
    let first = true;
    for (const part of parts) {
      if (!isBytes(part)) {
        await this.#wait(part.wait);
        continue;
      }
      await this.#wait(first ? undefined : chunkDelayMs);
      first = false;
      let more = true;
      flushed = new Promise((resolve) => {
        more = this.#response.write(part, () => resolve());
      });
      if (!more) await Promise.race([flushed, this.#left]);
    }
    if (drop === undefined) {
      this.#finish();
      return void this.#response.end();
    }
    // Written for good before the connection is cut, or it would be lost with it.
    await Promise.race([flushed, this.#left]);
    await this.#wait(chunkDelayMs);
    this.#cut();
  }

  /** Waits (ms, or until a promise is settled), but for no client that is gone. */
  async #wait(what: number | Promise<unknown> | undefined): Promise<void> {
    const { signal } = this.#gone;
    if (typeof what === "number") return sleep(what, undefined, { signal });
    if (what === undefined) return signal.throwIfAborted();
    await Promise.race([what.catch(() => {}), this.#left]);
  }

  #cut(): void {
    this.#finish();
    this.#response.socket?.destroy();
  }

  #finish(aborted = false): void {
    if (this.#entry.done) return;
    this.#entry.aborted = aborted;
    this.#entry.done = true;
    this.#plan.atEnd?.();
    this.#changed();
  }
}

/** What is sent of a body before the cut. */
function beginning(parts: Iterable<Part>, drop: string | number) {
  let all = [...parts];
  const [only] = all;
  if (drop === "mid-body" && all.length === 1 && isBytes(only)) {
    const half = only.length >> 1;
    all = [only.slice(0, half), only.slice(half)];
  }
  return all.slice(0, typeof drop === "number" ? drop : all.length >> 1);
}

function isBytes(part: Part | undefined): part is string | Uint8Array {
  return typeof part === "string" || part instanceof Uint8Array;
}
