import { assertEquals, assertMatch } from "@std/assert";
import { EXHAUSTED, type Fleet, startKnown, TEN_CREDITS } from "../fleet.ts";
import { test } from "../test.ts";

const USER = { type: "message", role: "user", content: "Hello" };
const FOREIGN = [
  { type: "reasoning", encrypted_content: "enc:elsewhere:1", summary: [] },
  { type: "compaction", encrypted_content: "enc:elsewhere:2" },
];
const REFUSED = {
  type: "response.failed",
  response: { error: { code: "invalid_encrypted_content", message: "No" } },
};
const CREATED = { type: "response.created", response: { id: "r" } };

/** Who was sent what: the types of the input's items, and whether it goes on from a response. */
function sent(fleet: Fleet): [string | null, string, boolean][] {
  return fleet.fake.log.filter(({ kind }) => kind === "responses")
    .map(({ account, json }) => {
      const { input, ...rest } = json as { input: { type: string }[] };
      const types = input.map(({ type }) => type).join(" ");
      return [account, types, Object.hasOwn(rest, "previous_response_id")];
    });
}

function warnings(fleet: Fleet): number {
  return fleet.events.filter(({ type }) => type === "warning").length;
}

const WHOLE = "message reasoning compaction";

test("a conversation from elsewhere goes on without what only its account can read", async () => {
  await using fleet = await startKnown({ accounts: { alice: {}, bob: {} } });
  const answer = await fleet.ask({ input: [USER, ...FOREIGN] });
  assertEquals(answer.status, 200);
  assertEquals(sent(fleet), [
    ["alice", WHOLE, false],
    ["alice", "message", false],
  ]);
  assertEquals(warnings(fleet), 1);
});

test("a conversation is healed when its stream says so, folded or not, or when only the text does", async () => {
  const answers = [
    { events: [CREATED, REFUSED] },
    {
      status: 400,
      body: { detail: "The encrypted content could not be verified." },
    },
  ];
  for (const answer of answers) {
    for (const stream of [true, false]) {
      await using fleet = await startKnown({
        accounts: { alice: { queue: [answer] }, bob: {} },
      });
      const healed = await fleet.ask({ input: [USER, ...FOREIGN], stream });
      assertEquals([healed.status, healed.alias], [200, "alice"]);
      assertMatch(healed.text, /Hello from alice/);
      assertEquals(sent(fleet).map(([, types]) => types), [WHOLE, "message"]);
    }
  }
});

test("a conversation is healed once, and its refusal stands when that does not help", async () => {
  const refused = {
    status: 400,
    body: { error: { code: "invalid_encrypted_content", message: "Still no" } },
  };
  await using fleet = await startKnown({
    accounts: { alice: { always: refused }, bob: {} },
  });
  const healed = await fleet.ask({ input: [USER, ...FOREIGN] });
  assertEquals([healed.status, healed.alias], [400, "alice"]);
  assertMatch(healed.text, /Still no/);
  assertEquals(sent(fleet).length, 2);
  fleet.fake.clearLog();
  fleet.fake.account("bob").always = refused;
  const plain = await fleet.ask({ input: [USER] });
  assertEquals(plain.status, 400);
  assertEquals(sent(fleet).length, 1, "there was nothing to leave out");
});

test("a conversation that moves keeps being cleaned, and other sessions are left alone", async () => {
  await using fleet = await startKnown({
    accounts: { alice: { plan: "pro" }, bob: {} },
  });
  const own = { type: "reasoning", encrypted_content: "enc:alice:1" };
  const body = { input: [USER, own], prompt_cache_key: "one" };
  await fleet.ask(body);
  fleet.fake.account("alice").queue.push({
    status: 429,
    body: { error: { type: "usage_limit_reached" } },
  });
  await fleet.ask(body);
  await fleet.ask(body);
  await fleet.ask({ ...body, input: [USER], prompt_cache_key: "two" });
  assertEquals(sent(fleet), [
    ["alice", "message reasoning", false],
    ["alice", "message reasoning", false],
    ["bob", "message reasoning", false],
    ["bob", "message", false],
    ["bob", "message", false],
    ["bob", "message", false],
  ]);
  assertEquals(warnings(fleet), 1);
  const moves = fleet.events.filter(({ type }) => type === "switched");
  assertEquals(moves.length, 1, "the second try on Bob is no move");
});

test("a conversation that moved keeps what its new account adds to it", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const sealed = (account: string, n: number) => ({
    type: n % 2 ? "reasoning" : "compaction",
    encrypted_content: `enc:${account}:${n}`,
  });
  const foreign = [sealed("bob", 1), USER, sealed("bob", 3)];
  const own = [sealed("alice", 5), USER, sealed("alice", 6)];
  const turns: [input: unknown[], sent: unknown[][]][] = [
    [[USER, ...foreign], [[USER, ...foreign], [USER, USER]]],
    [[USER, ...foreign, ...own], [[USER, USER, ...own]]],
    // compacted: what came from elsewhere is in it no more
    [[USER, own[2], USER], [[USER, own[2], USER]]],
    // and it goes on after a move that nobody saw
    [[USER, own[2], sealed("bob", 7)], [
      [USER, own[2], sealed("bob", 7)],
      [USER],
    ]],
  ];
  for (const [input, inputs] of turns) {
    const { status } = await fleet.ask({ input, prompt_cache_key: "one" });
    assertEquals(status, 200);
    assertEquals(
      fleet.fake.log.map(({ json }) => (json as { input: unknown[] }).input),
      inputs,
    );
    fleet.fake.clearLog();
  }
});

