/**
 * Reads 100 streams of 10 MB, ten at a time, from a backend in another process,
 * and prints how much memory this one had at its highest, MB. Does so by plain
 * `fetch` when it is called with "plain".
 */
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { createRotator, memoryStore } from "../../mod.ts";

const MB = 1024 * 1024;
const SIZE = 10 * MB;
const STREAMS = 100;
const AT_ONCE = 10;
/** What is held on to is measured, not how lazily the runtime collects. */
const COLLECT_EVERY = 4 * MB;
const HEAD = 'data: {"type":"response.output_text.delta","delta":"';
const CHUNK = new TextEncoder().encode(
  `${HEAD}${"x".repeat(65_536 - HEAD.length - 4)}"}\n\n`,
);

function serve(): void {
  const server = createServer((request, response) => {
    request.resume().on("end", async () => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (let sent = 0; sent < SIZE; sent += CHUNK.length) {
        if (response.write(CHUNK)) continue;
        await new Promise((drained) => response.once("drain", drained));
      }
      response.end();
    });
  });
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo;
    process.stdout.write(`http://127.0.0.1:${port}/backend-api\n`);
  });
  // with whoever started it
  process.stdin.on("end", () => process.exit()).resume();
}

async function measure(backend: string, isPlain: boolean): Promise<void> {
  const observedAt = Date.now();
  const alice = {
    tokens: { access: "token", expiresAt: observedAt + 3_600_000 },
    usage: { observedAt, meters: { codex: { windows: [] } } },
  };
  const store = memoryStore({ accounts: { alice } });
  await using rotator = createRotator({ store, backend });
  const body = JSON.stringify({
    model: "gpt-5.5",
    instructions: "Be brief.",
    input: [],
    store: false,
    stream: true,
  });
  const ask = isPlain ? fetch : rotator.fetch;
  let bytes = 0;
  let highest = 0;
  let collectedAt = 0;
  async function read(): Promise<void> {
    const response = await ask(`${backend}/codex/responses`, {
      method: "POST",
      body,
    });
    for await (const chunk of response.body!) {
      bytes += chunk.length;
      highest = Math.max(highest, process.memoryUsage.rss());
      if (bytes - collectedAt > COLLECT_EVERY) {
        collectedAt = bytes;
        (globalThis as { gc?: () => void }).gc?.();
      }
    }
  }
  let left = STREAMS;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (left-- > 0) await read();
  }));
  const highestMB = Math.round(highest / MB);
  process.stdout.write(JSON.stringify({ highestMB, bytes }));
}

if (process.argv[2] === "serve") {
  serve();
} else {
  const own = fileURLToPath(import.meta.url);
  const flags = process.versions["deno"] ? ["run", "-A", "--no-config"] : [];
  const child = spawn(process.execPath, [...flags, own, "serve"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const backend = await new Promise<string>((started) =>
    child.stdout.once("data", (line) => started(String(line).trim()))
  );
  await measure(backend, process.argv[2] === "plain");
  child.stdin.end();
}
