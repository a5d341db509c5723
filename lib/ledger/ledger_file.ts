/**
 * The ledger as files of lines of JSON, one file a month.
 *
 * @module
 */
import { type FileHandle, open, readdir, unlink } from "node:fs/promises";
import { createReadStream } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import type { LedgerEntry } from "../spending_types.ts";
import type { LedgerSink } from "./ledger.ts";

/** Older months are deleted. */
const MAX_MONTHS = 13;
const NAME = /^ledger-(\d{4}-\d{2})\.jsonl$/;

/** The folder of a store's ledger: beside the store. */
export function ledgerFolder(storePath: string): string {
  return dirname(storePath);
}

/** Appends whole lines, also when several processes do. */
export class LedgerFile implements LedgerSink {
  readonly #folder: string;
  #month: string | undefined;

  /** @param folder Where the files are. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Appends entries, each to the file of its month. */
  async append(entries: readonly LedgerEntry[]): Promise<void> {
    const months = Map.groupBy(entries, ({ at }) => at.slice(0, 7));
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
    const path = join(this.#folder, `ledger-${month}.jsonl`);
    const file = await open(path, "a+", 0o600);
    try {
      const text = entries.map((entry) => `${JSON.stringify(entry)}\n`).join(
        "",
      );
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

/** What was read of a ledger. */
export interface LedgerRead {
  entries: LedgerEntry[];
  /** Lines that cannot be read. */
  skippedLines: number;
}

/**
 * Reads a ledger.
 *
 * @param folder Where the files are.
 * @param since Entries before that are left out, epoch ms.
 */
export async function readLedger(
  folder: string,
  since: number,
): Promise<LedgerRead> {
  const read: LedgerRead = { entries: [], skippedLines: 0 };
  const first = new Date(since).toISOString();
  let names: string[] = [];
  try {
    names = await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  for (const name of names.sort()) {
    const month = NAME.exec(name)?.[1];
    if (month === undefined || month < first.slice(0, 7)) continue;
    await readFile(join(folder, name), first, read);
  }
  return read;
}

async function readFile(
  path: string,
  first: string,
  read: LedgerRead,
): Promise<void> {
  const lines = createInterface({ input: createReadStream(path) });
  for await (const line of lines) {
    if (line === "") continue;
    const entry = parseEntry(line);
    if (!entry) read.skippedLines++;
    else if (entry.at >= first) read.entries.push(entry);
  }
}

function parseEntry(line: string): LedgerEntry | undefined {
  try {
    const entry = JSON.parse(line);
    const isEntry = typeof entry?.at === "string" &&
      typeof entry.alias === "string";
    return isEntry ? entry : undefined;
  } catch {
    return undefined;
  }
}
