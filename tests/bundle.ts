/**
 * Makes the bundle: library and command line in one file that runs as it is.
 *
 * @module
 */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import * as library from "../mod.ts";
import { VERSION } from "../lib/version.ts";

const ROOT = new URL("..", import.meta.url);
const OLDEST_NODE = 22;

/** Writes the bundle to `file`. */
export async function writeBundle(file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    // In this form what is imported from `node:` is loaded by the part that
    // needs it, and not before anything runs.
    args: ["bundle", "--quiet", "--format", "cjs", "lib/cli/bundle.ts"],
    cwd: ROOT,
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  await writeFile(file, wrapped(new TextDecoder().decode(stdout)));
  await chmod(file, 0o755);
}

/** The bundled code as a module: a program when it is started, else the library. */
function wrapped(code: string): string {
  const names = Object.keys(library).filter((name) => name !== "default");
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

// Node 22 lacks import.meta.main
const isMain = import.meta.main ?? (() => {
  const { realpathSync } = process.getBuiltinModule("node:fs");
  const { pathToFileURL } = process.getBuiltinModule("node:url");
  const [, path] = process.argv;
  return path !== undefined &&
    pathToFileURL(realpathSync(path)).href === import.meta.url;
})();
if (isMain) await bundle.runProcess();
const library = isMain ? {} : await bundle.library();
${names.map((it) => `export const ${it} = library.${it};`).join("\n")}
`;
}

if (import.meta.main) {
  await writeBundle(fileURLToPath(new URL("dist/codex-rotator.mjs", ROOT)));
}
