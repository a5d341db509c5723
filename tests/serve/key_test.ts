import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { chmod, readFile, rm, stat, writeFile } from "node:fs/promises";
import process from "node:process";
import { readdirSync } from "node:fs";
import { keyFile, readOrMakeKey } from "../../lib/serve/access.ts";
import { tempFolder, test } from "../test.ts";

async function withFolder(job: (folder: string) => Promise<void>) {
  const folder = await tempFolder();
  try {
    await job(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("keyFile() lies beside the store", () => {
  assertEquals(keyFile(join("a", "accounts.json")), join("a", "serve-key"));
});

test("readOrMakeKey() makes a private key once", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "new", "serve-key");
    // several servers may start at the same moment
    const keys = await Promise.all(
      Array.from({ length: 8 }, () => readOrMakeKey(path)),
    );
    keys.push(await readOrMakeKey(path));
    assertEquals(new Set(keys).size, 1);
    assert(/^[\w-]{43}$/.test(keys[0]!));
    assertEquals(await readFile(path, "utf8"), `${keys[0]}\n`);
    if (process.platform === "win32") return;
    assertEquals((await stat(path)).mode! & 0o777, 0o600);
    assertEquals((await stat(join(folder, "new"))).mode! & 0o777, 0o700);
    const other = await readOrMakeKey(join(folder, "serve-key"));
    assert(other !== keys[0]);
  });
});

test("readOrMakeKey() takes no key that is none, or that others may read", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "serve-key");
    await writeFile(path, "two words\n", { mode: 0o600 });
    await assertRejects(() => readOrMakeKey(path), TypeError, "characters");
    await writeFile(path, "my-own-key");
    assertEquals(await readOrMakeKey(path), "my-own-key");
    if (process.platform === "win32") return;
    await chmod(path, 0o644);
    const error = await assertRejects(() => readOrMakeKey(path), Error);
    assert(error.message.includes("Others") && !error.message.includes("my-"));
  });
});

test("readOrMakeKey() makes the key anew that a process left empty, several at once the same one", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "serve-key");
    await writeFile(path, "\n", { mode: 0o600 });
    const keys = await Promise.all(
      Array.from({ length: 4 }, () => readOrMakeKey(path)),
    );
    assertEquals(new Set(keys).size, 1);
    assertEquals(await readFile(path, "utf8"), `${keys[0]}\n`);
    assertEquals(readdirSync(folder).length, 1);
  });
});
