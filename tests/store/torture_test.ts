/**
 * Real processes that write, die and are suspended. TORTURE=1 runs the full
 * counts.
 */
import { assert, assertEquals } from "@std/assert";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "@std/path";
import { jsonStore } from "../../lib/store/json_store.ts";
import { withLock } from "../../lib/store/lock.ts";
import type { AccountRecord, PoolState } from "../../lib/types.ts";
import {
  assertTakesTurns,
  type Runtime,
  RUNTIMES,
  startWorker,
  TORTURE,
} from "./processes.ts";
import { withFolder } from "./stores.ts";

const WRITERS = TORTURE ? 8 : 4;
const UPDATES = TORTURE ? 500 : 50;
/** Writers of one store with 200 accounts. */
const CROWD = TORTURE ? 16 : 4;
const KILLS = TORTURE ? 500 : 30;
/** Stores under attack at the same time, as each kill costs its store seconds. */
const STORES = TORTURE ? 10 : 6;
/** Writers of each that live at the same time. */
const AT_ONCE = 2;

function runtimeOf(index: number): Runtime {
  return RUNTIMES[index % RUNTIMES.length]!;
}

async function requestsOf(path: string, alias: string): Promise<number> {
  // Straight from the file: it must be whole at any moment.
  const state = JSON.parse(await readFile(path, "utf8")) as PoolState;
  return state.accounts[alias]?.requests ?? 0;
}

async function assertOnlyStoreIn(folder: string): Promise<void> {
  const names = (await readdir(folder)).sort()
    .filter((name) => !/\.bak\.[23]$/.test(name));
  assertEquals(names, ["accounts.json", "accounts.json.bak"]);
}

Deno.test(`jsonStore() loses none of ${WRITERS}×${UPDATES} updates of processes`, () =>
  withFolder(async (folder) => {
    const path = join(folder, "accounts.json");
    const workers = Array.from(
      { length: WRITERS },
      (_, index) =>
        startWorker(runtimeOf(index), [
          "countUp",
          path,
          "shared",
          String(UPDATES),
        ]),
    );
    for (const worker of workers) {
      assertEquals((await worker.rest()).length, UPDATES);
    }
    assertEquals(await requestsOf(path, "shared"), WRITERS * UPDATES);
    assertEquals(
      await readFile(`${path}.bak`, "utf8"),
      await readFile(path, "utf8"),
    );
    await assertOnlyStoreIn(folder);
  }));

Deno.test(`jsonStore() lets none of ${CROWD} writers that never pause wait for 3 s`, () =>
  withFolder(async (folder) => {
    const path = join(folder, "accounts.json");
    await jsonStore(path).update((state) => {
      for (let index = 0; index < 200; index++) {
        state.accounts[`a${index}`] = fullAccount(index);
      }
    });
    // whoever has to wait longer than that fails
    const updates = TORTURE ? 100 : 15;
    const job = ["countUp", path, "shared", String(updates), "3000"];
    const workers = Array.from(
      { length: CROWD },
      (_, index) => startWorker(runtimeOf(index), job),
    );
    for (const worker of workers) {
      assertEquals((await worker.rest()).length, updates);
    }
    assertEquals(await requestsOf(path, "shared"), CROWD * updates);
    await assertOnlyStoreIn(folder);
  }));

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
async function killOne(path: string, index: number): Promise<void> {
  const alias = `w${index}`;
  const worker = startWorker(runtimeOf(index), [
    "countUp",
    path,
    alias,
    "1000000",
  ]);
  let acknowledged = 0;
  const enough = 1 + Math.floor(Math.random() * 10);
  while (acknowledged < enough) acknowledged = Number(await worker.line());
  // At any point of an update, not just after one.
  const pause = Math.random() * 5;
  await new Promise((resolve) => setTimeout(resolve, pause));
  worker.child.kill("SIGKILL");
  for (const line of await worker.rest()) acknowledged = Number(line);
  const written = await requestsOf(path, alias);
  // The one in flight may have been written and not told any more.
  assert(written === acknowledged || written === acknowledged + 1);
}

