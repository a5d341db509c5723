/**
 * New tokens that cannot be saved: used from memory, said out loud, and saved
 * as soon as that works. On a full disk and on one that is read-only where
 * this machine lets a test mount one, and with a store that refuses anywhere.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { chmod, open, readdir, readFile, rm, rmdir } from "node:fs/promises";
import process from "node:process";
import { join } from "@std/path";
import {
  createRotator,
  memoryStore,
  RotatorError,
  type Store,
} from "../../mod.ts";
import { createContext } from "../../lib/context.ts";
import { rotatorOf } from "../../lib/rotator.ts";
import { HOUR, MINUTE, rowOf, startFleet } from "../fleet.ts";
import { spawn } from "../spawn.ts";
import { tempFolder, test, testOnDeno } from "../test.ts";
import { runtimeOf, type Site, startSite, TORTURE } from "./processes.ts";

const ROUNDS = TORTURE ? 10 : 1;
const UNSAVED = "could not be saved and are only in this process";
/** What is pending is written at most every 10 s; and then some, ms. */
const TIMER_LIMIT = 20_000;

const mounting = await whyNoMount();
if (mounting) console.log(`Skipped: full and read-only disks, as ${mounting}`);

/** Why no disk can be mounted here; undefined when it can. */
async function whyNoMount(): Promise<string | undefined> {
  if (process.platform !== "linux") return "this is not Linux";
  if (process.getuid?.() !== 0) return "only root may mount";
  const folder = await tempFolder();
  const done = await command("mount", "-t", "tmpfs", "tmpfs", folder);
  if (done) await command("umount", folder);
  await rmdir(folder);
  return done ? undefined : "mounting is not allowed";
}

async function command(program: string, ...args: string[]): Promise<boolean> {
  try {
    return (await spawn([program, ...args])).code === 0;
  } catch {
    return false;
  }
}

/** Runs a test on a small disk of its own, mounted on the site's folder. */
async function withDisk(job: (site: Site) => Promise<void>): Promise<void> {
  await using site = await startSite({ alice: {} });
  const options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", site.folder];
  assert(await command("mount", ...options));
  try {
    await job(site);
  } finally {
    await command("umount", site.folder);
  }
}

/** Takes all the room that is left on the disk of that folder. */
async function fill(folder: string): Promise<void> {
  const file = await open(join(folder, "filler"), "w");
  try {
    for (;;) await file.write(new Uint8Array(1024));
  } catch (error) {
    assertEquals((error as { code?: string }).code, "ENOSPC");
  } finally {
    await file.close();
  }
}

/** How the disk fails, and how it works again. */
interface Fault {
  begin(folder: string): Promise<unknown>;
  end(folder: string): Promise<unknown>;
}

const FULL: Fault = {
  begin: fill,
  end: (folder) => rm(join(folder, "filler")),
};
const READ_ONLY: Fault = {
  begin: (folder) => remount("ro", folder),
  end: (folder) => remount("rw", folder),
};

async function remount(how: string, folder: string): Promise<void> {
  assert(await command("mount", "-o", `remount,${how}`, folder), how);
}

const NO_PERMISSION: Fault = {
  begin: (folder) => chmod(folder, 0o500),
  end: (folder) => chmod(folder, 0o700),
};

/**
 * Renews a token while nothing can be saved, by a rotator that has saved before.
 *
 * @param later Whether to wait for the timer instead of closing.
 */
