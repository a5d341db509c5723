/** How suggested commands begin: as this process was started. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { commands } from "../../lib/cli/commands.ts";
import { programOf } from "../../lib/cli/runtime.ts";
import { run } from "./run.ts";

/** The program's name for a file that was started. */
function started(
  path: string,
  changes: {
    program?: string;
    folder?: string | undefined;
    isWindows?: boolean;
    env?: Record<string, string>;
    files?: Record<string, string>;
  } = {},
): string {
  const { program = "node", env = {}, files = {} } = changes;
  const folder = "folder" in changes ? changes.folder : "/home/me/work";
  return programOf({
    start: () => ({ path, program, folder }),
    isWindows: changes.isWindows ?? false,
    peekEnv: (name) => env[name],
    peekText: (name) => files[name],
  });
}

Deno.test("suggested commands start a clone with its runtime, from where the person is", () => {
  const deno = { program: "deno run -A" };
  assertEquals(
    started("/home/me/work/cli.ts", deno),
    "deno run -A cli.ts",
  );
  assertEquals(
    started("/home/me/my clones/it's/cli.ts", deno),
    `deno run -A '/home/me/my clones/it'\\''s/cli.ts'`,
  );
  assertEquals(
    started("/home/me/work/codex-rotator/cli.ts", deno),
    "deno run -A codex-rotator/cli.ts",
  );
  // where the current folder may not be asked for
  assertEquals(
    started("/home/me/work/cli.ts", { ...deno, folder: undefined }),
    "deno run -A /home/me/work/cli.ts",
  );
  assertEquals(
    started("C:\\Users\\Me And You\\cli.ts", {
      ...deno,
      folder: "C:\\Users",
      isWindows: true,
    }),
    'deno run -A "Me And You\\cli.ts"',
  );
  const env = {
    npm_lifecycle_event: "start",
    npm_package_name: "@codex-rotator/core",
  };
  assertEquals(started("/home/me/work/cli.ts", { env }), "npm start --");
});

Deno.test("suggested commands start the bundle by its path", () => {
  const bundle = "/home/me/work/dist/codex-rotator.mjs";
  assertEquals(started(bundle), "node dist/codex-rotator.mjs");
  assertEquals(
    started(bundle, { folder: "/tmp", program: "bun" }),
    `bun ${bundle}`,
  );
});

Deno.test("suggested commands start an installed package by npx, or by its name", () => {
  const inside = "node_modules/@codex-rotator/core/dist/codex-rotator.mjs";
  assertEquals(started(`/home/me/work/${inside}`), "npx codex-rotator");
  assertEquals(
    started("/home/me/work/node_modules/.bin/codex-rotator", {
      folder: "/home/me/work/src",
    }),
    "npx codex-rotator",
  );
  assertEquals(
    started(`/home/me/.npm/_npx/0a1b/${inside}`),
    "npx -p @codex-rotator/core codex-rotator",
  );
  assertEquals(started(`/usr/lib/${inside}`), "codex-rotator");
  // npm install -g links it into a folder of the PATH
  const link = "/home/me/.npm/bin/codex-rotator";
  const env = { PATH: "/usr/bin:/home/me/.npm/bin" };
  assertEquals(started(link, { env }), "codex-rotator");
  assertEquals(started(link, { folder: "/tmp" }), `node ${link}`);
  assertEquals(
    started(
      "C:\\Users\\me\\AppData\\Roaming\\npm\\node_modules\\@codex-rotator\\core\\x.mjs",
      { folder: "C:\\work", isWindows: true },
    ),
    "codex-rotator",
  );
});

Deno.test("suggested commands start what deno install installed by its name", () => {
  const changes = {
    program: "deno run -A",
    env: { PATH: "/usr/bin:/home/me/.deno/bin" },
    files: {
      "/home/me/.deno/bin/codex-rotator":
        `#!/bin/sh\nexec deno run -A 'file:///home/me/a%20clone/cli.ts' "$@"`,
    },
  };
  assertEquals(started("/home/me/a clone/cli.ts", changes), "codex-rotator");
  // another clone than the one that is installed
  assertEquals(
    started("/home/me/work/cli.ts", changes),
    "deno run -A cli.ts",
  );
});

Deno.test("main() begins what it suggests as it was started, in help, advice and errors of the library", async () => {
  const changes = { program: () => "npx codex-rotator" };
  const help = await run(["help", "use"], {}, changes);
  assertStringIncludes(help.out, "Usage: npx codex-rotator use");
  assertStringIncludes(help.out, "\n  npx codex-rotator use --auto\n");
  for (const name of commands.keys()) {
    const { out } = await run(["help", name], {}, changes);
    assertStringIncludes(out, `\n  npx codex-rotator ${name}`);
    assert(!out.includes("cli.ts"), out);
  }
  const general = await run(["--help"], {}, changes);
  assertStringIncludes(
    general.out,
    "  npx codex-rotator status --refresh  see",
  );
  const folder = await Deno.makeTempDir();
  const store = `${folder}/a b.json`;
  const none = await run(["status", "--store", store], {}, changes);
  assertEquals(none.code, 4);
  assertStringIncludes(none.err, `There is no ${store}\n`);
  assertStringIncludes(
    none.err,
    `  → sign in with: npx codex-rotator login --store '${store}'\n`,
  );
  await Deno.writeTextFile(store, "{");
  await Deno.writeTextFile(`${store}.bak`, "{");
  const broken = await run(["use", "me", "--store", store], {}, changes);
  assertStringIncludes(
    broken.err,
    `"npx codex-rotator restore --store '${store}'"`,
  );
  const copied = await run(["copy", store, `${folder}/c.json`], {}, changes);
  assertStringIncludes(
    copied.err,
    `"npx codex-rotator restore --store '${store}'"`,
  );
  await Deno.remove(folder, { recursive: true });
});

Deno.test("main() keeps a suggested command in one piece where the terminal is narrow", async () => {
  const store = "/nowhere/with/a/rather/long/path/to/accounts.json";
  const { err } = await run(["status", "--store", store], {}, {
    columns: 60,
    errIsTerminal: true,
  });
  assertEquals(
    err,
    `Error: There is no
  ${store}
  → sign in with:
    cli.ts login --store ${store}
`,
  );
});
