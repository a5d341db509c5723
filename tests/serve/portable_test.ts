import { assertEquals } from "@std/assert";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("portable_serve.ts", import.meta.url));
const BIN = fileURLToPath(
  new URL("../../node_modules/.bin/", import.meta.url),
);

function run(command: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      BIN + command,
      args,
      { timeout: 30_000 },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${command} failed: ${stdout}${stderr}`));
      },
    );
  });
}

const RUNTIMES: [string, string[]][] = [
  ["deno", ["run", "--no-prompt", "--allow-net=127.0.0.1", SCRIPT]],
  ["bun", [SCRIPT]],
  ["node", [SCRIPT]],
];

for (const [runtime, args] of RUNTIMES) {
  Deno.test(`createHandler() serves alike on ${runtime}`, async () => {
    const outcome = [true, 401, true, "cut", 1, "alice", "cut"];
    assertEquals(JSON.parse(await run(runtime, args)), {
      own: outcome,
      node: outcome,
      running: 0,
    });
  });
}
