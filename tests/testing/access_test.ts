import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import type { FakeAccountOptions } from "../../lib/testing/fake_codex.ts";
import { test } from "../test.ts";
import {
  askUsage,
  authorized,
  conforming,
  eventsOf,
  MODEL,
  NOON,
  read,
  respond,
  send,
  startAlice,
} from "./client.ts";

test("backend refuses the agents of runtimes and SDKs with a page", async () => {
  await using site = await startAlice();
  const agents: [status: number, agents: string[]][] = [
    [403, [
      "Deno/2.9.5",
      "Bun/1.4.5",
      "node",
      "undici",
      "OpenAI/JS 5.1.0",
      "AsyncOpenAI/Python 1.0",
      "ai-sdk/openai/2.0.0",
      "ai/5.0.0 ai-sdk/provider-utils/3.0.0",
      "python-requests/2.31",
      "",
    ]],
    [200, ["nodal/1.0", "my-agent/1.0", "codex_cli_rs/0.1"]],
  ];
  for (const [status, names] of agents) {
    for (const agent of names) {
      const answer = await site.ask({}, { "user-agent": agent });
      assertEquals([agent, answer.status], [agent, status]);
      if (status === 200) continue;
      const type = answer.headers.get("content-type");
      assertEquals(type, "text/html; charset=UTF-8");
      assertStringIncludes(answer.text, "<!DOCTYPE html>");
    }
  }
});

test("backend takes only good tokens beside their own account id", async () => {
  await using site = await startAlice({}, { accounts: { bob: {} } });
  const { fake, clock } = site;
  const outcome = async (headers: Record<string, string>) => {
    const answer = await fetch(`${fake.backend}/wham/usage`, { headers });
    const { status, json } = await read(answer);
    return status === 200 ? 200 : [status, json.error?.code];
  };
  const good = fake.tokens("alice");
  const { authorization: _, ...bare } = authorized(good);
  const { "chatgpt-account-id": __, ...anonymous } = authorized(good);
  const expired = fake.tokens("alice", { lifetimeMs: -1000 });
  assertEquals(await outcome(bare), [401, "invalid_token"]);
  assertEquals(await outcome(anonymous), [401, "account_mismatch"]);
  const madeUp = authorized({ ...good, access: "made.up.token" });
  assertEquals(await outcome(madeUp), [401, "invalid_token"]);
  assertEquals(await outcome(authorized(expired)), [401, "token_expired"]);
  assertEquals(fake.violations, []);
  const mixed = authorized({ ...good, accountId: "account-bob" });
  assertEquals(await outcome(mixed), [401, "account_mismatch"]);
  assertEquals(fake.violations, [
    "Request 5 showed a token of alice with another account's id",
  ]);
  clock.now = good.expiresAt - 1;
  assertEquals(await outcome(authorized(good)), 200);
  clock.now = good.expiresAt;
  assertEquals(await outcome(authorized(good)), [401, "token_expired"]);
  const fresh = authorized(fake.tokens("alice"));
  fake.revoke("alice", "access");
  assertEquals(await outcome(fresh), [401, "token_invalidated"]);
  assertEquals((await askUsage(fake, "alice")).status, 200);
  fake.account("alice").rejectAll = true;
  assertEquals((await askUsage(fake, "alice")).status, 401);
  assertEquals((await askUsage(fake, "bob")).status, 200);
});

