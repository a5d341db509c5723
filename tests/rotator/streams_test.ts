import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  fullWindows,
  requestBody,
  START,
  startFleet,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";
import type { FakeAnswer } from "../../lib/testing/fake_codex.ts";

const CREATED = { type: "response.created", response: { id: "r" } };
const ADDED = { type: "response.output_item.added", item: {} };

function failed(code: string, more: Record<string, unknown> = {}): unknown {
  return {
    type: "response.failed",
    response: { error: { code, message: `It failed: ${code}`, ...more } },
  };
}

function streamOf(...events: unknown[]): FakeAnswer {
  return { events };
}

test("rotator.fetch() shows only the next account's stream when a stream fails before its content", async () => {
  for (
    const code of [
      "usage_limit_reached",
      "rate_limit_exceeded",
      "server_is_overloaded",
      "usage_not_included",
      "insufficient_quota",
    ]
  ) {
    await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
    fleet.fake.account("alice").queue.push(streamOf(CREATED, failed(code)));
    const answer = await fleet.ask();
    assertEquals([code, answer.status, answer.alias], [code, 200, "bob"]);
    assertMatch(answer.text, /Hello from bob/);
    assertEquals(answer.text.includes(code), false);
  }
});

test("rotator.fetch() passes a failure on unchanged when content has come", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  fleet.fake.account("alice").queue.push(
    streamOf(CREATED, ADDED, failed("usage_limit_reached")),
  );
  const answer = await fleet.ask();
  assertEquals(answer.alias, "alice");
  assertMatch(answer.text, /usage_limit_reached/);
  const { accounts } = await fleet.rotator.status();
  assertEquals(accounts[0]?.reason, "exhausted", "it is learned all the same");
});

test("rotator.fetch() passes a failure on unchanged when it concerns only the caller", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  fleet.fake.account("alice").queue.push(
    streamOf(CREATED, failed("context_length_exceeded")),
  );
  const answer = await fleet.ask();
  assertEquals(answer.alias, "alice");
  assertMatch(answer.text, /context_length_exceeded/);
});

test("rotator.fetch() tries another account when a stream ends before any content", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  fleet.fake.account("alice").queue.push(streamOf(CREATED));
  const answer = await fleet.ask();
  assertEquals(answer.alias, "bob");
  assertMatch(answer.text, /Hello from bob/);
});

test("rotator.fetch() does not repeat a stream that ended before any content when it may have been charged", async () => {
  await using fleet = await startFleet({
    accounts: {
      alice: { windows: fullWindows(START), credits: { ...TEN_CREDITS } },
      bob: { windows: fullWindows(START), credits: { ...TEN_CREDITS } },
    },
  });
  fleet.fake.account("alice").queue.push(streamOf(CREATED));
  const answer = await fleet.ask();
  assertEquals([answer.status, answer.alias], [200, "alice"]);
  assertEquals(
    fleet.fake.log.filter(({ kind }) => kind === "responses").length,
    1,
  );
  const spent = () =>
    fleet.events.filter(({ type }) => type === "credits-spent").length;
  assertEquals(spent(), 1, "it may have been charged");
  fleet.fake.account("bob").queue.push({ status: 502, body: "gone" });
  const gone = await fleet.ask();
  assertEquals([gone.status, gone.alias, spent()], [502, "bob", 1]);
});

test("rotator.fetch() learns from codex.rate_limits wherever it comes in a stream", async () => {
  const limits = {
    type: "codex.rate_limits",
    rate_limits: {
      allowed: false,
      limit_reached: true,
      primary: {
        used_percent: 100,
        window_minutes: 300,
        reset_at: START / 1000 + 600,
      },
    },
  };
  for (const events of [[CREATED, limits, ADDED], [CREATED, ADDED, limits]]) {
    await using fleet = await startFleet({ accounts: { alice: {} } });
    fleet.fake.account("alice").queue.push(streamOf(...events));
    const answer = await fleet.ask();
    assertEquals(answer.status, 200);
    assertMatch(answer.text, /codex.rate_limits/);
    const { accounts } = await fleet.rotator.status();
    assertEquals(accounts[0]?.reason, "exhausted");
  }
});

