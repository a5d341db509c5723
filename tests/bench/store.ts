/**
 * The JSON store when 1, 4 and 16 processes write to it as fast as they can,
 * with 10 and 1000 accounts; with the argument `postgres` the one in a database
 * on this machine. Every update is on disk before it counts.
 *
 * Runs on every runtime: `deno run -A`, `bun` or `node` and this file.
 *
 * @module
 */
import { join } from "node:path";
import process from "node:process";
import { hasPostgres, startPostgres } from "../postgres/server.ts";
import { openStore } from "../store/open.ts";
import {
  type Helper,
  print,
  printTable,
  quantile,
  startScript,
  withFolder,
} from "./measure.ts";
import { fill } from "./traffic.ts";

const PROCESSES = [1, 4, 16];
const ACCOUNTS = [10, 1000];
const SECONDS = 2;

/** In a process of its own: updates until the time is over, then tells how long each took. */
async function work(where: string): Promise<void> {
  const store = await openStore(where);
  await store.read();
  print("ready");
  await new Promise((resolve) => process.stdin.once("data", resolve));
  const times: number[] = [];
  const end = performance.now() + SECONDS * 1000;
  while (performance.now() < end) {
    const start = performance.now();
    await store.update((state) => {
      const account = state.accounts["user-1"]!;
      account.requests = (account.requests ?? 0) + 1;
    });
    times.push(performance.now() - start);
  }
  print(JSON.stringify(times));
  process.exit();
}

async function timesOf(helper: Helper): Promise<number[]> {
  return JSON.parse((await helper.line())!);
}

async function measure(
  where: string,
  processes: number,
  accounts: number,
): Promise<string[]> {
  const store = await openStore(where);
  await fill(store, accounts);
  const helpers = Array.from(
    { length: processes },
    () => startScript(import.meta.url, "work", where),
  );
  await Promise.all(helpers.map((helper) => helper.line()));
  for (const { child } of helpers) child.stdin!.write("go\n");
  const start = performance.now();
  const times = (await Promise.all(helpers.map(timesOf))).flat();
  // the last update of each began in time and may end late
  const seconds = (performance.now() - start) / 1000;
  const state = await store.read();
  const lost = times.length - (state.accounts["user-1"]!.requests ?? 0);
  if (lost !== 0) throw new Error(`${lost} updates were lost`);
  return [
    `${accounts} accounts, ${processes} processes`,
    (times.length / seconds).toFixed(0),
    ...[0.5, 0.99, 1].map((share) => quantile(times, share).toFixed(1)),
  ];
}

async function measureAll(newStore: () => string, what: string) {
  const rows: string[][] = [];
  for (const accounts of ACCOUNTS) {
    for (const processes of PROCESSES) {
      rows.push(await measure(newStore(), processes, accounts));
    }
  }
  printTable(
    `updates of ${what}, ${SECONDS} s each; none was lost`,
    ["", "updates/s", "median ms", "99th percentile", "longest"],
    rows,
  );
}

async function main(kind: string | undefined): Promise<void> {
  if (kind === "postgres") {
    if (!hasPostgres) return;
    await using server = await startPostgres(["fsync = on"]);
    return await measureAll(server.newUrl, "the store in PostgreSQL");
  }
  await withFolder((folder) => {
    let files = 0;
    return measureAll(() => join(folder, `${++files}.json`), "the store");
  });
}

const [, , command, where] = process.argv;
if (command === "work") await work(where!);
else {
  await main(command);
  // a store is not to be closed, and keeps no process
  process.exit();
}