test("backend refuses bodies in the real one's words, and nothing else", async () => {
  await using site = await startAlice();
  const developer = { type: "message", role: "developer", content: "Be brief" };
  const notFound = (id: string) =>
    `Item with id '${id}' not found. Items are not persisted when \`store\` is set to false. Try again with \`store\` set to true, or remove this item from your input.`;
  const parameters =
    "max_output_tokens max_completion_tokens max_tokens stream_options temperature top_p frequency_penalty presence_penalty metadata user safety_identifier prompt_cache_retention prompt_cache_options truncation previous_response_id"
      .split(" ");
  const rows: [changes: Record<string, unknown>, words: string | undefined][] =
    [
      [{ store: true }, "Store must be set to false"],
      [{ store: undefined }, "Store must be set to false"],
      [{ stream: undefined }, "Stream must be set to true"],
      [{ input: "Hello" }, "Input must be a list"],
      [{ instructions: undefined }, "Instructions are required"],
      [{ instructions: undefined, input: [developer] }, undefined],
      [{ instructions: "" }, undefined],
      [{ service_tier: "auto" }, "Unsupported service_tier: auto"],
      [{ service_tier: "default" }, "Unsupported service_tier: default"],
      [{ service_tier: "priority" }, undefined],
      [{ service_tier: "flex" }, undefined],
      [
        { input: [{ role: "system", content: "" }] },
        "System messages are not allowed",
      ],
      [{ input: [developer] }, undefined],
      [{ input: [{ type: "reasoning", id: "rs_1" }] }, notFound("rs_1")],
      [{ input: [{ type: "item_reference", id: "i_1" }] }, notFound("i_1")],
      [{ prompt_cache_key: "k", client_metadata: {} }, undefined],
      ...parameters.map((name): [Record<string, unknown>, string] => [
        { [name]: 1 },
        `Unsupported parameter: ${name}`,
      ]),
    ];
  for (const [changes, words] of rows) {
    const { json } = await site.ask(changes);
    assertEquals([changes, json?.detail ?? json?.error.message], [
      changes,
      words,
    ]);
  }
});

test("backend looks into compressed bodies, and trusts those that it cannot read", async () => {
  await using site = await startAlice();
  const pack = {
    gzip: gzipSync,
    zstd: zstdCompressSync,
    br: brotliCompressSync,
  };
  const outcomes: unknown[] = [];
  const post = async (encoding: string, body: Uint8Array) => {
    const headers = { "content-encoding": encoding };
    const { status } = await send(site.fake, "alice", "POST /codex/responses", {
      headers,
      body: new Uint8Array(body),
    });
    const { model, body: logged } = site.fake.log.at(-1)!;
    assertEquals(logged, new Uint8Array(body));
    outcomes.push([encoding, status, model]);
  };
  for (const [encoding, packed] of Object.entries(pack)) {
    await post(encoding, packed(new TextEncoder().encode(conforming())));
    const refused = conforming({ store: true });
    await post(encoding, packed(new TextEncoder().encode(refused)));
  }
  await post("zstd", new Uint8Array([1, 2, 3]));
  assertEquals(outcomes, [
    ...Object.keys(pack).flatMap((it) => [[it, 200, MODEL], [it, 400, MODEL]]),
    ["zstd", 200, null],
  ]);
});

test("backend serves newer models to clients that are new enough only, and no unknown ones", async () => {
  await using site = await startAlice();
  const rows: [model: string, version: string | undefined, status: number][] = [
    ["gpt-5.6-luna", undefined, 400],
    ["gpt-5.6-luna", "0.143.9", 400],
    ["gpt-5.6-luna", "0.144.0", 200],
    ["gpt-6-astra", "0.152.0", 400],
    ["gpt-6-astra", "0.153.0", 200],
    ["gpt-6-sol", "0.154.0", 400],
    ["gpt-6-sol", "0.171.0", 200],
    ["gpt-6-luna", "0.9.0", 400],
    ["gpt-6-luna", "1.0.0", 200],
    [MODEL, undefined, 200],
    ["llama-9", "0.171.0", 404],
  ];
  for (const [model, version, status] of rows) {
    const headers = version === undefined ? undefined : { version };
    const answer = await site.ask({ model }, headers);
    assertEquals([model, version, answer.status], [model, version, status]);
    if (status === 400) {
      assertStringIncludes(
        answer.json.detail,
        `The '${model}' model requires a newer version of Codex.`,
      );
    }
  }
  assertEquals((await site.ask({ model: "llama-9" })).json.error, {
    message: "Model not found llama-9",
    type: "invalid_request_error",
  });
});