/** Kills writers of one store, then checks that the next one gets in. */
async function attack(folder: string, kills: number): Promise<void> {
  const path = join(folder, "accounts.json");
  let started = 0;
  const lane = async () => {
    while (started < kills) await killOne(path, started++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  const store = jsonStore(path, { waitLimit: 5_000 });
  const { accounts } = await store.update((state) => {
    state.settings.pinned = "w0";
  });
  assertEquals(Object.keys(accounts).length, kills);
  await assertOnlyStoreIn(folder);
}

Deno.test(`jsonStore() survives ${KILLS} kills of writers`, () =>
  withFolder(async (folder) => {
    const stores = Array.from(
      { length: STORES },
      (_, index) => attack(join(folder, String(index)), KILLS / STORES),
    );
    await Promise.all(stores);
  }));

Deno.test("jsonStore() is free again after a writer died inside its update", () =>
  withFolder(async (folder) => {
    const path = join(folder, "accounts.json");
    await startWorker("node", ["dieInside", path, "x"]).rest();
    assert((await readdir(folder)).includes("accounts.json.lock"));
    const waiters = RUNTIMES.map((runtime) =>
      startWorker(runtime, ["countUp", path, "x", "1", "5000"])
    );
    const numbers = await Promise.all(waiters.map((waiter) => waiter.rest()));
    assertEquals(numbers.flat().sort(), ["1", "2", "3"]);
    await assertOnlyStoreIn(folder);
  }));

Deno.test({
  name: "jsonStore() lets no suspended writer overwrite its successor",
  ignore: Deno.build.os === "windows",
  fn: () =>
    withFolder(async (folder) => {
      // Each runtime suspends in a store of its own, all at the same time.
      await Promise.all(RUNTIMES.map(async (runtime) => {
        const path = join(folder, runtime, "accounts.json");
        const suspended = startWorker(runtime, ["stopInside", path, "x"]);
        assertEquals(await suspended.line(), "inside");
        const store = jsonStore(path, { waitLimit: 5_000 });
        await store.update((state) => {
          state.accounts["x"] = { requests: 10 };
        });
        suspended.child.kill("SIGCONT");
        assertEquals(await suspended.rest(), ["runs 2"]);
        assertEquals(await requestsOf(path, "x"), 11);
        await assertOnlyStoreIn(join(folder, runtime));
      }));
    }),
});

Deno.test("withLock() lets exactly one waiter take a dead holder's place", () =>
  withFolder(async (folder) => {
    const path = join(folder, "accounts.json");
    const holder = startWorker("bun", ["hold", path, "x", "60000"]);
    assertEquals(await holder.line(), "held");
    // Taken over within 5 s, or the first of them gives up.
    const workers = RUNTIMES.map((runtime) =>
      startWorker(runtime, ["countAlone", path, "x", "1", "5000"])
    );
    holder.child.kill("SIGKILL");
    await holder.rest();
    for (const worker of workers) assertEquals(await worker.rest(), ["done"]);
    assertEquals(await readFile(`${path}.tally`, "utf8"), "3");
    await assertTakesTurns(`${path}.log`);
    const names = ["accounts.json.log", "accounts.json.tally"];
    assertEquals((await readdir(folder)).sort(), names);
  }));

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

Deno.test("withLock() leaves a slow holder alone that is alive", () =>
  withFolder(async (folder) => {
    const path = join(folder, "accounts.json");
    const slow = startWorker("node", ["hold", path, "x", "5500"]);
    assertEquals(await slow.line(), "held");
    const waiter = startWorker("bun", ["hold", path, "x", "1"]);
    const order = await Promise.race([
      slow.line().then(() => "slow one first"),
      waiter.line().then(() => "waiter first"),
    ]);
    assertEquals(order, "slow one first");
    await Promise.all([slow.rest(), waiter.rest()]);
  }));

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
