import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { createHash } from "node:crypto";
import { startFakeCodex } from "../../lib/testing/fake_codex.ts";
import {
  authorized,
  conforming,
  eventsOf,
  MODEL,
  NOON,
  read,
  respond,
  startAt,
} from "./fake_client.ts";

Deno.test("backend refuses the agents of runtimes and SDKs with a page", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {} } });
  const agents = [
    `Deno/${Deno.version.deno}`,
    "Bun/1.4.5",
    "node",
    "undici",
    "node-fetch/3.0",
    "OpenAI/JS 5.1.0",
    "AsyncOpenAI/Python 1.0",
    "ai-sdk/openai/2.0.0",
    "ai/5.0.0 ai-sdk/provider-utils/3.0.0",
    "python-requests/2.31",
    "axios/1.7.2",
    "",
  ];
  for (const agent of agents) {
    const answer = await respond(fake, "alice", {}, { "user-agent": agent });
    assertEquals([agent, answer.status], [agent, 403]);
    assertStringIncludes(answer.headers.get("content-type") ?? "", "text/html");
    assertStringIncludes(answer.text, "<!DOCTYPE html>");
  }
  for (const agent of ["nodal/1.0", "my-agent/1.0", "codex_cli_rs/0.1"]) {
    const answer = await respond(fake, "alice", {}, { "user-agent": agent });
    assertEquals([agent, answer.status], [agent, 200]);
  }
});

Deno.test("backend takes only good tokens beside their own account id", async () => {
  const { fake, clock } = await startAt(NOON, {
    accounts: { alice: {}, bob: {} },
  });
  const send = async (headers: Record<string, string>) => {
    const url = `${fake.backend}/wham/usage`;
    const answer = await read(await fetch(url, { headers }));
    return [answer.status, answer.json.error?.code];
  };
  const good = fake.tokens("alice");
  const { authorization: _, ...bare } = authorized(good);
  const { "chatgpt-account-id": __, ...anonymous } = authorized(good);
  assertEquals((await send(authorized(good)))[0], 200);
  assertEquals(await send(bare), [401, "invalid_token"]);
  assertEquals(await send(anonymous), [401, "account_mismatch"]);
  assertEquals(
    await send(authorized({ ...good, access: "made.up.token" })),
    [401, "invalid_token"],
  );
  assertEquals(fake.violations, []);
  assertEquals(
    await send(authorized({ ...good, accountId: "account-bob" })),
    [401, "account_mismatch"],
  );
  assertEquals(fake.violations, [
    "Request 5 showed a token of alice with another account's id",
  ]);
  assertEquals(
    await send(authorized(fake.tokens("alice", { lifetimeMs: -1000 }))),
    [401, "token_expired"],
  );
  clock.now = good.expiresAt - 1;
  assertEquals((await send(authorized(good)))[0], 200);
  clock.now = good.expiresAt;
  assertEquals(await send(authorized(good)), [401, "token_expired"]);
  const fresh = fake.tokens("alice");
  fake.revoke("alice", "access");
  assertEquals(await send(authorized(fresh)), [401, "token_invalidated"]);
  assertEquals((await send(authorized(fake.tokens("alice"))))[0], 200);
  fake.account("alice").rejectAll = true;
  assertEquals(
    await send(authorized(fake.tokens("alice"))),
    [401, "token_invalidated"],
  );
  assertEquals((await send(authorized(fake.tokens("bob"))))[0], 200);
  await fake.close();
});

Deno.test("backend refuses bodies as the real one does, unless told not to", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {} } });
  const cases: [Record<string, unknown>, string][] = [
    [{ store: true }, "Store must be set to false"],
    [{ store: undefined }, "Store must be set to false"],
    [{ stream: undefined }, "Stream must be set to true"],
    [{ instructions: "" }, "Instructions are required"],
    [{ instructions: undefined }, "Instructions are required"],
    [{ input: "Hello" }, "Input must be a list"],
    [{ max_output_tokens: 9 }, "Unsupported parameter: max_output_tokens"],
    [
      { max_completion_tokens: 9 },
      "Unsupported parameter: max_completion_tokens",
    ],
    [{ max_tokens: 9 }, "Unsupported parameter: max_tokens"],
    [{ stream_options: {} }, "Unsupported parameter: stream_options"],
  ];
  for (const [changes, detail] of cases) {
    const answer = await respond(fake, "alice", changes);
    assertEquals([answer.status, answer.json], [400, { detail }]);
  }
  assertEquals((await respond(fake, "alice")).status, 200);
  await using lax = await startFakeCodex({
    accounts: { alice: {} },
    strict: false,
  });
  for (const [changes] of cases) {
    assertEquals((await respond(lax, "alice", changes)).status, 200);
  }
});

