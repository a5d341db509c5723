/** Streams over real sockets: pressure, breaks, and how much is held. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { requestBody, startKnown } from "../fleet.ts";
import { test, testOnDeno } from "../test.ts";
import { createRotator, memoryStore } from "../../mod.ts";

const CHUNK = `data: {"type":"response.output_text.delta","delta":"${
  "x".repeat(65_480)
}"}\n\n`;
const CHUNKS = 512;
const POST = { method: "POST", body: JSON.stringify(requestBody()) };

/** A backend that writes as fast as it may, and counts. */
async function startSource() {
  const counted = { written: 0, gone: Promise.withResolvers<void>() };
  async function write(response: ServerResponse): Promise<void> {
    response.on("close", () => counted.gone.resolve());
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (let n = 0; n < CHUNKS && !response.destroyed; n++) {
      counted.written += CHUNK.length;
      if (response.write(CHUNK)) continue;
      const drained = Promise.withResolvers<void>();
      response.once("drain", drained.resolve);
      await Promise.race([drained.promise, counted.gone.promise]);
    }
    response.end();
  }
  const server = createServer((request, response) => {
    request.resume().on("end", () => void write(response));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  return {
    counted,
    backend: `http://127.0.0.1:${port}/backend-api`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A rotator in front of it whose one account is known to have usage left. */
function rotatorFor(backend: string) {
  const observedAt = Date.now();
  const alice = {
    tokens: { access: "token", expiresAt: observedAt + 3_600_000 },
    usage: { observedAt, meters: { codex: { windows: [] } } },
  };
  const store = memoryStore({ accounts: { alice } });
  return createRotator({ store, backend });
}

/** The number, once it stays the same for a while. */
async function settled(read: () => number): Promise<number> {
  for (let last = -1, same = 0;;) {
    await new Promise((done) => setTimeout(done, 20));
    const now = read();
    same = now === last ? same + 1 : 0;
    if (same === 10) return now;
    last = now;
  }
}

test("rotator.fetch() lets a slow reader slow the backend down, as fetch does", async () => {
  await using source = await startSource();
  await using rotator = rotatorFor(source.backend);
  const response = await rotator.fetch("/responses", POST);
  const reader = response.body!.getReader();
  let size = (await reader.read()).value!.length;
  const whole = CHUNK.length * CHUNKS;
  const written = await settled(() => source.counted.written);
  assert(written < whole / 2, `${written} of ${whole} bytes were written`);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
  }
  assertEquals(size, whole);
});

test("rotator.fetch() ends a stream at the backend when its reader cancels", async () => {
  await using source = await startSource();
  await using rotator = rotatorFor(source.backend);
  const response = await rotator.fetch("/responses", POST);
  const reader = response.body!.getReader();
  await reader.read();
  await reader.cancel("enough");
  await source.counted.gone.promise;
  assert(source.counted.written < CHUNK.length * CHUNKS);
});

test("rotator.fetch() lets a stream that breaks in the middle break as with fetch", async () => {
  await using fleet = await startKnown({ accounts: { alice: {}, bob: {} } });
  const added = { type: "response.output_item.added", item: {} };
  // cut after a while, or Bun throws away what had come
  const broken = { events: [added, added, added], drop: 2, chunkDelayMs: 50 };
  fleet.fake.account("alice").queue.push(broken, broken);
  const url = `${fleet.rotator.baseURL}/responses`;
  const { access, accountId } = fleet.fake.tokens("alice");
  const headers = {
    "authorization": `Bearer ${access}`,
    "chatgpt-account-id": accountId,
    "user-agent": "test/1",
  };
  const plain = await fetch(url, { ...POST, headers });
  const expected: Error = await assertRejects(() => plain.text(), Error);
  const response = await fleet.rotator.fetch(url, POST);
  const error: Error = await assertRejects(() => response.text(), Error);
  assertEquals(
    [error.constructor, String(error)],
    [expected.constructor, String(expected)],
  );
  assertEquals(fleet.fake.log.length, 2, "it is not repeated");
});

test("rotator.fetch() guards a stream that comes without a content type", async () => {
  await using fleet = await startKnown({ accounts: { alice: {}, bob: {} } });
  for (const name of ["alice", "bob"]) {
    fleet.fake.account(name).headers = ({ "content-type": _, ...rest }) => rest;
  }
  const code = "usage_limit_reached";
  const failed = { type: "response.failed", response: { error: { code } } };
  const text = `data: ${JSON.stringify(failed)}\n\n`;
  fleet.fake.account("alice").queue.push({ raw: text });
  const answer = await fleet.ask();
  assertEquals([answer.status, answer.alias], [200, "bob"]);
  assertEquals(answer.response.headers.get("content-type"), null);
});

/** The most memory that a process of its own has while it reads them, MB. */
async function memoryOf(how: "plain" | "rotator"): Promise<number> {
  const script = fromFileUrl(new URL("stream_memory.ts", import.meta.url));
  const heap = "--v8-flags=--expose-gc";
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-config", heap, script, how],
  }).output();
  const decoder = new TextDecoder();
  assert(success, decoder.decode(stderr));
  const { highestMB, bytes } = JSON.parse(decoder.decode(stdout));
  assertEquals(bytes, 100 * 10 * 1024 * 1024);
  return highestMB;
}

testOnDeno(
  "rotator.fetch() takes no more memory for 100 streams of 10 MB than fetch and 40 MB",
  async () => {
    const plain = await memoryOf("plain");
    const rotator = await memoryOf("rotator");
    assert(rotator <= plain + 40, `${rotator} MB, and ${plain} MB with fetch`);
  },
);
