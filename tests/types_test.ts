/** The types of the sources, for those who import a clone with another compiler. */
import { assertEquals } from "@std/assert";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { commandOf } from "./runtimes.ts";
import { spawn } from "./spawn.ts";
import { tempFolder } from "./test.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CLIENTS = join(ROOT, "tests/clients/node_modules");
/** Node's types, which the clients bring along. */
const TYPES = join(CLIENTS, "@types");
const COMPILER = join(CLIENTS, "typescript-7/bin/tsc");
const ignore = ![join(TYPES, "node"), COMPILER].every((it) => existsSync(it));
if (ignore && process.env.CI === "true") throw new Error("No clients");

Deno.test({
  name: "mod.ts and all it imports pass tsc --strict with the types of ES2023",
  ignore,
  async fn() {
    const cwd = await tempFolder();
    const compilerOptions = {
      strict: true,
      target: "es2023",
      module: "nodenext",
      noEmit: true,
      allowImportingTsExtensions: true,
      typeRoots: [TYPES],
      types: ["node"],
    };
    const files = [join(ROOT, "mod.ts")];
    const config = join(cwd, "tsconfig.json");
    await writeFile(config, JSON.stringify({ compilerOptions, files }));
    const { code, out } = await spawn(
      [...commandOf("node"), COMPILER, "--project", config],
      { cwd, env: { PATH: process.env.PATH! } },
    );
    assertEquals([code, out], [0, ""]);
    await Deno.remove(cwd, { recursive: true });
  },
});