test("rotator.fetch() passes the bytes of a stream unchanged wherever they are cut", async () => {
  const text = [
    "\uFEFFevent: response.created\r\n",
    'data: {"type":"response.created"}\r\n\r\n',
    ": a comment\n\n",
    "event: response.output_text.delta\n",
    'data: {"type":"response.output_text.delta",\n',
    'data: "delta":"äöü €"}\n\n',
    'data: {"type":"response.completed","response":{}}\n\n',
  ].join("");
  const bytes = new TextEncoder().encode(text);
  await using fleet = await startFleet({ accounts: { alice: {} } });
  for (let cut = 1; cut < bytes.length; cut += 7) {
    fleet.fake.account("alice").queue.push({
      raw: [bytes.slice(0, cut), bytes.slice(cut)],
      headers: { "content-type": "text/event-stream" },
    });
    const response = await fleet.rotator.fetch("/v1/responses", {
      method: "POST",
      body: JSON.stringify(requestBody()),
    });
    assertEquals(new Uint8Array(await response.arrayBuffer()), bytes);
  }
});

test("rotator.fetch() folds a stream for a caller who did not ask for one", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  fleet.fake.account("alice").reply = { text: "Folded", emptyOutput: true };
  const response = await fleet.rotator.fetch(
    "https://api.openai.com/v1/responses",
    {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: "gpt-5.5",
        input: "Hello",
        max_output_tokens: 5,
      }),
    },
  );
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("content-type"), "application/json");
  assertEquals(response.headers.get("content-length"), null);
  const json = await response.json();
  assertEquals(json.output.at(-1).content[0].text, "Folded");
  const sent = fleet.fake.log.find(({ kind }) => kind === "responses")?.json;
  assertEquals(sent, {
    model: "gpt-5.5",
    store: false,
    stream: true,
    include: ["reasoning.encrypted_content"],
    instructions: "",
    input: [{
      type: "message",
      role: "user",
      content: [{ type: "input_text", text: "Hello" }],
    }],
  });
});

test("rotator.fetch() moves to another account at any point while it folds", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  fleet.fake.account("alice").queue.push(
    streamOf(CREATED, ADDED, failed("usage_limit_reached")),
  );
  const answer = await fleet.ask({ stream: false });
  assertEquals([answer.status, answer.alias], [200, "bob"]);
});

test("rotator.fetch() gives a folded failure its status when nobody else could do better", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  fleet.fake.account("alice").queue.push(
    streamOf(CREATED, failed("context_length_exceeded")),
    streamOf(CREATED, failed("something_else")),
  );
  fleet.fake.account("bob").queue.push(
    streamOf(CREATED, failed("something_else")),
  );
  const first = await fleet.ask({ stream: false });
  assertEquals(first.status, 400);
  assertEquals(JSON.parse(first.text).error.code, "context_length_exceeded");
  assertEquals((await fleet.ask({ stream: false })).status, 502);
});

test("rotator.fetch() heals a conversation that comes from another account", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  const input = [
    { type: "message", role: "user", content: "Hello" },
    { type: "reasoning", encrypted_content: "enc:elsewhere:x", summary: [] },
    { type: "compaction", encrypted_content: "enc:elsewhere:y" },
    { type: "message", role: "user", content: "And now?" },
  ];
  const body = { input, prompt_cache_key: "moved" };
  const answer = await fleet.ask(body);
  assertEquals(answer.status, 200);
  const sent = () =>
    fleet.fake.log.filter(({ kind }) => kind === "responses")
      .map(({ json, account }) => [
        account,
        (json as { input: unknown[] }).input.length,
      ]);
  assertEquals(sent(), [["alice", 4], ["alice", 2]]);
  assertEquals(
    fleet.events.filter(({ type }) => type === "warning").length,
    1,
  );
  await fleet.ask(body);
  assertEquals(
    sent().at(-1),
    ["alice", 2],
    "later turns are cleaned beforehand",
  );
  assertEquals(sent().length, 3);
});

test("rotator.fetch() breaks a stream off upstream when its reader goes away", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  fleet.fake.account("alice").reply = { padBytes: 50_000_000 };
  const response = await fleet.rotator.fetch("/responses", {
    method: "POST",
    body: JSON.stringify(requestBody()),
  });
  const reader = response.body!.getReader();
  await reader.read();
  await reader.cancel();
  await fleet.fake.seen(({ kind, aborted }) => kind === "responses" && aborted);
});

test("rotator.fetch() rejects with the caller's reason when it aborts before the first content", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  await fleet.ask();
  const never = Promise.withResolvers<void>();
  fleet.fake.account("alice").queue.push({
    events: [CREATED],
    until: never.promise,
  });
  const abort = new AbortController();
  const reason = new Error("the caller's own");
  const asked = fleet.ask({}, { signal: abort.signal });
  await fleet.fake.seen(({ n, kind }) => kind === "responses" && n > 2);
  abort.abort(reason);
  assertEquals(await assertRejects(() => asked), reason);
  never.resolve();
});
