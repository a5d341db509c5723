import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { statusOfFailure } from "../../lib/codex/error_table.ts";
import {
  CREDITED,
  type Fleet,
  rowOf,
  startFleet,
  startKnown,
} from "../fleet.ts";
import { test } from "../test.ts";
import type {
  FakeAccountOptions,
  FakeAnswer,
} from "../../lib/testing/fake_codex.ts";

const CREATED = { type: "response.created", response: { id: "r" } };

function done(index: number, text: string): unknown {
  return {
    type: "response.output_item.done",
    output_index: index,
    item: { type: "message", id: `m${index}`, content: [{ text }] },
  };
}

function ended(type: string, response: Record<string, unknown>): unknown {
  return { type: `response.${type}`, response: { id: "r", ...response } };
}

/** The answer of a fleet of one, whose caller did not ask for a stream. */
async function folded(answer: FakeAnswer): Promise<{
  response: Response;
  text: string;
  fleet: Fleet;
}> {
  const fleet = await startFleet({ accounts: { alice: { queue: [answer] } } });
  const { response, text } = await fleet.ask({ stream: false });
  await fleet[Symbol.asyncDispose]();
  return { response, text, fleet };
}

const texts = (text: string): unknown =>
  JSON.parse(text).output.map((item: { content: { text: string }[] }) =>
    item.content[0]?.text
  );

test("a folded response has its output put together in order where it carries none", async () => {
  for (const output of [[], null, undefined]) {
    const { response, text } = await folded({
      events: [
        CREATED,
        done(2, "c"),
        done(0, "a"),
        done(1, "b"),
        ended("completed", { status: "completed", output }),
      ],
    });
    assertEquals(response.status, 200);
    assertEquals(texts(text), ["a", "b", "c"]);
    assertEquals(JSON.parse(text).status, "completed");
  }
});

test("a folded response keeps the output that it carries", async () => {
  const output = [{ type: "message", content: [{ text: "whole" }] }];
  const { text } = await folded({
    events: [done(0, "part"), ended("completed", { output })],
  });
  assertEquals(texts(text), ["whole"]);
});

test("an incomplete response folds into 200 as well", async () => {
  const { response, text } = await folded({
    events: [
      done(0, "as far as it"),
      ended("incomplete", {
        status: "incomplete",
        incomplete_details: { reason: "max_output_tokens" },
        output: [],
      }),
    ],
  });
  assertEquals(response.status, 200);
  assertEquals(JSON.parse(text).status, "incomplete");
  assertEquals(texts(text), ["as far as it"]);
});

test("a folded response has the headers of JSON and none of the stream's bytes", async () => {
  const events = [done(0, "zipped"), ended("completed", { output: [] })]
    .map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");
  const zipped = await new Response(
    new Blob([events]).stream().pipeThrough(new CompressionStream("gzip")),
  ).bytes();
  const { response, text, fleet } = await folded({
    raw: zipped,
    headers: {
      "content-type": "text/event-stream",
      "content-encoding": "gzip",
      "content-length": String(zipped.length),
      "x-request-id": "req_1",
    },
  });
  assertEquals(texts(text), ["zipped"]);
  const names = ["content-type", "content-encoding", "content-length"];
  assertEquals(
    names.map((name) => response.headers.get(name)),
    ["application/json", null, null],
  );
  assertEquals(response.headers.get("x-request-id"), "req_1");
  assertEquals(response.url, `${fleet.fake.backend}/codex/responses`);
  assertEquals(fleet.rotator.accountOf(response), "alice");
});

test("a folded failure has the status that its error has or means", async () => {
  const cases: [Record<string, unknown>, number][] = [
    [{ code: "context_length_exceeded" }, 400],
    [{ code: "invalid_prompt" }, 400],
    [{ code: "content_policy", status: 403 }, 403],
    [{ code: "server_error" }, 502],
    [{}, 502],
  ];
  for (const [error, status] of cases) {
    for (
      const event of [
        ended("failed", { error }),
        { type: "error", error },
      ]
    ) {
      const { response, text } = await folded({ events: [CREATED, event] });
      assertEquals([error, response.status], [error, status]);
      assertEquals(JSON.parse(text), { error });
    }
  }
});

