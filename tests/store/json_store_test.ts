import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { dirname, join, toFileUrl } from "@std/path";
import { RotatorError } from "../../lib/errors.ts";
import { restoreBackup } from "../../lib/store/backup.ts";
import { jsonStore } from "../../lib/store/json_store.ts";
import type { PoolState } from "../../lib/types.ts";
import { startWorker, withFolder } from "./processes.ts";

const isWindows = Deno.build.os === "windows";
/** Modes mean nothing to the superuser, who may write everywhere. */
const isSuperuser = !isWindows && Deno.uid() === 0;

function count(state: PoolState): void {
  const account = state.accounts["a"] ??= {};
  account.requests = (account.requests ?? 0) + 1;
}

function addAccount(alias: string): (state: PoolState) => void {
  return (state) => {
    state.accounts[alias] = { tokens: { access: `token of ${alias}` } };
  };
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

async function json(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, "utf8"));
}

/** Runs `test` with the path of a store in a folder of its own. */
function withPath(
  test: (path: string, folder: string) => Promise<void>,
): () => Promise<void> {
  return () =>
    withFolder((folder) => test(join(folder, "accounts.json"), folder));
}

Deno.test(
  "jsonStore() reads a missing file as empty and creates nothing",
  withPath(async (path, folder) => {
    const store = jsonStore(join(folder, "sub", "accounts.json"));
    const state = await store.read();
    assertEquals(state, { version: 1, settings: {}, accounts: {} });
    assertStrictEquals(await store.read(), state);
    await jsonStore(path).update(() => {});
    assertEquals(await readdir(folder), []);
  }),
);

Deno.test("jsonStore() refuses an empty path", () => {
  assertThrows(() => jsonStore(""), TypeError, "empty");
});

Deno.test(
  "jsonStore() writes readable JSON, privately, and leaves nothing else",
  withPath(async (_path, folder) => {
    const path = join(folder, "new", "accounts.json");
    const store = jsonStore(toFileUrl(path));
    assertEquals(store.path, path);
    const state = await store.update(addAccount("a"));
    await store.exclusive("x", () => Promise.resolve());
    assertEquals(await json(path), JSON.parse(JSON.stringify(state)));
    const names = await readdir(join(folder, "new"));
    assertEquals(names.sort(), ["accounts.json", "accounts.json.bak"]);
    if (isWindows) return;
    assertEquals(await modeOf(path), 0o600);
    assertEquals(await modeOf(`${path}.bak`), 0o600);
    assertEquals(await modeOf(join(folder, "new")), 0o700);
  }),
);

Deno.test(
  "jsonStore() hands out the same frozen state until the file changes",
  withPath(async (path) => {
    const store = jsonStore(path);
    const first = await store.update(count);
    assertStrictEquals(await store.read(), first);
    assertStrictEquals(await store.update(() => {}), first);
    assertThrows(() => first.accounts["a"]!.requests = 9, TypeError);
    assertThrows(() => first.accounts["b"] = {}, TypeError);
    await jsonStore(path).update(count);
    const second = await store.read();
    assertNotStrictEquals(second, first);
    assertEquals(second.accounts["a"]!.requests, 2);
    assertStrictEquals(await store.read(), second);
  }),
);

Deno.test(
  "jsonStore() sees every change of others, however fast and alike",
  withPath(async (path) => {
    const reader = jsonStore(path);
    const writer = jsonStore(path);
    for (let number = 100; number < 200; number++) {
      await writer.update((state) => {
        state.accounts["a"] = { requests: number };
      });
      const state = await reader.read();
      assertEquals(state.accounts["a"]!.requests, number);
    }
  }),
);

Deno.test(
  "jsonStore() sees changes after a file from the future",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update((state) => state.accounts["a"] = { requests: 100 });
    const future = 4_000_000_000;
    await utimes(path, future, future);
    const reader = jsonStore(path);
    for (let number = 101; number < 110; number++) {
      await store.update((state) => state.accounts["a"]!.requests = number);
      assertEquals((await reader.read()).accounts["a"]!.requests, number);
      assert((await stat(path)).mtimeMs > future * 1000);
    }
  }),
);

Deno.test(
  "jsonStore() does not write what did not change",
  withPath(async (path) => {
    const foreign = `{"accounts":{},"version":1}`;
    await writeFile(path, foreign, { mode: 0o600 });
    await jsonStore(path).update((state) => {
      state.accounts["a"] = {};
      delete state.accounts["a"];
    });
    assertEquals(await readFile(path, "utf8"), foreign);
  }),
);

