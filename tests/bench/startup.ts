/**
 * How long it takes until a command has answered or the library is there, and
 * how much of it there is. Runs on Deno; starts the other runtimes itself.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { cp, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AccountRecord } from "../../mod.ts";
import { commandOf, RUNTIMES } from "../runtimes.ts";
import { median, medians, printTable, withFolder } from "./measure.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const ROUNDS = 25;
const WARM_UP_ROUNDS = 2;
const MEMORY_RUNS = 9;
const ACCOUNTS = 10;
const HOUR = 3_600_000;
const BUNDLE = join(ROOT, "dist/codex-rotator.mjs");

/** Where the registry of deno.json's imports cannot be reached, children need the map too. */
const IMPORTS = !import.meta.resolve("@std/path").startsWith("jsr:")
  ? ["--import-map=tests/npm_imports.json"]
  : [];

/** What a command needs of it. */
const PARTS = [
  "cli.ts",
  "mod.ts",
  "deno.json",
  "lib",
  "tests/npm_imports.json",
];

type Line = readonly string[];

/** The same as new: for a file that was run before, Deno keeps what any run compiled, and loads it all. */
async function freshTree(folder: string): Promise<string> {
  const tree = join(folder, "tree");
  for (const part of PARTS) {
    await cp(join(ROOT, part), join(tree, part), { recursive: true });
  }
  const modules = join(ROOT, "node_modules");
  if (existsSync(modules)) await symlink(modules, join(tree, "node_modules"));
  return tree;
}

function run([program, ...args]: Line, cwd = ROOT): string {
  const { status, stdout, stderr } = spawnSync(program!, args, { cwd });
  if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr}`);
  return String(stdout);
}

/** ms from its start to its end. */
function timeOf(line: Line, cwd: string): Promise<number> {
  const begun = performance.now();
  run(line, cwd);
  return Promise.resolve(performance.now() - begun);
}

/** The most memory that it takes, MB; NaN where nothing tells. */
function memoryOf(line: Line, cwd: string): number {
  if (!existsSync("/usr/bin/time")) return NaN;
  const kilobytes = Array.from({ length: MEMORY_RUNS }, () => {
    const timed = ["-f", "%M", ...line];
    const { stderr } = spawnSync("/usr/bin/time", timed, { cwd });
    return Number(String(stderr).trim().split("\n").at(-1));
  });
  return median(kilobytes) / 1024;
}

/** A row for each line; ratios are to `base`. */
async function rowsOf(
  lines: ReadonlyMap<string, Line>,
  cwd: string,
  base: (name: string) => string,
): Promise<string[][]> {
  const times = await medians(
    lines,
    ROUNDS,
    WARM_UP_ROUNDS,
    (line) => timeOf(line, cwd),
  );
  const memories = new Map(
    [...lines].map(([name, line]) => [name, memoryOf(line, cwd)]),
  );
  const cells = (found: ReadonlyMap<string, number>, name: string) => {
    const value = found.get(name)!;
    const ratio = value / found.get(base(name))!;
    return [value.toFixed(1), `${ratio.toFixed(2)}×`];
  };
  return [...lines.keys()].map((name) => [
    name,
    ...cells(times, name),
    ...cells(memories, name),
  ]);
}

function accounts(): Record<string, AccountRecord> {
  const now = Date.now();
  const windows = [18_000, 604_800].map((windowSeconds) => ({
    usedPercent: 42,
    windowSeconds,
    resetsAt: now + 2 * HOUR,
  }));
  return Object.fromEntries(
    Array.from({ length: ACCOUNTS }, (_, n) => [`account-${n}`, {
      plan: "plus",
      tokens: { access: "a", refresh: "r", expiresAt: now + 24 * HOUR },
      usage: { observedAt: now, meters: { codex: { windows } } },
    }]),
  );
}

async function measureCommands(
  folder: string,
  tree: string,
  empty: string,
): Promise<void> {
  const store = join(folder, "accounts.json");
  const state = { version: 1, settings: {}, accounts: accounts() };
  await writeFile(store, JSON.stringify(state), { mode: 0o600 });
  const start = commandOf("deno", ["-A", ...IMPORTS]);
  const status = [...start, "cli.ts", "status", "--store", store];
  const lines = new Map<string, Line>([
    ["an empty script", [...start, empty]],
    ["--help", [...start, "cli.ts", "--help"]],
    [`status, ${ACCOUNTS} accounts`, status],
    [`status --json, ${ACCOUNTS} accounts`, [...status, "--json"]],
    [`the bundle's status, ${ACCOUNTS} accounts`, [
      ...[...start, BUNDLE, "status", "--store", store],
    ]],
  ]);
  printTable(
    "a command, from start to end",
    ["", "ms", "ratio", "MB", "ratio"],
    await rowsOf(lines, tree, () => "an empty script"),
  );
}

async function measureImport(
  folder: string,
  tree: string,
  empty: string,
): Promise<void> {
  // imported, the bundle is the library
  const importing = join(folder, "importing.mjs");
  await writeFile(importing, `import ${JSON.stringify(BUNDLE)};`);
  const lines = new Map<string, Line>(
    RUNTIMES.flatMap((runtime) => {
      const start = commandOf(runtime, ["-A", ...IMPORTS]);
      return [
        [`${runtime}, an empty script`, [...start, empty]],
        [`${runtime}, mod.ts`, [...start, "mod.ts"]],
        [`${runtime}, the bundle`, [...start, importing]],
      ] as [string, Line][];
    }),
  );
  printTable(
    "the library alone",
    ["", "ms", "ratio", "MB", "ratio"],
    await rowsOf(
      lines,
      tree,
      (name) => name.replace(/,.*/, ", an empty script"),
    ),
  );
}

interface Module {
  specifier: string;
  size?: number;
}

function measureSize(): void {
  const rows = ["mod.ts", "cli.ts"].map((entry) => {
    const [deno] = commandOf("deno");
    const text = run([deno!, "info", "--json", ...IMPORTS, entry]);
    const { modules } = JSON.parse(text) as { modules: Module[] };
    const own = modules.filter((it) => it.specifier.startsWith("file:"));
    const bytes = own.reduce((sum, { size = 0 }) => sum + size, 0);
    return [entry, String(own.length), (bytes / 1024).toFixed(0)];
  });
  const { size } = statSync(BUNDLE);
  rows.push(["the bundle", "1", (size / 1024).toFixed(0)]);
  printTable("size", ["", "modules", "kB"], rows);
}

await withFolder(async (folder) => {
  const empty = join(folder, "empty.mjs");
  await writeFile(empty, "");
  run([commandOf("deno")[0]!, "run", "-A", "tests/tasks.ts", "bundle"]);
  const tree = await freshTree(folder);
  await measureCommands(folder, tree, empty);
  await measureImport(folder, tree, empty);
  measureSize();
});
