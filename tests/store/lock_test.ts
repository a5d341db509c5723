import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "@std/path";
import { RotatorError } from "../../lib/errors.ts";
import { jsonStore } from "../../lib/store/json_store.ts";
import { inOrder, type Queues, withLock } from "../../lib/store/lock.ts";
import { RUNTIMES, startWorker, withFolder } from "./processes.ts";

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
    const error = await withLock(
      path,
      () => assertRejects(inside, RotatorError),
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

Deno.test("inOrder() lets the others go on when one gives up waiting", async () => {
  const queues: Queues = new Map();
  const later = () => performance.now() + 10_000;
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const first = inOrder(queues, "k", later(), () => gate);
  const impatient = () =>
    inOrder(queues, "k", performance.now(), () => Promise.resolve());
  assertEquals(
    (await assertRejects(impatient, RotatorError)).code,
    "store_locked",
  );
  let isDone = false;
  const last = inOrder(queues, "k", later(), () => {
    isDone = true;
    return Promise.resolve();
  });
  assertEquals(isDone, false);
  open();
  await Promise.all([first, last]);
  assertEquals(isDone, true);
  assertEquals(queues.size, 0);
});

Deno.test("withLock() lets one of many processes in at a time", () =>
  withFolder(async (folder) => {
    const path = join(folder, "accounts.json");
    const workers = RUNTIMES.map((runtime) =>
      startWorker(runtime, ["countAlone", path, "x", "10"])
    );
    for (const worker of workers) assertEquals(await worker.rest(), ["done"]);
    assertEquals(await readFile(`${path}.tally`, "utf8"), "30");
    await assertTakesTurns(`${path}.log`);
    const names = ["accounts.json.log", "accounts.json.tally"];
    assertEquals((await readdir(folder)).sort(), names);
  }));

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

/** Every start is followed by the end of the same process. */
async function assertTakesTurns(log: string): Promise<void> {
  const lines = (await readFile(log, "utf8")).trim().split("\n");
  for (let index = 0; index < lines.length; index += 2) {
    assertEquals(lines[index + 1], lines[index]!.replace("start", "end"));
  }
}
