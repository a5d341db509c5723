/** The package, installed into projects that have nothing else. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { delimiter, dirname, join, posix } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import deno from "../deno.json" with { type: "json" };
import npm from "../package.json" with { type: "json" };
import { hasPostgres, startPostgres } from "./postgres/server.ts";
import { commandOf, RUNTIMES } from "./runtimes.ts";
import { spawn } from "./spawn.ts";
import { tempFolder } from "./test.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const MODULES = join(ROOT, "node_modules");
const CLIENTS = join(ROOT, "tests/clients/node_modules");
/** npm is a script on Windows, which no program but the shell starts. */
const ignore = process.platform === "win32" || !hasNpm();

function hasNpm(): boolean {
  const { status } = spawnSync("npm", ["--version"]);
  if (status !== 0 && process.env.CI === "true") throw new Error("No npm");
  if (status !== 0) console.log("Skipped: the package, as there is no npm");
  return status === 0;
}

/** Imports every entry and uses what they share. */
const USE = `import { createRotator, RotatorError } from "${npm.name}";
import { createHandler, Metrics } from "${npm.name}/serve";
import { CodexRotatorPlugin } from "${npm.name}/opencode";
import { postgresStore } from "${npm.name}/postgres";
import { startFakeCodex } from "${npm.name}/testing";

const fake = await startFakeCodex({ accounts: { alice: {} } });
const { backend, issuer } = fake;
const { access, refresh, id, accountId, expiresAt } = fake.tokens("alice");
const tokens = { access, refresh, id, expiresAt };
const { memoryStore } = await import("${npm.name}");
const store = memoryStore({ accounts: { alice: { accountId, tokens } } });
const rotator = createRotator({ store, backend, issuer, credits: "none" });
const handler = createHandler(rotator, { key: null, metrics: new Metrics() });
const response = await handler(
  new Request("http://127.0.0.1/v1/responses", {
    method: "POST",
    headers: { "content-type": "application/json", host: "127.0.0.1" },
    body: JSON.stringify({ model: "gpt-5.5", input: "Hello" }),
  }),
);
const answer: { status: string } = await response.json();
const database = postgresStore("postgres://nobody@127.0.0.1:9/none");
const refused: unknown = await database.read().catch((error: unknown) => error);
await database.close();
console.log(
  response.status,
  answer.status,
  refused instanceof RotatorError && refused.code,
  typeof CodexRotatorPlugin,
);
await rotator.close();
await fake.close();
`;

const WRONG = `import { createRotator } from "${npm.name}";
createRotator({ credit: "none" });
createRotator().baseURL satisfies number;
`;

const HOOK = /^(?:pre|post)?install$|^prepare$/;

/** The ways to start its command. */
const STARTS: [program: string, start: string[]][] = [
  ["node", ["npx", "--offline", "codex-rotator"]],
  ["node 22", ["npx", "--offline", "codex-rotator"]],
  ["bun", ["bunx", "codex-rotator"]],
];

interface Packed {
  filename: string;
  size: number;
  unpackedSize: number;
  files: { path: string }[];
}

function run(cwd: string, path: string, command: readonly string[]) {
  const env = { PATH: path, NO_COLOR: "1", CODEX_ROTATOR_STORE: `${cwd}/none` };
  return spawn(command, { cwd, env });
}

/** Packs as whoever publishes does. */
async function pack(folder: string): Promise<Packed> {
  const to = ["--pack-destination", folder];
  const path = [dirname(Deno.execPath()), process.env.PATH].join(delimiter);
  const { code, out, err } = await run(ROOT, path, [
    ...["npm", "pack", "--json", "--offline"],
    ...to,
  ]);
  assertEquals(code, 0, err);
  const [packed] = JSON.parse(out);
  return packed;
}

const folder = await tempFolder();
const project = join(folder, "project");
let packed: Promise<Packed> | undefined;
addEventListener("unload", () => rmSync(folder, { recursive: true }));

/** A project with nothing but the package; made once. */
async function installed(): Promise<Packed> {
  return await (packed ??= install());
}

async function install(): Promise<Packed> {
  const it = await pack(folder);
  await mkdir(project);
  await writeFile(join(project, "package.json"), '{ "private": true }');
  await writeFile(join(project, "use.mts"), USE);
  const { code, err } = await run(project, process.env.PATH!, [
    ...["npm", "install", "--offline", "--no-audit", "--no-fund"],
    join(folder, it.filename),
  ]);
  assertEquals(code, 0, err);
  return it;
}

/** The programs that import it, by their names. */
const PROGRAMS = new Map(
  RUNTIMES.map((it) => [`${it}`, commandOf(it, ["-A"])]),
);
const NODE_22 = join(CLIENTS, "node-22/bin/node");
if (existsSync(NODE_22)) PROGRAMS.set("node 22", [NODE_22]);
else if (process.env.CI === "true") throw new Error("Node 22 is not here");
else console.log("Skipped: the package on Node 22, which is not here");

/** The compilers that know its types. */
const COMPILERS = ["typescript", "../tests/clients/node_modules/typescript-7"]
  .map((it) => join(MODULES, it))
  .filter((it) => existsSync(it));

