import { assert, assertEquals, assertRejects } from "@std/assert";
import { startFakeCodex } from "../../lib/testing/fake_codex.ts";
import type { FakeCodex } from "../../lib/testing/fake_codex.ts";
import {
  askUsage,
  authorized,
  conforming,
  eventsOf,
  respond,
} from "./fake_client.ts";

function start(): Promise<FakeCodex> {
  return startFakeCodex({ accounts: { alice: { costPercent: 10 }, bob: {} } });
}

function post(fake: FakeCodex, signal?: AbortSignal): Promise<Response> {
  return fetch(`${fake.backend}/codex/responses`, {
    method: "POST",
    headers: authorized(fake.tokens("alice")),
    // a stream: the runtime would send anything else again when a connection breaks
    body: new Blob([conforming()]).stream(),
    redirect: "manual",
    ...(signal && { signal }),
  });
}

function used(fake: FakeCodex): number | undefined {
  return fake.account("alice").windows?.[0]?.usedPercent;
}

/** What of a body arrived, and whether it ended as it should. */
async function drain(
  response: Response,
): Promise<{ text: string; whole: boolean }> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const chunk of response.body!) text += decoder.decode(chunk);
    return { text, whole: true };
  } catch {
    return { text, whole: false };
  }
}

Deno.test("responses() streams a whole answer that names its account", async () => {
  await using fake = await start();
  const answer = await respond(fake, "alice");
  assertEquals(
    answer.headers.get("content-type"),
    "text/event-stream; charset=utf-8",
  );
  const events = eventsOf(answer.text);
  assertEquals(events.map((event) => event.type), [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
  ]);
  const deltas = events.map((event) => event.delta ?? "").join("");
  assertEquals(deltas, "Hello from alice");
  const { response } = events.at(-1);
  assertEquals(response.status, "completed");
  assertEquals(response.output[0].content[0].text, "Hello from alice");
  assertEquals(response.usage.total_tokens, 16);
});

Deno.test("responses() streams what the account's reply says", async () => {
  await using fake = await start();
  fake.account("alice").reply = { text: "abcdef", deltas: 3 };
  fake.account("alice").queue.push({
    reply: { emptyOutput: true, rateLimitsEvent: true },
  });
  const events = eventsOf((await respond(fake, "alice")).text);
  const deltas = events.filter((event) => event.delta !== undefined);
  assertEquals(deltas.map((event) => event.delta), ["ab", "cd", "ef"]);
  assertEquals(events.at(-1).response.output, []);
  const limits = events[2];
  assertEquals(limits.type, "codex.rate_limits");
  assertEquals(limits.metered_limit_name, "codex");
  assertEquals(limits.rate_limits.limit_reached, false);
  assertEquals(limits.rate_limits.primary.used_percent, 10);
  assertEquals(limits.rate_limits.primary.window_minutes, 300);
  assertEquals(limits.credits.balance, "0");
  const next = eventsOf((await respond(fake, "alice")).text);
  assertEquals(next.at(-1).response.output.length, 1);
});

Deno.test("queue answers one request each, then always does", async () => {
  await using fake = await start();
  const account = fake.account("alice");
  account.queue.push(
    { status: 503, headers: { "Retry-After": "7" }, body: { error: "busy" } },
    { status: 403, body: "<html></html>" },
    { status: 500, body: "broken" },
    { redirect: "http://127.0.0.1:9/elsewhere" },
  );
  const busy = await respond(fake, "alice");
  assertEquals([busy.status, busy.json], [503, { error: "busy" }]);
  assertEquals(busy.headers.get("retry-after"), "7");
  assertEquals(busy.headers.get("content-type"), "application/json");
  const page = await respond(fake, "alice");
  assertEquals(page.status, 403);
  assertEquals(page.headers.get("content-type"), "text/html; charset=UTF-8");
  const broken = await respond(fake, "alice");
  assertEquals([broken.status, broken.text], [500, "broken"]);
  const moved = await respond(fake, "alice");
  assertEquals(moved.status, 307);
  assertEquals(moved.headers.get("location"), "http://127.0.0.1:9/elsewhere");
  assertEquals((await respond(fake, "alice")).status, 200);
  account.always = { status: 429 };
  assertEquals((await respond(fake, "alice")).status, 429);
  assertEquals((await respond(fake, "alice")).status, 429);
  assertEquals((await respond(fake, "bob")).status, 200);
  assertEquals(used(fake), 10);
});

