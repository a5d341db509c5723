/**
 * A renewal, killed at every change that it makes to a file, or with that
 * change failing: whatever had reached the disk is used by the next process,
 * which also finishes what was begun. TORTURE=1 runs every point, else some of
 * them.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { buildCrash, crashEnv, type CrashPoint } from "../crash.ts";
import { commandOf, type Runtime, RUNTIMES } from "../runtimes.ts";
import {
  type LinkedSetUp,
  linkedSetUp,
  MINUTE,
  startWorker,
  unlink,
} from "./linked.ts";
import { TORTURE } from "./processes.ts";

const folder = await Deno.makeTempDir();
const library = await buildCrash(folder);
if (!library) console.log("Skipped: kills at every change, as cc is not there");
globalThis.addEventListener(
  "unload",
  () => Deno.removeSync(folder, { recursive: true }),
);

/** Bun asks the kernel itself, so nothing can get in between. */
const runtimes = RUNTIMES.filter((it) => it !== "bun");
const LANES = 4;
/** Where an account's tokens are: in the store, or in another tool's file as well. */
const KINDS = ["own", "linked"] as const;
type Kind = typeof KINDS[number];
/** EIO, EACCES, ENOSPC, EROFS. */
const ERRORS = [5, 13, 28, 30];
const KILLS = ["before", "after", "half"] as const;
/** So many of all points are taken; at full counts every change is killed in all ways, and fails once. */
const MOST_POINTS = TORTURE ? Infinity : 6;

/** Renews the account of a set-up by a process that is watched, or killed. */
async function renew(
  s: LinkedSetUp,
  runtime: Runtime,
  options: { point?: CrashPoint; log?: string },
): Promise<string> {
  const worker = startWorker("rotator", {
    setUp: s,
    command: commandOf(runtime),
    env: crashEnv(library!, s.folder, options),
  });
  try {
    await worker.say("go").catch(() => {});
    return await worker.line();
  } finally {
    await worker.end();
  }
}

async function signedIn(kind: Kind): Promise<LinkedSetUp & { spent: string }> {
  const s = await linkedSetUp();
  const { refresh: spent } = await s.signIn();
  await s.link();
  if (kind === "own") {
    await unlink(s.storePath);
    await Deno.remove(s.file);
  }
  return { ...s, spent };
}

/** How many changes a whole renewal makes. */
async function countChanges(runtime: Runtime, kind: Kind): Promise<number> {
  await using s = await signedIn(kind);
  const log = join(folder, `${runtime}.log`);
  assertEquals(await renew(s, runtime, { log }), "ok");
  return (await Deno.readTextFile(log)).trim().split("\n").length;
}

/** Whether any whole file holds a refresh token that came after this one. */
async function hasArrived(s: LinkedSetUp, spent: string): Promise<boolean> {
  const number = Number(/\d+$/.exec(spent)![0]);
  for (const path of filesBelow(s.folder)) {
    const text = await Deno.readTextFile(path);
    try {
      JSON.parse(text);
    } catch {
      continue;
    }
    for (const [, later] of text.matchAll(/rt_canary-[\da-f]+_(\d+)/g)) {
      if (Number(later) > number) return true;
    }
  }
  return false;
}

function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

function filesBelow(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = join(folder, name);
    return isDirectory ? filesBelow(path) : [path];
  }).sort();
}

/** Kills a renewal or lets it fail, and lets another process go on. */
async function breakAt(
  runtime: Runtime,
  kind: Kind,
  point: CrashPoint,
): Promise<void> {
  await using s = await signedIn(kind);
  const where = `${runtime}, ${kind}, change ${point.at}: ${point.mode}`;
  const told = await renew(s, runtime, { point });
  const arrived = await hasArrived(s, s.spent);
  const wasShown = s.shown().length > 0;
  // whoever lives on has time to save them
  const isFailure = typeof point.mode === "number";
  const isLost = wasShown && !arrived && !isFailure;
  if (isFailure && !wasShown) {
    assertMatch(told, /^(?:ok|.*cannot be written.*\(E[A-Z]+\).*)$/, where);
    return;
  }
  const worker = startWorker("rotator", { setUp: s });
  try {
    for (const turn of ["first", "second"]) {
      await worker.say("go");
      const told = await worker.line();
      if (isLost) {
        assert(told.includes("refresh_token_reused"), `${where}: ${told}`);
        continue;
      }
      assertEquals([where, turn, told], [where, turn, "ok"]);
      s.fake.revoke("me", "access");
    }
  } finally {
    await worker.end();
  }
  if (isLost) return;
  assertEquals([where, s.fake.violations], [where, []]);
  const files = kind === "own" ? ["store"] : ["auth.json", "store"];
  assertEquals([where, ...namesIn(s.folder)], [where, ...files]);
  if (kind === "own") return;
  const { me } = s.state().accounts;
  const { tokens } = JSON.parse(await s.read());
  assertEquals([where, tokens.refresh_token], [where, me!.tokens!.refresh]);
}