Deno.test({
  name: "npm pack makes a package below 1 MB that depends on nothing",
  ignore,
  async fn() {
    const { size, unpackedSize, files } = await installed();
    assert(size < 1_000_000 && unpackedSize < 1_000_000, `${unpackedSize}`);
    const there = new Set(files.map(({ path }) => `./${path}`));
    for (const target of Object.values(npm.exports)) {
      for (const path of Object.values(target)) assert(there.has(path), path);
    }
    assertEquals(Object.keys(npm.exports), Object.keys(deno.exports));
    // a clone is told what its tests install, by a script that npm runs there
    // alone; of those that would run where the package is installed it warns
    assert(npm.scripts.postprepare.includes("about 1 GB"));
    assertEquals(Object.keys(npm.scripts).filter((it) => HOOK.test(it)), []);
    assertEquals(
      readdirSync(join(project, "node_modules")).filter((it) => it[0] !== "."),
      ["@codex-rotator"],
    );
  },
});

Deno.test({
  name: "the pages of the package link only to what it has",
  ignore,
  async fn() {
    const { files } = await installed();
    const there = files.map(({ path }) => path);
    for (const page of there.filter((it) => it.endsWith(".md"))) {
      const text = readFileSync(join(ROOT, page), "utf8");
      for (
        const [, link] of text.matchAll(/\]\(([^\s()#:]+)(?:#[^\s()]*)?\)/g)
      ) {
        const path = posix.join(posix.dirname(page), link!);
        assert(there.includes(path), `${page} links to ${path}`);
      }
    }
  },
});

for (const [name, command] of PROGRAMS) {
  Deno.test({
    name: `the package is imported on ${name}, and its entries share one state`,
    ignore,
    async fn() {
      await installed();
      // Node 22 and 24 take types away in files of the project alone
      const { code, out, err } = await run(project, process.env.PATH!, [
        ...command,
        "use.mts",
      ]);
      assertEquals([code, out], [
        0,
        "200 completed store_unwritable function\n",
      ], err);
    },
  });
}

for (const compiler of COMPILERS) {
  const { version } = JSON.parse(
    readFileSync(join(compiler, "package.json"), "utf8"),
  );
  Deno.test({
    name:
      `the package has types for tsc --strict ${version}, which refuse what is wrong`,
    ignore,
    async fn() {
      await installed();
      const check = (...more: string[]) =>
        run(project, process.env.PATH!, [
          ...commandOf("node"),
          join(compiler, "bin/tsc"),
          ...["--noEmit", "--strict", "--target", "es2023"],
          ...["--module", "nodenext"],
          ...more,
        ]);
      const good = await check("use.mts");
      assertEquals([good.code, good.out], [0, ""]);
      await writeFile(join(project, "wrong.mts"), WRONG);
      const wrong = await check("wrong.mts");
      assertEquals(wrong.out.match(/error TS\d+/g)?.length, 2, wrong.out);
    },
  });
}

for (const [name, start] of STARTS.filter(([it]) => PROGRAMS.has(it))) {
  Deno.test({
    name: `${
      start.join(" ")
    } demo runs where the package is installed, on ${name}`,
    ignore,
    async fn() {
      await installed();
      const path = [dirname(PROGRAMS.get(name)![0]!), process.env.PATH].join(
        delimiter,
      );
      const demo = await run(project, path, [...start, "demo"]);
      assertEquals(demo.code, 0, demo.err);
      assertMatch(demo.out, /Charged/);
      const status = await run(project, path, [...start, "status"]);
      assertMatch(status.err, /npx codex-rotator login/);
    },
  });
}

Deno.test({
  name: "npm install -g puts the command on the PATH, and it says to type that",
  ignore,
  async fn() {
    const { filename } = await installed();
    const prefix = join(folder, "global");
    const place = ["--offline", "--prefix", prefix];
    const { code, err } = await run(folder, process.env.PATH!, [
      ...["npm", "install", "-g", ...place, join(folder, filename)],
    ]);
    assertEquals(code, 0, err);
    const node = dirname(PROGRAMS.get("node")![0]!);
    const path = [join(prefix, "bin"), node, process.env.PATH].join(delimiter);
    const status = await run(folder, path, ["codex-rotator", "status"]);
    assertMatch(status.err, /with: codex-rotator login/);
  },
});

Deno.test({
  name:
    "the installed command opens a database with the client in it, on every runtime",
  ignore: ignore || !hasPostgres,
  async fn() {
    await installed();
    await using server = await startPostgres();
    const file = join(
      project,
      "node_modules",
      npm.name,
      "dist/codex-rotator.mjs",
    );
    for (const [name, command] of PROGRAMS) {
      const start = [...command, file, "strategy", "--store", server.newUrl()];
      const set = await run(project, process.env.PATH!, [...start, "drain"]);
      assertEquals([name, set.code], [name, 0], set.err);
      const { out, err } = await run(project, process.env.PATH!, start);
      assertMatch(out, /^drain: /, err);
    }
  },
});
