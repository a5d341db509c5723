/**
 * How the stand-in puts an answer on the wire: in parts, late, cut off or
 * never, and no faster than the client reads.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Entry } from "./fake_log.ts";
import { encodeEvent } from "./fake_stream.ts";
import type { FakeAnswer } from "./fake_types.ts";

type Chunk = string | Uint8Array;

/** An answer before it is sent. */
export interface Plan {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly chunks: Iterable<Chunk>;
}

/** An answer, and how to send it. */
export interface Prepared {
  readonly plan: Plan;
  readonly script: FakeAnswer;
}

/** A whole body of a known length. */
export function text(
  status: number,
  body: string,
  type = "text/plain; charset=utf-8",
): Plan {
  const length = new TextEncoder().encode(body).byteLength;
  return {
    status,
    headers: { "content-type": type, "content-length": String(length) },
    chunks: body === "" ? [] : [body],
  };
}

/** A JSON body. */
export function json(status: number, value: unknown): Plan {
  return text(status, JSON.stringify(value), "application/json");
}

/** An HTML page. */
export function html(status: number, page: string): Plan {
  return text(status, page, "text/html; charset=UTF-8");
}

/** Events, each in a part of its own. */
export function stream(
  headers: Record<string, string>,
  events: Iterable<unknown>,
): Plan {
  return {
    status: 200,
    headers: { "content-type": "text/event-stream; charset=utf-8", ...headers },
    chunks: encoded(events),
  };
}

function* encoded(events: Iterable<unknown>): Generator<string> {
  for (const event of events) yield encodeEvent(event);
}

/**
 * @param script What the test asked for.
 * @param ordinary The answer otherwise; called only when it is sent, as making it uses up quota or tokens.
 * @param streamHeaders What scripted events go with.
 */
export function prepare(
  script: FakeAnswer | undefined,
  ordinary: () => Plan,
  streamHeaders: () => Record<string, string> = () => ({}),
): Prepared {
  if (script === undefined) return { plan: ordinary(), script: {} };
  const plan = replacement(script, streamHeaders) ?? ordinary();
  const headers = { ...plan.headers };
  for (const [name, value] of Object.entries(script.headers ?? {})) {
    headers[name.toLowerCase()] = value;
  }
  return { plan: { ...plan, headers }, script };
}

function replacement(
  script: FakeAnswer,
  streamHeaders: () => Record<string, string>,
): Plan | undefined {
  const { status, body, raw, events, redirect, hang } = script;
  if (redirect !== undefined) {
    return {
      status: status ?? 307,
      headers: { location: redirect },
      chunks: [],
    };
  }
  if (raw !== undefined) {
    const single = typeof raw === "string" || raw instanceof Uint8Array;
    const chunks = single ? [raw] : raw;
    return { status: status ?? 200, headers: {}, chunks };
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

/** @returns What of the body arrived, and whether that is all of it. */
export async function readBody(
  request: IncomingMessage,
): Promise<{ body: Uint8Array; complete: boolean }> {
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
  readonly #changed: () => void;
  #gone: boolean;
  #wake: () => void = () => {};

  /**
   * @param response Where the answer goes.
   * @param entry What is noted about it.
   * @param changed Called when something was noted.
   */
  constructor(response: ServerResponse, entry: Entry, changed: () => void) {
    this.#response = response;
    this.#entry = entry;
    this.#changed = changed;
    this.#gone = response.destroyed;
    response.on("close", () => this.#onClose());
    // A client that goes away is no error of ours.
    response.on("error", () => {});
  }

  /** Sends it all, or as much as the script says and the client takes. */
  async send({ plan, script }: Prepared): Promise<void> {
    const { delayMs, until, hang } = script;
    if (delayMs !== undefined) await this.#pause(delayMs);
    if (until !== undefined) {
      await this.#wait((done) => void until.then(done, done));
    }
    if (hang === true) await this.#wait(() => {});
    if (this.#gone) return;
    if (script.drop === "before-headers") return this.#cut();
    this.#entry.status = plan.status;
    this.#response.writeHead(plan.status, plan.headers);
    this.#changed();
    if (script.drop !== undefined) return await this.#sendPart(plan, script);
    await this.#sendAll(plan, script.chunkDelayMs);
  }

  async #sendAll(
    plan: Plan,
    chunkDelayMs: number | undefined,
  ): Promise<void> {
    let first = true;
    for (const chunk of plan.chunks) {
      if (!first && chunkDelayMs !== undefined) await this.#pause(chunkDelayMs);
      first = false;
      if (this.#gone) return;
      if (!this.#response.write(chunk)) await this.#drain();
    }
    if (this.#gone) return;
    this.#finish();
    this.#response.end();
  }

  async #sendPart(plan: Plan, script: FakeAnswer): Promise<void> {
    let chunks = [...plan.chunks];
    const [only] = chunks;
    if (script.drop === "mid-body" && chunks.length === 1 && only) {
      chunks = [
        only.slice(0, only.length >> 1),
        only.slice(only.length >> 1),
      ];
    }
    const count = typeof script.drop === "number"
      ? script.drop
      : chunks.length >> 1;
    if (count === 0) this.#response.flushHeaders();
    for (const chunk of chunks.slice(0, count)) {
      // Written for good before the connection is cut, or it would be lost with it.
      await this.#wait((done) =>
        void this.#response.write(chunk, () => done())
      );
      if (script.chunkDelayMs !== undefined) {
        await this.#pause(script.chunkDelayMs);
      }
    }
    this.#cut();
  }

  #cut(): void {
    this.#finish();
    this.#response.socket?.destroy();
  }

  #finish(): void {
    this.#entry.done = true;
    this.#changed();
  }

  #onClose(): void {
    this.#gone = true;
    if (!this.#entry.done) {
      this.#entry.aborted = true;
      this.#finish();
    }
    this.#wake();
  }

  #pause(ms: number): Promise<void> {
    return this.#wait((done) => {
      const timer = setTimeout(done, ms);
      return () => clearTimeout(timer);
    });
  }

  #drain(): Promise<void> {
    return this.#wait((done) => {
      this.#response.once("drain", done);
      return () => this.#response.off("drain", done);
    });
  }

  /** Until `start` calls back or the client is gone. */
  async #wait(
    start: (done: () => void) => void | (() => void),
  ): Promise<void> {
    if (this.#gone) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const undo = start(resolve);
    await promise;
    undo?.();
  }
}
