import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { keyFile, readOrMakeKey } from "../../lib/serve/access.ts";

async function withFolder(job: (folder: string) => Promise<void>) {
  const folder = await Deno.makeTempDir();
  try {
    await job(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("keyFile() lies beside the store", () => {
  assertEquals(keyFile(join("a", "accounts.json")), join("a", "serve-key"));
});

Deno.test("readOrMakeKey() makes a private key once", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "new", "serve-key");
    // several servers may start at the same moment
    const keys = await Promise.all(
      Array.from({ length: 8 }, () => readOrMakeKey(path)),
    );
    keys.push(await readOrMakeKey(path));
    assertEquals(new Set(keys).size, 1);
    assert(/^[\w-]{43}$/.test(keys[0]!));
    assertEquals(await Deno.readTextFile(path), `${keys[0]}\n`);
    if (Deno.build.os === "windows") return;
    assertEquals((await Deno.stat(path)).mode! & 0o777, 0o600);
    assertEquals((await Deno.stat(join(folder, "new"))).mode! & 0o777, 0o700);
    const other = await readOrMakeKey(join(folder, "serve-key"));
    assert(other !== keys[0]);
  });
});

Deno.test("readOrMakeKey() takes no key that is none, or that others may read", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "serve-key");
    await Deno.writeTextFile(path, "two words\n", { mode: 0o600 });
    await assertRejects(() => readOrMakeKey(path), TypeError, "characters");
    await Deno.writeTextFile(path, "my-own-key");
    assertEquals(await readOrMakeKey(path), "my-own-key");
    if (Deno.build.os === "windows") return;
    await Deno.chmod(path, 0o644);
    const error = await assertRejects(() => readOrMakeKey(path), Error);
    assert(error.message.includes("Others") && !error.message.includes("my-"));
  });
});

Deno.test("readOrMakeKey() makes the key anew that a process left empty, several at once the same one", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "serve-key");
    await Deno.writeTextFile(path, "\n", { mode: 0o600 });
    const keys = await Promise.all(
      Array.from({ length: 4 }, () => readOrMakeKey(path)),
    );
    assertEquals(new Set(keys).size, 1);
    assertEquals(await Deno.readTextFile(path), `${keys[0]}\n`);
    assertEquals([...Deno.readDirSync(folder)].length, 1);
  });
});