Deno.test(
  "jsonStore() keeps unknown fields and records across an update",
  withPath(async (path) => {
    const text = `\uFEFF{"version":1,"future":[1,{"x":null}],` +
      `"settings":{"new":"s"},"accounts":{"a":{"flag":true,"requests":1},` +
      `"__proto__":{"plan":"pro"},"constructor":{"plan":"plus"}}}`;
    await writeFile(path, text);
    const state = await jsonStore(path).update(count);
    assertEquals(state.accounts["constructor"]!.plan, "plus");
    const expected = JSON.parse(text.slice(1));
    expected.accounts.a.requests = 2;
    const written = JSON.parse(await readFile(path, "utf8"));
    assertEquals(JSON.stringify(written), JSON.stringify(expected));
  }),
);

Deno.test(
  "jsonStore() isolates changes that are made at the same time",
  withPath(async (path) => {
    const store = jsonStore(path);
    const results = await Promise.allSettled([
      store.update(count),
      store.update((state) => {
        state.accounts["b"] = {};
        state.accounts["a"]!.requests = 77;
        throw new Error("no");
      }),
      store.update(count),
      store.update((state) => {
        (state as { settings: unknown }).settings = 5;
      }),
      store.update(count),
    ]);
    const outcomes = results.map((result) => result.status);
    assertEquals(outcomes, [
      "fulfilled",
      "rejected",
      "fulfilled",
      "rejected",
      "fulfilled",
    ]);
    assertEquals((await store.read()).accounts, { a: { requests: 3 } });
  }),
);

Deno.test(
  "jsonStore() loses no update of many at once, from several objects",
  withPath(async (path) => {
    const stores = [jsonStore(path), jsonStore(path), jsonStore(path)];
    const updates = Array.from(
      { length: 150 },
      (_, index) => stores[index % 3]!.update(count),
    );
    await Promise.all(updates);
    assertEquals((await stores[0]!.read()).accounts["a"]!.requests, 150);
  }),
);

Deno.test(
  "jsonStore() hands an update's own result out, in order",
  withPath(async (path) => {
    const store = jsonStore(path);
    const seen: number[] = [];
    const note = (state: PoolState) => {
      count(state);
      seen.push(state.accounts["a"]!.requests!);
    };
    await Promise.all([store.update(note), store.update(note)]);
    await store.update(note);
    assertEquals(seen, [1, 2, 3]);
  }),
);

Deno.test(
  "jsonStore() refuses bad files and leaves them untouched",
  withPath(async (path) => {
    const bad: [content: string | Uint8Array, code: string][] = [
      ["", "store_corrupt"],
      ["\0".repeat(4096), "store_corrupt"],
      [`{"version":1,"accounts":{"a":{`, "store_corrupt"],
      ["not json", "store_corrupt"],
      ["[]", "store_corrupt"],
      [Uint8Array.of(0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d), "store_corrupt"],
      [`{"version":2,"accounts":{}}`, "store_version"],
    ];
    for (const [content, code] of bad) {
      await writeFile(path, content);
      const store = jsonStore(path);
      for (const use of [() => store.read(), () => store.update(count)]) {
        const error = await assertRejects(use, RotatorError);
        assertEquals(error.code, code);
        assertStringIncludes(error.message, path);
      }
      assertEquals(
        new Uint8Array(await readFile(path)),
        new Uint8Array(
          typeof content === "string"
            ? new TextEncoder().encode(content)
            : content,
        ),
      );
    }
  }),
);

Deno.test(
  "jsonStore() refuses a folder in its place",
  withPath(async (path, folder) => {
    await mkdir(path);
    const store = jsonStore(path);
    for (const use of [() => store.read(), () => store.update(count)]) {
      const error = await assertRejects(use, RotatorError);
      assertEquals(error.code, "store_corrupt");
      assertStringIncludes(error.message, "folder");
    }
    assertEquals(await readdir(folder), ["accounts.json"]);
  }),
);

Deno.test(
  "jsonStore() does not take a missing file with a backup for empty",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    await unlink(path);
    for (const use of [() => store.read(), () => store.update(count)]) {
      const error = await assertRejects(use, RotatorError);
      assertEquals(error.code, "store_corrupt");
      assertStringIncludes(error.message, `${path}.bak`);
      assertStringIncludes(error.message, "restore");
    }
    await assertRejects(() => stat(path));
  }),
);

