/**
 * The record of what was served: one line per answered request, written behind.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";
import type { LedgerEntry } from "../spending_types.ts";

/** Lines are written at most this long after they were added, ms. */
const WRITE_BEHIND_MS = 10_000;

/** Where lines go. */
export interface LedgerSink {
  append(entries: LedgerEntry[]): Promise<void>;
}

/** Options of {@linkcode Ledger}. */
export interface LedgerOptions {
  /** undefined: nothing is kept. */
  sink: LedgerSink | undefined;
  /** A write failed; its lines are kept and written later. */
  onError: (error: unknown) => void;
}

/** More lines than these are not kept for a sink that fails; the oldest go first. */
const MAX_LINES = 10_000;

/** Collects entries and writes them off the way of a request. */
export class Ledger {
  readonly #options: LedgerOptions;
  #entries: LedgerEntry[] = [];
  #writing: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  /** Whether anything is kept. */
  get isOn(): boolean {
    return this.#options.sink !== undefined;
  }

  /** Adds an entry; one that was paid for is written at once. */
  add(entry: LedgerEntry): void {
    if (!this.isOn) return;
    this.#entries.push(entry);
    if (this.#entries.length > MAX_LINES) this.#entries.shift();
    if (entry.standing !== "included") void this.flush();
    else this.#schedule();
  }

  /** Writes what is pending. */
  async flush(): Promise<void> {
    await this.#writing;
    if (this.#writing || this.#entries.length === 0) return this.#writing;
    this.#writing = this.#write().finally(() => this.#writing = undefined);
    return this.#writing;
  }

  async #write(): Promise<void> {
    const entries = this.#entries;
    this.#entries = [];
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      await this.#options.sink!.append(entries);
    } catch (error) {
      this.#entries = [...entries, ...this.#entries].slice(-MAX_LINES);
      this.#schedule();
      this.#options.onError(error);
    }
  }

  /** The timer keeps no process alive. */
  #schedule(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.flush();
    }, WRITE_BEHIND_MS);
    this.#timer.unref();
  }

  /** Writes what is pending; nothing is written by itself afterwards. */
  async close(): Promise<void> {
    await this.flush();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
