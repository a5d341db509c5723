/**
 * Real processes that write, die and are suspended. TORTURE=1 runs the full
 * counts.
 */
import { assert, assertEquals } from "@std/assert";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "@std/path";
import { jsonStore } from "../../lib/store/json_store.ts";
import { withLock } from "../../lib/store/lock.ts";
import type { AccountRecord } from "../../lib/types.ts";
import {
  assertTakesTurns,
  type Runtime,
  RUNTIMES,
  startWorker,
  TORTURE,
} from "./processes.ts";
import { type Place, testStores } from "./places.ts";
import { withFolder } from "./stores.ts";

const WRITERS = TORTURE ? 8 : 4;
const UPDATES = TORTURE ? 500 : 50;
/** Writers of one store with 200 accounts. */
const CROWD = TORTURE ? 16 : 4;
const KILLS = TORTURE ? 500 : 30;
/** A database does at once what costs a file seconds. */
const DATABASE_KILLS = TORTURE ? 200 : 6;
/** Stores under attack at the same time, as each kill costs its store seconds. */
const STORES = TORTURE ? 10 : 6;
/** Writers of each that live at the same time. */
const AT_ONCE = 2;

function runtimeOf(index: number): Runtime {
  return RUNTIMES[index % RUNTIMES.length]!;
}

async function requestsOf(place: Place, alias: string): Promise<number> {
  const { accounts } = await place.content();
  return accounts[alias]?.requests ?? 0;
}

/** Nothing is left behind by those who died. */
async function assertOnlyStoreIn({ kind, folder }: Place): Promise<void> {
  const names = (await readdir(folder)).sort()
    .filter((name) => !/\.bak\.[23]$/.test(name));
  const files = ["accounts.json", "accounts.json.bak"];
  assertEquals(names, kind === "jsonStore()" ? files : []);
}

testStores(
  `loses none of ${WRITERS}×${UPDATES} updates of processes`,
  async (place) => {
    const { kind, where } = place;
    const job = ["countUp", where, "shared", String(UPDATES)];
    const workers = Array.from(
      { length: WRITERS },
      (_, index) => startWorker(runtimeOf(index), job),
    );
    for (const worker of workers) {
      assertEquals((await worker.rest()).length, UPDATES);
    }
    assertEquals(await requestsOf(place, "shared"), WRITERS * UPDATES);
    await assertOnlyStoreIn(place);
    if (kind !== "jsonStore()") return;
    assertEquals(
      await readFile(`${where}.bak`, "utf8"),
      await readFile(where, "utf8"),
    );
  },
);

testStores(
  `lets none of ${CROWD} writers that never pause wait for 3 s`,
  async (place) => {
    const { where, open } = place;
    await open().update((state) => {
      for (let index = 0; index < 200; index++) {
        state.accounts[`a${index}`] = fullAccount(index);
      }
    });
    // whoever has to wait longer than that fails
    const updates = TORTURE ? 100 : 15;
    const job = ["countUp", where, "shared", String(updates), "3000"];
    const workers = Array.from(
      { length: CROWD },
      (_, index) => startWorker(runtimeOf(index), job),
    );
    for (const worker of workers) {
      assertEquals((await worker.rest()).length, updates);
    }
    assertEquals(await requestsOf(place, "shared"), CROWD * updates);
    await assertOnlyStoreIn(place);
  },
);

/** An account of usual size. */
function fullAccount(index: number): AccountRecord {
  const window = { usedPercent: 5, windowSeconds: 18_000, resetsAt: 1 };
  return {
    email: `${index}@example.com`,
    tokens: { access: "a".repeat(2_000), refresh: "r".repeat(90) },
    usage: { observedAt: 1, meters: { codex: { windows: [window, window] } } },
  };
}

/** Lets a writer reach a random number, kills it, and checks what remains. */
async function killOne(place: Place, index: number): Promise<void> {
  const alias = `w${index}`;
  const job = ["countUp", place.where, alias, "1000000"];
  const worker = startWorker(runtimeOf(index), job);
  let acknowledged = 0;
  const enough = 1 + Math.floor(Math.random() * 10);
  while (acknowledged < enough) acknowledged = Number(await worker.line());
  // At any point of an update, not just after one.
  const pause = Math.random() * 5;
  await new Promise((resolve) => setTimeout(resolve, pause));
  worker.child.kill("SIGKILL");
  for (const line of await worker.rest()) acknowledged = Number(line);
  const written = await requestsOf(place, alias);
  // The one in flight may have been written and not told any more.
  assert(written === acknowledged || written === acknowledged + 1);
}

