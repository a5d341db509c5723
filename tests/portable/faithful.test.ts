/** What makes `rotator.fetch` a fetch, where the runtimes differ. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import * as zlib from "node:zlib";
import type { FakeAnswer, FakeLogEntry } from "../../lib/testing/fake_codex.ts";
import { type Fleet, requestBody, startFleet } from "../fleet.ts";
import { BODIES, sendBody } from "../rotator/bodies.ts";

const REASON = new Error("the caller's own");
const ADDED = { type: "response.output_item.added", item: {} };
const RAN_OUT = {
  status: 429,
  body: { error: { type: "usage_limit_reached", resets_in_seconds: 1 } },
};

const isResponses = ({ kind }: FakeLogEntry) => kind === "responses";

/** A fleet of two whose facts are fresh. */
async function startKnown(...queue: FakeAnswer[]): Promise<Fleet> {
  const fleet = await startFleet({
    accounts: { alice: { queue }, bob: {} },
    maxReplayBytes: 100_000,
  });
  await fleet.rotator.refresh();
  fleet.fake.clearLog();
  return fleet;
}

/** Type and body as they came, but for the boundary, which is drawn anew. */
function shapeOf({ headers, body }: FakeLogEntry): unknown {
  // Bun leaves out the type that the standard gives a string
  const given = headers["content-type"] ?? "text/plain;charset=utf-8";
  const type = given.toLowerCase();
  const text = new TextDecoder("latin1").decode(body);
  const boundary = /boundary="?([^";]+)/.exec(given)?.[1];
  if (boundary === undefined) return { type, text };
  return {
    type: type.replace(boundary.toLowerCase(), "B"),
    text: text.replaceAll(boundary, "B"),
  };
}

async function rejection(work: () => Promise<unknown>): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error("It was not rejected");
}

test("bodies reach both accounts as they reach a server by fetch", async () => {
  for (const [name, body] of Object.entries(BODIES)) {
    await using fleet = await startKnown({ status: 401 }, RAN_OUT);
    fleet.fake.account("bob").queue.push({ status: 200, body: {} });
    const url = `${fleet.rotator.baseURL}/responses`;
    equal(await sendBody(fleet.rotator.fetch, url, body), 200, name);
    await sendBody(fetch, url, body);
    const entries = fleet.fake.log.filter(isResponses);
    const plain = entries.pop()!;
    deepEqual(
      entries.map(({ account }) => account),
      ["alice", "alice", "bob"],
      name,
    );
    for (const entry of entries) {
      deepEqual(shapeOf(entry), shapeOf(plain), name);
      equal(entry.bodyHash, entries[0]!.bodyHash, name);
    }
  }
});

test("an abort rejects with the caller's reason before the headers", async () => {
  await using fleet = await startKnown({ hang: true });
  const abort = new AbortController();
  const asked = rejection(() => fleet.ask({}, { signal: abort.signal }));
  await fleet.fake.seen(isResponses);
  abort.abort(REASON);
  equal(await asked, REASON);
  await fleet.fake.seen(({ aborted }) => aborted);
  equal((await fleet.ask()).status, 200);
  equal(fleet.fake.log.length, 2);
});

test("an abort in the middle ends the stream with the caller's reason", async () => {
  const stalls = { drop: 99, chunkDelayMs: 60_000 };
  await using fleet = await startKnown({ events: [ADDED, ADDED], ...stalls });
  const abort = new AbortController();
  const response = await fleet.rotator.fetch("/responses", {
    method: "POST",
    body: JSON.stringify(requestBody()),
    signal: abort.signal,
  });
  const reader = response.body!.getReader();
  equal((await reader.read()).done, false);
  const rest = rejection(() => reader.read());
  abort.abort(REASON);
  equal(await rest, REASON);
  await fleet.fake.seen(({ aborted }) => aborted);
});

test("an abort while a body is sent rejects with the caller's reason", async () => {
  await using fleet = await startKnown();
  const sending = Promise.withResolvers<void>();
  let pulled = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (pulled++ < 20) return controller.enqueue(new Uint8Array(10_000));
      sending.resolve();
      return new Promise(() => {});
    },
  }, { highWaterMark: 0 });
  const abort = new AbortController();
  const { signal } = abort;
  const asked = rejection(() =>
    fleet.rotator.fetch("/responses", { method: "POST", body, signal })
  );
  await sending.promise;
  abort.abort(REASON);
  equal(await asked, REASON);
});

test("a reader that cancels ends the stream at the backend", async () => {
  await using fleet = await startKnown({ reply: { padBytes: 50_000_000 } });
  const response = await fleet.rotator.fetch("/responses", {
    method: "POST",
    body: JSON.stringify(requestBody()),
  });
  const reader = response.body!.getReader();
  await reader.read();
  await reader.cancel();
  const entry = await fleet.fake.seen(({ aborted }) => aborted);
  ok(isResponses(entry));
});

test("a stream arrives to the byte, however it is cut", async () => {
  const text = '\uFEFFdata: {"type":"response.created"}\r\n\r\n: é\n\n' +
    `data: ${JSON.stringify(ADDED)}\n\ndata: {"type":"response.completed"}\n\n`;
  const bytes = new TextEncoder().encode(text);
  await using fleet = await startKnown();
  const { queue } = fleet.fake.account("alice");
  for (let cut = 1; cut < bytes.length; cut += 9) {
    queue.push({ raw: [bytes.slice(0, cut), bytes.slice(cut)] });
    fleet.fake.account("bob").queue.push(queue.at(-1)!);
    const response = await fleet.rotator.fetch("/responses", {
      method: "POST",
      body: JSON.stringify(requestBody()),
    });
    deepEqual(new Uint8Array(await response.arrayBuffer()), bytes);
  }
});

test("a stream that breaks in the middle rejects, and is not repeated", async () => {
  await using fleet = await startKnown({
    events: [ADDED, ADDED, ADDED],
    drop: 2,
    // or Bun throws away what had come
    chunkDelayMs: 50,
  });
  const error = await rejection(() => fleet.ask());
  ok(error instanceof Error);
  equal(fleet.fake.log.length, 1);
});

const ENCODERS = {
  gzip: zlib.gzipSync,
  deflate: zlib.deflateSync,
  br: zlib.brotliCompressSync,
  // not before Node 22.15
  ...(zlib.zstdCompressSync && { zstd: zlib.zstdCompressSync }),
};

test("a compressed body is sent as it is, and read for what has to be healed", async () => {
  for (const [encoding, encode] of Object.entries(ENCODERS)) {
    await using fleet = await startKnown();
    const foreign = { type: "reasoning", encrypted_content: "enc:elsewhere:1" };
    const user = { role: "user", content: "Hello" };
    const json = requestBody({ input: [user, foreign] });
    const body = new Uint8Array(encode(JSON.stringify(json)));
    const response = await fleet.rotator.fetch("/responses", {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "content-encoding": encoding,
      },
      body,
    });
    match(await response.text(), /Hello from alice/);
    const [sent, healed] = fleet.fake.log;
    deepEqual(sent?.body, body, encoding);
    deepEqual(healed?.json, requestBody({ input: [user] }));
    equal(healed?.headers["content-encoding"], undefined);
  }
});

test("an error of the network says its cause", async () => {
  const fleet = await startKnown();
  await fleet.fake.close();
  const error = await rejection(() => fleet.ask());
  const { host } = new URL(fleet.fake.backend);
  equal(
    (error as Error).message,
    `fetch failed: connection refused at ${host}`,
  );
  await fleet.rotator.close();
});
