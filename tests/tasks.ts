/**
 * What `deno task ok`, `test`, `bench` and `bundle` do. Imports nothing that
 * has to be fetched: it finds out first where the imports come from.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { programOf, type Runtime } from "./runtimes.ts";

const DENO = Deno.execPath();
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CLIENTS = `${ROOT}tests/clients`;
const isWindows = Deno.build.os === "windows";
/** Modules that people import: their docs are checked and their examples run. */
const PUBLIC = [
  "mod.ts",
  "lib/serve/mod.ts",
  "lib/opencode.ts",
  "lib/postgres.ts",
  "lib/testing/fake_codex.ts",
];

/** Suites that wait for other processes for most of their time. */
const WAITING = ["tests/account", "tests/postgres", "tests/store"];

interface Counts {
  passed: number;
  failed: number;
}

const total: Counts = { passed: 0, failed: 0 };
const failures: string[] = [];

let known: readonly string[] | undefined;

/** Where the registry of deno.json's imports cannot be reached, npm has the same code. */
function imports(): readonly string[] {
  return known ??= canReachJsr() ? [] : ["--import-map=tests/npm_imports.json"];
}

function canReachJsr(): boolean {
  const { status } = spawnSync(DENO, ["cache", "jsr:@std/assert@^1"], {
    cwd: ROOT,
    stdio: "ignore",
    timeout: 20_000,
  });
  return status === 0;
}

/**
 * Runs a command, and counts the tests that it tells of.
 *
 * @param isAlone Its output is passed on as it comes, else at its end.
 */
async function run(
  name: string,
  command: readonly string[],
  isAlone = true,
): Promise<void> {
  let { problem, text } = await output(name, command, isAlone);
  // they have real processes, sockets and clocks, and a gate has to be sure
  if (problem && name.startsWith("tests") && Deno.env.get("CI") === "true") {
    console.log(`\n${problem} failed; what fails once more fails the gate`);
    ({ problem, text } = await output(`${name}, again`, command, isAlone));
  }
  count(text);
  if (problem) failures.push(problem);
}

/** Runs a command; `problem` is what to tell of a failure. */
function output(
  name: string,
  [program, ...args]: readonly string[],
  isAlone: boolean,
): Promise<{ problem?: string; text: string }> {
  if (isAlone) console.log(`\n# ${name}`);
  const child = spawn(program!, args, {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    // npm is a script there, which no program but the shell starts
    shell: isWindows && program === "npm",
  });
  let text = "";
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].on("data", (chunk) => {
      text += chunk;
      if (isAlone) process[stream].write(chunk);
    });
  }
  return new Promise((resolve) => {
    child.on("error", (error) => {
      resolve({ problem: `${name}: ${error.message}`, text });
    });
    child.on("close", (code) => {
      if (!isAlone) console.log(`\n# ${name}\n${text}`);
      resolve(code === 0 ? { text } : { problem: name, text });
    });
  });
}

/** Adds up what the runners say at their ends. */
function count(output: string): void {
  // deno-lint-ignore no-control-regex
  const text = output.replaceAll(/\u001b\[[0-9;]*m/g, "");
  for (
    const [, passed, failed] of text.matchAll(/(\d+) passed.*?(\d+) failed/g)
  ) {
    total.passed += Number(passed);
    total.failed += Number(failed);
  }
  for (const [, found, what] of text.matchAll(/^ *(\d+) (pass|fail)$/gm)) {
    total[what === "pass" ? "passed" : "failed"] += Number(found);
  }
  for (
    const [, what, found] of text.matchAll(/^(?:#|ℹ) (pass|fail) (\d+)$/gm)
  ) {
    total[what === "pass" ? "passed" : "failed"] += Number(found);
  }
}

/** All TypeScript files below a folder, packages apart. */
function typescriptBelow(folder: string): string[] {
  return [...Deno.readDirSync(`${ROOT}${folder}`)].flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) {
      return entry.name === "node_modules" ? [] : typescriptBelow(path);
    }
    return entry.name.endsWith(".ts") ? [path] : [];
  });
}