test("models() wants the client's version, and tells the models for it with an ETag", async () => {
  await using site = await startAlice();
  const list = (version: string) =>
    send(site.fake, "alice", `GET /codex/models${version}`);
  assertEquals((await list("")).status, 400);
  const slugs = async (version: string) => {
    const { json, headers } = await list(`?client_version=${version}`);
    const models: { slug: string; minimal_client_version: string }[] =
      json.models;
    return { etag: headers.get("etag"), slugs: models.map((it) => it.slug) };
  };
  const old = await slugs("0.150.0");
  const today = await slugs("0.171.0");
  assert(old.slugs.includes("gpt-5.6-luna"));
  assert(!old.slugs.includes("gpt-6-sol") && today.slugs.includes("gpt-6-sol"));
  assert(old.etag !== today.etag);
  assertEquals(await slugs("0.171.0"), today);
  site.fake.account("alice").supportedModels = ["one", "two"];
  assertEquals((await slugs("0.171.0")).slugs, ["one", "two"]);
});

test("backend refuses what an account's workspace, plan or state forbids", async () => {
  const model = { model: "gpt-5.5" };
  const rows: [FakeAccountOptions, Record<string, unknown>, unknown][] = [
    [{ deactivated: true }, {}, [402, "deactivated_workspace", 402]],
    [
      { workspaceRefusal: "codex_workspace_access_denied" },
      {},
      [403, "codex_workspace_access_denied", 200],
    ],
    [{ overloaded: "slow_down" }, {}, [503, "slow_down", 200]],
    [{ supportedModels: [MODEL] }, model, [
      400,
      "The 'gpt-5.5' model is not supported when using Codex with a ChatGPT account.",
      200,
    ]],
    [{ supportedModels: ["gpt-5.5"] }, model, [200, undefined, 200]],
    [{}, { model: "gpt-reserve" }, [
      400,
      "The 'gpt-reserve' model is not supported when using Codex with a ChatGPT account.",
      200,
    ]],
  ];
  for (const [alice, changes, expected] of rows) {
    await using site = await startAlice(alice);
    const { status, json } = await site.ask(changes);
    const why = json?.detail?.code ?? json?.detail ?? json?.error.code ??
      json?.error.message;
    assertEquals([status, why, (await site.usage()).status], expected);
  }
});

test("backend serves Codex's other endpoints, each at a price", async () => {
  const windows = [{ seconds: 18_000, usedPercent: 0 }];
  const costPercent = 10;
  await using site = await startAlice({ windows, costPercent });
  const body = conforming();
  const rows = [
    ["/alpha/search", "search"],
    ["/images/generations", "images"],
    ["/images/edits", "images"],
    ["/memories/trace_summarize", "memories"],
    ["/responses/compact", "compact"],
  ];
  const post = (path = "", text = body) =>
    send(site.fake, "alice", `POST /codex${path}`, { body: text });
  for (const [path, kind] of rows) {
    assertEquals([path, (await post(path)).status], [path, 200]);
    assertEquals(site.fake.log.at(-1)?.kind, kind);
  }
  assertEquals(site.fake.account("alice").windows?.[0]?.usedPercent, 50);
  const search = conforming({ prompt_cache_key: "k" });
  assertEquals(
    (await post("/alpha/search", search)).json.detail,
    "Unsupported parameter: prompt_cache_key",
  );
  assertEquals((await post("/elsewhere")).status, 404);
});

