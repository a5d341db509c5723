/**
 * The ways to start `cli.ts`. They use the configuration beside it, so a copy
 * is started whose configuration names imports that can be had everywhere.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { VERSION } from "../../lib/version.ts";
import { account } from "./run.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));
const PATH = `${dirname(Deno.execPath())}:${Deno.env.get("PATH")}`;
const isWindows = Deno.build.os === "windows";

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    const [source, target] = [join(from, name), join(to, name)];
    await (isDirectory
      ? copyFolder(source, target)
      : Deno.copyFile(source, target));
  }
}

/** A copy of the program in a folder with a space, and an empty folder beside it. */
async function withCopy(
  job: (copy: string, elsewhere: string) => Promise<void>,
) {
  const folder = await Deno.makeTempDir({ prefix: "codex rotator " });
  try {
    const [copy, elsewhere] = [
      join(folder, "copy"),
      join(folder, "else where"),
    ];
    await Deno.mkdir(elsewhere);
    await copyFolder(join(ROOT, "lib"), join(copy, "lib"));
    for (const name of ["mod.ts", "cli.ts"]) {
      await Deno.copyFile(join(ROOT, name), join(copy, name));
    }
    const { imports } = JSON.parse(
      await Deno.readTextFile(join(ROOT, "tests/npm_imports.json")),
    );
    const config = { imports, nodeModulesDir: "none", lock: false };
    await Deno.writeTextFile(join(copy, "deno.json"), JSON.stringify(config));
    await job(copy, elsewhere);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function run(cwd: string, program: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd,
    env: { PATH, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test({
  name: "cli.ts is a program by its first line, from any folder",
  ignore: isWindows,
  fn: () =>
    withCopy(async (copy, elsewhere) => {
      const program = join(copy, "cli.ts");
      const { code, out, err } = await run(elsewhere, program, "--version");
      assertEquals([code, out], [0, `${VERSION}\n`], err);
      const store = join("my stores", "accounts.json");
      await Deno.mkdir(join(elsewhere, "my stores"));
      const accounts = { alice: account("alice") };
      await Deno.writeTextFile(
        join(elsewhere, store),
        JSON.stringify({ version: 1, accounts }),
      );
      const status = await run(elsewhere, program, "status", "--store", store);
      assertEquals(status.code, 0, status.err);
      assertStringIncludes(status.out, "alice");
    }),
});

Deno.test({
  name: "cli.ts can be installed as a command",
  ignore: isWindows,
  fn: () =>
    withCopy(async (copy, elsewhere) => {
      const installed = await run(
        elsewhere,
        Deno.execPath(),
        ...["install", "--global", "--quiet", "--root", elsewhere],
        ...["--config", join(copy, "deno.json"), "--name", "codex-rotator"],
        "--allow-env",
        join(copy, "cli.ts"),
      );
      assertEquals(installed.code, 0, installed.err);
      const program = join(elsewhere, "bin", "codex-rotator");
      const { code, out, err } = await run(copy, program, "--version");
      assertEquals([code, out], [0, `${VERSION}\n`], err);
    }),
});