Deno.test(
  "jsonStore() says when it cannot write, and damages nothing",
  withPath(async (path, folder) => {
    await jsonStore(path).update(addAccount("a"));
    const blocked = join(path, "below", "accounts.json");
    for (
      const use of [
        () => jsonStore(blocked).update(count),
        () => jsonStore(blocked).exclusive("x", () => Promise.resolve()),
        () => jsonStore(blocked).read(),
      ]
    ) {
      const error = await assertRejects(use, RotatorError);
      assertEquals(error.code, "store_unwritable");
      assertStringIncludes(error.message, blocked);
    }
    assertEquals((await readdir(folder)).length, 2);
  }),
);

Deno.test({
  name: "jsonStore() says that a folder or file is not accessible",
  ignore: isWindows || isSuperuser,
  fn: withPath(async (path, folder) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    await chmod(folder, 0o500);
    const failed = () => store.update(count);
    const error = await assertRejects(failed, RotatorError);
    assertEquals(error.code, "store_unwritable");
    await chmod(folder, 0o700);
    await chmod(path, 0o000);
    const unread = () => jsonStore(path).read();
    assertEquals(
      (await assertRejects(unread, RotatorError)).code,
      "store_unwritable",
    );
  }),
});

Deno.test({
  name: "jsonStore() says when the disk is full, and keeps the old file",
  ignore: Deno.build.os !== "linux" || !isSuperuser,
  fn: withPath(async (path, folder) => {
    const mount = (...args: string[]) =>
      new Deno.Command(args[0]!, { args: args.slice(1), stderr: "null" })
        .output();
    const options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder];
    // Not everywhere is it allowed to mount.
    if (!(await mount("mount", ...options)).success) return;
    try {
      const store = jsonStore(path);
      await store.update(addAccount("a"));
      const before = await readFile(path, "utf8");
      const fill = () =>
        store.update((state) =>
          state.accounts["b"] = { email: "x".repeat(1e5) }
        );
      const error = await assertRejects(fill, RotatorError);
      assertEquals(error.code, "store_unwritable");
      assertStringIncludes(error.message, "ENOSPC");
      assertEquals(await readFile(path, "utf8"), before);
      assertEquals((await readdir(folder)).length, 2);
      await store.update(count);
    } finally {
      await mount("umount", folder);
    }
  }),
});

Deno.test({
  name: "jsonStore() narrows a mode that is too wide, and says so once",
  ignore: isWindows,
  fn: withPath(async (path) => {
    const warnings: string[] = [];
    const onWarning = (message: string) => {
      warnings.push(message);
      throw new Error("a callback that throws disturbs nothing");
    };
    await writeFile(path, `{"version":1,"accounts":{}}`);
    await writeFile(`${path}.bak`, `{"version":1,"accounts":{}}`);
    await chmod(path, 0o644);
    await chmod(`${path}.bak`, 0o644);
    const store = jsonStore(path, { onWarning });
    await store.read();
    assertEquals(await modeOf(path), 0o644);
    await store.update(() => {});
    assertEquals(await modeOf(path), 0o600);
    assertEquals(await modeOf(`${path}.bak`), 0o600);
    await chmod(path, 0o666);
    await store.update(count);
    assertEquals(await modeOf(path), 0o600);
    assertEquals(warnings.length, 1);
    assertStringIncludes(warnings[0]!, path);
  }),
});

Deno.test({
  name: "jsonStore() leaves the mode of an existing folder alone",
  ignore: isWindows,
  fn: withPath(async (path, folder) => {
    await chmod(folder, 0o755);
    await jsonStore(path).update(count);
    assertEquals(await modeOf(folder), 0o755);
  }),
});

Deno.test({
  name: "jsonStore() follows a symbolic link and keeps it one",
  ignore: isWindows,
  fn: withPath(async (path, folder) => {
    await mkdir(join(folder, "real"));
    await symlink(join("real", "file.json"), path);
    const store = jsonStore(path);
    assertEquals((await store.read()).accounts, {});
    await store.update(addAccount("a"));
    await store.update(addAccount("b"));
    assertEquals((await Deno.lstat(path)).isSymlink, true);
    assertEquals((await readdir(folder)).sort(), ["accounts.json", "real"]);
    const names = await readdir(join(folder, "real"));
    assertEquals(names.sort(), ["file.json", "file.json.bak"]);
    const state = await jsonStore(join(folder, "real", "file.json")).read();
    assertEquals(Object.keys(state.accounts), ["a", "b"]);
  }),
});

