/** Serves with each runtime's own server; started by portable_test.ts. */
import { createRotator, memoryStore } from "../../mod.ts";
import { createHandler, Metrics, startServer } from "../../lib/serve/mod.ts";
import { startFakeCodex } from "../../lib/testing/fake_codex.ts";
import { recordOf, requestBody } from "../fleet.ts";

/** As far as this script needs them. */
interface Runtimes {
  Deno?: {
    serve(
      options: { hostname: string; port: number; onListen: () => void },
      handler: (request: Request) => Promise<Response>,
    ): { addr: { port: number }; shutdown(): Promise<void> };
  };
  Bun?: {
    serve(options: {
      hostname: string;
      port: number;
      fetch: (request: Request) => Promise<Response>;
    }): { port: number; stop(closeConnections: boolean): Promise<void> };
  };
}

const fake = await startFakeCodex({ accounts: { alice: {} } });
const store = memoryStore({
  version: 1,
  settings: {},
  accounts: { alice: recordOf(fake, "alice") },
});
const metrics = new Metrics();
const rotator = createRotator({
  store,
  credits: "none",
  backend: fake.backend,
  issuer: fake.issuer,
  onEvent: metrics.onEvent,
});
const handler = createHandler(rotator, { key: "secret", metrics });
const { Deno, Bun } = globalThis as Runtimes;
const listen = { hostname: "127.0.0.1", port: 0 };

interface Listening {
  url: string;
  /** It is the one of this toolkit, on node:http. */
  isOurs?: boolean;
  stop(): Promise<void>;
}

/** Deno.serve, Bun.serve, and Node's http wherever there is neither. */
async function ownServer(): Promise<Listening> {
  if (Deno) {
    const server = Deno.serve({ ...listen, onListen() {} }, handler);
    const url = `http://127.0.0.1:${server.addr.port}`;
    return { url, stop: () => server.shutdown() };
  }
  if (Bun) {
    const server = Bun.serve({ ...listen, fetch: handler });
    const url = `http://127.0.0.1:${server.port}`;
    return { url, stop: () => server.stop(true) };
  }
  return await nodeServer();
}

async function nodeServer(): Promise<Listening> {
  const server = await startServer(handler, listen);
  return { url: server.url, isOurs: true, stop: () => server.stop(0) };
}

function ask(url: string, signal?: AbortSignal): Promise<Response> {
  return fetch(`${url}/v1/responses`, {
    method: "POST",
    headers: {
      "authorization": "Bearer secret",
      "content-type": "application/json",
    },
    body: JSON.stringify(requestBody()),
    ...(signal && { signal }),
  });
}

async function tryOut(
  { url, stop, isOurs }: Listening,
): Promise<unknown[]> {
  const { queue } = fake.account("alice");
  const text = await (await ask(url)).text();
  const keyless = await fetch(`${url}/health`);
  await keyless.text();
  queue.push({ reply: { padBytes: 64 << 20 } });
  const long = await (await ask(url)).arrayBuffer();
  queue.push({ reply: { padBytes: 64 << 20 } });
  const gone = new AbortController();
  const left = await ask(url, gone.signal);
  const reader = left.body!.getReader();
  await reader.read();
  gone.abort();
  await reader.read().catch(() => {});
  await fake.seen((entry) => entry.aborted);
  // slowly, so that content has come through before the end
  queue.push({ drop: 6, chunkDelayMs: 20 });
  const cut = await (await ask(url)).text().then(() => "whole", () => "cut");
  const { n } = fake.log.at(-1)!;
  queue.push({ hang: true });
  const waiting = new AbortController();
  const never = ask(url, waiting.signal).then(() => "answered", () => "cut");
  const { parallel } = await fake.seen((entry) => entry.n > n);
  // node:http is told by us, the others have ways of their own to end early
  if (!isOurs) waiting.abort();
  if (isOurs) await stop();
  const aborted = await fake.seen((entry) => entry.n > n && entry.aborted);
  fake.clearLog();
  if (!isOurs) await stop();
  return [
    text.includes("event: response.completed\n"),
    keyless.status,
    long.byteLength > 64 << 20,
    cut,
    parallel,
    aborted.account,
    await never,
  ];
}

const report = {
  own: await tryOut(await ownServer()),
  node: await tryOut(await nodeServer()),
  running: metrics.running,
};
await rotator.close();
await fake.close();
// deno-lint-ignore no-console
console.log(JSON.stringify(report));
