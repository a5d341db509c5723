/**
 * Real processes that write, die and are suspended. TORTURE=1 runs the full
 * counts.
 */
import { assert, assertEquals } from "@std/assert";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "@std/path";
import { jsonStore } from "../../lib/store/json_store.ts";
import type { PoolState } from "../../lib/types.ts";
import {
  type Runtime,
  RUNTIMES,
  startWorker,
  TORTURE,
  withFolder,
  type Worker,
} from "./processes.ts";

const WRITERS = TORTURE ? 8 : 4;
const UPDATES = TORTURE ? 500 : 50;
const KILLS = TORTURE ? 500 : 30;
/** Writers that live at the same time while others are killed. */
const AT_ONCE = 3;

function runtimeOf(index: number): Runtime {
  return RUNTIMES[index % RUNTIMES.length]!;
}

async function requestsOf(path: string, alias: string): Promise<number> {
  // Straight from the file: it must be whole at any moment.
  const state = JSON.parse(await readFile(path, "utf8")) as PoolState;
  return state.accounts[alias]?.requests ?? 0;
}

async function assertOnlyStoreIn(folder: string): Promise<void> {
  const names = (await readdir(folder)).sort();
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

Deno.test(`jsonStore() survives ${KILLS} kills of writers`, () =>
  withFolder(async (folder) => {
    const path = join(folder, "accounts.json");
    let started = 0;
    const lane = async () => {
      while (started < KILLS) await killOne(path, started++);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    // Whoever comes next gets in within 5 s.
    const store = jsonStore(path, { waitLimit: 5_000 });
    const { accounts } = await store.update((state) => {
      state.settings.pinned = "w0";
    });
    assertEquals(Object.keys(accounts).length, KILLS);
    await assertOnlyStoreIn(folder);
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
