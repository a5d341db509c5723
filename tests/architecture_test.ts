import { assert, assertEquals } from "@std/assert";

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
    "lib/ledger",
    "lib/testing",
    "leaf",
  ],
  "lib/serve": ["lib", "lib/codex", "lib/store", "lib/ledger", "leaf"],
  "lib": [
    "lib/account",
    "lib/pool",
    "lib/codex",
    "lib/store",
    "lib/ledger",
    "lib/postgres",
    "leaf",
  ],
  "lib/account": ["lib/pool", "lib/codex", "lib/store", "leaf"],
  "lib/pool": ["leaf"],
  "lib/codex": ["leaf"],
  "lib/store": ["leaf"],
  "lib/postgres": ["lib/store", "leaf"],
  "lib/ledger": ["leaf"],
  "lib/testing": [],
  "leaf": ["leaf"],
};
/** What all parts share. */
const LEAVES = [
  "abort",
  "decimal",
  "spent",
  "errors",
  "meters",
  "nearest",
  "normal_types",
  "report_types",
  "spending_types",
  "types",
  "values",
  "version",
];

function partOf(path: string): string {
  if (LEAVES.some((leaf) => path === `lib/${leaf}.ts`)) return "leaf";
  return path.split("/").slice(0, -1).join("/") || path;
}

const isLocal = (path: string) => !path.includes(":");

Deno.test("imports point down only", async () => {
  const wrong: string[] = [];
  for (
    const entry of ["cli.ts", "lib/postgres.ts", "lib/testing/fake_codex.ts"]
  ) {
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
    const entry of [
      "mod.ts",
      "lib/serve/mod.ts",
      "lib/opencode.ts",
      "lib/testing/fake_codex.ts",
    ]
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

Deno.test("the PostgreSQL store needs its client and node: built-ins alone, and nothing imports it", async () => {
  const graph = await graphOf("lib/postgres.ts");
  const foreign = [...graph.values()].flat().filter((path) =>
    !isLocal(path) && !path.startsWith("node:")
  );
  assertEquals(new Set(foreign), new Set(["npm:postgres@^3"]));
  for (const entry of ["mod.ts", "cli.ts", "lib/serve/mod.ts"]) {
    const local = [...(await graphOf(entry)).keys()];
    assertEquals(local.filter((path) => /^npm:|postgres/.test(path)), []);
  }
});

Deno.test("the stand-in backend reaches only the command line and tests", async () => {
  const graph = await graphOf("mod.ts");
  assertEquals(
    [...graph.keys()].filter((path) => path.includes("/testing/")),
    [],
  );
});

Deno.test("package.json gives the names that deno.json gives", async () => {
  const [npm, deno] = [await exportsOf("package.json"), await entries()];
  assertEquals(Object.keys(npm), Object.keys(deno));
});

async function exportsOf(name: string): Promise<Record<string, unknown>> {
  return JSON.parse(await Deno.readTextFile(new URL(name, ROOT))).exports;
}

/** The modules that people import, by what they call them. */
async function entries(): Promise<Record<string, string>> {
  return await exportsOf("deno.json") as Record<string, string>;
}

/** Every module of the library with its text, by its path from the root. */
function modules(folder = "lib"): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of Deno.readDirSync(new URL(`${folder}/`, ROOT))) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) {
      for (const [name, text] of modules(path)) found.set(name, text);
    } else if (entry.name.endsWith(".ts")) {
      found.set(path, Deno.readTextFileSync(new URL(path, ROOT)));
    }
  }
  return found;
}

const linesOf = (text: string) => text.split("\n").length - 1;

Deno.test("no file is longer than 300 lines", () => {
  const long = [...modules()]
    .map(([path, text]) => `${path}: ${linesOf(text)}`)
    .filter((row) => Number(row.split(": ")[1]) > 300);
  assertEquals(long, []);
});

Deno.test("a file that only one other imports is an entry, a command, or too long to be a chapter of that one", async () => {
  const texts = modules()
    .set("cli.ts", await Deno.readTextFile(new URL("cli.ts", ROOT)));
  const imported = Object.values(await entries());
  const importers = new Map<string, Set<string>>();
  for (const [path, text] of texts) {
    for (const [, specifier] of text.matchAll(/"(\.{1,2}\/[^"]+\.ts)"/g)) {
      const target = new URL(specifier!, new URL(path, ROOT)).href
        .slice(ROOT.href.length);
      importers.set(target, (importers.get(target) ?? new Set()).add(path));
    }
  }
  const chapters = [...texts].filter(([path, text]) => {
    const [only, another] = importers.get(path) ?? [];
    if (only === undefined || another !== undefined) return false;
    if (only.endsWith("/commands.ts") || imported.includes(`./${path}`)) {
      return false;
    }
    return linesOf(text) < 150 &&
      linesOf(text) + linesOf(texts.get(only)!) <= 300;
  }).map(([path]) => path);
  assertEquals(chapters, []);
});

/** The parameter lists of a module's functions. */
function parameterLists(text: string): string[][] {
  const lists: string[][] = [];
  for (
    const { index, 0: head } of text.matchAll(
      /\bfunction\*? \w+(?:<[^(]*>)?\(/g,
    )
  ) {
    const parameters: string[] = [""];
    let depth = 1;
    for (let at = index + head.length; depth > 0; at++) {
      const char = text[at]!;
      if ("([{<".includes(char)) depth++;
      if (")]}".includes(char) || (char === ">" && text[at - 1] !== "=")) {
        depth--;
      }
      if (char === "," && depth === 1) parameters.push("");
      else if (depth > 0) parameters[parameters.length - 1] += char;
    }
    lists.push(parameters.filter((it) => it.trim() !== ""));
  }
  return lists;
}

Deno.test("no function has more than four parameters", () => {
  const long = [...modules()].flatMap(([path, text]) =>
    parameterLists(text).filter((list) => list.length > 4)
      .map((list) => `${path}: ${list.join()}`)
  );
  assertEquals(long, []);
  assertEquals(
    parameterLists("function f<T>(a: (x: 1, y: 2) => T, { b, c }: D) {")
      .map((list) => list.length),
    [2],
  );
});

Deno.test("no function is longer than 50 lines", () => {
  const long = [...modules()].flatMap(([path, text]) =>
    [...text.matchAll(
      /^( *)(?:export )?(?:async )?(?:function|static|get|#?\w+\()[^\n;]*\n(?:(?!\1\})[^\n]*\n)*?\1\}/gm,
    )]
      .map(([body]) => body)
      .filter((body) => linesOf(body) > 50)
      .map((body) => `${path}: ${body.split("\n")[0]}`)
  );
  assertEquals(long, []);
});

/** Words of the old private vocabulary. */
const OLD_WORDS =
  /\b(?:house|roster|runner|keeper|desk|observer|passage|scene|purse|hiccup|openHouse|takeOver|joinFacts)s?\b/i;

Deno.test("the library speaks the contract's words", () => {
  const found = [...modules()].flatMap(([path, text]) =>
    text.split("\n").flatMap((line, index) =>
      OLD_WORDS.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : []
    )
  );
  assertEquals(found, []);
});

Deno.test("no module of the library has the type any", () => {
  const found = [...modules()].filter(([, text]) =>
    /(?::|<|\bas)\s*any\b/.test(text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, ""))
  ).map(([path]) => path);
  assertEquals(found, []);
});
