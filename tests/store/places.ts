/**
 * Where stores are that several processes share: a test of what all of them
 * promise runs on each kind.
 */
import { join } from "@std/path";
import { jsonStore } from "../../lib/store/json_store.ts";
import { type PostgresStore, postgresStore } from "../../lib/postgres.ts";
import type { Store } from "../../lib/types.ts";
import {
  hasPostgres,
  type PostgresServer,
  startPostgres,
} from "../postgres/server.ts";
import { test } from "../test.ts";
import { withFolder } from "./stores.ts";

/** A store's place, with nothing in it yet. */
export interface Place {
  readonly kind: "jsonStore()" | "postgresStore()";
  /** A file, or the URL of a database. */
  readonly where: string;
  /** For what is none of the store's. */
  readonly folder: string;
  /** Opens it as another process does. */
  open(options?: { waitLimit?: number }): Store;
}

let server: Promise<PostgresServer> | undefined;

/** The server of this file's tests, which ends with their process. */
export function serverOfTests(): Promise<PostgresServer> {
  return server ??= startPostgres();
}

/** Runs a test on each kind of store; its name begins with that of the kind. */
export function testStores(
  name: string,
  job: (place: Place) => Promise<void>,
): void {
  test(`jsonStore() ${name}`, () =>
    withFolder((folder) => {
      const where = join(folder, "accounts.json");
      return job({
        kind: "jsonStore()",
        where,
        folder,
        open: (options) => jsonStore(where, options),
      });
    }));
  if (hasPostgres) {
    test(`postgresStore() ${name}`, () => withDatabase(job));
  }
}

/** Runs `job` with a schema of its own. */
export async function withDatabase(
  job: (place: Place & { kind: "postgresStore()" }) => Promise<void>,
): Promise<void> {
  const where = (await serverOfTests()).newUrl();
  const opened: PostgresStore[] = [];
  const open = (options?: { waitLimit?: number }) => {
    const store = postgresStore(where, options);
    opened.push(store);
    return store;
  };
  try {
    await withFolder((folder) =>
      job({ kind: "postgresStore()", where, folder, open })
    );
  } finally {
    for (const store of opened) await store.close();
  }
}
