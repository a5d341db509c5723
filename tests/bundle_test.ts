import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { commandOf, RUNTIMES } from "./runtimes.ts";

const ROOT = new URL("..", import.meta.url);

/** The bundle alone in an empty folder. */
async function withBundle(job: (folder: string) => Promise<void>) {
  const folder = await Deno.makeTempDir({ prefix: "codex-rotator-bundle-" });
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "tests/tasks.ts", "bundle"],
      cwd: ROOT,
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    await Deno.copyFile(
      new URL("dist/codex-rotator.js", ROOT),
      join(folder, "codex-rotator.js"),
    );
    await job(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function run(folder: string, [program, ...args]: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(program!, {
    args,
    cwd: folder,
    env: { CODEX_ROTATOR_STORE: join(folder, "accounts.json"), NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test("the bundle runs alone in an empty folder on every runtime", async () => {
  await withBundle(async (folder) => {
    await Deno.writeTextFile(
      join(folder, "use.mjs"),
      `import { createRotator, memoryStore } from "./codex-rotator.js";
const rotator = createRotator({ store: memoryStore(), credits: "none" });
console.log(rotator.baseURL, (await rotator.status()).accounts.length);
await rotator.close();
`,
    );
    for (const runtime of RUNTIMES) {
      const start = commandOf(runtime, ["-A", "--no-config"]);
      const at = (...args: string[]) => run(folder, [...start, ...args]);
      const version = await at("codex-rotator.js", "--version");
      assertMatch(version.out, /^\d+\.\d+\.\d+\n$/, version.err);
      const status = await at("codex-rotator.js", "status", "--json");
      assertEquals(status.code, 4, status.err);
      assertEquals(JSON.parse(status.out).accounts, []);
      const demo = await at("codex-rotator.js", "demo");
      assertEquals(demo.code, 0, demo.err);
      assertMatch(demo.out, /charged/);
      const used = await at("use.mjs");
      assertEquals(
        [used.code, used.out, used.err],
        [0, "https://chatgpt.com/backend-api/codex 0\n", ""],
      );
    }
  });
});
