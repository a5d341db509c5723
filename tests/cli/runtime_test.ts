/** The command line on its runtime: what it loads, and what it does with its output. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { denoRuntime } from "../../lib/cli/runtime.ts";
import { account, bench } from "./run.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));
const IMPORTS = "--import-map=tests/npm_imports.json";

interface Module {
  specifier: string;
  dependencies?: {
    specifier: string;
    code?: { specifier: string };
    isDynamic?: boolean;
  }[];
}

/** What is loaded before `entry` runs: all that it imports, not what it may import later. */
async function loadedBy(entry: string): Promise<Set<string>> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", IMPORTS, entry],
    cwd: ROOT,
  }).output();
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    modules: Module[];
  };
  const bySpecifier = new Map(modules.map((it) => [it.specifier, it]));
  const loaded = new Set<string>();
  const visit = (specifier: string) => {
    if (loaded.has(specifier)) return;
    loaded.add(specifier);
    for (const it of bySpecifier.get(specifier)?.dependencies ?? []) {
      if (!it.isDynamic && it.code) visit(it.code.specifier);
    }
  };
  visit(new URL(`../../${entry}`, import.meta.url).href);
  return loaded;
}

Deno.test("cli.ts status and --help load nothing of Node in Deno, which would take longer than they run", async () => {
  const parts = { "cli.ts": 10, "lib/cli/status.ts": 20 };
  for (const [entry, least] of Object.entries(parts)) {
    const loaded = await loadedBy(entry);
    assert(loaded.size >= least, entry);
    const node = [...loaded].filter((it) => it.startsWith("node:"));
    assertEquals(node, [], entry);
  }
  // what is found with this way of looking
  const loaded = await loadedBy("mod.ts");
  assert(loaded.has("node:fs/promises"));
});

/** A store of that many accounts. */
function crowd(count: number): ReturnType<typeof bench> {
  const names = Array.from({ length: count }, (_, n) => `user-${n}`);
  return bench(Object.fromEntries(names.map((it) => [it, account(it)])));
}

/** `status --json` as a process of its own. */
function reportOn(path: string): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", IMPORTS, "cli.ts", "status", "--json"]
      .concat("--store", path),
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

Deno.test("cli.ts status ends quietly when nobody reads on", async () => {
  await using it = await crowd(200);
  const child = reportOn(it.path);
  const reader = child.stdout.getReader();
  assert(!(await reader.read()).done);
  await reader.cancel();
  const { code } = await child.status;
  const err = await new Response(child.stderr).text();
  assertEquals([code, err], [0, ""]);
});

Deno.test("cli.ts status --json writes all of a long report into a slow pipe", async () => {
  await using it = await crowd(500);
  const child = reportOn(it.path);
  let text = "";
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const { code } = await child.status;
  const err = await new Response(child.stderr).text();
  assertEquals([code, err], [0, ""]);
  assert(text.length > 128 * 1024);
  assertEquals(JSON.parse(text).accounts.length, 500);
});

Deno.test("quickRead() leaves all but whole text in regular files to others", async () => {
  const folder = await Deno.makeTempDir();
  const runtime = denoRuntime();
  try {
    const at = (name: string) => join(folder, name);
    await Deno.writeTextFile(at("text"), "zwei €");
    assertEquals(runtime.quickRead!(at("text")), "zwei €");
    await Deno.symlink(at("text"), at("link"));
    assertEquals(runtime.quickRead!(at("link")), "zwei €");
    await Deno.writeFile(at("bytes"), new Uint8Array([0x7b, 0xff, 0x7d]));
    for (const name of ["bytes", "missing", "."]) {
      assertEquals(runtime.quickRead!(at(name)), undefined, name);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("cli.ts status says of a store that is no text what any command says of it", async () => {
  await using it = await bench({ alice: account("alice") });
  await Deno.writeFile(it.path, new Uint8Array([0x7b, 0xff, 0x7d]));
  for (const command of [["status"], ["use", "alice"]]) {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", IMPORTS, "cli.ts", ...command, "--store", it.path],
      cwd: ROOT,
    }).output();
    assertEquals(code, 1);
    assertStringIncludes(
      new TextDecoder().decode(stderr),
      `The store ${it.path} cannot be used: it is not UTF-8 text`,
    );
  }
});

Deno.test("cli.ts colours a pipe only where FORCE_COLOR asks for it and nothing forbids it", async () => {
  await using it = await bench({ alice: account("alice") });
  const cases: [Record<string, string>, string[], boolean][] = [
    [{}, [], false],
    [{ FORCE_COLOR: "1" }, [], true],
    [{ FORCE_COLOR: "1", TERM: "dumb" }, [], true],
    [{ FORCE_COLOR: "0" }, [], false],
    [{ FORCE_COLOR: "1", NO_COLOR: "1" }, [], false],
    [{ FORCE_COLOR: "1" }, ["--no-color"], false],
  ];
  for (const [env, flags, isColored] of cases) {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", IMPORTS, "cli.ts", "status", "--store", it.path]
        .concat(flags),
      cwd: ROOT,
      env: { NO_COLOR: "", FORCE_COLOR: "", ...env },
    }).output();
    const text = new TextDecoder().decode(stdout);
    assertStringIncludes(text, "alice");
    assertEquals(text.includes("\u001b["), isColored, JSON.stringify(env));
  }
});