Deno.test(
  "jsonStore() mirrors tokens, accounts and settings in the backup, no more",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    assertEquals(await json(`${path}.bak`), await json(path));
    const version = await readFile(`${path}.bak`, "utf8");
    await store.update(count);
    assertEquals(await readFile(`${path}.bak`, "utf8"), version);
    await store.update((state) => {
      state.accounts["a"]!.tokens!.access = "newer";
    });
    assertEquals(await json(`${path}.bak`), await json(path));
    await store.update((state) => state.settings.pinned = "a");
    assertEquals(await json(`${path}.bak`), await json(path));
  }),
);

Deno.test(
  "jsonStore() mends a backup that is missing, damaged or behind",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    const old = await readFile(`${path}.bak`, "utf8");
    await store.update(addAccount("b"));
    const mend: (() => Promise<void>)[] = [
      () => unlink(`${path}.bak`),
      () => writeFile(`${path}.bak`, "{"),
      () => writeFile(`${path}.bak`, old),
    ];
    for (const damage of mend) {
      await damage();
      await store.update(count);
      assertEquals(await json(`${path}.bak`), await json(path));
    }
  }),
);

Deno.test(
  "jsonStore() writes on when the backup cannot be written",
  withPath(async (path) => {
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    await mkdir(`${path}.bak`);
    await writeFile(path, `{"version":1,"accounts":{}}`, { mode: 0o600 });
    const store = jsonStore(path, { onWarning });
    await store.update(addAccount("a"));
    await store.update(addAccount("b"));
    const { accounts } = await jsonStore(path).read();
    assertEquals(Object.keys(accounts), ["a", "b"]);
    assertEquals(warnings.length, 1);
    assertStringIncludes(warnings[0]!, `${path}.bak`);
  }),
);

Deno.test(
  "restoreBackup() puts the backup in the place of a damaged or missing file",
  withPath(async (path, folder) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    const writtenAt = Math.floor((await stat(`${path}.bak`)).mtimeMs);
    await writeFile(path, "{ broken");
    const restored = await restoreBackup(path);
    assertEquals(Math.floor(restored.writtenAt), writtenAt);
    assertStringIncludes(restored.kept!, `${path}.corrupt-`);
    assertEquals(await readFile(restored.kept!, "utf8"), "{ broken");
    assertEquals(Object.keys((await store.read()).accounts), ["a"]);
    if (!isWindows) assertEquals(await modeOf(restored.kept!), 0o600);
    await rm(restored.kept!);
    await unlink(path);
    assertEquals((await restoreBackup(toFileUrl(path))).kept, null);
    assertEquals(Object.keys((await store.read()).accounts), ["a"]);
    assertEquals((await readdir(folder)).length, 2);
  }),
);

Deno.test(
  "restoreBackup() keeps a healthy file and a folder aside as well",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    const healthy = await restoreBackup(path);
    assertStringIncludes(healthy.kept!, `${path}.replaced-`);
    await unlink(path);
    await mkdir(path);
    const folder = await restoreBackup(path);
    assertEquals((await stat(folder.kept!)).isDirectory(), true);
    assertEquals(Object.keys((await store.read()).accounts), ["a"]);
  }),
);

Deno.test(
  "restoreBackup() changes nothing without a sound backup",
  withPath(async (path, folder) => {
    await writeFile(path, "{ broken");
    const restore = () => restoreBackup(path);
    const missing = await assertRejects(restore, RotatorError);
    assertEquals(missing.code, "store_corrupt");
    await writeFile(`${path}.bak`, "broken too");
    const damaged = await assertRejects(restore, RotatorError);
    assertEquals(damaged.code, "store_corrupt");
    assertStringIncludes(damaged.message, `${path}.bak`);
    assertEquals(await readFile(path, "utf8"), "{ broken");
    assertEquals((await readdir(folder)).length, 2);
  }),
);