/** Kills writers of one store, then checks that the next one gets in. */
async function attack(place: Place, kills: number): Promise<void> {
  let started = 0;
  const lane = async () => {
    while (started < kills) await killOne(place, started++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  const store = place.open({ waitLimit: 5_000 });
  const { accounts } = await store.update((state) => {
    state.settings.pinned = "w0";
  });
  assertEquals(Object.keys(accounts).length, kills);
  await assertOnlyStoreIn(place);
}

testStores(`survives kills of writers`, async ({ kind, another }) => {
  const isFile = kind === "jsonStore()";
  const stores = isFile ? STORES : STORES / 2;
  const kills = (isFile ? KILLS : DATABASE_KILLS) / stores;
  await Promise.all(
    Array.from({ length: stores }, () => attack(another(), kills)),
  );
});

testStores(
  "is free again after a writer died inside its update",
  async (place) => {
    const { kind, where, folder } = place;
    await startWorker("node", ["dieInside", where, "x"]).rest();
    if (kind === "jsonStore()") {
      assert((await readdir(folder)).includes("accounts.json.lock"));
    }
    const waiters = RUNTIMES.map((runtime) =>
      startWorker(runtime, ["countUp", where, "x", "1", "5000"])
    );
    const numbers = await Promise.all(waiters.map((waiter) => waiter.rest()));
    assertEquals(numbers.flat().sort(), ["1", "2", "3"]);
    await assertOnlyStoreIn(place);
  },
);

/** Suspends a writer, writes meanwhile, and wakes it. */
async function overtake(place: Place, runtime: Runtime): Promise<void> {
  const suspended = startWorker(runtime, ["stopInside", place.where, "x"]);
  assertEquals(await suspended.line(), "inside");
  const store = place.open({ waitLimit: 5_000 });
  await store.update((state) => {
    state.accounts["x"] = { requests: 10 };
  });
  suspended.child.kill("SIGCONT");
  assertEquals(await suspended.rest(), ["runs 2"]);
  assertEquals(await requestsOf(place, "x"), 11);
  await assertOnlyStoreIn(place);
}

if (Deno.build.os !== "windows") {
  testStores(
    "lets no suspended writer overwrite its successor",
    async ({ another }) => {
      // Each runtime suspends in a store of its own, all at the same time.
      await Promise.all(RUNTIMES.map((it) => overtake(another(), it)));
    },
  );
}

testStores(
  "lets exactly one waiter take a dead holder's place",
  async ({ where, folder }) => {
    const holder = startWorker("bun", ["hold", where, "x", "60000"]);
    assertEquals(await holder.line(), "held");
    const tally = join(folder, "tally");
    // Taken over within 5 s, or the first of them gives up.
    const job = ["countAlone", where, "x", "1", "5000", tally];
    const workers = RUNTIMES.map((runtime) => startWorker(runtime, job));
    holder.child.kill("SIGKILL");
    await holder.rest();
    for (const worker of workers) assertEquals(await worker.rest(), ["done"]);
    assertEquals(await readFile(tally, "utf8"), "3");
    await assertTakesTurns(`${tally}.log`);
    assertEquals((await readdir(folder)).sort(), ["tally", "tally.log"]);
  },
);

Deno.test("withLock() takes over from one who died before or while leaving", () =>
  withFolder(async (folder) => {
    const token = "0123456789abcdef01234567";
    const cases = [
      // Created, and no token written yet.
      { lock: "", marks: [] },
      // In the middle of the release.
      { lock: `${token} 00000003\n`, marks: [`${token}.end0`] },
    ];
    await Promise.all(cases.map(async ({ lock, marks }, index) => {
      const path = join(folder, `${index}.lock`);
      await writeFile(path, lock);
      for (const mark of marks) await writeFile(`${path}.${mark}`, "");
      const job = () => Promise.resolve("in");
      assertEquals(await withLock(path, job, { waitLimit: 5_000 }), "in");
    }));
    assertEquals(await readdir(folder), []);
  }));

testStores("leaves a slow holder alone that is alive", async ({ where }) => {
  const slow = startWorker("node", ["hold", where, "x", "5500"]);
  assertEquals(await slow.line(), "held");
  const waiter = startWorker("bun", ["hold", where, "x", "1"]);
  const order = await Promise.race([
    slow.line().then(() => "slow one first"),
    waiter.line().then(() => "waiter first"),
  ]);
  assertEquals(order, "slow one first");
  await Promise.all([slow.rest(), waiter.rest()]);
});

Deno.test("jsonStore() copes with 50 MB", () =>
  withFolder(async (folder) => {
    const path = join(folder, "accounts.json");
    const store = jsonStore(path);
    const filler = "x".repeat(1_000);
    await store.update((state) => {
      for (let index = 0; index < 50_000; index++) {
        state.accounts[`a${index}`] = { email: filler };
      }
    });
    await store.update((state) => state.accounts["a0"]!.requests = 5);
    assert((await stat(path)).size > 50_000_000);
    const { accounts } = await jsonStore(path).read();
    assertEquals(Object.keys(accounts).length, 50_000);
    assertEquals(accounts["a0"]!.requests, 5);
  }));
