/**
 * Where stores are that several processes share: a test of what all of them
 * promise runs on each kind.
 */
import { mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { join } from "@std/path";
import { jsonStore } from "../../lib/store/json_store.ts";
import { type PostgresStore, postgresStore } from "../../lib/postgres.ts";
import type { PoolState, Store } from "../../lib/types.ts";
import {
  hasPostgres,
  type PostgresServer,
  startPostgres,
} from "../postgres/server.ts";
import { type AddTest, test } from "../test.ts";
import { withFolder } from "./stores.ts";

/** A store's place, with nothing in it yet. */
export interface Place {
  readonly kind: "jsonStore()" | "postgresStore()";
  /** A file, or the URL of a database. */
  readonly where: string;
  /** For what is none of the store's. */
  readonly folder: string;
  /** Opens it as another process does, on another way if it has one. */
  open(options?: { waitLimit?: number; where?: string | undefined }): Store;
  /** What is in it now; a file is read as it is: it must be whole at any moment. */
  content(): Promise<PoolState>;
  /** Another one of the same kind. */
  another(): Place;
}

let server: Promise<PostgresServer> | undefined;

/** The server of this file's tests, which ends with their process. */
export function serverOfTests(): Promise<PostgresServer> {
  return server ??= startPostgres();
}

/** Runs a job with a file that is not there yet. */
export function withFile(job: (place: Place) => Promise<void>): Promise<void> {
  return withFolder((root) => {
    let folders = 0;
    const another = (): Place => {
      const folder = join(root, String(++folders));
      mkdirSync(folder);
      const where = join(folder, "accounts.json");
      const open: Place["open"] = ({ where: way = where, ...options } = {}) =>
        jsonStore(way, options);
      const content = async () => JSON.parse(await readFile(where, "utf8"));
      return { kind: "jsonStore()", where, folder, open, content, another };
    };
    return job(another());
  });
}

/** Runs a job with a schema that is not there yet. */
export async function withDatabase(
  job: (place: Place) => Promise<void>,
): Promise<void> {
  const { newUrl } = await serverOfTests();
  const opened: PostgresStore[] = [];
  try {
    await withFolder((folder) => {
      const another = (): Place => {
        const where = newUrl();
        const open: Place["open"] = (
          { where: way = where, ...options } = {},
        ) => {
          const store = postgresStore(way, options);
          opened.push(store);
          return store;
        };
        let reader: Store | undefined;
        const content = () => (reader ??= open()).read();
        const kind = "postgresStore()";
        return { kind, where, folder, open, content, another };
      };
      return job(another());
    });
  } finally {
    for (const store of opened) await store.close();
  }
}

/** Each kind of store, as far as it can be here. */
export const PLACES = new Map<Place["kind"], typeof withFile>([
  ["jsonStore()", withFile],
]);
if (hasPostgres) PLACES.set("postgresStore()", withDatabase);

/** Adds a test that takes its time: only where that is given, by TORTURE=1. */
export const testInTorture: AddTest = process.env.TORTURE === "1"
  ? test
  : () => {};

/** Runs a test on each kind of store; its name begins with that of the kind. */
export function testStores(
  name: string,
  job: (place: Place) => Promise<void>,
  add: AddTest = test,
): void {
  for (const [kind, withPlace] of PLACES) {
    add(`${kind} ${name}`, () => withPlace(job));
  }
}

/** Runs a test on a database alone. */
export function testDatabase(
  name: string,
  job: (place: Place) => Promise<void>,
  add: AddTest = test,
): void {
  if (hasPostgres) add(`postgresStore() ${name}`, () => withDatabase(job));
}