Deno.test("queue sends scripted events and bytes as they are", async () => {
  await using fake = await start();
  const failed = {
    type: "response.failed",
    response: { error: { code: "x" } },
  };
  fake.account("alice").queue.push(
    { events: [failed] },
    { raw: ["da", new Uint8Array([0, 255]), "\r\n"], chunkDelayMs: 1 },
    { raw: "", status: 204 },
  );
  const events = await respond(fake, "alice");
  assertEquals(
    events.text,
    `event: response.failed\ndata: ${JSON.stringify(failed)}\n\n`,
  );
  assertEquals(events.headers.get("x-codex-primary-used-percent"), "0");
  const raw = await post(fake);
  assertEquals(raw.headers.get("content-type"), null);
  assertEquals(
    new Uint8Array(await raw.arrayBuffer()),
    new Uint8Array([100, 97, 0, 255, 13, 10]),
  );
  assertEquals((await respond(fake, "alice")).status, 204);
  assertEquals(used(fake), 0);
});

Deno.test("queue can hold an answer back until a promise or a delay is over", async () => {
  await using fake = await start();
  const gate = Promise.withResolvers<void>();
  fake.account("alice").queue.push({ until: gate.promise });
  let over = false;
  const held = respond(fake, "alice").finally(() => over = true);
  await fake.seen((entry) => entry.kind === "responses");
  // Decided when it came, not when it leaves.
  assertEquals(used(fake), 10);
  await respond(fake, "bob");
  assertEquals(over, false);
  assertEquals(fake.log.map((entry) => entry.parallel), [1, 2]);
  gate.resolve();
  assertEquals((await held).status, 200);
  const began = performance.now();
  fake.account("alice").queue.push({ delayMs: 50 });
  assertEquals((await respond(fake, "alice")).status, 200);
  assert(performance.now() - began >= 45);
});

Deno.test("queue can cut the connection at any point of a served answer", async () => {
  await using fake = await start();
  const { queue } = fake.account("alice");
  queue.push({ drop: "before-headers" });
  await assertRejects(() => post(fake), TypeError);
  queue.push({ drop: "mid-body" });
  const half = await drain(await post(fake));
  assertEquals(half.whole, false);
  assertEquals(eventsOf(half.text).length, 5);
  queue.push({ drop: 2 });
  const early = await drain(await post(fake));
  assertEquals(early.whole, false);
  assertEquals(eventsOf(early.text).map((event) => event.type), [
    "response.created",
    "response.in_progress",
  ]);
  queue.push({ body: { error: "long enough" }, drop: "mid-body" });
  const body = await drain(await post(fake));
  assertEquals([body.whole, body.text], [false, '{"error":"l']);
  queue.push({ drop: 0 });
  const nothing = await drain(await post(fake));
  assertEquals([nothing.whole, nothing.text], [false, ""]);
  assertEquals(used(fake), 40);
  assertEquals(fake.log.map((entry) => entry.status), [0, 200, 200, 200, 200]);
  assert(fake.log.every((entry) => entry.done && !entry.aborted));
});

Deno.test("queue can end a stream early but in good order", async () => {
  await using fake = await start();
  fake.account("alice").queue.push({ events: [{ type: "response.created" }] });
  const { text, whole } = await drain(await post(fake));
  assertEquals([whole, eventsOf(text).length], [true, 1]);
});

