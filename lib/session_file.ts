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

/** Sessions in memory, in step with where they are stored. */
export interface SessionSync {
  /** Reads what is stored, the first time that it is asked for. */
  load(): Promise<void>;
  /** Writes what has changed, and reads what others wrote. */
  flush(): Promise<void>;
}

export function syncSessions(
  sessions: Sessions,
  store: SessionStore | undefined,
  now: () => number,
): SessionSync {
  let loading: Promise<void> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const read = async () => {
    try {
      const stored = await store?.read();
      if (stored) sessions.merge(stored, now());
    } catch {
      // a session that is not remembered costs a cache, nothing else
    }
  };
  const flush = async () => {
    clearTimeout(timer);
    timer = undefined;
    const changed = sessions.takeChanged();
    if (!store || Object.keys(changed).length === 0) return;
    try {
      await store.write(changed);
      await read();
    } catch {
      // the next change takes them along
      sessions.putBack(Object.keys(changed));
    }
  };
  if (store) {
    sessions.onChange = () =>
      timer ??= setTimeout(() => void flush(), WRITE_BEHIND_MS).unref();
  }
  return { load: () => loading ??= read(), flush };
}
