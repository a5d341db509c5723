/**
 * Aborts streams long after they have begun, when the runtime has thrown away
 * all that nobody holds any more. Prints how many ended with the reason.
 *
 * @module
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { createRotator, memoryStore } from "../../mod.ts";

const STREAMS = 5;
const PART = 'data: {"type":"response.output_item.added"}\n\n';
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));
const { gc } = globalThis as { gc?: () => void };
if (!gc) throw new Error("Run with a collector that can be called");

const server = createServer((request, response) => {
  request.resume();
  response.writeHead(200, { "content-type": "text/event-stream" });
  const timer = setInterval(() => response.write(PART), 10);
  response.on("close", () => clearInterval(timer));
});
await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
const { port } = server.address() as AddressInfo;
const now = Date.now();
const windows = [{
  usedPercent: 1,
  windowSeconds: 18_000,
  resetsAt: now + 3_600_000,
}];
const rotator = createRotator({
  backend: `http://127.0.0.1:${port}`,
  store: memoryStore({
    accounts: {
      alice: {
        tokens: { access: "a", expiresAt: now + 86_400_000 },
        usage: { observedAt: now, meters: { codex: { windows } } },
      },
    },
  }),
});

async function abortLate(): Promise<boolean> {
  const caller = new AbortController();
  const reason = new Error("enough");
  const { body } = await rotator.fetch(`${rotator.baseURL}/responses`, {
    method: "POST",
    body: JSON.stringify({ stream: true }),
    headers: { "content-type": "application/json" },
    signal: caller.signal,
  });
  const read = (async () => {
    for await (const _ of body!);
  })().catch((error) => error);
  for (let n = 0; n < 5; n++) {
    await sleep(20);
    gc!();
  }
  caller.abort(reason);
  return await Promise.race([read, sleep(3000)]) === reason;
}

const ended = await Promise.all(Array.from({ length: STREAMS }, abortLate));
console.log(ended.filter(Boolean).length === STREAMS ? "all" : String(ended));
process.exit();