async function refreshUnsaved(
  site: Site,
  fault: Fault,
  index: number,
  later: boolean,
): Promise<void> {
  const { fake, folder, path } = site;
  await site.seed();
  await using worker = await site.start(runtimeOf(index));
  // it is asked for its usage, and that is saved
  await worker.send(1);
  assertEquals(await worker.next("answers"), ["200 alice"]);
  const before = await readFile(path, "utf8");
  fake.revoke("alice", "access");
  await fault.begin(folder);
  const names = await readdir(folder);
  for (const count of [5, 3]) {
    await worker.send(count);
    const answers = await worker.next("answers");
    assertEquals(answers, Array(count).fill("200 alice"));
  }
  assertEquals(await readFile(path, "utf8"), before, "nothing is damaged");
  assertEquals(await readdir(folder), names, "and nothing is left there");
  assertEquals(site.tokenCalls(), 1);
  await fault.end(folder);
  if (later) await savedInTime(site, before);
  else await worker.end();
  const { alice } = (await site.state()).accounts;
  assertEquals(alice?.auth, undefined);
  const calls = site.tokenCalls();
  await using next = createRotator({
    store: path,
    backend: fake.backend,
    issuer: fake.issuer,
    credits: "none",
  });
  assertEquals((await next.refresh()).accounts[0]?.error, null);
  assertEquals([calls, site.tokenCalls(), fake.violations], [1, 1, []]);
  await worker.kill();
  const warnings = worker.events.filter((it) => it.type === "warning");
  assert(warnings.some(({ reason }) => reason.includes(UNSAVED)));
  assertStringIncludes(await worker.errors(), `The new tokens of "alice"`);
  assertStringIncludes(await worker.errors(), UNSAVED);
  assert(!(await worker.output()).includes(fake.canary));
}

