/**
 * The renewal of a linked account, killed at every change that it makes to a
 * file: whatever had reached the disk is used by the next process, which also
 * finishes what was begun. TORTURE=1 runs every point, else some of them.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { buildCrash, crashEnv, type CrashPoint } from "../crash.ts";
import { commandOf, type Runtime, RUNTIMES } from "../runtimes.ts";
import {
  type LinkedSetUp,
  linkedSetUp,
  MINUTE,
  startWorker,
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
const MODES = ["before", "after", "half"] as const;
/** Of the points at which it is killed, each so many-th is taken. */
const STRIDE = TORTURE ? 1 : 37;

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

/** How many changes a whole renewal makes. */
async function countChanges(runtime: Runtime): Promise<number> {
  await using s = await linkedSetUp();
  await s.signIn();
  await s.link();
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

/** Kills a renewal, and lets another process go on. */
async function killAt(runtime: Runtime, point: CrashPoint): Promise<void> {
  await using s = await linkedSetUp();
  const { refresh: spent } = await s.signIn();
  await s.link();
  const where = `${runtime}, killed ${point.mode} change ${point.at}`;
  await renew(s, runtime, { point });
  const arrived = await hasArrived(s, spent);
  const wasShown = s.shown().length > 0;
  const worker = startWorker("rotator", { setUp: s });
  try {
    for (const turn of ["first", "second"]) {
      await worker.say("go");
      const told = await worker.line();
      if (wasShown && !arrived) {
        assert(told.includes("refresh_token_reused"), `${where}: ${told}`);
        continue;
      }
      assertEquals([where, turn, told], [where, turn, "ok"]);
      s.fake.revoke("me", "access");
    }
  } finally {
    await worker.end();
  }
  if (wasShown && !arrived) return;
  assertEquals([where, s.fake.violations], [where, []]);
  assertEquals([where, ...namesIn(s.folder)], [where, "auth.json", "store"]);
  const { me } = s.state().accounts;
  const { tokens } = JSON.parse(await s.read());
  assertEquals([where, tokens.refresh_token], [where, me!.tokens!.refresh]);
}

for (const runtime of runtimes) {
  Deno.test({
    name:
      `a renewal of a linked account that is killed at any change to a file loses no login that had arrived, and leaves nothing behind (${runtime})`,
    ignore: library === undefined,
    async fn() {
      const changes = await countChanges(runtime);
      assert(changes > 40);
      const points: CrashPoint[] = MODES.flatMap((mode, index) =>
        Array.from({ length: changes }, (_, at) => ({ at: at + 1, mode }))
          .filter(({ at }) => (at + index * 3) % STRIDE === 0)
      );
      const failures: unknown[] = [];
      const lane = async () => {
        for (let point; (point = points.shift());) {
          await killAt(runtime, point).catch((error) => failures.push(error));
        }
      };
      await Promise.all(Array.from({ length: LANES }, lane));
      assertEquals(failures.map(String), []);
    },
  });
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
