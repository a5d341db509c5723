/**
 * What became of the requests: one record each, and counters over all.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { RotatorEvent } from "../report_types.ts";

/** How a request ended. */
export type Result =
  /** 2xx, delivered whole. */
  | "ok"
  /** 429: nobody could serve it now. */
  | "limited"
  /** Another 4xx. */
  | "refused"
  /** 5xx, or the stream broke. */
  | "failed"
  /** The caller went away first. */
  | "cancelled";

/** One request, after its end. */
export interface ServedRequest {
  /** When it came, epoch ms. */
  at: number;
  /** As its body names it; null: unknown. */
  model: string | null;
  /** As its body or its headers name it; null: unknown. */
  session: string | null;
  /** Who served it; null: nobody, or it was not for the backend. */
  account: string | null;
  /** On what it was served; null: nobody served it. */
  standing: "included" | "credits" | "unconfirmed" | null;
  /** How often it was sent to the backend. */
  attempts: number;
  /** Of the answer. */
  status: number;
  /** How it ended. */
  result: Result;
  /** From its arrival to the last byte, ms. */
  ms: number;
}

/** How an observer works. */
export interface ObserverOptions {
  /** Told of each request when it is over. */
  onRequest?: (request: ServedRequest) => void;
  /** The clock, epoch ms; `Date.now` by default. */
  now?: () => number;
}

/** Values of labels, and how often. */
export type Counts = ReadonlyMap<string, number>;

/**
 * Watches the requests that a handler serves. Give its `onEvent` to the rotator
 * and itself to the handler.
 *
 * @example
 * ```ts
 * import { createRotator, memoryStore } from "../../mod.ts";
 * import { createHandler, Observer } from "./mod.ts";
 *
 * const observer = new Observer();
 * const { onEvent } = observer;
 * await using rotator = createRotator({ store: memoryStore(), onEvent });
 * const handler = createHandler(rotator, { key: "secret", observer });
 * const answer = await handler(new Request("http://127.0.0.1/health"));
 * if (answer.status !== 401) throw new Error("The key was not asked for");
 * ```
 */
export class Observer {
  /** Told of each request when it is over. */
  readonly onRequest: ((request: ServedRequest) => void) | undefined;
  readonly #now: () => number;
  readonly #current = new AsyncLocalStorage<ServedRequest>();
  readonly #counts = {
    requests: new Map<string, number>(),
    charged: new Map<string, number>(),
    switches: new Map<string, number>(),
    cooldowns: new Map<string, number>(),
  };
  #running = 0;

  /**
   * Begins with nothing counted.
   *
   * @param options Clock, and whom to tell.
   */
  constructor(options: ObserverOptions = {}) {
    this.onRequest = options.onRequest;
    this.#now = options.now ?? Date.now;
  }

  /** How many requests are being served. */
  get running(): number {
    return this.#running;
  }

  /** Label values, as a JSON list, and how often each came up. */
  get counts(): Readonly<
    Record<"requests" | "charged" | "switches" | "cooldowns", Counts>
  > {
    return this.#counts;
  }

  /** For the rotator's option of this name; may be called unbound. */
  readonly onEvent = (event: RotatorEvent): void => {
    const { charged, switches, cooldowns } = this.#counts;
    switch (event.type) {
      case "selected": {
        // the events of a request come in its own asynchronous context
        const request = this.#current.getStore();
        if (request === undefined) return;
        request.attempts++;
        request.account = event.alias;
        request.standing = event.standing;
        return;
      }
      case "credits-spent":
        return count(charged, [event.alias, String(event.certain)]);
      case "switched":
        return count(switches, [event.from, event.alias]);
      case "cooldown":
        return count(cooldowns, [event.alias, event.cause.split(":")[0]!]);
    }
  };

  /** A request has come. */
  begin(): ServedRequest {
    this.#running++;
    return {
      at: this.#now(),
      model: null,
      session: null,
      account: null,
      standing: null,
      attempts: 0,
      status: 0,
      result: "ok",
      ms: 0,
    };
  }

  /** Runs what a request makes the rotator do. */
  watch<T>(request: ServedRequest, job: () => Promise<T>): Promise<T> {
    return this.#current.run(request, job);
  }

  /** A request is over. */
  end(request: ServedRequest, result: Result): void {
    this.#running--;
    request.result = result;
    request.ms = this.#now() - request.at;
    if (request.account === null) request.standing = null;
    const { account, standing } = request;
    count(this.#counts.requests, [account ?? "", standing ?? "", result]);
    try {
      this.onRequest?.(request);
    } catch {
      // its owner's trouble
    }
  }
}

function count(counts: Map<string, number>, labels: string[]): void {
  const key = JSON.stringify(labels);
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
