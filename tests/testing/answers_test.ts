import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "../test.ts";
import {
  authorized,
  conforming,
  eventsOf,
  FULL,
  respond,
  SECONDS,
  type Site,
  startAlice,
} from "./client.ts";

const WINDOWS = [{ seconds: 18_000, usedPercent: 0 }];

function start(): Promise<Site> {
  const alice = { costPercent: 10, windows: WINDOWS };
  return startAlice(alice, { accounts: { bob: {} } });
}

function post({ fake }: Site, signal?: AbortSignal): Promise<Response> {
  return fetch(`${fake.backend}/codex/responses`, {
    method: "POST",
    headers: authorized(fake.tokens("alice")),
    // a stream: the runtime would send anything else again when a connection breaks
    body: new Blob([conforming()]).stream(),
    duplex: "half",
    ...(signal && { signal }),
  } as RequestInit);
}

function used({ fake }: Site): number | undefined {
  return fake.account("alice").windows?.[0]?.usedPercent;
}

function typesOf(text: string): string[] {
  return eventsOf(text).map((event) => event.type);
}

/** What of a body arrived, and whether it ended as it should. */
async function drain(
  response: Response,
): Promise<[whole: boolean, text: string]> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const chunk of response.body!) text += decoder.decode(chunk);
    return [true, text];
  } catch {
    return [false, text];
  }
}

