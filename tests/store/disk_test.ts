/** How a store's file is written, and what may be in the way. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  chmod,
  chown,
  lstat,
  readdir,
  readFile,
  rename,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { ensureDir, move } from "@std/fs";
import { dirname, join } from "@std/path";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { RotatorError } from "../../lib/errors.ts";
import { jsonStore } from "../../lib/store/json_store.ts";
import type { Tokens } from "../../lib/types.ts";
import { test, testOnDeno } from "../test.ts";
import { startWorker } from "./processes.ts";
import {
  addAccount,
  count,
  isSuperuser,
  isWindows,
  modeOf,
  readState,
  withMount,
  withPath,
} from "./stores.ts";

test(
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

test({
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

test({
  name: "jsonStore() says when the disk is full, and keeps the old file",
  ignore: process.platform !== "linux" || !isSuperuser,
  fn: withPath(async (path, folder) => {
    const tmpfs = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder];
    await withMount(tmpfs, async () => {
      const store = jsonStore(path);
      await store.update(addAccount("a"));
      const before = await readFile(path, "utf8");
      const fill = () =>
        store.update((state) => {
          state.accounts["a"]!.email = "x".repeat(1e5);
        });
      const error = await assertRejects(fill, RotatorError);
      assertEquals(error.code, "store_unwritable");
      assertStringIncludes(error.message, "the disk is full (ENOSPC)");
      assertStringIncludes(error.message, "make room");
      assertEquals(await readFile(path, "utf8"), before);
      assertEquals((await readdir(folder)).length, 2);
      await store.update(count);
    });
  }),
});

test({
  name:
    "jsonStore() says that its mount is read-only, which file, and what to do",
  ignore: process.platform !== "linux" || !isSuperuser,
  fn: withPath(async (path, folder) => {
    await jsonStore(path).update(addAccount("a"));
    await withMount(["--bind", folder, folder], async () => {
      const readOnly = ["-o", "remount,ro,bind", folder];
      await withMount(readOnly, async () => {
        const store = jsonStore(path);
        const update = () => store.update(count);
        const error = await assertRejects(update, RotatorError);
        assertEquals(error.code, "store_unwritable");
        assertStringIncludes(error.message, `The store ${path} cannot be`);
        assertStringIncludes(error.message, `, at ${path}.lock (EROFS);`);
        assertStringIncludes(
          error.message,
          "mount it, or better its folder, writable",
        );
        assertEquals(Object.keys((await store.read()).accounts), ["a"]);
      });
    });
    await jsonStore(path).update(count);
  }),
});

test({
  name: "jsonStore() writes a file in place that is mounted by itself",
  ignore: process.platform !== "linux" || !isSuperuser,
  fn: withPath(async (path, folder) => {
    await ensureDir(join(folder, "outside"));
    const outside = join(folder, "outside", "mounted.json");
    await jsonStore(outside).update((state) => {
      addAccount("a")(state);
      state.accounts["a"]!.email = "x".repeat(5_000);
    });
    await writeFile(path, "");
    await withMount(["--bind", outside, path], async () => {
      const [store, other] = [jsonStore(path), jsonStore(path)];
      for (let number = 1; number <= 20; number++) {
        await store.update((state) => {
          count(state);
          delete state.accounts["a"]!.email;
        });
        const state = await other.read();
        assertEquals(state.accounts["a"]!.requests, number);
      }
      assertEquals(await modeOf(path), 0o600);
    });
    assertEquals((await readState(outside)).accounts["a"]!.requests, 20);
    assertEquals((await readdir(folder)).sort(), [
      "accounts.json",
      "accounts.json.bak",
      "outside",
    ]);
  }),
});

test(
  "jsonStore() goes on with what was being written in place when a writer died",
  withPath(async (path, folder) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    await move(path, `${path}.journal`);
    await writeFile(path, `{"version":1,"acc`);
    assertEquals(Object.keys((await jsonStore(path).read()).accounts), ["a"]);
    await store.update(addAccount("b"));
    assertEquals(Object.keys((await readState(path)).accounts), ["a", "b"]);
    const names = await readdir(folder);
    assertEquals(names.filter((name) => name.includes("journal")), []);
  }),
);

test({
  name: "jsonStore() leaves files to their owner when root writes them",
  ignore: isWindows || !isSuperuser,
  fn: withPath(async (path, folder) => {
    const ownerOf = async (file: string) => {
      const { uid, gid } = await stat(file);
      return [uid, gid];
    };
    // of a folder's owner, unless the store has another one
    for (const [owner, file] of [[1234, path], [4321, `${path}2`]] as const) {
      await chown(folder, 1234, 1234);
      const store = jsonStore(file);
      if (owner !== 1234) {
        await writeFile(file, `{"version":1,"accounts":{}}`, { mode: 0o600 });
        await chown(file, owner, owner);
      }
      await store.update(addAccount("a"));
      await store.exclusive("x", async () => {
        for (const name of await readdir(folder)) {
          if (!join(folder, name).startsWith(`${file}.`)) continue;
          assertEquals(await ownerOf(join(folder, name)), [owner, owner], name);
        }
      });
      await store.update(addAccount("b"));
      for (const written of [file, `${file}.bak`, `${file}.bak.2`]) {
        assertEquals(await ownerOf(written), [owner, owner], written);
      }
    }
  }),
});

test(
  "jsonStore() reads a broken file again before it fails",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    const text = await readFile(path, "utf8");
    for (const use of [() => store.read(), () => store.update(count)]) {
      await writeFile(path, text.slice(0, 20));
      const using = use();
      setTimeout(() => writeFileSync(path, text), 10);
      assertEquals(Object.keys((await using).accounts), ["a"]);
    }
  }),
);

test({
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

test({
  name: "jsonStore() leaves the mode of an existing folder alone",
  ignore: isWindows,
  fn: withPath(async (path, folder) => {
    await chmod(folder, 0o755);
    await jsonStore(path).update(count);
    assertEquals(await modeOf(folder), 0o755);
  }),
});

test({
  name: "jsonStore() follows a symbolic link and keeps it one",
  ignore: isWindows,
  fn: withPath(async (path, folder) => {
    await ensureDir(join(folder, "real"));
    await symlink(join("real", "file.json"), path);
    const store = jsonStore(path);
    assertEquals((await store.read()).accounts, {});
    await store.update(addAccount("a"));
    await store.update(addAccount("b"));
    assertEquals((await lstat(path)).isSymbolicLink(), true);
    assertEquals((await readdir(folder)).sort(), ["accounts.json", "real"]);
    const names = await readdir(join(folder, "real"));
    assertEquals(names.sort(), [
      "file.json",
      "file.json.bak",
      "file.json.bak.2",
    ]);
    const state = await jsonStore(join(folder, "real", "file.json")).read();
    assertEquals(Object.keys(state.accounts), ["a", "b"]);
  }),
});

test(
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

test(
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
    assertEquals((await readState(path)).accounts, {
      a: { requests: 11 },
    });
  }),
);

/** What another process does that takes the running update for dead. */
function takeOver(path: string): void {
  const folder = dirname(path);
  for (const name of readdirSync(folder)) {
    const isTemp = name.endsWith(".tmp") && !name.includes(".bak.");
    if (isTemp || name.endsWith(".lock")) rmSync(join(folder, name));
  }
  const state = JSON.parse(readFileSync(path, "utf8"));
  state.accounts.a.requests = 10;
  writeFileSync(path, JSON.stringify(state));
}