Deno.test(
  "restoreBackup() leaves a store of a newer version alone",
  withPath(async (path, folder) => {
    await jsonStore(path).update(addAccount("a"));
    const newer = '{"version":2,"accounts":{}}';
    await writeFile(path, newer);
    const error = await assertRejects(() => restoreBackup(path), RotatorError);
    assertEquals(error.code, "store_version");
    assertEquals(await readFile(path, "utf8"), newer);
    assertEquals((await readdir(folder)).length, 2);
  }),
);

Deno.test(
  "jsonStore() clears away what dead processes left, and nothing else",
  withPath(async (path, folder) => {
    const dead = "0123456789abcdef01234567";
    const name = "0123456789abcdef";
    const left = [
      `.${dead}.tmp`,
      `.bak.${dead}.tmp`,
      `.${dead}.bak.tmp`,
      `.lock.${dead}.end0`,
    ];
    const abandoned = `.${name}.lock`;
    for (const tail of [...left, abandoned]) await writeFile(path + tail, "");
    await utimes(path + abandoned, 1, 1);
    const kept = [".mine.tmp", ".tmp", `.${"f".repeat(16)}.lock`, "x"];
    for (const tail of kept) await writeFile(path + tail, "");
    await jsonStore(path).update(count);
    const names = kept.map((tail) => `accounts.json${tail}`);
    assertEquals(
      (await readdir(folder)).sort(),
      [...names, "accounts.json", "accounts.json.bak"].sort(),
    );
  }),
);

Deno.test(
  "jsonStore() starts over when its lock was taken away meanwhile",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update(count);
    let runs = 0;
    await store.update((state) => {
      runs++;
      if (runs === 1) takeOver(path);
      count(state);
    });
    assertEquals(runs, 2);
    assertEquals((await json(path) as PoolState).accounts, {
      a: { requests: 11 },
    });
  }),
);

/** What another process does that takes the running update for dead. */
function takeOver(path: string): void {
  const folder = dirname(path);
  for (const { name } of Deno.readDirSync(folder)) {
    const isTemp = name.endsWith(".tmp") && !name.includes(".bak.");
    if (isTemp || name.endsWith(".lock")) Deno.removeSync(join(folder, name));
  }
  const state = JSON.parse(Deno.readTextFileSync(path));
  state.accounts.a.requests = 10;
  Deno.writeTextFileSync(path, JSON.stringify(state));
}

Deno.test(
  "jsonStore() passes on what an exclusive job returns or throws",
  withPath(async (path) => {
    const store = jsonStore(path);
    assertEquals(await store.exclusive("x", () => Promise.resolve(5)), 5);
    const missing = Object.assign(new Error("mine"), { code: "ENOENT" });
    const failing = () => store.exclusive("x", () => Promise.reject(missing));
    assertStrictEquals(await assertRejects(failing), missing);
  }),
);

Deno.test(
  "jsonStore() allows updates while an exclusive job runs",
  withPath(async (path) => {
    const store = jsonStore(path);
    const state = await store.exclusive("x", () => store.update(count));
    assertEquals(state.accounts["a"]!.requests, 1);
  }),
);

Deno.test(
  "jsonStore() works with access to its folder alone",
  withPath(async (_path, folder) => {
    const below = join(folder, "config");
    const flags = [`--allow-read=${below}`, `--allow-write=${below}`];
    const path = join(below, "accounts.json");
    const worker = startWorker("deno", ["everything", path, "me"], flags);
    const [line] = await worker.rest();
    const { before, alone, after } = JSON.parse(line!);
    assertEquals([before.accounts, alone], [{}, "alone"]);
    assertEquals(after.accounts.me.requests, 1);
    assertEquals((await readdir(below)).length, 2);
  }),
);

Deno.test({
  name: "jsonStore() lets permission errors of the runtime through",
  permissions: { read: [import.meta.dirname!], write: false },
  fn: async () => {
    const store = jsonStore("/somewhere/else/accounts.json");
    await assertRejects(() => store.read(), Deno.errors.NotCapable);
    await assertRejects(() => store.update(count), Deno.errors.NotCapable);
  },
});

Deno.test(
  "jsonStore() reads a file that is replaced all the time",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update((state) => state.accounts["a"] = { requests: 0 });
    let isWriting = true;
    const writing = (async () => {
      for (let done = 0; done < 50; done++) {
        await writeFile(`${path}.new`, await readFile(path));
        await rename(`${path}.new`, path);
      }
      isWriting = false;
    })();
    while (isWriting) {
      assertEquals((await store.read()).accounts["a"]!.requests, 0);
    }
    await writing;
  }),
);