Deno.test("log says when the client went away", async () => {
  await using fake = await start();
  fake.account("alice").queue.push({ hang: true });
  const gone = new AbortController();
  const hanging = post(fake, gone.signal);
  await fake.seen((entry) => entry.kind === "responses");
  gone.abort(new Error("enough"));
  await assertRejects(() => hanging, Error, "enough");
  const entry = await fake.seen((entry) => entry.aborted);
  assertEquals([entry.n, entry.status, entry.done], [1, 0, true]);
});

Deno.test("responses() writes no faster than the client reads", async () => {
  await using fake = await start();
  const padBytes = 64 * 1024 * 1024;
  fake.account("alice").queue.push({ reply: { padBytes } }, {
    reply: { padBytes: 1_000_000 },
  });
  const gone = new AbortController();
  const response = await post(fake, gone.signal);
  const reader = response.body!.getReader();
  await reader.read();
  // Unread, it stops somewhere between the two ends: it is not done.
  assertEquals(fake.log[0]?.done, false);
  gone.abort();
  await reader.read().catch(() => {});
  assertEquals((await fake.seen((entry) => entry.aborted)).status, 200);
  const whole = await respond(fake, "alice");
  assert(whole.text.length > 1_000_000);
  assertEquals(eventsOf(whole.text).at(-1).type, "response.completed");
});

Deno.test("usage() has answers of its own", async () => {
  await using fake = await start();
  const account = fake.account("alice");
  account.queue.push({ status: 500 });
  account.usageQueue.push({ status: 404 }, { body: "<html></html>" });
  assertEquals((await askUsage(fake, "alice")).status, 404);
  assertEquals((await askUsage(fake, "alice")).text, "<html></html>");
  assertEquals((await askUsage(fake, "alice")).json.plan_type, "plus");
  account.usageAlways = { status: 503 };
  assertEquals((await askUsage(fake, "alice")).status, 503);
  assertEquals((await respond(fake, "alice")).status, 500);
});

Deno.test("usage() tells what was so when it was asked", async () => {
  await using fake = await start();
  const gate = Promise.withResolvers<void>();
  fake.account("alice").usageQueue.push({ until: gate.promise });
  const late = askUsage(fake, "alice");
  await fake.seen((entry) => entry.kind === "usage");
  await respond(fake, "alice");
  gate.resolve();
  const { json } = await late;
  assertEquals(json.rate_limit.primary_window.used_percent, 0);
});

Deno.test("a hook that throws is told to the client", async () => {
  await using fake = await start();
  fake.account("alice").usageOverride = () => {
    throw new Error("odd");
  };
  const answer = await askUsage(fake, "alice");
  assertEquals(answer.status, 500);
  assertEquals(
    answer.json.error.message,
    "A hook of the stand-in failed: Error: odd",
  );
});

Deno.test("responses() serves hundreds at once, each once", async () => {
  await using fake = await start();
  const tokens = fake.tokens("bob");
  const texts = await Promise.all(Array.from({ length: 300 }, async () => {
    const response = await fetch(`${fake.backend}/codex/responses`, {
      method: "POST",
      headers: authorized(tokens),
      body: conforming(),
    });
    return await response.text();
  }));
  assert(texts.every((text) => text.includes("response.completed")));
  assertEquals(fake.log.length, 300);
  assertEquals(new Set(fake.log.map((entry) => entry.n)).size, 300);
});

Deno.test("close() cuts what is under way and ends all waiting", async () => {
  const fake = await start();
  fake.account("alice").always = { hang: true };
  const hanging = post(fake);
  await fake.seen((entry) => entry.kind === "responses");
  const waiting = fake.seen((entry) => entry.kind === "token");
  const failures = Promise.all([
    assertRejects(() => hanging, TypeError),
    assertRejects(() => waiting, Error, "closed"),
  ]);
  await fake.close();
  await failures;
  await fake.close();
  await assertRejects(() => post(fake), TypeError);
});

Deno.test("seen() gives up after its time", async () => {
  await using fake = await start();
  await assertRejects(
    () => fake.seen(() => false, { timeoutMs: 1 }),
    Error,
    "No such request within 1 ms",
  );
});