testOnDeno({
  name: "jsonStore() lets permission errors of the runtime through",
  permissions: { read: [import.meta.dirname!], write: false },
  fn: async () => {
    const store = jsonStore("/somewhere/else/accounts.json");
    await assertRejects(() => store.read(), Deno.errors.NotCapable);
    await assertRejects(() => store.update(count), Deno.errors.NotCapable);
  },
});

testOnDeno(
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

test(
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
const EARLIER = 1_800_000_000_000;
const LATER = EARLIER + 1;

/** A store whose writer died with these tokens on disk. */
async function withLeft(
  path: string,
  tokens: Tokens,
  suffix = ".0123456789abcdef01234567.tmp",
): Promise<void> {
  const store = jsonStore(path);
  await store.update((state) => {
    state.accounts["a"] = {
      accountId: "id",
      tokens: { access: "a1", refresh: "r1", expiresAt: EARLIER },
    };
    state.accounts["b"] = { tokens: { access: "b1" } };
  });
  const state = await readState(path);
  Object.assign(state.accounts["a"]!, { tokens, requests: 7 });
  await writeFile(path + suffix, JSON.stringify(state));
}

test("jsonStore() takes over newer tokens that a writer had on disk when it died", async () => {
  const tokens = { access: "a2", refresh: "r2", expiresAt: LATER };
  const temps = [
    ".0123456789abcdef01234567.tmp",
    ".bak.0123456789abcdef01234567.tmp",
    ".0123456789abcdef01234567.bak.tmp",
    ".0123456789abcdef01234567.left",
  ];
  for (const suffix of temps) {
    await withPath(async (path, folder) => {
      await withLeft(path, tokens, suffix);
      // whatever the next change is, also one that fails
      const failing = jsonStore(path).update(() => {
        throw new Error("no");
      });
      await assertRejects(() => failing, Error, "no");
      const { accounts } = await readState(path);
      assertEquals(accounts["a"], { accountId: "id", tokens });
      assertEquals(accounts["b"], { tokens: { access: "b1" } });
      assertEquals(await readState(`${path}.bak`), await readState(path));
      assertEquals((await readdir(folder)).length, 2);
    })();
  }
});

test("jsonStore() takes over nothing that is older, cut off, or of another login", async () => {
  const cases: [
    name: string,
    spoil: (path: string, left: string) => unknown,
  ][] = [
    ["cut off", (_path, left) => truncate(left, 100)],
    ["older than the file", (_path, left) => utimes(left, 1, 1)],
    ["of another login", async (path) => {
      const state = await readState(path);
      state.accounts["a"]!.accountId = "other";
      const { mtime } = await stat(path);
      await writeFile(path, JSON.stringify(state));
      await utimes(path, mtime, mtime);
    }],
    ["of a removed account", async (path) => {
      const state = await readState(path);
      delete state.accounts["a"];
      const { mtime } = await stat(path);
      await writeFile(path, JSON.stringify(state));
      await utimes(path, mtime, mtime);
    }],
  ];
  const newer = { access: "a2", refresh: "r2", expiresAt: LATER };
  for (const [name, spoil] of cases) {
    await withPath(async (path, folder) => {
      await withLeft(path, newer);
      await spoil(path, `${path}.0123456789abcdef01234567.tmp`);
      await jsonStore(path).update(() => {});
      const { a } = (await readState(path)).accounts;
      assertEquals(a?.tokens?.access ?? "a1", "a1", name);
      assertEquals((await readdir(folder)).length, 2, name);
    })();
  }
  await withPath(async (path) => {
    const older = { access: "a0", refresh: "r0", expiresAt: EARLIER - 1 };
    await withLeft(path, older);
    await jsonStore(path).update(() => {});
    assertEquals((await readState(path)).accounts["a"]!.tokens!.access, "a1");
  })();
});

test(
  "jsonStore() keeps what a dead writer left until its store can be read again",
  withPath(async (path) => {
    const tokens = { access: "a2", refresh: "r2", expiresAt: LATER };
    await withLeft(path, tokens);
    const text = await readFile(path, "utf8");
    const { atime, mtime } = await stat(path);
    await writeFile(path, "{ broken");
    await assertRejects(() => jsonStore(path).update(count), RotatorError);
    await writeFile(path, text);
    await utimes(path, atime, mtime);
    await jsonStore(path).update(count);
    assertEquals((await readState(path)).accounts["a"]!.tokens, tokens);
  }),
);
