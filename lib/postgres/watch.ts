import { clearTimeout, setTimeout } from "node:timers";
import { Connection } from "./connection.ts";
import type { Target } from "./target.ts";

/** The connection is tried this often while it is wanted, ms. */
const BEAT_MS = 400;
/** What was heard longer ago than this is not relied on, ms. */
const FRESH_MS = 1_000;
/** The connection is given up when it does not answer for so long, ms. */
const LIMIT_MS = 2_000;
/** When nobody asked for so long, the connection is left alone, ms. */
const WANTED_MS = 5_000;

/**
 * Listens to what others change, on a connection of its own, and keeps the
 * locks of this process.
 */
export class Watch {
  /** Of the locks that this process holds. */
  readonly tokens = new Set<string>();
  /** The revision that was told last. */
  revision = 0;
  readonly #connection: Connection;
  readonly #keep: string;
  /** Counts how often it began to listen; 0: it does not. */
  #session = 0;
  #sessions = 0;
  #heardAt = -Infinity;
  #wantedUntil = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isBeating = false;
  #waiting = new Map<string, PromiseWithResolvers<void>>();

  /** @param keep The statement that keeps locks. */
  constructor(target: Target, keep: string) {
    this.#keep = keep;
    this.#connection = new Connection(target, {
      onNotify: (payload) => this.#hear(payload),
      onLost: () => this.#session = 0,
    });
  }

  /** Names the time since which nothing that was told was missed; 0: unknown. */
  get session(): number {
    return performance.now() - this.#heardAt < FRESH_MS ? this.#session : 0;
  }

  /** Has it listen for the next seconds. */
  want(): void {
    this.#wantedUntil = performance.now() + WANTED_MS;
    if (this.#timer === undefined && !this.#isBeating) void this.#beat();
  }

  /** Resolves when a lock is told to be free. */
  untilFree(name: string): Promise<void> {
    this.want();
    const waiting = this.#waiting.get(name) ?? Promise.withResolvers<void>();
    this.#waiting.set(name, waiting);
    return waiting.promise;
  }

  /** Ends the connection. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#wantedUntil = -Infinity;
    await this.#connection.close();
  }

  async #beat(): Promise<void> {
    this.#isBeating = true;
    this.#timer = undefined;
    const { schema } = this.#connection.target;
    const sentAt = performance.now();
    try {
      if (this.#session === 0) {
        await this.#connection.run(`listen "${schema}"`, [], LIMIT_MS);
        this.#session = ++this.#sessions;
      }
      const tokens = JSON.stringify([...this.tokens]);
      await this.#connection.run(this.#keep, [tokens], LIMIT_MS);
      this.#heardAt = sentAt;
    } catch {
      // what it misses is asked for
      this.#session = 0;
    }
    this.#isBeating = false;
    if (this.tokens.size === 0 && performance.now() > this.#wantedUntil) return;
    this.#timer = setTimeout(() => void this.#beat(), BEAT_MS).unref();
  }

  #hear(payload: string): void {
    const [what, value = ""] = payload.split(" ");
    if (what === "free") {
      this.#waiting.get(value)?.resolve();
      this.#waiting.delete(value);
    } else this.revision = Math.max(this.revision, Number(value));
  }
}