test("backend refuses ciphertext of another account, wherever it stands", async () => {
  await using site = await startAlice({}, { accounts: { bob: {} } });
  const { fake } = site;
  const include = ["reasoning.encrypted_content"];
  const answer = eventsOf((await site.ask({ include })).text).at(-1);
  const reasoning = answer.response.output[0];
  const trigger = [{ type: "compaction_trigger" }];
  const compacted = eventsOf((await site.ask({ input: trigger })).text).at(-1);
  const [compaction] = compacted.response.output;
  const { json } = await send(fake, "alice", "POST /codex/responses/compact", {
    body: conforming(),
  });
  const encrypted_content = reasoning.encrypted_content;
  const content = [{ type: "encrypted_content", encrypted_content }];
  const items: [item: { type: string }, code: string][] = [
    [reasoning, "invalid_encrypted_content"],
    [compaction, "invalid_encrypted_content"],
    [json.output[0], "invalid_encrypted_content"],
    [{ type: "agent_message", content } as never, "invalid_request_body"],
    [
      { type: "function_call_output", output: content } as never,
      "invalid_request_body",
    ],
  ];
  assertEquals(items.slice(0, 2).map(([{ type }]) => type), [
    "reasoning",
    "compaction",
  ]);
  for (const [item, code] of items) {
    assertEquals((await site.ask({ input: [item] })).status, 200);
    const refused = await respond(fake, "bob", { input: [item] });
    assertEquals([refused.status, refused.json.error.code], [400, code]);
  }
  fake.account("bob").refusals = { as: "failed" };
  const failed = await respond(fake, "bob", { input: [reasoning] });
  const last = eventsOf(failed.text).at(-1);
  assertEquals([failed.status, last.type, last.response.error.code], [
    200,
    "response.failed",
    "invalid_encrypted_content",
  ]);
});

test("log holds each request as it came", async () => {
  await using site = await startAlice({}, { accounts: { bob: {} } });
  const { fake, clock } = site;
  await site.ask({}, { "session-id": "s1" });
  clock.now += 5;
  await send(fake, "bob", "GET /codex/models?client_version=1.0.0");
  await send(fake, "bob", "GET /codex/else");
  const [first, second, third] = fake.log;
  const text = conforming();
  const bodyHash = createHash("sha256").update(text).digest("hex");
  assertEquals([first?.n, first?.at, first?.kind, first?.account], [
    1,
    NOON,
    "responses",
    "alice",
  ]);
  assertEquals(first?.headers["session-id"], "s1");
  assertEquals([first?.text, first?.json], [text, JSON.parse(text)]);
  assertEquals([first?.body.length, first?.bodyHash], [text.length, bodyHash]);
  assertEquals([first?.status, first?.done, first?.aborted], [
    200,
    true,
    false,
  ]);
  assertEquals([second?.kind, second?.path, second?.at, second?.account], [
    "models",
    "/backend-api/codex/models?client_version=1.0.0",
    NOON + 5,
    "bob",
  ]);
  assertEquals([third?.kind, third?.status], ["other", 404]);
  fake.clearLog();
  assertEquals(fake.log, []);
  await site.ask();
  assertEquals(fake.log[0]?.n, 4);
});

test("violations name what no well-behaved client does", async () => {
  await using site = await startAlice({}, {
    accounts: { bob: {}, gov: { fedramp: true } },
  });
  const { fake } = site;
  const turn = (await site.ask()).headers.get("x-codex-turn-state")!;
  const header = { "x-codex-turn-state": turn };
  await site.ask({}, header);
  await respond(fake, "gov", {}, { "x-openai-fedramp": "true" });
  assertEquals(fake.violations, []);
  await respond(fake, "bob", {}, header);
  await respond(fake, "gov");
  await respond(fake, "bob", {}, { "x-openai-fedramp": "true" });
  assertEquals(fake.violations, [
    "Request 4 to bob carried the turn state of alice",
    "Request 5 to gov came without the FedRAMP header",
    "Request 6 to bob came with the FedRAMP header",
  ]);
});

test("account() names those there are when there is none of that name", async () => {
  await using site = await startAlice();
  site.fake.addAccount("constructor");
  assertEquals((await respond(site.fake, "constructor")).status, 200);
  let message = "";
  try {
    site.fake.account("carol");
  } catch (error) {
    message = (error as Error).message;
  }
  assertEquals(
    message,
    "No account is named carol, there is alice, constructor",
  );
});
