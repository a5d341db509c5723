/**
 * The record of what was served: one line per answered request, written behind,
 * to files of lines of JSON beside the store, one a month, or to a store that
 * keeps them itself.
 */
import { createReadStream } from "node:fs";
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  unlink,
} from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { clearTimeout, setTimeout } from "node:timers";
import type { LedgerEntry } from "../spending_types.ts";
import type { Store } from "../types.ts";

/** Lines are written at most this long after they were added, ms. */
const WRITE_BEHIND_MS = 10_000;

export type LedgerSink = Pick<NonNullable<Store["ledger"]>, "append">;

/** More lines than these are not kept for a sink that fails; the oldest go first. */
const MAX_LINES = 10_000;

/** Collects entries and writes them off the way of a request. */
export class Ledger {
  readonly #sink: LedgerSink | undefined;
  readonly #onError: (error: unknown) => void;
  #entries: LedgerEntry[] = [];
  #writing: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param sink undefined: nothing is kept.
   * @param onError Called when a write failed; its lines are written later.
   */
  constructor(
    sink: LedgerSink | undefined,
    onError: (error: unknown) => void,
  ) {
    this.#sink = sink;
    this.#onError = onError;
  }

  get isOn(): boolean {
    return this.#sink !== undefined;
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
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#writing;
    if (this.#writing || this.#entries.length === 0) return this.#writing;
    this.#writing = this.#write().finally(() => this.#writing = undefined);
    return this.#writing;
  }

  async #write(): Promise<void> {
    const entries = this.#entries;
    this.#entries = [];
    try {
      await this.#sink!.append(entries);
    } catch (error) {
      this.#entries = [...entries, ...this.#entries].slice(-MAX_LINES);
      this.#schedule();
      this.#onError(error);
    }
  }

  /** The timer keeps no process alive. */
  #schedule(): void {
    this.#timer ??= setTimeout(() => void this.flush(), WRITE_BEHIND_MS)
      .unref();
  }

  /** Writes what is pending; nothing is written by itself afterwards. */
  async close(): Promise<void> {
    await this.flush();
    clearTimeout(this.#timer);
  }
}

/** Older months are deleted. */
const MAX_MONTHS = 13;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/;
const NAME = /^ledger-(\d{4}-\d{2})\.jsonl$/;

/** Appends whole lines, also when several processes do. */
export class LedgerFile implements LedgerSink {
  readonly #folder: string;
  #month: string | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async append(entries: readonly LedgerEntry[]): Promise<void> {
    const months = new Map<string, LedgerEntry[]>();
    for (const entry of entries) {
      const month = entry.at.slice(0, 7);
      months.set(month, [...months.get(month) ?? [], entry]);
    }
    for (const [month, lines] of months) {
      await this.#appendTo(month, lines);
      if (month === this.#month) continue;
      this.#month = month;
      await this.#dropOld(month);
    }
  }

  async #appendTo(
    month: string,
    entries: readonly LedgerEntry[],
  ): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const path = join(this.#folder, `ledger-${month}.jsonl`);
    const file = await open(path, "a+", 0o600);
    try {
      const lines = entries.map((entry) => `${JSON.stringify(entry)}\n`);
      const text = lines.join("");
      // one write, which no other process's can come between
      await file.write(await isCut(file) ? `\n${text}` : text);
    } finally {
      await file.close();
    }
  }

  async #dropOld(month: string): Promise<void> {
    const [year, number] = month.split("-").map(Number);
    const oldest = new Date(Date.UTC(year!, number! - 1 - MAX_MONTHS))
      .toISOString().slice(0, 7);
    for (const name of await readdir(this.#folder)) {
      const own = NAME.exec(name)?.[1];
      if (own !== undefined && own < oldest) {
        await unlink(join(this.#folder, name)).catch(() => {});
      }
    }
  }
}

/** Whether a process died in the middle of the last line. */
async function isCut(file: FileHandle): Promise<boolean> {
  const { size } = await file.stat();
  if (size === 0) return false;
  const last = new Uint8Array(1);
  await file.read(last, 0, 1, size - 1);
  return last[0] !== 10;
}

/** Reads the entries since a time (epoch ms), and counts the lines that cannot be read. */
export async function readLedger(
  folder: string,
  since: number,
): Promise<{ entries: LedgerEntry[]; skippedLines: number }> {
  const entries: LedgerEntry[] = [];
  let skippedLines = 0;
  const first = new Date(since).toISOString();
  const names = await readdir(folder).catch((error) => {
    if (error.code !== "ENOENT") throw error;
    return [];
  });
  for (const name of names.sort()) {
    const month = NAME.exec(name)?.[1];
    if (month === undefined || month < first.slice(0, 7)) continue;
    const input = createReadStream(join(folder, name));
    for await (const line of createInterface({ input })) {
      if (line === "") continue;
      const entry = parseEntry(line);
      if (!entry) skippedLines++;
      else if (entry.at >= first) entries.push(entry);
    }
  }
  return { entries, skippedLines };
}

/** Whether a value is a time as it is written here: these are in order as texts, too. */
function isTime(value: unknown): boolean {
  if (typeof value !== "string" || !TIME.test(value)) return false;
  const time = new Date(value);
  // some runtimes read a 30th of February as the 2nd of March
  return !isNaN(time.getTime()) &&
    time.toISOString().slice(0, 10) === value.slice(0, 10);
}

function parseEntry(line: string): LedgerEntry | undefined {
  try {
    const entry = JSON.parse(line);
    const isEntry = isTime(entry?.at) && typeof entry.alias === "string";
    return isEntry ? entry : undefined;
  } catch {
    return undefined;
  }
}
