/** What SDKs send is made acceptable, and nothing else is touched. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Fleet, requestBody, startKnown } from "../fleet.ts";
import { test } from "../test.ts";
import { CONFORMING } from "./bodies.ts";

const USER = { role: "user", content: "Hello" };
const DEVELOPER = {
  type: "message",
  role: "developer",
  content: [{ type: "input_text", text: "You are Codex." }],
};
/** What SDKs send of their own accord or at their callers' wish, and the backend refuses. */
const REFUSED: Record<string, unknown> = {
  max_output_tokens: 5,
  max_completion_tokens: 5,
  max_tokens: 5,
  stream_options: { include_usage: true },
  temperature: 0.5,
  top_p: 0.9,
  frequency_penalty: 0,
  presence_penalty: 0,
  metadata: { a: "b" },
  user: "me",
  safety_identifier: "me",
  prompt_cache_retention: "24h",
  prompt_cache_options: { mode: "auto" },
  truncation: "auto",
};

type Json = Record<string, unknown>;

/** Sends a body to the backend itself, with a token of Alice's. */
async function askBackend({ fake }: Fleet, body: unknown): Promise<string> {
  const { access, accountId } = fake.tokens("alice");
  const response = await fetch(`${fake.backend}/codex/responses`, {
    method: "POST",
    headers: {
      "authorization": `Bearer ${access}`,
      "chatgpt-account-id": accountId,
      "user-agent": "test/1",
      "version": "0.171.0",
    },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  fake.clearLog();
  return response.ok ? "200" : `${response.status} ${text}`;
}

/** Sends a body through the rotator. */
async function post(
  { rotator }: Fleet,
  body: unknown,
  path = "/responses",
): Promise<[status: number, text: string]> {
  const response = await rotator.fetch(rotator.baseURL + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return [response.status, await response.text()];
}

function sent({ fake }: Fleet): Json[] {
  return fake.log.filter(({ kind }) => kind === "responses")
    .map(({ json }) => json as Json);
}

const start = () => startKnown({ accounts: { alice: {}, bob: {} } });

test("rotator.fetch() takes out what the backend refuses, whatever its value", async () => {
  await using fleet = await start();
  const rows = Object.entries({
    ...REFUSED,
    temperature: null,
    previous_response_id: null,
  });
  for (const [name, value] of [...Object.entries(REFUSED), ...rows]) {
    const body = requestBody({ [name]: value });
    const refused = await askBackend(fleet, body);
    assertEquals(refused, `400 {"detail":"Unsupported parameter: ${name}"}`);
    assertEquals([name, (await post(fleet, body))[0]], [name, 200]);
    assertEquals(sent(fleet), [requestBody()], "and nothing else is changed");
    fleet.fake.clearLog();
  }
});

test("rotator.fetch() takes out the service tiers that the backend refuses, and keeps the others", async () => {
  await using fleet = await start();
  for (const tier of ["auto", "default"]) {
    const body = requestBody({ service_tier: tier });
    assertMatch(await askBackend(fleet, body), /Unsupported service_tier/);
    assertEquals((await post(fleet, body))[0], 200);
    assertEquals(sent(fleet), [requestBody()]);
    fleet.fake.clearLog();
  }
  for (const tier of ["priority", "flex"]) {
    const body = requestBody({ service_tier: tier });
    assertEquals((await post(fleet, body))[0], 200);
    assertEquals(sent(fleet), [body]);
    fleet.fake.clearLog();
  }
});

test("rotator.fetch() makes of an SDK's plain call what the backend takes", async () => {
  await using fleet = await start();
  const body = { model: "gpt-5.5", input: "Hello", ...REFUSED };
  assertMatch(await askBackend(fleet, body), /^400/);
  const [status, text] = await post(fleet, body);
  assertEquals([status, JSON.parse(text).status], [200, "completed"]);
  assertEquals(sent(fleet), [{
    model: "gpt-5.5",
    input: [{
      type: "message",
      role: "user",
      content: [{ type: "input_text", text: "Hello" }],
    }],
    store: false,
    stream: true,
    instructions: "",
    include: ["reasoning.encrypted_content"],
  }]);
});

test("rotator.fetch() makes system messages the developer's", async () => {
  await using fleet = await start();
  const system = { role: "system", content: "Be brief." };
  const input = [system, USER, { ...system, content: "Be kind." }];
  const { instructions: _, ...body } = requestBody({ input });
  assertMatch(await askBackend(fleet, body), /^400/);
  assertEquals((await post(fleet, body))[0], 200);
  const developer = { role: "developer", content: "Be brief." };
  assertEquals(sent(fleet), [{
    ...body,
    input: [developer, USER, { ...developer, content: "Be kind." }],
  }], "and their prompt needs no instructions beside it");
});

test("rotator.fetch() asks for the reasoning of what the caller wanted stored", async () => {
  await using fleet = await start();
  const ENCRYPTED = "reasoning.encrypted_content";
  const rows: [given: Json, include: unknown][] = [
    [{ store: true }, [ENCRYPTED]],
    [{ store: undefined, include: null }, [ENCRYPTED]],
    [{ store: true, include: ["a.b"] }, ["a.b", ENCRYPTED]],
    [{ store: true, include: [ENCRYPTED] }, [ENCRYPTED]],
    [{ store: false }, undefined],
    [{ store: false, include: ["a.b"] }, ["a.b"]],
  ];
  for (const [given, include] of rows) {
    const [status, text] = await post(fleet, requestBody(given));
    assertEquals(status, 200);
    const [json] = sent(fleet);
    assertEquals([given, json?.include, json?.store], [given, include, false]);
    assertEquals(
      text.includes("enc:"),
      include !== undefined && given.store !== false,
    );
    fleet.fake.clearLog();
  }
});

test("rotator.fetch() leaves out the items that the backend has not kept", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const reasoning = { type: "reasoning", id: "rs_1", summary: [] };
  const own = { ...reasoning, encrypted_content: "enc:alice:1" };
  const lost = [
    { type: "item_reference", id: "msg_1" },
    reasoning,
    { ...reasoning, encrypted_content: null },
  ];
  for (const item of lost) {
    const body = requestBody({ input: [USER, item, own, USER] });
    assertMatch(await askBackend(fleet, body), /^404 .*not found/);
    assertEquals((await post(fleet, body))[0], 200);
    assertEquals(sent(fleet).at(-1)?.input, [USER, own, USER]);
    fleet.fake.clearLog();
  }
});

test("rotator.fetch() puts the items back that it served to a caller who takes them for stored", async () => {
  for (const stream of [true, false]) {
    for (const emptyOutput of [true, false]) {
      await using fleet = await startKnown({
        accounts: { alice: { reply: { emptyOutput } } },
      });
      const first = await post(fleet, requestBody({ store: true, stream }));
      const [, id] = /"id":"(msg_\d+)"/.exec(first[1])!;
      const [, reasoning] = /"id":"(rs_\d+)"/.exec(first[1])!;
      fleet.fake.clearLog();
      const input = [
        { type: "item_reference", id: reasoning },
        { type: "item_reference", id },
        { type: "item_reference", id: "msg_of_yesterday" },
        USER,
      ];
      const [status] = await post(fleet, requestBody({ input, store: true }));
      assertEquals(status, 200);
      const [message, ...more] = sent(fleet)[0]?.input as Json[];
      assertEquals(more, [USER]);
      const { content, role, type } = message as Record<string, Json[]>;
      assertEquals([role, type], ["assistant", "message"]);
      assertEquals(content?.[0]?.text, "Hello from alice");
    }
  }
});

test("rotator.fetch() remembers no item of a caller who stores nothing", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const [, text] = await post(fleet, requestBody());
  const [, id] = /"id":"(msg_\d+)"/.exec(text)!;
  const input = [{ type: "item_reference", id }, USER];
  await post(fleet, requestBody({ input }));
  assertEquals(sent(fleet).at(-1)?.input, [USER]);
});

test("rotator.fetch() sends what conforms byte for byte", async () => {
  await using fleet = await start();
  const prompted = { ...requestBody({ input: [DEVELOPER, USER] }) };
  delete prompted.instructions;
  const spaced = (body: unknown) => `  ${JSON.stringify(body, null, 3)}\n`;
  const bodies = [
    CONFORMING,
    // as the Codex CLI sends it
    spaced({ ...prompted, client_metadata: { a: "b" }, prompt_cache_key: "k" }),
    spaced(requestBody({ instructions: "" })),
    spaced(requestBody({ instructions: "", input: [DEVELOPER, USER] })),
    spaced(requestBody({ input: [USER, { type: "compaction_trigger" }] })),
    spaced(requestBody({ service_tier: "priority", include: ["a.b"] })),
  ];
  for (const body of bodies) {
    const response = await fleet.rotator.fetch("/responses", {
      method: "POST",
      body,
    });
    await response.body?.cancel();
    const [entry] = fleet.fake.log;
    assertEquals([entry?.status, entry?.text], [200, body]);
    fleet.fake.clearLog();
  }
});

test("rotator.fetch() adds empty instructions only where there is no prompt of the developer's", async () => {
  await using fleet = await start();
  const rows: [input: unknown[], given: unknown, instructions: unknown][] = [
    [[USER], undefined, ""],
    [[USER], null, ""],
    [[USER, DEVELOPER], undefined, ""],
    [[DEVELOPER, USER], undefined, undefined],
    [[DEVELOPER, USER], "Be brief.", "Be brief."],
  ];
  for (const [input, given, wanted] of rows) {
    const body = requestBody({ input, instructions: given });
    assertEquals((await post(fleet, body))[0], 200);
    assertEquals(sent(fleet)[0]?.instructions, wanted);
    fleet.fake.clearLog();
  }
});

test("rotator.fetch() lets the backend refuse to go on from a response that it has not kept", async () => {
  await using fleet = await start();
  const [status, text] = await post(
    fleet,
    requestBody({ previous_response_id: "resp_1", temperature: 1 }),
  );
  assertEquals([status, JSON.parse(text)], [400, {
    detail: "Unsupported parameter: previous_response_id",
  }]);
  assertEquals(sent(fleet).length, 1, "it is not tried again without");
});

/** A refusal in the backend's words. */
const refusal = (detail: string) => ({ status: 400, body: { detail } });

test("rotator.fetch() mends what the backend refuses since today, once, and beforehand from then on", async () => {
  const { instructions: _, ...prompted } = requestBody({
    input: [DEVELOPER, USER],
  });
  const plain = requestBody();
  const rows: [said: string, body: Json, mended: Json][] = [
    ["Unsupported parameter: speed", { ...plain, speed: 1 }, plain],
    [
      "Unsupported parameter: 'speed' is not supported with this model.",
      { ...plain, speed: 1 },
      plain,
    ],
    [
      "Unsupported parameter: reasoning.pace",
      { ...plain, reasoning: { pace: 1, effort: "low" } },
      { ...plain, reasoning: { effort: "low" } },
    ],
    [
      "Unsupported service_tier: flex",
      { ...plain, service_tier: "flex" },
      plain,
    ],
    ["Instructions are required", prompted, { ...prompted, instructions: "" }],
    [
      "Instructions are required",
      { ...plain, instructions: "" },
      { ...plain, instructions: "You are a helpful assistant." },
    ],
  ];
  for (const [said, body, mended] of rows) {
    await using fleet = await startKnown({ accounts: { alice: {} } });
    fleet.fake.account("alice").queue.push(refusal(said));
    assertEquals([said, (await post(fleet, body))[0]], [said, 200]);
    assertEquals(sent(fleet), [body, mended]);
    fleet.fake.clearLog();
    assertEquals((await post(fleet, body))[0], 200);
    assertEquals(sent(fleet), [mended], "the next one is mended beforehand");
    const types = fleet.events.map(({ type }) => type);
    assert(!types.includes("cooldown") && !types.includes("switched"));
  }
});

test("rotator.fetch() mends one refusal after another, and each once", async () => {
  await using fleet = await start();
  const { queue } = fleet.fake.account("alice");
  queue.push(
    refusal("Unsupported parameter: speed"),
    refusal("Unsupported service_tier: flex"),
    refusal("Unsupported parameter: speed"),
  );
  const body = requestBody({ speed: 1, service_tier: "flex" });
  const [status, text] = await post(fleet, body);
  assertEquals([status, JSON.parse(text).detail], [
    400,
    "Unsupported parameter: speed",
  ]);
  assertEquals(
    sent(fleet).map((it) => [it.speed, it.service_tier]),
    [[1, "flex"], [undefined, "flex"], [undefined, undefined]],
  );
});

test("rotator.fetch() returns a refusal that it may not mend as it came", async () => {
  const rows: [said: string, more: Json][] = [
    // without it the request would mean something else
    ["Unsupported parameter: tools", { tools: [{ type: "web_search" }] }],
    ["Unsupported parameter: text", { text: { format: { type: "x" } } }],
    ["Unsupported parameter: input[0].speed", {}],
    ["Unsupported parameter: tools[0].speed", { tools: [{ speed: 1 }] }],
    // there is nothing of the kind in it
    ["Unsupported parameter: speed", {}],
    ["System messages are not allowed", {}],
    ["Instructions are required", {}],
    ["Unsupported something: speed", { speed: 1 }],
  ];
  for (const [said, more] of rows) {
    await using fleet = await start();
    for (const name of ["alice", "bob"]) {
      fleet.fake.account(name).queue.push(refusal(said));
    }
    const [status, text] = await post(fleet, requestBody(more));
    assertEquals([status, JSON.parse(text)], [400, { detail: said }]);
    assertEquals(sent(fleet).length, 1);
  }
});

test("rotator.fetch() touches no body but those of POST …/responses", async () => {
  await using fleet = await start();
  fleet.fake.account("alice").queue.push(
    refusal("Unsupported parameter: user"),
  );
  const body = { model: "gpt-5.5", input: [DEVELOPER, USER], user: "me" };
  const [status] = await post(fleet, body, "/responses/compact");
  assertEquals(status, 400);
  assertEquals(fleet.fake.log.map(({ json }) => json), [body]);
});
