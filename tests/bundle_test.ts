import { assert, assertEquals, assertMatch } from "@std/assert";
import { dirname, join } from "@std/path";
import { writeBundle } from "./bundle.ts";
import { spawn } from "./spawn.ts";
import { commandOf, RUNTIMES } from "./runtimes.ts";

/** The bundle alone in a folder whose package.json makes it one of CommonJS. */
async function withBundle(job: (folder: string) => Promise<void>) {
  const folder = await Deno.makeTempDir({ prefix: "codex-rotator-bundle-" });
  try {
    await writeBundle(join(folder, "codex-rotator.mjs"));
    await Deno.writeTextFile(
      join(folder, "package.json"),
      JSON.stringify({ type: "commonjs" }),
    );
    await job(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function run(folder: string, command: readonly string[]) {
  const [node = "node"] = commandOf("node");
  const env = {
    // its first line asks for Node by name, and another one may be installed
    PATH: `${dirname(node)}:${Deno.env.get("PATH")}`,
    CODEX_ROTATOR_STORE: join(folder, "accounts.json"),
    NO_COLOR: "1",
  };
  return spawn(command, { cwd: folder, env });
}

Deno.test("the bundle runs alone in a folder of CommonJS on every runtime", async () => {
  await withBundle(async (folder) => {
    await Deno.writeTextFile(
      join(folder, "use.mjs"),
      `import { createRotator, memoryStore } from "./codex-rotator.mjs";
const rotator = createRotator({ store: memoryStore(), credits: "none" });
console.log(rotator.baseURL, (await rotator.status()).accounts.length);
await rotator.close();
`,
    );
    for (const runtime of RUNTIMES) {
      const start = commandOf(runtime, ["-A", "--no-config"]);
      const at = (...args: string[]) => run(folder, [...start, ...args]);
      const version = await at("codex-rotator.mjs", "--version");
      assertMatch(version.out, /^\d+\.\d+\.\d+\n$/, version.err);
      const status = await at("codex-rotator.mjs", "status", "--json");
      assertEquals(status.code, 4, status.err);
      assertEquals(JSON.parse(status.out).accounts, []);
      // advice starts it as it was started
      assertMatch(status.err, /sign in with: .*codex-rotator\.mjs login\n/);
      const demo = await at("codex-rotator.mjs", "demo");
      assertEquals(demo.code, 0, demo.err);
      assertMatch(demo.out, /Charged/);
      const used = await at("use.mjs");
      assertEquals(
        [used.code, used.out, used.err],
        [0, "https://chatgpt.com/backend-api/codex 0\n", ""],
      );
    }
  });
});

Deno.test({
  name: "the bundle is a program by its first line, also by a link to it",
  ignore: Deno.build.os === "windows" || !RUNTIMES.includes("node"),
  async fn() {
    await withBundle(async (folder) => {
      await Deno.symlink(
        join(folder, "codex-rotator.mjs"),
        join(folder, "codex-rotator"),
      );
      for (const name of ["codex-rotator.mjs", "codex-rotator"]) {
        const { code, out, err } = await run(folder, [
          join(folder, name),
          "--version",
        ]);
        assertEquals(code, 0, err);
        assertMatch(out, /^\d+\.\d+\.\d+\n$/);
      }
    });
  },
});

Deno.test("the bundle has no syntax that Node 22 lacks", async () => {
  await withBundle(async (folder) => {
    const code = await Deno.readTextFile(join(folder, "codex-rotator.mjs"));
    assertEquals(code.match(/\b(?:await )?using \w+ = .*/g), null);
  });
});

Deno.test("the bundle says in one sentence that a Node is too old for it", async () => {
  await withBundle(async (folder) => {
    const bundle = join(folder, "codex-rotator.mjs");
    const code = await Deno.readTextFile(bundle);
    // as if the Node that is here were older than the oldest
    const oldest = "process.versions.node) < 22";
    assert(code.includes(oldest));
    await Deno.writeTextFile(
      bundle,
      code.replace(oldest, "process.versions.node) < 2200"),
    );
    const [node] = commandOf("node");
    const { code: exit, out, err } = await run(folder, [
      node!,
      bundle,
      "status",
    ]);
    assertEquals([exit, out], [1, ""]);
    assertMatch(err, /^codex-rotator needs Node 22 or newer, .*\n$/);
  });
});