Deno.test("backend takes compressed bodies on trust and logs what is in them", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {} } });
  const body = new TextEncoder().encode(conforming({ store: true }));
  const packed: [string, Uint8Array][] = [
    ["gzip", gzipSync(body)],
    ["zstd", zstdCompressSync(body)],
    ["zstd", new Uint8Array([1, 2, 3])],
  ];
  for (const [encoding, bytes] of packed) {
    const answer = await fetch(`${fake.backend}/codex/responses`, {
      method: "POST",
      headers: authorized(fake.tokens("alice"), {
        "content-encoding": encoding,
      }),
      body: new Uint8Array(bytes),
    });
    assertEquals(answer.status, 200);
    await answer.text();
    assertEquals(fake.log.at(-1)?.body, new Uint8Array(bytes));
  }
  assertEquals(fake.log.map((entry) => entry.model), [MODEL, MODEL, null]);
});

Deno.test("log holds each request as it came", async () => {
  const { fake, clock } = await startAt(NOON, {
    accounts: { alice: {}, bob: {} },
  });
  await respond(fake, "alice", {}, { "session-id": "s1" });
  clock.now += 5;
  const tokens = fake.tokens("bob");
  await read(
    await fetch(`${fake.backend}/codex/models?client_version=1`, {
      headers: authorized(tokens),
    }),
  );
  await read(
    await fetch(`${fake.backend}/codex/else`, { headers: authorized(tokens) }),
  );
  const [first, second, third] = fake.log;
  const body = conforming();
  assertEquals(first?.n, 1);
  assertEquals(first?.at, NOON);
  assertEquals(first?.kind, "responses");
  assertEquals(first?.account, "alice");
  assertEquals(first?.headers["session-id"], "s1");
  assertEquals(first?.text, body);
  assertEquals(first?.json, JSON.parse(body));
  assertEquals(first?.bodyBytes, body.length);
  assertEquals(
    first?.bodyHash,
    createHash("sha256").update(body).digest("hex"),
  );
  assertEquals([first?.status, first?.done, first?.aborted], [
    200,
    true,
    false,
  ]);
  assertEquals(second?.kind, "models");
  assertEquals(second?.path, "/backend-api/codex/models?client_version=1");
  assertEquals([second?.at, second?.account], [NOON + 5, "bob"]);
  assertEquals([third?.kind, third?.status], ["other", 404]);
  fake.clearLog();
  assertEquals(fake.log, []);
  await respond(fake, "alice");
  assertEquals(fake.log[0]?.n, 4);
  await fake.close();
});

Deno.test("models() lists what the account supports", async () => {
  await using fake = await startFakeCodex({
    accounts: { alice: { supportedModels: ["one", "two"] } },
  });
  const headers = authorized(fake.tokens("alice"));
  const url = `${fake.backend}/codex/models`;
  const { json } = await read(await fetch(url, { headers }));
  const slugs = json.models.map((model: { slug: string }) => model.slug);
  assertEquals(slugs, ["one", "two"]);
});

Deno.test("backend refuses ciphertext of another account", async () => {
  await using fake = await startFakeCodex({
    accounts: { alice: {}, bob: {} },
  });
  const include = ["reasoning.encrypted_content"];
  const first = await respond(fake, "alice", { include });
  const output = eventsOf(first.text).at(-1).response.output;
  assertEquals(output[0].type, "reasoning");
  const compacted = await read(
    await fetch(`${fake.backend}/codex/responses/compact`, {
      method: "POST",
      headers: authorized(fake.tokens("alice")),
      body: conforming(),
    }),
  );
  assertEquals(compacted.status, 200);
  for (const input of [output, compacted.json.output]) {
    assertEquals((await respond(fake, "alice", { input })).status, 200);
    const refused = await respond(fake, "bob", { input });
    assertEquals(refused.status, 400);
    assertEquals(refused.json.error.code, "invalid_encrypted_content");
  }
  const plain = await respond(fake, "bob");
  assert(!plain.text.includes("encrypted_content"));
});

Deno.test("violations name what no well-behaved client does", async () => {
  await using fake = await startFakeCodex({
    accounts: { alice: {}, bob: {}, gov: { fedramp: true } },
  });
  const turn = (await respond(fake, "alice")).headers.get(
    "x-codex-turn-state",
  )!;
  const header = { "x-codex-turn-state": turn };
  await respond(fake, "alice", {}, header);
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

Deno.test("account() names those there are when there is none of that name", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {} } });
  fake.addAccount("constructor");
  assertEquals((await respond(fake, "constructor")).status, 200);
  let message = "";
  try {
    fake.account("carol");
  } catch (error) {
    message = (error as Error).message;
  }
  assertEquals(
    message,
    "No account is named carol, there is alice, constructor",
  );
});
