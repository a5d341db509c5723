/**
 * Makes what is shipped: library and command line in one file that runs as it
 * is, the other entries beside it, and the types of each.
 *
 * @module
 */
import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as library from "../mod.ts";
import * as bundled from "../lib/cli/bundle.ts";
import { VERSION } from "../lib/version.ts";
import { spawn } from "./spawn.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const OLDEST_NODE = 22;

/** The entries of the package beside the library, by their names in bundle.ts, and where their types are. */
const ENTRIES = {
  serve: "lib/serve/mod.ts",
  opencode: "lib/opencode.ts",
  postgres: "lib/postgres.ts",
  testing: "lib/testing/fake_codex.ts",
} as const;

/** Writes the bundle to `file`. */
export async function writeBundle(file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  // In this form what is imported from `node:` is loaded by the part that
  // needs it, and not before anything runs.
  const flags = ["--quiet", "--format=cjs"];
  const { code, out, err } = await spawn(
    [Deno.execPath(), "bundle", ...flags, "lib/cli/bundle.ts"],
    { cwd: ROOT },
  );
  if (code !== 0) throw new Error(err);
  await writeFile(file, wrapped(withoutPaths(out)));
  await chmod(file, 0o755);
}

/** Writes the bundle, the other entries, and the types of all into a folder. */
export async function writePackage(folder: string): Promise<void> {
  // what tests need of this module needs no compiler
  const { writeDeclarations } = await import("./declarations.ts");
  await rm(folder, { recursive: true, force: true });
  await writeBundle(join(folder, "codex-rotator.mjs"));
  const names = Object.keys(ENTRIES) as (keyof typeof ENTRIES)[];
  for (const name of names) {
    const entry = exported(await bundled[name](), "entry");
    const code = `const entry = await _load("${name}");\n${entry}`;
    await writeFile(join(folder, `${name}.mjs`), LOAD + code);
  }
  const run = `(await _load("cli")).runProcess();\n`;
  await writeFile(join(folder, "cli.mjs"), LOAD + run);
  await writeFile(join(folder, "cli.d.mts"), "export {};\n");
  const sources = { "codex-rotator": "mod.ts", ...ENTRIES };
  await writeDeclarations(ROOT, sources, folder);
}

const LOAD = `import { _load } from "./codex-rotator.mjs";\n`;

/** Where packages were on the machine that bundles is nobody's business. */
function withoutPaths(code: string): string {
  return code.replaceAll(/(?:\.\.\/)+[^"\n]*\/(postgres\/)/g, "npm:$1");
}

/** The bundled code as a module: a program when it is started, else the library. */
function wrapped(code: string): string {
  return `#!/usr/bin/env node
// codex-rotator ${VERSION}: https://jsr.io/@codex-rotator/core
const isOther = "Deno" in globalThis || "Bun" in globalThis;
if (!isOther && parseInt(process.versions.node) < ${OLDEST_NODE}) {
  const text = \`codex-rotator needs Node ${OLDEST_NODE} or newer, and this is \${process.versions.node}\`;
  if (!/codex-rotator(\\.mjs)?$/.test(process.argv[1])) throw new Error(text);
  console.error(text);
  process.exit(1);
}

const bundle = ((module, require) => {
${code}
return module.exports;
})({ exports: {} }, (name) => process.getBuiltinModule(name));

/** For the entries beside this file, which thereby share all that it holds. */
export const _load = (name) => name === "cli" ? bundle : bundle[name]();

// Node 22 lacks import.meta.main
const isMain = import.meta.main ?? (() => {
  const { realpathSync } = process.getBuiltinModule("node:fs");
  const { pathToFileURL } = process.getBuiltinModule("node:url");
  const [, path] = process.argv;
  return path !== undefined &&
    pathToFileURL(realpathSync(path)).href === import.meta.url;
})();
// not awaited: an entry that it loads waits for the end of this module
if (isMain) void bundle.runProcess();
const library = isMain ? {} : await bundle.library();
${exported(library, "library")}`;
}

/** Exports all of a module, from a variable that holds it. */
function exported(module: object, variable: string): string {
  return Object.keys(module).map((name) =>
    `export const ${name} = ${variable}.${name};\n`
  ).join("");
}

if (import.meta.main) await writePackage(join(ROOT, "dist"));