test("responses() streams a whole answer that names its account", async () => {
  await using site = await start();
  const answer = await site.ask();
  assertEquals(
    answer.headers.get("content-type"),
    "text/event-stream; charset=utf-8",
  );
  assertEquals(typesOf(answer.text), [
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
  const events = eventsOf(answer.text);
  const deltas = events.map((event) => event.delta ?? "").join("");
  assertEquals(deltas, "Hello from alice");
  const { response } = events.at(-1);
  assertEquals(response.status, "completed");
  assertEquals(response.output[0].content[0].text, "Hello from alice");
  assertEquals(response.usage.total_tokens, 16);
});

test("responses() streams what the account's reply or a script says", async () => {
  await using site = await start();
  const alice = site.fake.account("alice");
  alice.reply = { text: "abcdef", deltas: 3 };
  alice.queue.push({ reply: { emptyOutput: true, noise: true } });
  const { text } = await site.ask();
  const events = eventsOf(text);
  const deltas = events.filter((event) => event.delta !== undefined);
  assertEquals(deltas.map((event) => event.delta), ["ab", "cd", "ef"]);
  assertEquals(events.at(-1).response.output, []);
  assert(text.includes("\n: a comment\n\n"));
  assertEquals(typesOf(text).slice(2, 7), [
    "keepalive",
    "response.metadata",
    "codex.response.metadata",
    "responsesapi.websocket_timing",
    "response.of_a_kind_unknown_today",
  ]);
  const next = eventsOf((await site.ask()).text);
  assertEquals(next.at(-1).response.output.length, 1);
});

test("queue answers one request each, then always does", async () => {
  await using site = await start();
  const alice = site.fake.account("alice");
  alice.queue.push(
    { status: 503, headers: { "Retry-After": "7" }, body: { error: "busy" } },
    { status: 403, body: "<html></html>" },
    { status: 500, body: "broken" },
    { redirect: "http://127.0.0.1:9/elsewhere" },
  );
  const facts = [];
  for (let n = 0; n < 4; n++) {
    const { status, headers, text } = await site.ask();
    facts.push([status, headers.get("content-type"), text]);
    if (n === 0) assertEquals(headers.get("retry-after"), "7");
  }
  assertEquals(facts, [
    [503, "application/json", '{"error":"busy"}'],
    [403, "text/html; charset=UTF-8", "<html></html>"],
    [500, "text/plain; charset=utf-8", "broken"],
    [307, null, ""],
  ]);
  assertEquals((await site.ask()).status, 200);
  alice.always = { status: 429 };
  for (let n = 0; n < 2; n++) assertEquals((await site.ask()).status, 429);
  assertEquals((await respond(site.fake, "bob")).status, 200);
  assertEquals(used(site), 10);
});

test("queue sends scripted events and bytes as they are", async () => {
  await using site = await start();
  const failed = { type: "response.failed", response: {} };
  site.fake.account("alice").queue.push(
    { events: [failed] },
    { raw: ["da", new Uint8Array([0, 255]), "\r\n"], chunkDelayMs: 1 },
    { raw: "", status: 204 },
  );
  const { text, headers } = await site.ask();
  const encoded = `event: response.failed\ndata: ${JSON.stringify(failed)}\n\n`;
  assertEquals(text, encoded);
  assertEquals(headers.get("x-codex-primary-used-percent"), "0");
  const raw = await post(site);
  assertEquals(
    new Uint8Array(await raw.arrayBuffer()),
    new Uint8Array([100, 97, 0, 255, 13, 10]),
  );
  assertEquals(raw.headers.get("content-type"), null);
  assertEquals((await site.ask()).status, 204);
});

test("queue can hold an answer back until a promise is settled", async () => {
  await using site = await start();
  const { promise: until, resolve } = Promise.withResolvers<void>();
  site.fake.account("alice").queue.push({ until, delayMs: 1 });
  let over = false;
  const held = site.ask().finally(() => over = true);
  await site.fake.seen((entry) => entry.kind === "responses");
  // Decided when it came, not when it leaves.
  assertEquals(used(site), 10);
  await respond(site.fake, "bob");
  assertEquals(over, false);
  assertEquals(site.fake.log.map((entry) => entry.parallel), [1, 2]);
  resolve();
  assertEquals((await held).status, 200);
});

test("queue can cut the connection at any point of a served answer", async () => {
  await using site = await start();
  const { queue } = site.fake.account("alice");
  queue.push({ drop: "before-headers" });
  await assertRejects(() => post(site), TypeError);
  // cut after a while, or Bun throws away what had come
  const chunkDelayMs = 30;
  queue.push(
    { drop: "mid-body", chunkDelayMs },
    { drop: 2, chunkDelayMs },
    { drop: 0 },
  );
  const rows: [whole: boolean, events: number][] = [];
  for (let n = 0; n < 3; n++) {
    const [whole, text] = await drain(await post(site));
    rows.push([whole, eventsOf(text).length]);
  }
  assertEquals(rows, [[false, 5], [false, 2], [false, 0]]);
  queue.push({
    body: { error: "long enough" },
    drop: "mid-body",
    chunkDelayMs,
  });
  assertEquals(await drain(await post(site)), [false, '{"error":"l']);
  assertEquals(used(site), 40);
  const { log } = site.fake;
  assertEquals(log.map((entry) => entry.status), [0, 200, 200, 200, 200]);
  assert(log.every((entry) => entry.done && !entry.aborted));
  queue.push({ events: [{ type: "response.created" }] });
  assertEquals((await drain(await post(site)))[0], true);
});

test("refusals can come late, in a stream, after a long preamble", async () => {
  await using site = await startAlice({ windows: FULL });
  const alice = site.fake.account("alice");
  const { promise: after, resolve } = Promise.withResolvers<void>();
  alice.refusals = { as: "error", preambleBytes: 1 << 20, after };
  const streaming = await post(site);
  assertEquals(streaming.status, 200);
  assertEquals(site.fake.log[0]?.done, false);
  resolve();
  const limited = await streaming.text();
  assert(limited.length > 1 << 20);
  assertEquals(typesOf(limited), [
    "response.created",
    "response.in_progress",
    "error",
  ]);
  const { error, status_code, headers } = eventsOf(limited).at(-1);
  assertEquals([error.type, error.resets_in_seconds, status_code], [
    "usage_limit_reached",
    604_800,
    429,
  ]);
  assertEquals(headers["X-Codex-Active-Limit"], "premium");
  assertEquals(
    headers["X-Codex-Primary-Reset-At"],
    String(SECONDS + 604_800),
  );
  alice.overloaded = "server_is_overloaded";
  alice.refusals = { as: "failed", after: 1 };
  const failed = eventsOf((await site.ask()).text).at(-1);
  assertEquals(failed.response.error, {
    type: "server_is_overloaded",
    code: "server_is_overloaded",
    message: "Selected model is at capacity. Please try a different model.",
  });
  alice.refusals = { after: 1 };
  assertEquals((await site.ask()).status, 503);
  alice.overloaded = null;
  alice.windows = WINDOWS;
  assertEquals((await site.ask()).status, 200);
});

test("log says when the client went away", async () => {
  await using site = await start();
  site.fake.account("alice").queue.push({ hang: true });
  const gone = new AbortController();
  const hanging = post(site, gone.signal);
  await site.fake.seen((entry) => entry.kind === "responses");
  gone.abort(new Error("enough"));
  await assertRejects(() => hanging, Error, "enough");
  const entry = await site.fake.seen((entry) => entry.aborted);
  assertEquals([entry.n, entry.status, entry.done], [1, 0, true]);
});

test("responses() writes no faster than the client reads", async () => {
  await using site = await start();
  site.fake.account("alice").queue.push(
    { reply: { padBytes: 64 * 1024 * 1024 } },
    { reply: { padBytes: 1_000_000 } },
  );
  const gone = new AbortController();
  const response = await post(site, gone.signal);
  const reader = response.body!.getReader();
  await reader.read();
  // Unread, it stops somewhere between the two ends: it is not done.
  assertEquals(site.fake.log[0]?.done, false);
  gone.abort();
  await reader.read().catch(() => {});
  assertEquals((await site.fake.seen((entry) => entry.aborted)).status, 200);
  const whole = await site.ask();
  assert(whole.text.length > 1_000_000);
  assertEquals(typesOf(whole.text).at(-1), "response.completed");
});

test("usage() has answers of its own, and tells what was so when it was asked", async () => {
  await using site = await start();
  const { promise: until, resolve } = Promise.withResolvers<void>();
  const alice = site.fake.account("alice");
  alice.usageQueue.push({ status: 404 }, { body: "<html></html>" }, { until });
  assertEquals((await site.usage()).status, 404);
  assertEquals((await site.usage()).text, "<html></html>");
  const late = site.usage();
  await site.fake.seen((entry) => entry.n === 3);
  await site.ask();
  resolve();
  const { rate_limit } = (await late).json;
  assertEquals(rate_limit.primary_window.used_percent, 0);
  alice.usageAlways = { status: 503 };
  assertEquals((await site.usage()).status, 503);
  alice.usageAlways = undefined;
  alice.usageOverride = () => {
    throw new Error("odd");
  };
  const { status, json } = await site.usage();
  assertEquals([status, json.error.message], [
    500,
    "A hook of the stand-in failed: Error: odd",
  ]);
});

test("responses() serves hundreds at once, each once", async () => {
  await using site = await start();
  const texts = await Promise.all(
    Array.from({ length: 300 }, () => respond(site.fake, "bob")),
  );
  assert(texts.every(({ text }) => text.includes("response.completed")));
  const { log } = site.fake;
  assertEquals(new Set(log.map((entry) => entry.n)).size, 300);
});

test("close() cuts what is under way and ends all waiting", async () => {
  const site = await start();
  const { fake } = site;
  fake.account("alice").always = { hang: true };
  const hanging = post(site);
  await fake.seen((entry) => entry.kind === "responses");
  const waiting = fake.seen((entry) => entry.kind === "token");
  const failures = Promise.all([
    assertRejects(() => hanging, TypeError),
    assertRejects(() => waiting, Error, "closed"),
    assertRejects(
      () => fake.seen(() => false, 1),
      Error,
      "No such request within 1 ms",
    ),
  ]);
  await new Promise((resolve) => setTimeout(resolve, 10));
  await fake.close();
  await failures;
  await fake.close();
  await assertRejects(() => post(site), TypeError);
});
