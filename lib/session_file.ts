/**
 * The memory of sessions beside the store: which account served which session
 * last, so that a restart moves none. Hashes only, written behind.
 *
 * @module
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import process from "node:process";
import { join } from "node:path";
import { clearTimeout, setTimeout } from "node:timers";
import { currentSessions, type Sessions } from "./pool/sessions.ts";
import { folderOf } from "./store/file.ts";
import type { SessionStore, Store } from "./types.ts";

/** Sessions are written at most this often, ms. */
const WRITE_BEHIND_MS = 10_000;

/** Where the sessions of a store are kept; undefined: nowhere. */
export function sessionStoreOf(
  store: Store,
  now: () => number,
): SessionStore | undefined {
  if (store.sessions) return store.sessions;
  const folder = folderOf(store);
  if (folder === undefined) return undefined;
  const file = join(folder, "sessions.json");
  const read = async (): Promise<Record<string, string>> => {
    try {
      const { sessions } = JSON.parse(await readFile(file, "utf8"));
      return typeof sessions === "object" && sessions !== null ? sessions : {};
    } catch {
      // what is only remembered may be lost
      return {};
    }
  };
  return {
    read,
    async write(changed) {
      await store.exclusive("sessions", async () => {
        const sessions = currentSessions(
          { ...await read(), ...changed },
          now(),
        );
        const part = `${file}.${process.pid}.part`;
        const text = JSON.stringify({ version: 1, sessions });
        await writeFile(part, text, { mode: 0o600 });
        await rename(part, file);
      });
    },
  };
}

/** Keeps sessions in memory in step with where they are stored. */
export class SessionSync {
  readonly #sessions: Sessions;
  readonly #store: SessionStore | undefined;
  readonly #now: () => number;
  #loading: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    sessions: Sessions,
    store: SessionStore | undefined,
    now: () => number,
  ) {
    this.#sessions = sessions;
    this.#store = store;
    this.#now = now;
    if (store) sessions.onChange = () => this.#schedule();
  }

  /** Reads what is stored, the first time that it is asked for. */
  load(): Promise<void> {
    return this.#loading ??= this.#read();
  }

  async #read(): Promise<void> {
    try {
      const stored = await this.#store?.read();
      if (stored) this.#sessions.merge(stored, this.#now());
    } catch {
      // a session that is not remembered costs a cache, nothing else
    }
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => void this.flush(), WRITE_BEHIND_MS);
    this.#timer.unref();
  }

  /** Writes what has changed, and reads what others wrote. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const changed = this.#sessions.takeChanged();
    if (!this.#store || Object.keys(changed).length === 0) return;
    try {
      await this.#store.write(changed);
      await this.#read();
    } catch {
      // the next change takes them along
      this.#sessions.putBack(Object.keys(changed));
    }
  }
}
