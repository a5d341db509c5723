import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "@std/path";
import { RotatorError } from "../../lib/errors.ts";
import { jsonStore } from "../../lib/store/json_store.ts";
import { withLock } from "../../lib/store/lock.ts";
import { Queue } from "../../lib/store/queue.ts";
import { assertTakesTurns, RUNTIMES, startWorker } from "./processes.ts";
import { testStores } from "./places.ts";
import { withFolder } from "./stores.ts";

Deno.test("withLock() leaves no file behind, whatever the job does", () =>
  withFolder(async (folder) => {
    const path = join(folder, "new", "x.lock");
    const names = () => readdir(join(folder, "new"));
    assertEquals(await withLock(path, names), ["x.lock"]);
    const failing = () => withLock(path, () => Promise.reject(new Error("no")));
    await assertRejects(failing, Error, "no");
    assertEquals(await names(), []);
  }));

Deno.test("withLock() gives every acquisition a token of its own", () =>
  withFolder(async (folder) => {
    const path = join(folder, "x.lock");
    const tokens = new Set<string>();
    for (let round = 0; round < 5; round++) {
      await withLock(path, async (token) => {
        tokens.add(token);
        assertStringIncludes(await readFile(path, "utf8"), token);
      });
    }
    assertEquals(tokens.size, 5);
  }));

Deno.test("withLock() serves callers of one process in order", () =>
  withFolder(async (folder) => {
    const path = join(folder, "x.lock");
    const log: string[] = [];
    const job = (name: string) => async () => {
      log.push(`start ${name}`);
      await readFile(path);
      log.push(`end ${name}`);
    };
    await Promise.all(["a", "b", "c"].map((name) => withLock(path, job(name))));
    assertEquals(
      log,
      ["a", "b", "c"].flatMap((n) => [`start ${n}`, `end ${n}`]),
    );
  }));

Deno.test("withLock() says which lock it did not get", () =>
  withFolder(async (folder) => {
    const path = join(folder, "x.lock");
    const inside = () =>
      withLock(path, () => Promise.resolve(), { waitLimit: 50 });
    // Waiting for oneself would never end.
    const error = await assertRejects(
      () => withLock(path, inside),
      RotatorError,
    );
    assertEquals(error.code, "store_locked");
    assertStringIncludes(error.message, path);
    await inside();
  }));

Deno.test("withLock() does not wait longer than told for another process", () =>
  withFolder(async (folder) => {
    const path = join(folder, "accounts.json");
    const store = jsonStore(path, { waitLimit: 100 });
    const holder = startWorker("node", ["hold", path, "x", "60000"]);
    assertEquals(await holder.line(), "held");
    const wait = () => store.exclusive("x", () => Promise.resolve());
    const error = await assertRejects(wait, RotatorError);
    assertEquals(error.code, "store_locked");
    assertStringIncludes(error.message, `${path}.`);
    assertEquals(await store.exclusive("y", () => Promise.resolve(1)), 1);
    holder.child.kill("SIGKILL");
    await holder.rest();
  }));

Deno.test("Queue lets the others go on when one gives up waiting", async () => {
  const queue = new Queue();
  const later = () => performance.now() + 10_000;
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const first = queue.run("k", later(), () => gate);
  const impatient = () =>
    queue.run("k", performance.now(), () => Promise.resolve());
  assertEquals(
    (await assertRejects(impatient, RotatorError)).code,
    "store_locked",
  );
  let isDone = false;
  const last = queue.run("k", later(), () => {
    isDone = true;
    return Promise.resolve();
  });
  assertEquals(isDone, false);
  open();
  await Promise.all([first, last]);
  assertEquals(isDone, true);
  assertEquals(queue.size, 0);
});

testStores(
  "lets one of many processes in at a time",
  async ({ where, folder }) => {
    const tally = join(folder, "tally");
    const job = ["countAlone", where, "x", "10", "", tally];
    const workers = RUNTIMES.map((runtime) => startWorker(runtime, job));
    for (const worker of workers) assertEquals(await worker.rest(), ["done"]);
    assertEquals(await readFile(tally, "utf8"), "30");
    await assertTakesTurns(`${tally}.log`);
    assertEquals((await readdir(folder)).sort(), ["tally", "tally.log"]);
  },
);

Deno.test("withLock() is not held up by the ticket of one who died", () =>
  withFolder(async (folder) => {
    const path = join(folder, "x.lock");
    const token = "0123456789abcdef01234567";
    for (let time = 0; time < 3; time++) {
      await writeFile(`${path}.${1_700_000_000_000 + time}.${token}.wait`, "");
    }
    const inside = () => readdir(folder);
    // sooner than a holder is taken for dead
    assertEquals(await withLock(path, inside, { waitLimit: 3_000 }), [
      "x.lock",
    ]);
    assertEquals(await readdir(folder), []);
  }));

Deno.test({
  name: "withLock() knows at once that a holder on this machine has ended",
  ignore: Deno.build.os !== "linux" || !RUNTIMES.includes("node") ||
    !RUNTIMES.includes("bun"),
  fn: () =>
    withFolder(async (folder) => {
      const path = join(folder, "accounts.json");
      for (const [dying, next] of [["node", "bun"], ["bun", "node"]] as const) {
        await startWorker(dying, ["dieInside", path, "x"]).rest();
        // sooner than one whose process is not known is taken for dead
        const waiter = startWorker(next, ["countUp", path, "x", "1", "3000"]);
        assertEquals((await waiter.rest()).length, 1);
      }
    }),
});
