import { assert, assertEquals } from "@std/assert";
import { commandOf, RUNTIMES } from "./runtimes.ts";

const ROOT = new URL("..", import.meta.url);

interface Module {
  specifier: string;
  dependencies?: {
    specifier: string;
    code?: { specifier?: string };
    type?: { specifier?: string };
  }[];
}

/** The modules that `entry` reaches, and what each of them imports, by paths from the root. */
async function graphOf(entry: string): Promise<Map<string, string[]>> {
  const { stdout, success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--import-map=tests/npm_imports.json", entry],
    cwd: ROOT,
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    modules: Module[];
  };
  return new Map(modules.map(({ specifier, dependencies = [] }) => [
    short(specifier),
    dependencies.map(({ code, type }) =>
      short(code?.specifier ?? type?.specifier ?? "?")
    ),
  ]));
}

function short(specifier: string): string {
  return specifier.startsWith(ROOT.href)
    ? specifier.slice(ROOT.href.length)
    : specifier;
}

/** What a part of the library may import, besides itself. Arrows point down only. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  "cli.ts": ["mod.ts", "lib/cli"],
  "mod.ts": ["lib", "lib/store", "leaf"],
  "lib/cli": [
    "lib",
    "lib/serve",
    "lib/account",
    "lib/pool",
    "lib/codex",
    "lib/store",
    "lib/testing",
    "leaf",
  ],
  "lib/serve": ["lib", "lib/codex", "lib/store", "leaf"],
  "lib": ["lib/account", "lib/pool", "lib/codex", "lib/store", "leaf"],
  "lib/account": ["lib/pool", "lib/codex", "lib/store", "leaf"],
  "lib/pool": ["leaf"],
  "lib/codex": ["leaf"],
  "lib/store": ["leaf"],
  "lib/testing": [],
  "leaf": ["leaf"],
};
/** What all parts share. */
const LEAVES = ["types", "errors", "values", "meters", "nearest", "version"];

function partOf(path: string): string {
  if (LEAVES.some((leaf) => path === `lib/${leaf}.ts`)) return "leaf";
  return path.split("/").slice(0, -1).join("/") || path;
}

const isLocal = (path: string) => !path.includes(":");

Deno.test("imports point down only", async () => {
  const wrong: string[] = [];
  for (const entry of ["cli.ts", "lib/testing/fake_codex.ts"]) {
    for (const [path, imports] of await graphOf(entry)) {
      if (!isLocal(path)) continue;
      const part = partOf(path);
      for (const target of imports.filter(isLocal)) {
        const other = partOf(target);
        if (part !== other && !MAY_IMPORT[part]?.includes(other)) {
          wrong.push(`${path} imports ${target}`);
        }
      }
    }
  }
  assertEquals(wrong, []);
});

Deno.test("imports have no cycle", async () => {
  const graph = await graphOf("cli.ts");
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const seen = trail.indexOf(path);
    assert(seen < 0, `a cycle: ${[...trail.slice(seen), path].join(" → ")}`);
    if (done.has(path)) return;
    for (const next of graph.get(path) ?? []) {
      if (isLocal(next)) visit(next, [...trail, path]);
    }
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  assert(done.size > 40);
});

Deno.test("mod.ts and the other library modules need nothing but node: built-ins and no Deno.*", async () => {
  for (
    const entry of ["mod.ts", "lib/serve/mod.ts", "lib/testing/fake_codex.ts"]
  ) {
    const graph = await graphOf(entry);
    const foreign = [...graph.keys()].filter((path) =>
      !isLocal(path) && !path.startsWith("node:")
    );
    assertEquals(foreign, [], entry);
    for (const path of graph.keys()) {
      if (!isLocal(path)) continue;
      const text = await Deno.readTextFile(new URL(path, ROOT));
      const code = text.replaceAll(/^\s*(\*|\/\/).*$/gm, "");
      assert(!/\bDeno\./.test(code), `${path} uses Deno.*`);
    }
  }
});

Deno.test("the stand-in backend reaches only the command line and tests", async () => {
  const graph = await graphOf("mod.ts");
  assertEquals(
    [...graph.keys()].filter((path) => path.includes("/testing/")),
    [],
  );
});

Deno.test("package.json gives the names that deno.json gives, on Node and Bun", async () => {
  const read = async (name: string) =>
    JSON.parse(await Deno.readTextFile(new URL(name, ROOT)));
  const { name, exports } = await read("package.json");
  assertEquals(exports, (await read("deno.json")).exports);
  const source = `
    import { createRotator } from "${name}";
    import { createHandler } from "${name}/serve";
    import { startFakeCodex } from "${name}/testing";
    console.log(typeof createRotator, typeof createHandler, typeof startFakeCodex);
  `;
  for (const runtime of RUNTIMES.filter((it) => it !== "deno")) {
    const [program] = commandOf(runtime);
    const flags = runtime === "node" ? ["--input-type=module"] : [];
    const { stdout } = await new Deno.Command(program!, {
      args: [...flags, "-e", source],
      cwd: ROOT,
    }).output();
    assertEquals(
      new TextDecoder().decode(stdout),
      "function function function\n",
    );
  }
});
