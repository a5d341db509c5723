/** The ways to start the command line, and that what it suggests can be pasted. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { VERSION } from "../../lib/version.ts";
import { spawn } from "../spawn.ts";
import { commandOf, RUNTIMES } from "../runtimes.ts";
import { account } from "./run.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));
const PATH = `${dirname(Deno.execPath())}:${Deno.env.get("PATH")}`;
const ignore = Deno.build.os === "windows";

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    const [source, target] = [join(from, name), join(to, name)];
    await (isDirectory
      ? copyFolder(source, target)
      : Deno.copyFile(source, target));
  }
}

/** A clone in a folder with a space, and a store beside it whose name needs quotes. */
async function withClone(
  job: (clone: string, elsewhere: string, store: string) => Promise<void>,
) {
  const folder = await Deno.makeTempDir({ prefix: "codex rotator " });
  try {
    const [clone, elsewhere] = [join(folder, "clone"), join(folder, "else")];
    await copyFolder(join(ROOT, "lib"), join(clone, "lib"));
    for (const name of ["mod.ts", "cli.ts", "deno.json"]) {
      await Deno.copyFile(join(ROOT, name), join(clone, name));
    }
    await Deno.mkdir(elsewhere);
    const store = join(elsewhere, "it's mine.json");
    const accounts = { alice: account("alice") };
    await Deno.writeTextFile(store, JSON.stringify({ version: 1, accounts }));
    await job(clone, elsewhere, store);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function run(cwd: string, command: readonly string[], path = PATH) {
  const env = { PATH: path, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };
  return spawn(command, { cwd, env });
}

/** Pins an account, and unpins it by pasting what that suggests into a shell. */
async function paste(
  cwd: string,
  start: readonly string[],
  store: string,
  path = PATH,
): Promise<string> {
  const pinned = await run(
    cwd,
    [...start, "use", "alice", "--store", store],
    path,
  );
  assertEquals(pinned.code, 0, pinned.err);
  const suggested = pinned.out.split("undo with: ")[1]!.trim();
  const freed = await run(cwd, ["sh", "-c", suggested], path);
  assertEquals(
    [freed.code, freed.out],
    [0, "All accounts may serve again: alice is not pinned any more\n"],
    suggested + freed.err,
  );
  return suggested;
}

Deno.test({
  name: "cli.ts is a program by its first line, from any folder",
  ignore,
  fn: () =>
    withClone(async (clone, elsewhere, store) => {
      const program = join(clone, "cli.ts");
      const { code, out, err } = await run(elsewhere, [program, "--version"]);
      assertEquals([code, out], [0, `${VERSION}\n`], err);
      const status = [program, "status", "--store", store];
      assertStringIncludes((await run(elsewhere, status)).out, "alice");
    }),
});

Deno.test({
  name: "cli.ts starts from a clone on every runtime, without any package",
  ignore,
  fn: () =>
    withClone(async (clone, elsewhere, store) => {
      for (const runtime of RUNTIMES) {
        const [program, ...flags] = commandOf(runtime);
        const start = [runtime, ...flags.filter((it) => it !== "--no-prompt")];
        const path = `${dirname(program!)}:${PATH}`;
        const inside = await paste(clone, [...start, "cli.ts"], store, path);
        assertStringIncludes(inside, " cli.ts use --auto --store '");
        const file = join(clone, "cli.ts");
        await paste(elsewhere, [...start, file], store, path);
      }
    }),
});

Deno.test({
  name: "cli.ts can be installed as a command, from a clone as it stands",
  ignore,
  fn: () =>
    withClone(async (clone, elsewhere, store) => {
      const installed = await run(clone, [
        ...["deno", "install", "-g", "-A", "--root", elsewhere],
        ...["-n", "codex-rotator", "cli.ts"],
      ]);
      assertEquals(installed.code, 0, installed.err);
      const path = `${join(elsewhere, "bin")}:${PATH}`;
      const suggested = await paste("/", ["codex-rotator"], store, path);
      assert(suggested.startsWith("codex-rotator use --auto"), suggested);
    }),
});