async function savedInTime(site: Site, before: string): Promise<void> {
  const giveUpAt = performance.now() + TIMER_LIMIT;
  while (await readFile(site.path, "utf8") === before) {
    assert(performance.now() < giveUpAt, "saving was not tried again");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

testOnDeno({
  name:
    "tokens renewed while the disk is full are used, and saved when there is room",
  ignore: mounting !== undefined,
  async fn() {
    for (let round = 0; round < ROUNDS; round++) {
      await withDisk((site) => refreshUnsaved(site, FULL, round, false));
    }
  },
});

testOnDeno({
  name:
    "tokens renewed on a disk that became read-only are used, and saved when it is not any more",
  ignore: mounting !== undefined,
  async fn() {
    for (let round = 0; round < ROUNDS; round++) {
      await withDisk((site) =>
        refreshUnsaved(site, READ_ONLY, round + 1, false)
      );
    }
  },
});

testOnDeno({
  name: "tokens that could not be saved are saved without being asked to",
  // it takes the ten seconds that people are told
  ignore: mounting !== undefined || !TORTURE,
  async fn() {
    await Promise.all(
      [0, 1, 2].map((index) =>
        withDisk((site) => refreshUnsaved(site, FULL, index, true))
      ),
    );
  },
});

testOnDeno({
  name: "tokens renewed in a folder that may not be written are used and saved",
  ignore: process.platform === "win32" || process.getuid?.() === 0,
  async fn() {
    await using site = await startSite({ alice: {} });
    await refreshUnsaved(site, NO_PERMISSION, 0, false);
  },
});

/** A store that cannot be written for a while. */
function fickleStore(inner: Store): Store & { fails: boolean } {
  const store = {
    fails: false,
    read: () => inner.read(),
    update: (change: Parameters<Store["update"]>[0]) =>
      store.fails ? Promise.reject(unwritable()) : inner.update(change),
    exclusive: <T>(name: string, job: () => Promise<T>) =>
      store.fails ? Promise.reject(unwritable()) : inner.exclusive(name, job),
  };
  return store;
}

function unwritable(): RotatorError {
  return new RotatorError("store_unwritable", "The store cannot be written");
}

test("a store that refuses new tokens gets them with the next change that succeeds", async () => {
  let inner = memoryStore();
  let store = fickleStore(inner);
  await using fleet = await startFleet({
    fake: { accessLifetimeMs: -HOUR },
    credits: "none",
    accounts: { alice: {}, bob: {} },
    store: (initial) => store = fickleStore(inner = memoryStore(initial)),
  });
  const { fake } = fleet;
  for (const name of ["alice", "bob"]) {
    fake.account(name).accessLifetimeMs = HOUR;
  }
  const spent = (await inner.read()).accounts["alice"]?.tokens?.refresh;
  await fleet.rotator.refresh({ aliases: ["bob"] });
  store.fails = true;
  fleet.clock.now += 1;
  const report = await fleet.rotator.refresh({ aliases: ["alice"] });
  assertEquals(report.accounts[0]?.error, null);
  assertEquals((await inner.read()).accounts["alice"]?.tokens?.refresh, spent);
  store.fails = false;
  await fleet.rotator.refresh({ aliases: ["bob"] });
  const { alice, bob } = (await inner.read()).accounts;
  assert(alice?.tokens?.refresh !== spent);
  assert(bob?.tokens?.access);
  const calls = fake.log.filter((entry) => entry.kind === "token");
  assertEquals(calls.map(({ account }) => account), ["bob", "alice"]);
  assertEquals(fake.violations, []);
  const warnings = fleet.events.filter((it) => it.type === "warning");
  assertEquals(
    warnings.filter(({ reason }) => reason.includes(UNSAVED)).length,
    1,
  );
});

test("a rotator that has saved nothing yet shows no refresh token to a store that refuses: it uses its access token, then says why it cannot go on", async () => {
  for (const [lifetime, status] of [[4 * MINUTE, 200], [-HOUR, 429]] as const) {
    let inner = memoryStore();
    let store = fickleStore(inner);
    await using fleet = await startFleet({
      fake: { accessLifetimeMs: lifetime },
      credits: "none",
      accounts: { alice: {} },
      store: (initial) => store = fickleStore(inner = memoryStore(initial)),
    });
    fleet.fake.account("alice").accessLifetimeMs = HOUR;
    store.fails = true;
    const isUsed = status === 200;
    const answer = await fleet.ask();
    assertEquals(answer.status, status);
    const tokenCalls = () =>
      fleet.fake.log.filter(({ kind }) => kind === "token").length;
    assertEquals(tokenCalls(), 0);
    const type = isUsed ? "warning" : "cooldown";
    const told = fleet.events.filter((it) => it.type === type)
      .map(({ reason }) => reason);
    assert(told.some((it) => it.includes("The store cannot be written")), type);
    assertEquals(await rowOf(fleet, "alice"), [
      isUsed ? "included" : "cooldown",
      isUsed ? null : MINUTE,
    ]);
    store.fails = false;
    fleet.clock.now += MINUTE;
    assertEquals((await fleet.ask()).status, 200);
    await fleet.rotator.refresh();
    assertEquals([tokenCalls(), fleet.fake.violations], [1, []]);
  }
});

test("a command that ends by itself keeps no tokens in memory alone, though it has saved before; a rotator that goes on does", async () => {
  for (const endsSoon of [true, false]) {
    let store = fickleStore(memoryStore());
    await using fleet = await startFleet({
      fake: { accessLifetimeMs: -HOUR },
      credits: "none",
      accounts: { alice: {}, bob: {} },
      store: (initial) => store = fickleStore(memoryStore(initial)),
    });
    const { backend, issuer, log } = fleet.fake;
    for (const name of ["alice", "bob"]) {
      fleet.fake.account(name).accessLifetimeMs = HOUR;
    }
    const now = () => fleet.clock.now;
    const parts = createContext({ store, backend, issuer, now }, { endsSoon });
    await using rotator = rotatorOf(parts);
    await rotator.refresh({ aliases: ["bob"] });
    store.fails = true;
    const { accounts } = await rotator.refresh({ aliases: ["alice"] });
    store.fails = false;
    assertEquals(accounts.map(({ ok }) => ok), [!endsSoon]);
    const names = log.filter(({ kind }) => kind === "token")
      .map(({ account }) => account);
    assertEquals(names, endsSoon ? ["bob"] : ["bob", "alice"]);
  }
});
