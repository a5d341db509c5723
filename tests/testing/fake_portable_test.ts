import { assertEquals } from "@std/assert";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("portable_fake.ts", import.meta.url));
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
        else reject(new Error(`${command} failed: ${stderr}`));
      },
    );
  });
}

const RUNTIMES: [string, string[]][] = [
  ["deno", ["run", "--allow-net=127.0.0.1", SCRIPT]],
  ["bun", [SCRIPT]],
  ["node", [SCRIPT]],
];

for (const [runtime, args] of RUNTIMES) {
  Deno.test(`startFakeCodex() behaves alike on ${runtime}`, async () => {
    assertEquals(JSON.parse(await run(runtime, args)), {
      completed: true,
      plan: "plus",
      unanswered: "broken",
      cut: [200, "broken"],
      bare: "broken",
      aborted: 200,
      refreshed: 200,
      hanging: "broken",
    });
  });
}
