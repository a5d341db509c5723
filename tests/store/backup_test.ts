import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  readdir,
  readFile,
  rm,
  stat,
  unlink,
  writeFile,
} from "node:fs/promises";
import { ensureDir } from "@std/fs";
import { toFileUrl } from "@std/path";
import { RotatorError } from "../../lib/errors.ts";
import { jsonStore } from "../../lib/store/json_store.ts";
import { listBackups, restoreBackup } from "../../lib/store/restore.ts";
import { test } from "../test.ts";
import {
  addAccount,
  count,
  isWindows,
  modeOf,
  readJson,
  readState,
  withPath,
} from "./stores.ts";

test(
  "jsonStore() mirrors tokens, accounts and settings in the backup, no more",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    assertEquals(await readJson(`${path}.bak`), await readJson(path));
    const version = await readFile(`${path}.bak`, "utf8");
    await store.update(count);
    assertEquals(await readFile(`${path}.bak`, "utf8"), version);
    await store.update((state) => {
      state.accounts["a"]!.tokens!.access = "newer";
    });
    assertEquals(await readJson(`${path}.bak`), await readJson(path));
    await store.update((state) => state.settings.pinned = "a");
    assertEquals(await readJson(`${path}.bak`), await readJson(path));
  }),
);

test(
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
      assertEquals(await readJson(`${path}.bak`), await readJson(path));
    }
  }),
);

test(
  "jsonStore() writes on when the backup cannot be written",
  withPath(async (path) => {
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    await ensureDir(`${path}.bak`);
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

test(
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

test(
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

test(
  "restoreBackup() keeps a healthy file and a folder aside as well",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    const healthy = await restoreBackup(path);
    assertStringIncludes(healthy.kept!, `${path}.replaced-`);
    await unlink(path);
    await ensureDir(path);
    const folder = await restoreBackup(path);
    assertEquals((await stat(folder.kept!)).isDirectory(), true);
    assertEquals(Object.keys((await store.read()).accounts), ["a"]);
  }),
);

test(
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

test(
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

const READ_ACCESS = /"access": ?"([^"]*)"/g;

/** The access tokens in each backup of a store; undefined: there is none. */
async function tokensIn(path: string): Promise<(string[] | undefined)[]> {
  return await Promise.all(["", ".bak", ".bak.2", ".bak.3"].map(async (it) => {
    const text = await readFile(path + it, "utf8").catch(() => undefined);
    return text === undefined
      ? undefined
      : [...text.matchAll(READ_ACCESS)].map((match) => match[1]!);
  }));
}

/** Changes that are not their owner's. */
async function renew(path: string, times: number): Promise<void> {
  for (let time = 0; time < times; time++) {
    await jsonStore(path).update((state) => {
      count(state);
      state.accounts["a"]!.tokens = { access: `renewed-${time}` };
    });
  }
}

test(
  "jsonStore() keeps what it was before the last two changes by its owner",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    await renew(path, 3);
    assertEquals((await tokensIn(path)).slice(2), [undefined, undefined]);
    await store.update(addAccount("b"));
    await renew(path, 3);
    await store.update((state) => state.settings.pinned = "b");
    await renew(path, 3);
    const b = "token-of-b";
    assertEquals(await tokensIn(path), [
      ["renewed-2", b],
      ["renewed-2", b],
      ["renewed-2", b],
      ["renewed-2"],
    ]);
    assertEquals((await readState(`${path}.bak.2`)).settings, {});
    await store.update((state) => state.accounts["b"]!.weight = 5);
    assertEquals((await readState(`${path}.bak.2`)).settings, { pinned: "b" });
    assertEquals((await readState(`${path}.bak.3`)).settings, {});
  }),
);

test(
  "jsonStore() takes the tokens of a removed account out of all backups, and of no other",
  withPath(async (path) => {
    const store = jsonStore(path);
    for (const alias of ["a", "b", "c"]) await store.update(addAccount(alias));
    await store.update(({ accounts }) => {
      accounts["renamed"] = accounts["b"]!;
      delete accounts["b"];
    });
    const [a, b, c] = ["token-of-a", "token-of-b", "token-of-c"] as const;
    assertEquals((await tokensIn(path)).slice(2), [[a, b, c], [a, b]]);
    await store.update(({ accounts }) => {
      delete accounts["a"];
    });
    assertEquals(await tokensIn(path), [[c, b], [c, b], [c, b], [b, c]]);
    const { accounts } = await readState(`${path}.bak.2`);
    assertEquals(Object.keys(accounts), ["a", "c", "renamed"]);
  }),
);

test(
  "restoreBackup() undoes a change by its owner and keeps newer tokens",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    await store.update((state) => {
      addAccount("by mistake")(state);
      state.settings.creditAccountAliases = "all";
    });
    await renew(path, 1);
    const { kept } = await restoreBackup(path, { generation: 2 });
    const { accounts, settings } = await store.read();
    assertEquals([Object.keys(accounts), settings], [["a"], {}]);
    assertEquals(accounts["a"]!.tokens, { access: "renewed-0" });
    assertEquals((await readState(kept!)).settings.creditAccountAliases, "all");
    assertEquals(await readState(`${path}.bak`), await readState(path));
  }),
);

test(
  "restoreBackup() forgets nothing of what was observed and spent since",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update((state) => {
      addAccount("a")(state);
      Object.assign(state.accounts["a"]!, { weight: 2, spent: { day: "1" } });
    });
    await store.update((state) => {
      Object.assign(state.accounts["a"]!, {
        ...{ weight: 9, enabled: false, spent: { day: "5" }, requests: 7 },
        cooldowns: { throttle: { until: 9, setAt: 1 } },
      });
    });
    await restoreBackup(path, { generation: 2 });
    assertEquals((await readState(path)).accounts["a"], {
      tokens: { access: "token-of-a" },
      weight: 2,
      spent: { day: "5" },
      requests: 7,
      cooldowns: { throttle: { until: 9, setAt: 1 } },
    });
  }),
);

test(
  "restoreBackup() takes newer tokens from the first backup where the store is damaged",
  withPath(async (path) => {
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    await store.update(addAccount("b"));
    await renew(path, 1);
    await writeFile(path, "{ broken");
    await restoreBackup(path, { generation: 2 });
    const { accounts } = await store.read();
    assertEquals(Object.keys(accounts), ["a"]);
    assertEquals(accounts["a"]!.tokens, { access: "renewed-0" });
  }),
);

test(
  "listBackups() tells when each backup is from and which accounts are in it",
  withPath(async (path) => {
    assertEquals(await listBackups(path), []);
    const store = jsonStore(path);
    await store.update(addAccount("a"));
    await store.update(addAccount("b"));
    const { mtimeMs } = await stat(`${path}.bak.2`);
    await writeFile(`${path}.bak.3`, "{");
    const [first, second, third] = await listBackups(path);
    assertEquals(first!.aliases, ["a", "b"]);
    assertEquals(second!.aliases, ["a"]);
    assertEquals(Math.floor(second!.writtenAt), Math.floor(mtimeMs));
    assertEquals(third!.aliases, undefined);
  }),
);