/** Breaks a renewal at each point of a list. */
async function breakAll(
  runtime: Runtime,
  kind: Kind,
  how: "kill" | "fail",
): Promise<void> {
  const changes = await countChanges(runtime, kind);
  assert(changes > 20, `${changes}`);
  const all: CrashPoint[] = Array.from(
    { length: changes },
    (_, at) =>
      how === "kill"
        ? KILLS.map((mode) => ({ at: at + 1, mode }))
        : [{ at: at + 1, mode: ERRORS[at % ERRORS.length]! }],
  ).flat();
  let stride = Math.ceil(all.length / MOST_POINTS) || 1;
  // so that each way to kill, and each error, has its turn
  while (stride % 2 === 0 || stride % 3 === 0) stride++;
  const points = all.filter((_, index) => index % stride === 0);
  assert(points.length > 0);
  const failures: unknown[] = [];
  const lane = async () => {
    for (let point; (point = points.shift());) {
      await breakAt(runtime, kind, point).catch((it) => failures.push(it));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  assertEquals(failures.map(String), []);
}

for (const runtime of runtimes) {
  for (const kind of KINDS) {
    const account = kind === "own" ? "an account" : "a linked account";
    Deno.test({
      name:
        `a renewal of ${account} that is killed at any change to a file loses no login that had arrived, and leaves nothing behind (${runtime})`,
      ignore: library === undefined,
      fn: () => breakAll(runtime, kind, "kill"),
    });
    Deno.test({
      name:
        `a renewal of ${account} loses no login when any one change to a file fails (${runtime})`,
      ignore: library === undefined,
      fn: () => breakAll(runtime, kind, "fail"),
    });
  }
}

Deno.test("a copy that a dead process left is taken over where it is newer, and gone afterwards", async () => {
  await using s = await linkedSetUp();
  const before = await s.signIn("me", 60 * MINUTE);
  await s.link();
  const text = await s.read();
  const newer = s.fake.tokens("me", { lifetimeMs: 90 * MINUTE });
  const copy = `${s.file}.${"0".repeat(24)}.tmp`;
  await Deno.writeTextFile(
    copy,
    text.replaceAll(before.refresh, newer.refresh)
      .replaceAll(before.access, newer.access),
  );
  await Deno.writeTextFile(`${s.file}.${"1".repeat(24)}.tmp`, text.slice(99));
  const report = await s.rotator.refresh();
  assertEquals(report.accounts.map(({ ok }) => ok), [true]);
  await s.rotator.close();
  const { me } = s.state().accounts;
  assertEquals([me!.tokens!.refresh, s.shown()], [newer.refresh, []]);
  const { tokens } = JSON.parse(await s.read());
  assertEquals(tokens.refresh_token, newer.refresh);
  assertEquals(namesIn(s.folder), ["auth.json", "store"]);
});

Deno.test("new tokens that a dead process had on disk take the place of the spent one, which is not shown again", async () => {
  for (
    const [lifetimeMs, isShown] of [[60 * MINUTE, false], [-1, true]] as const
  ) {
    await using s = await signedIn("own");
    const newer = s.fake.tokens("me", { lifetimeMs });
    const state = s.state();
    const { access, refresh, id, expiresAt } = newer;
    state.accounts.me!.tokens = { access, refresh, id, expiresAt };
    const left = `${s.storePath}.${"0".repeat(24)}.tmp`;
    await Deno.writeTextFile(left, JSON.stringify(state));
    const later = new Date(Date.now() + 1000);
    await Deno.utime(left, later, later);
    const { accounts } = await s.rotator.refresh();
    assertEquals(accounts.map(({ ok }) => ok), [true]);
    await s.rotator.close();
    assertEquals(s.shown(), isShown ? [refresh] : []);
    assertEquals(s.fake.violations, []);
  }
});