async function check(): Promise<void> {
  await run("fmt", [DENO, "fmt", "--check"]);
  await run("lint", [DENO, "lint", "--quiet"]);
  await run("check", [
    DENO,
    "check",
    ...imports(),
    "mod.ts",
    "cli.ts",
    "lib",
    // what runs with its clients' own packages is left to them
    ...typescriptBelow("tests"),
  ]);
  await run("doc lint", [DENO, "doc", "--lint", ...imports(), ...PUBLIC]);
}

async function test(): Promise<void> {
  await installClients();
  const denoTest = [DENO, "test", "-A", "--quiet", ...imports()];
  // side by side, as they wait more than they work
  await Promise.all([
    run("tests", [...denoTest, `--ignore=${WAITING}`]),
    run(`tests of ${WAITING}`, [...denoTest, ...WAITING], false),
  ]);
  await run("examples", [
    DENO,
    "test",
    "-A",
    "--doc",
    ...imports(),
    "mod.ts",
    "lib",
  ]);
  const files = portableTests();
  await Promise.all([
    testOn("bun", ["test", "--timeout=300000", ...files]),
    testOn("node", [
      "--import=./tests/portable/imports_node.mjs",
      "--test",
      "--test-isolation=none",
      "--test-timeout=300000",
      ...files,
    ]),
  ]);
}

/** The suites that Deno has run already and other runtimes can, too. */
function portableTests(): string[] {
  return typescriptBelow("tests").filter((path) =>
    /[._]test\.ts$/.test(path) && !path.startsWith("tests/clients/") &&
    !Deno.readTextFileSync(`${ROOT}${path}`).includes("Deno.test(")
  ).map((path) => `./${path}`);
}

async function testOn(runtime: Runtime, args: string[]): Promise<void> {
  const program = programOf(runtime);
  if (program !== undefined) {
    await run(`tests on ${runtime}`, [program, ...args], false);
  } else if (Deno.env.get("CI") === "true") {
    failures.push(`tests on ${runtime}: it is not here`);
  } else {
    console.log(`\nSkipped: tests on ${runtime}, which is not here`);
  }
}

/** The clients that only tests need. */
async function installClients(): Promise<void> {
  if (existsSync(`${CLIENTS}/node_modules/.package-lock.json`)) return;
  const found = spawnSync("npm", ["--version"], {
    stdio: "ignore",
    shell: isWindows,
  });
  if (found.status !== 0) {
    console.log("Skipped: tests with real clients, which npm installs");
    return;
  }
  await run("install clients", [
    "npm",
    "install",
    "--prefix",
    CLIENTS,
    // their versions are pinned; some platforms' parts may not be there
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
  ]);
}

async function bundle(): Promise<void> {
  await run("bundle", [DENO, "run", "-A", "tests/bundle.ts"]);
}

async function bench(): Promise<void> {
  await run("bench", [DENO, "run", "-A", ...imports(), "tests/bench/all.ts"]);
}

async function torture(): Promise<void> {
  Deno.env.set("TORTURE", "1");
  await run("torture", [
    DENO,
    "test",
    "-A",
    ...imports(),
    "tests/store",
    "tests/postgres",
    "tests/account",
  ]);
}

/** As a person sees it: on this terminal. */
function demo(): Promise<void> {
  const args = ["run", "-A", ...imports(), "cli.ts", "demo"];
  const { status } = spawnSync(DENO, args, { cwd: ROOT, stdio: "inherit" });
  if (status !== 0) failures.push("demo");
  return Promise.resolve();
}

const TASKS: Record<string, () => Promise<void>> = {
  check,
  test,
  bundle,
  bench,
  torture,
  demo,
  async ok() {
    await check();
    await test();
  },
};

const name = Deno.args[0] ?? "";

const task = Object.hasOwn(TASKS, name) ? TASKS[name] : undefined;
if (!task) {
  console.error(`There is no task "${name}"; use one of ${Object.keys(TASKS)}`);
  Deno.exit(2);
}
await task();
if (failures.length > 0) console.error(`\nFailed: ${failures.join(", ")}`);
if (name === "ok" || name === "test" || name === "torture") {
  console.log(`\n${total.passed} passed, ${total.failed} failed`);
}
Deno.exit(failures.length > 0 ? 1 : 0);
