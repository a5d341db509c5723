/**
 * Real processes on a database that ends connections, stops, or cannot be
 * reached any more. TORTURE=1 runs the full counts.
 */
import { assert, assertEquals } from "@std/assert";
import type { PostgresStore } from "../../lib/postgres.ts";
import {
  type Runtime,
  RUNTIMES,
  startWorker,
  TORTURE,
} from "../store/processes.ts";
import {
  type Place,
  serverOfTests,
  testDatabase,
  testInTorture,
} from "../store/places.ts";
import { type AddTest, testOnDeno } from "../test.ts";
import { startProxy } from "./proxy.ts";

const WRITERS = TORTURE ? 8 : 3;
const UPDATES = TORTURE ? 500 : 250;
const RESTARTS = TORTURE ? 10 : 1;

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));
const runtimeOf = (index: number): Runtime =>
  RUNTIMES[index % RUNTIMES.length]!;

/** It starts what it tries, on whatever runtime. */
function testProcesses(
  name: string,
  job: (place: Place) => Promise<void>,
  add: AddTest = testOnDeno,
): void {
  testDatabase(name, job, add);
}

/** Has processes count while something happens to their database. */
async function countThrough(
  store: Pick<PostgresStore, "read">,
  where: string,
  trouble: (isOver: () => boolean) => Promise<void>,
): Promise<void> {
  const job = ["countOn", where, "shared", String(UPDATES)];
  const workers = Array.from(
    { length: WRITERS },
    (_, index) => startWorker(runtimeOf(index), job),
  );
  // all of them have begun
  for (const worker of workers) {
    assertEquals(typeof await worker.line(), "string");
  }
  let isOver = false;
  const rest = Promise.all(workers.map((worker) => worker.rest()))
    .finally(() => isOver = true);
  await trouble(() => isOver);
  const lines = await rest;
  assertEquals(
    lines.map(({ length }) => length + 1),
    workers.map(() => UPDATES),
  );
  const { accounts } = await store.read();
  assertEquals(accounts["shared"]?.requests, WRITERS * UPDATES);
}

testProcesses(
  `loses and doubles none of ${WRITERS}×${UPDATES} updates while connections are ended at random`,
  async ({ where, open }) => {
    const server = await serverOfTests();
    let ended = 0;
    await countThrough(open(), where, async (isOver) => {
      while (!isOver()) {
        const found = await server.sql(
          "select pg_terminate_backend(pid) from pg_stat_activity" +
            " where application_name = 'codex-rotator' and random() < 0.5",
        );
        ended += found.length;
        await sleep(Math.random() * 20);
      }
    });
    assert(ended > 1, `${ended} connections were ended`);
  },
);

testProcesses(
  `loses and doubles none of ${WRITERS}×${UPDATES} updates while its server is stopped and started`,
  async ({ where, open }) => {
    const server = await serverOfTests();
    let restarts = 0;
    await countThrough(open(), where, async (isOver) => {
      while (!isOver() && restarts < RESTARTS) {
        await server.stop(restarts++ % 2 === 0 ? "immediate" : "fast");
        await sleep(200);
        await server.start();
        await sleep(300);
      }
    });
    assert(restarts > 0);
  },
);

testProcesses(
  "lets nobody write late who was cut off from it, and is taken over within 5 s",
  async ({ where, open }) => {
    const server = await serverOfTests();
    for (const runtime of TORTURE ? RUNTIMES : RUNTIMES.slice(0, 1)) {
      await using proxy = await startProxy(server.port);
      const holder = startWorker(runtime, [
        "writeLate",
        proxy.through(where),
        "x",
      ]);
      assertEquals(await holder.line(), "held");
      proxy.cut();
      const next = open({ waitLimit: 5_000 });
      const taken = next.exclusive("x", async () => {
        proxy.heal();
        await holder.tell();
        assertEquals(await holder.line(), "store_locked");
        await next.update((state) => state.settings.pinned = "mine");
      });
      await taken;
      // what comes after the job is nobody's lock's business
      assertEquals(await holder.rest(), ["done"]);
      const { accounts, settings } = await next.update((state) => {
        delete state.accounts["x"];
      });
      assertEquals([accounts, settings], [{}, { pinned: "mine" }]);
    }
  },
);

testProcesses(
  "lets nobody write late who was suspended in an exclusive job",
  async ({ where, open }) => {
    if (Deno.build.os === "windows") return;
    const holder = startWorker("node", ["writeLate", where, "x"]);
    assertEquals(await holder.line(), "held");
    holder.child.kill("SIGSTOP");
    const next = open({ waitLimit: 5_000 });
    await next.exclusive("x", async () => {
      holder.child.kill("SIGCONT");
      await holder.tell();
      assertEquals(await holder.line(), "store_locked");
    });
    // one whose lock is free again finds that nobody has it any more
    assertEquals(await holder.rest(), ["done"]);
    assertEquals((await next.read()).accounts["x"]?.requests, 1);
  },
  testInTorture,
);

testProcesses(
  "keeps the lock of a holder over a restart of its server, and takes what it writes",
  async ({ where, open }) => {
    const server = await serverOfTests();
    const holder = startWorker("node", ["writeLate", where, "x"]);
    assertEquals(await holder.line(), "held");
    await server.stop("immediate");
    const next = open();
    const turn = next.exclusive("x", () => Promise.resolve("mine"));
    // it asks for longer than a lock lives
    await sleep(1_500);
    await holder.tell();
    await sleep(500);
    await server.start();
    assertEquals(await holder.line(), "written");
    assertEquals(await turn, "mine");
    assertEquals(await holder.rest(), ["done"]);
    assertEquals((await next.read()).accounts["x"]?.requests, 2);
  },
);
