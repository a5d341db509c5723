import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { type Fleet, requestBody, startFleet } from "../fleet.ts";
import { test } from "../test.ts";
import type { FakeLogEntry } from "../../lib/testing/fake_codex.ts";
import { BODIES, type BodyCase, sendBody, streamOf } from "./bodies.ts";

const RAN_OUT = {
  status: 429,
  body: { error: { type: "usage_limit_reached", resets_in_seconds: 1 } },
};

/** What of a request must be the same however it is sent. */
function shapeOf(entry: FakeLogEntry): Record<string, unknown> {
  // Bun leaves out the type that the standard gives a string
  const type = entry.headers["content-type"] ?? "text/plain;charset=utf-8";
  const boundary = /boundary=(\S+)/.exec(type)?.[1];
  return {
    method: entry.method,
    // a boundary is drawn anew by every fetch
    type: boundary ? type.replace(boundary, "B") : type.toLowerCase(),
    encoding: entry.headers["content-encoding"] ?? null,
    own: entry.headers["x-own"] ?? null,
    body: boundary
      ? new TextDecoder().decode(entry.body).replaceAll(boundary, "B")
      : entry.bodyHash,
  };
}

function sent(fleet: Fleet): FakeLogEntry[] {
  return fleet.fake.log.filter(({ kind }) => kind === "responses");
}

/** Sends a body by plain fetch, and then through a 401 and a 429 to the second account. */
async function compare(body: BodyCase): Promise<void> {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  const url = `${fleet.fake.backend}/codex/responses`;
  await sendBody(fetch, url, body);
  const [expected] = sent(fleet);
  fleet.fake.clearLog();
  fleet.fake.account("alice").queue.push({ status: 401 }, RAN_OUT);
  fleet.fake.account("bob").queue.push({ status: 200, body: {} });
  assertEquals(await sendBody(fleet.rotator.fetch, url, body), 200);
  const entries = sent(fleet);
  assertEquals(
    entries.map(({ account, status }) => [account, status]),
    [["alice", 401], ["alice", 429], ["bob", 200]],
  );
  for (const entry of entries) {
    assertEquals(shapeOf(entry), shapeOf(expected!));
    assertEquals(entry.bodyHash, entries[0]!.bodyHash, "to the byte");
  }
}

for (const [name, body] of Object.entries(BODIES)) {
  test(`rotator.fetch() sends as fetch does, on both accounts: ${name}`, async () => {
    await compare(body);
  });
}

test("rotator.fetch() keeps the type of a string that may be charged", async () => {
  await using fleet = await startFleet({
    accounts: {
      alice: {
        windows: [{ seconds: 18_000, usedPercent: 100 }],
        credits: { hasCredits: true, unlimited: false, balance: "10" },
      },
    },
  });
  await fleet.ask({}, { headers: {} });
  const [entry] = sent(fleet);
  assertEquals(entry?.charged, true);
  assertEquals(entry?.headers["content-type"], "text/plain;charset=UTF-8");
});

test("rotator.fetch() reads the model out of whatever holds JSON", async () => {
  const model = "gpt-5.3-codex-spark";
  const text = JSON.stringify(requestBody({ model }));
  const bytes = new TextEncoder().encode(text);
  const bodies: (() => BodyInit)[] = [
    () => text,
    () => bytes,
    () => new Blob([text], { type: "application/json" }),
    () => new Blob([text]),
    () => streamOf(bytes),
  ];
  for (const body of bodies) {
    await using fleet = await startFleet({
      accounts: { alice: {}, bob: { plan: "pro" } },
      preferPlans: [],
    });
    const url = `${fleet.rotator.baseURL}/responses`;
    const init = { method: "POST", body: body(), duplex: "half" };
    const request = new Request(url, init as RequestInit);
    for (
      const response of [
        await fleet.rotator.fetch(url, { method: "POST", body: body() }),
        await fleet.rotator.fetch(request),
      ]
    ) {
      await response.body?.cancel();
      assertEquals(fleet.rotator.accountOf(response), "bob", "only Pro has it");
    }
    assert(request.bodyUsed);
  }
});

test("rotator.fetch() sends a stream beyond maxReplayBytes once and as it comes", async () => {
  let pulled = 0;
  const pulledWhenSent: number[] = [];
  await using fleet = await startFleet({
    accounts: { alice: { queue: [RAN_OUT] }, bob: {} },
    maxReplayBytes: 1000,
    fetch: (input, init) => {
      pulledWhenSent.push(pulled);
      return fetch(input, init);
    },
  });
  await fleet.rotator.refresh();
  pulledWhenSent.length = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (pulled++ === 64) return controller.close();
      controller.enqueue(new Uint8Array(500).fill(pulled));
    },
  }, { highWaterMark: 0 });
  const response = await fleet.rotator.fetch("/responses", {
    method: "POST",
    body,
    headers: { "content-type": "a/b" },
  });
  assertEquals(response.status, 429, "the real one: it cannot be repeated");
  assertMatch(await response.text(), /usage_limit_reached/);
  assertEquals(pulledWhenSent, [3], "no more is read than the bound");
  const [entry, ...more] = sent(fleet);
  assertEquals([entry?.body.length, more.length], [64 * 500, 0]);
  assertEquals(entry?.body.at(-1), 64);
});

test("rotator.fetch() does not see what a caller writes into its buffer afterwards", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  const bytes = new TextEncoder().encode(JSON.stringify(requestBody()));
  const before = bytes.slice();
  const asked = fleet.rotator.fetch("/responses", {
    method: "POST",
    body: bytes,
  });
  bytes.fill(0);
  await (await asked).body?.cancel();
  assertEquals(sent(fleet)[0]?.body, before);
});

test("rotator.fetch() rejects a body that fetch would reject, and sends nothing", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  const used = new Request(fleet.rotator.baseURL, {
    method: "POST",
    body: "x",
  });
  await used.text();
  const broken = new Error("the caller's own");
  const bodies: [BodyInit, unknown][] = [
    [ReadableStream.from(["text"]) as ReadableStream, TypeError],
    [new ReadableStream({ start: (it) => it.error(broken) }), broken],
  ];
  const url = `${fleet.rotator.baseURL}/responses`;
  await assertRejects(() => fleet.rotator.fetch(url, used), TypeError);
  for (const [body, reason] of bodies) {
    const error = await assertRejects(() =>
      fleet.rotator.fetch(url, { method: "POST", body })
    );
    if (reason === TypeError) assert(error instanceof TypeError);
    else assertEquals(error, reason);
  }
  assertEquals(fleet.fake.log, []);
});
