import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { readdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { ensureDir } from "@std/fs";
import { join, toFileUrl } from "@std/path";
import { RotatorError } from "../../lib/errors.ts";
import { jsonStore } from "../../lib/store/json_store.ts";
import { test } from "../test.ts";
import {
  addAccount,
  count,
  isWindows,
  modeOf,
  readJson,
  withPath,
} from "./stores.ts";

test(
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

test("jsonStore() refuses an empty path", () => {
  assertThrows(() => jsonStore(""), TypeError, "empty");
});

test(
  "jsonStore() writes readable JSON, privately, and leaves nothing else",
  withPath(async (_path, folder) => {
    const path = join(folder, "new", "accounts.json");
    const store = jsonStore(toFileUrl(path));
    assertEquals(store.path, path);
    const state = await store.update(addAccount("a"));
    await store.exclusive("x", () => Promise.resolve());
    assertEquals(await readJson(path), JSON.parse(JSON.stringify(state)));
    const names = await readdir(join(folder, "new"));
    assertEquals(names.sort(), ["accounts.json", "accounts.json.bak"]);
    if (isWindows) return;
    assertEquals(await modeOf(path), 0o600);
    assertEquals(await modeOf(`${path}.bak`), 0o600);
    assertEquals(await modeOf(join(folder, "new")), 0o700);
  }),
);

test(
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

test(
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

test(
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

test(
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
        if (code === "store_version") continue;
        const login = `"codex-rotator login --store ${path}"`;
        assertStringIncludes(error.message, login);
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

test(
  "jsonStore() refuses a folder in its place",
  withPath(async (path, folder) => {
    await ensureDir(path);
    const store = jsonStore(path);
    for (const use of [() => store.read(), () => store.update(count)]) {
      const error = await assertRejects(use, RotatorError);
      assertEquals(error.code, "store_corrupt");
      assertStringIncludes(error.message, "folder");
    }
    assertEquals(await readdir(folder), ["accounts.json"]);
  }),
);