const TEXT = { type: "input_text", text: "Seen" };
const SEALED = { type: "encrypted_content", encrypted_content: "enc:bob:1" };
const AGENT = { type: "agent_message", author: "/root", recipient: "/root/a" };
const OUTPUT = { type: "function_call_output", call_id: "call_1" };

test("a conversation is healed of the encrypted parts of agents' messages and of outputs", async () => {
  const rows: [item: unknown, readable: unknown[]][] = [
    [{ ...AGENT, content: [SEALED] }, []],
    [{ ...AGENT, content: [TEXT, SEALED] }, [{ ...AGENT, content: [TEXT] }]],
    [{ ...OUTPUT, output: [SEALED, TEXT] }, [{ ...OUTPUT, output: [TEXT] }]],
    [{ ...OUTPUT, output: [SEALED] }, [{
      ...OUTPUT,
      output: "(This output is encrypted and cannot be read any more)",
    }]],
    [{ ...OUTPUT, output: "plain", encrypted_content: "enc:bob:2" }, [{
      ...OUTPUT,
      output: "plain",
    }]],
  ];
  for (const as of ["status", "failed", "error"] as const) {
    await using fleet = await startKnown({
      accounts: { alice: { refusals: { as } } },
    });
    for (const [item, readable] of rows) {
      for (const stream of [true, false]) {
        const input = [USER, item, USER];
        // a session is cleaned beforehand once one of its requests was
        const prompt_cache_key = crypto.randomUUID();
        const body = { input, stream, prompt_cache_key };
        const { status, text } = await fleet.ask(body);
        assertEquals([status, /Hello from alice/.test(text)], [200, true]);
        const inputs = fleet.fake.log.map(({ json }) =>
          (json as { input: unknown[] }).input
        );
        assertEquals(inputs, [input, [USER, ...readable, USER]]);
        fleet.fake.clearLog();
      }
    }
  }
});

test("what every account can read stays in a conversation that is healed", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const kept = [
    USER,
    { ...AGENT, content: [TEXT] },
    { ...OUTPUT, output: [TEXT] },
    { ...OUTPUT, output: "plain" },
    { type: "function_call", call_id: "call_1", name: "a", arguments: "{}" },
    { type: "message", role: "assistant", content: [] },
    { type: "compaction_trigger" },
  ];
  const input = [...FOREIGN, ...kept];
  assertEquals((await fleet.ask({ input })).status, 200);
  const { json } = fleet.fake.log.at(-1)!;
  assertEquals((json as { input: unknown[] }).input, kept);
});

test("a turn state goes to the account that gave it, and to no other", async () => {
  await using fleet = await startKnown({
    accounts: { alice: { plan: "pro" }, bob: {} },
  });
  const states = () =>
    fleet.fake.log.filter(({ kind }) => kind === "responses")
      .map(({ account, headers }) => [account, headers["x-codex-turn-state"]]);
  const headers: Record<string, string> = {
    "content-type": "application/json",
    "session-id": "one",
  };
  const first = await fleet.ask({}, { headers });
  const state = first.response.headers.get("x-codex-turn-state")!;
  headers["x-codex-turn-state"] = state;
  await fleet.ask({}, { headers });
  fleet.fake.account("alice").windows = structuredClone(EXHAUSTED.windows!);
  await fleet.ask({}, { headers });
  assertEquals(states(), [
    ["alice", undefined],
    ["alice", state],
    ["alice", state],
    ["bob", undefined],
  ]);
  fleet.fake.clearLog();
  const { "session-id": _, ...unnamed } = headers;
  await fleet.ask({}, { headers: unnamed });
  assertEquals(states(), [["bob", undefined]], "nobody knows whose it is");
  assertEquals(fleet.fake.violations, []);
});

test("a body that is refused is not mended and sent again where that would be charged by now", async () => {
  const refusals = [
    { error: { code: "invalid_encrypted_content", message: "No" } },
    { detail: "Unsupported parameter: novel" },
  ];
  for (const body of refusals) {
    for (const isFull of [true, false]) {
      await using fleet = await startKnown({
        credits: "none",
        accounts: { alice: { credits: { ...TEN_CREDITS } } },
      });
      const released = Promise.withResolvers<void>();
      const alice = fleet.fake.account("alice");
      alice.queue.push({ status: 400, body, until: released.promise });
      const asked = fleet.ask({ input: [USER, ...FOREIGN], novel: 1 });
      await fleet.fake.seen(({ kind }) => kind === "responses");
      if (isFull) alice.windows = structuredClone(EXHAUSTED.windows!);
      await fleet.rotator.refresh();
      released.resolve();
      const { status } = await asked;
      assertEquals([isFull, status], [isFull, isFull ? 400 : 200]);
      assertEquals(fleet.fake.charged, []);
    }
  }
});
