/**
 * All measurements, one after the other, each on the runtimes that it is for.
 * Takes about three minutes.
 */
import { existsSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { commandOf, type Runtime, RUNTIMES } from "../runtimes.ts";

interface Part {
  heading: string;
  file: string;
  runtimes: readonly Runtime[];
  args?: readonly string[];
  /** It counts instead of taking times, so that runtimes may run side by side. */
  atOnce?: boolean;
}

const PARTS: readonly Part[] = [
  { heading: "Added per request", file: "overhead.ts", runtimes: RUNTIMES },
  {
    heading: "Added per request, over HTTP",
    file: "loopback.ts",
    runtimes: RUNTIMES,
  },
  { heading: "Streams", file: "streams.ts", runtimes: RUNTIMES },
  {
    heading: "What a healthy request costs besides itself",
    file: "io.ts",
    runtimes: RUNTIMES,
    atOnce: true,
  },
  { heading: "Choosing", file: "selection.ts", runtimes: RUNTIMES },
  { heading: "Store", file: "store.ts", runtimes: RUNTIMES },
  {
    heading: "Store in PostgreSQL",
    file: "store.ts",
    runtimes: RUNTIMES,
    args: ["postgres"],
  },
  { heading: "Memory", file: "memory.ts", runtimes: RUNTIMES },
  {
    heading: "Many streams through `serve`",
    file: "serve_load.ts",
    runtimes: ["deno"],
    args: ["4"],
  },
  { heading: "Start-up and size", file: "startup.ts", runtimes: ["deno"] },
];

/** What this one was told about imports, its children have to be told as well. */
const IMPORTS = import.meta.resolve("@std/path").startsWith("npm:")
  ? [`--import-map=${fileOf("../npm_imports.json")}`]
  : [];

function fileOf(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

async function run(part: Part, runtime: Runtime): Promise<void> {
  const [program, ...flags] = commandOf(runtime, ["-A", ...IMPORTS]);
  const { code } = await new Deno.Command(program!, {
    args: [...flags, fileOf(part.file), ...part.args ?? []],
    stdout: "inherit",
    stderr: "inherit",
  }).spawn().status;
  if (code !== 0) Deno.exitCode = 1;
}

function versionOf(runtime: Runtime): string {
  if (runtime === "deno") return `Deno ${Deno.version.deno}`;
  const [program] = commandOf(runtime);
  const { stdout } = new Deno.Command(program!, { args: ["--version"] })
    .outputSync();
  const version = new TextDecoder().decode(stdout).trim().replace(/^v/, "");
  return `${runtime === "bun" ? "Bun" : "Node"} ${version}`;
}

/** How busy the machine was with other things, in the last minute. */
function load(): string {
  return loadavg()[0]!.toFixed(2);
}

const [processor] = cpus();
console.log(
  `${Deno.build.os} ${Deno.build.arch}, ${cpus().length} × ${
    processor?.model.trim() ?? "unknown processor"
  }, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
);
console.log(RUNTIMES.map(versionOf).join(", "));
console.log(`Load before: ${load()}`);
for (const part of PARTS) {
  if (!existsSync(fileOf(part.file))) continue;
  console.log(`\n## ${part.heading}\n`);
  if (part.atOnce) {
    await Promise.all(part.runtimes.map((runtime) => run(part, runtime)));
  } else {
    for (const runtime of part.runtimes) await run(part, runtime);
  }
}
