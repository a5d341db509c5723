import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { readdir, readFile } from "node:fs/promises";
import { join } from "@std/path";
import { test } from "../test.ts";
import { account, bench } from "./run.ts";

function three() {
  return {
    alice: account("alice"),
    bob: account("bob"),
    carol: account("carol"),
  };
}

test("restore --list shows three backups, the newest first, and no token", async () => {
  await using it = await bench(three());
  assertEquals(
    (await it.run("restore", "--list")).out,
    `There is no backup of ${it.path}\n`,
  );
  await it.run("disable", "bob");
  await it.run("remove", "carol", "--yes");
  const { code, out } = await it.run("restore", "--list");
  assertEquals(code, 0);
  const lines = out.trimEnd().split("\n").map((line) =>
    line.replace(/20\S+ \([^)]*\)/, "WHEN")
  );
  assertEquals(lines, [
    "1  WHEN: alice, bob",
    "2  WHEN: alice, bob, carol",
    "3  WHEN: alice, bob, carol",
  ]);
});

test("restore N undoes what was set by mistake", async () => {
  await using it = await bench(three());
  await it.run("credits", "none");
  await it.run("credits", "all");
  const { code, out } = await it.run("restore", "2");
  assertEquals(code, 0);
  assertStringIncludes(out, "is restored from the backup of 20");
  assertEquals(it.state().settings.creditAccountAliases, "none");
  assertEquals((await it.run("restore", "3")).code, 0);
  assertEquals(it.state().settings.creditAccountAliases, undefined);
  assert(it.state().accounts.alice!.tokens !== undefined);
});

test("restore refuses a number that no backup has, and changes nothing", async () => {
  await using it = await bench(three());
  await it.run("disable", "bob");
  for (const wrong of ["0", "4", "two", "1.5"]) {
    const { code, err } = await it.run("restore", wrong);
    assertEquals(code, 2, wrong);
    assertStringIncludes(err, "give 1, 2 or 3");
  }
  const { code, err } = await it.run("restore", "3");
  assertEquals(code, 1);
  assertStringIncludes(err, `${it.path}.bak.3`);
  assertEquals(it.state().accounts.bob!.enabled, false);
  assertEquals((await it.run("restore", "2")).code, 0);
  assertEquals(it.state().accounts.bob!.enabled, undefined);
});

test("remove takes the tokens out of the store and all its backups", async () => {
  await using it = await bench(three());
  const tokensOf = async (name: string) => {
    const { tokens } = three()[name as "carol"];
    const files = await readdir(it.folder);
    const texts = await Promise.all(
      files.map((file) => readFile(join(it.folder, file), "utf8")),
    );
    return texts.filter((text) => text.includes(tokens!.refresh!)).length;
  };
  for (const command of ["disable", "enable", "disable"]) {
    await it.run(command, "bob");
  }
  assertEquals([await tokensOf("carol"), await tokensOf("bob")], [4, 4]);
  await it.run("remove", "carol", "--yes");
  assertEquals([await tokensOf("carol"), await tokensOf("bob")], [0, 4]);
  await it.run("restore", "2");
  const { carol } = it.state().accounts;
  assertEquals([carol!.tokens, carol!.email], [undefined, three().carol.email]);
});