test("a folded failure has the status that its event carries", async () => {
  const error = { code: "server_error", message: "no" };
  for (const status of [409, 422]) {
    const event = { type: "error", error, status_code: status };
    const { response, text } = await folded({ events: [CREATED, event] });
    assertEquals(response.status, status);
    assertEquals(JSON.parse(text), { error });
  }
});

test("statusOfFailure() is that of the answer which says the same", () => {
  for (
    const code of [
      "usage_limit_reached",
      "usage_not_included",
      "rate_limit_exceeded",
      "insufficient_quota",
      "credit_balance_exhausted",
      "organization_spend_limit_exceeded",
      "project_spend_limit_exceeded",
      "organization_usage_limit_exceeded",
    ]
  ) assertEquals([code, statusOfFailure({ code })], [code, 429]);
});

test("a stream that breaks while it is folded is tried on another account", async () => {
  const broken: FakeAnswer[] = [
    { events: [CREATED, done(0, "half")] },
    { events: [CREATED, done(0, "half"), done(1, "rest")], drop: 2 },
  ];
  for (const answer of broken) {
    await using fleet = await startKnown({
      accounts: { alice: { queue: [answer] }, bob: {} },
    });
    const { status, alias, text } = await fleet.ask({ stream: false });
    assertEquals([status, alias], [200, "bob"]);
    assertEquals(texts(text), ["Hello from bob"]);
  }
});

test("a stream that breaks while it is folded is not repeated when it may have been charged", async () => {
  await using fleet = await startKnown({
    accounts: {
      alice: { ...CREDITED, queue: [{ events: [CREATED, done(0, "half")] }] },
      bob: { ...CREDITED },
    },
  });
  await assertRejects(() => fleet.ask({ stream: false }), TypeError);
  assertEquals(fleet.fake.log.length, 1);
});

test("what a folded stream says of its account is learned", async () => {
  const limits = {
    type: "codex.rate_limits",
    rate_limits: {
      allowed: false,
      limit_reached: true,
      primary: { used_percent: 100, window_minutes: 300 },
    },
  };
  await using fleet = await startKnown({
    accounts: {
      alice: {
        queue: [{
          events: [done(0, "ok"), limits, ended("completed", { output: [] })],
        }],
      },
    },
  });
  const { status, text } = await fleet.ask({ stream: false });
  assertEquals([status, texts(text)], [200, ["ok"]]);
  assertMatch((await rowOf(fleet, "alice"))[0], /exhausted/);
});

test("an answer that is no stream is not folded", async () => {
  const { response, text } = await folded({ body: { already: "folded" } });
  assertEquals([response.status, JSON.parse(text)], [200, {
    already: "folded",
  }]);
});

test("a response that has begun and is folded is not repeated where it may have been charged", async () => {
  const overloaded = ended("failed", {
    error: { code: "server_is_overloaded", message: "Busy" },
  });
  const sent = async (events: unknown[], more: FakeAccountOptions) => {
    await using fleet = await startKnown({
      credits: "all",
      accounts: { alice: { ...more, queue: Array(3).fill({ events }) } },
    });
    const { status } = await fleet.ask({ stream: false });
    const calls = fleet.fake.log.filter(({ kind }) => kind === "responses");
    return [status, calls.length];
  };
  const begun = [CREATED, done(0, "half of it"), overloaded];
  assertEquals(await sent(begun, CREDITED), [503, 1]);
  assertEquals(await sent([CREATED, overloaded], CREDITED), [503, 3]);
  assertEquals(await sent(begun, {}), [503, 3]);
});

test("a folded response that fails after it began on credits is told as spent, and no second account's credits are used", async () => {
  const created = { type: "response.created", response: {} };
  const added = { type: "response.output_item.added", item: {} };
  const failed = {
    type: "response.failed",
    response: { error: { code: "usage_limit_reached" } },
  };
  for (
    const [events, paid] of [
      [[created, added, failed], 1],
      [[created, failed], 0],
    ] as const
  ) {
    await using fleet = await startKnown({
      accounts: { alice: CREDITED, bob: CREDITED },
    });
    fleet.fake.account("alice").queue.push({ events });
    const { status, alias } = await fleet.ask({ stream: false });
    const spent = fleet.events.filter(({ type }) => type === "credits-spent");
    assertEquals([status, alias], paid ? [429, "alice"] : [200, "bob"]);
    assertEquals(spent.map((it) => "alias" in it ? it.alias : undefined), [
      alias,
    ]);
  }
});
