import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { Buffer } from "node:buffer";
import type { Store } from "../../mod.ts";
import {
  CREDITED,
  type Fleet,
  requestBody,
  startFleet,
  startKnown,
} from "../fleet.ts";
import { test } from "../test.ts";

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: string;
}

/** A plain server that belongs to somebody else. */
async function stranger(status = 203, location?: string): Promise<
  { url: string; seen: Seen[] } & AsyncDisposable
> {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method = "", url = "", headers } = request;
    seen.push({ method, url, headers, body: chunks.join("") });
    response.writeHead(status, {
      "x-stranger": "yes",
      ...(location === undefined ? {} : { location }),
    });
    response.end("hello from a stranger");
  });
  await new Promise<void>((listening) =>
    server.listen(0, "127.0.0.1", listening)
  );
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
    },
  };
}

const post = (more: RequestInit = {}): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json", "x-mine": "yes" },
  body: JSON.stringify(requestBody()),
  ...more,
});

async function ends(response: Response): Promise<number> {
  await response.body?.cancel();
  return response.status;
}

/** The headers of the last request to the backend. */
function lastHeaders(fleet: Fleet): Readonly<Record<string, string>> {
  return fleet.fake.log.at(-1)!.headers;
}

test("rotator.fetch() sends to the backend what means it, in every spelling", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const { fake, rotator } = fleet;
  const rows: [input: string, kind: string, path: string][] = [
    [
      `${fake.backend}/codex/responses`,
      "responses",
      "/backend-api/codex/responses",
    ],
    [
      `${rotator.baseURL}/responses?x=1`,
      "responses",
      "/backend-api/codex/responses?x=1",
    ],
    ["/responses", "responses", "/backend-api/codex/responses"],
    ["/v1/responses", "responses", "/backend-api/codex/responses"],
    [
      "https://api.openai.com/v1/responses",
      "responses",
      "/backend-api/codex/responses",
    ],
    [
      "https://api.openai.com/v1/responses/compact",
      "compact",
      "/backend-api/codex/responses/compact",
    ],
    ["/responses/compact", "compact", "/backend-api/codex/responses/compact"],
    [
      "/models?client_version=1",
      "models",
      "/backend-api/codex/models?client_version=1",
    ],
    [
      "https://api.openai.com/v1/models?client_version=1",
      "models",
      "/backend-api/codex/models?client_version=1",
    ],
  ];
  for (const [input, kind, path] of rows) {
    const init = kind === "models" ? {} : post();
    const response = await rotator.fetch(input, init);
    assertEquals([input, await ends(response)], [input, 200]);
    assertEquals(rotator.accountOf(response), "alice");
    const entry = fake.log.at(-1)!;
    assertEquals([input, entry.kind, entry.path, entry.account], [
      input,
      kind,
      path,
      "alice",
    ]);
  }
});

test("rotator.fetch() takes a URL and a Request as fetch does", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const { rotator } = fleet;
  const url = new URL(`${rotator.baseURL}/responses`);
  for (const input of [url, new Request(url, post())]) {
    const init = input instanceof Request ? undefined : post();
    assertEquals(await ends(await rotator.fetch(input, init)), 200);
    assertEquals(fleet.fake.log.at(-1)?.json, requestBody());
  }
});

test("rotator.fetch() knows a post by any case of its name", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const body = JSON.stringify({ model: "gpt-5", input: "hello" });
  const response = await fleet.rotator.fetch(
    "/responses",
    post({ method: "post", body }),
  );
  assertEquals((await response.json()).status, "completed");
});

test("rotator.fetch() passes any other URL through untouched, without a token", async () => {
  await using other = await stranger();
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const headers = {
    "authorization": "Bearer mine",
    "x-api-key": "k",
    "cookie": "c=1",
    "user-agent": "me/1",
  };
  for (const path of ["/", "/v1/responses", "/backend-api/codex/responses"]) {
    const response = await fleet.rotator.fetch(other.url + path, {
      method: "POST",
      headers,
      body: "raw \u2713",
    });
    assertEquals([
      response.status,
      response.headers.get("x-stranger"),
      await response.text(),
    ], [203, "yes", "hello from a stranger"]);
    assertEquals(fleet.rotator.accountOf(response), undefined);
    const { method, url, headers: seen, body } = other.seen.at(-1)!;
    assertEquals([method, url, body], ["POST", path, "raw \u2713"]);
    for (const [name, value] of Object.entries(headers)) {
      assertEquals(seen[name], value);
    }
    assertEquals([seen["chatgpt-account-id"], seen["originator"]], [
      undefined,
      undefined,
    ]);
  }
  assertEquals(fleet.fake.log, []);
});

test("rotator.fetch() gives no token to a neighbour of the backend's path", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const { fake, rotator } = fleet;
  for (
    const path of [
      "/backend-apix/codex/responses",
      "/backend-api/../other",
      "/backend-api/%2e%2e/other",
      "/",
    ]
  ) {
    await ends(
      await rotator.fetch(new URL(fake.backend).origin + path, post()),
    );
    assert(lastHeaders(fleet)["authorization"] === undefined, path);
  }
});

test("rotator.fetch() follows a redirect to another origin without the account's headers", async () => {
  await using other = await stranger();
  await using fleet = await startKnown({ accounts: { alice: {} } });
  fleet.fake.account("alice").queue.push({
    redirect: `${other.url}/landing`,
    status: 307,
  });
  const response = await fleet.rotator.fetch("/responses", post());
  assertEquals(await response.text(), "hello from a stranger");
  const [seen] = other.seen;
  assertEquals([seen?.method, seen?.body], [
    "POST",
    JSON.stringify(requestBody()),
  ]);
  assertEquals([
    seen?.headers.authorization,
    seen?.headers["chatgpt-account-id"],
  ], [undefined, undefined]);
  assertEquals(JSON.stringify(seen).includes(fleet.fake.canary), false);
});

test("rotator.fetch() keeps the account's headers on a redirect within the backend", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const { fake, rotator } = fleet;
  fake.account("alice").queue.push({
    redirect: "/backend-api/codex/responses?again",
  });
  const response = await rotator.fetch("/responses", post());
  assertEquals([await ends(response), response.redirected], [200, true]);
  assertEquals([fake.log.length, fake.log.at(-1)?.account], [2, "alice"]);
  fake.account("alice").queue.push({ redirect: "/elsewhere" });
  await ends(await rotator.fetch("/responses", post()));
  const elsewhere = fake.log.find(({ path }) => path === "/elsewhere");
  assertEquals(elsewhere?.headers["x-mine"], "yes");
  assert(elsewhere?.headers["authorization"] === undefined);
});

test("rotator.fetch() does not follow a redirect that the caller wants to see", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  fleet.fake.account("alice").queue.push({ redirect: "/elsewhere" });
  const response = await fleet.rotator.fetch(
    "/responses",
    post({ redirect: "manual" }),
  );
  assertEquals([await ends(response), fleet.fake.log.length], [307, 1]);
});

test("rotator.refresh() follows no redirect with a token", async () => {
  await using other = await stranger();
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: {} },
    records: {},
  });
  fleet.fake.account("alice").usageQueue.push({
    redirect: `${other.url}/usage`,
  });
  fleet.fake.revoke("bob", "access");
  fleet.fake.account("bob").tokenQueue.push({ redirect: `${other.url}/token` });
  const { accounts } = await fleet.rotator.refresh();
  assertEquals(accounts.map(({ ok }) => ok), [false, false]);
  assertEquals(other.seen, []);
});

test("rotator.fetch() says who asks, where the caller does not", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  await ends(await fleet.rotator.fetch("/responses", post()));
  const plain = lastHeaders(fleet);
  assertMatch(plain["user-agent"] ?? "", /^codex-rotator\/\d/);
  assertEquals([plain["originator"], plain["accept"]], [
    "codex_rotator",
    "text/event-stream",
  ]);
  const own = {
    "content-type": "application/json",
    "user-agent": "my-agent/2",
    "originator": "mine",
    "accept": "text/event-stream, x/y",
  };
  await ends(await fleet.rotator.fetch("/responses", post({ headers: own })));
  for (const [name, value] of Object.entries(own)) {
    assertEquals(lastHeaders(fleet)[name], value);
  }
});

test("rotator.fetch() drops what the backend must not see, and passes the rest on", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const dropped = {
    "authorization": "Bearer sk-mine",
    "chatgpt-account-id": "mine",
    "x-api-key": "k",
    "openai-organization": "o",
    "openai-project": "p",
    "cookie": "c=1",
  };
  const kept = {
    "content-type": "application/json",
    "session-id": "s",
    "x-mine": "yes",
    "openai-beta": "b",
  };
  await ends(
    await fleet.rotator.fetch(
      "/responses",
      post({ headers: { ...dropped, ...kept } }),
    ),
  );
  const seen = lastHeaders(fleet);
  for (const [name, value] of Object.entries(dropped)) {
    assert(seen[name] !== value, name);
  }
  for (const [name, value] of Object.entries(kept)) {
    assertEquals(seen[name], value);
  }
  assertEquals(seen["chatgpt-account-id"], "account-alice");
});

test("rotator.fetch() sends the FedRAMP header for accounts whose claims say so, only", async () => {
  await using fleet = await startKnown({
    accounts: { alice: { fedramp: true }, bob: {} },
  });
  for (let n = 0; n < 4; n++) await fleet.ask();
  assertEquals(fleet.served(), ["alice", "bob", "alice", "bob"]);
  assertEquals(fleet.fake.violations, []);
});

test("rotator.fetch() takes from an account's tokens what its record does not say", async () => {
  await using fleet = await startFleet({
    accounts: { alice: { fedramp: true } },
  });
  await (fleet.store as Store).update((state) => {
    delete state.accounts.alice!.accountId;
  });
  assertEquals((await fleet.ask()).status, 200);
  assertEquals(fleet.fake.violations, []);
  const { accountId } = fleet.fake.account("alice");
  assertEquals(lastHeaders(fleet)["chatgpt-account-id"], accountId);
  await (fleet.store as Store).update((state) => {
    const { tokens } = state.accounts.alice!;
    tokens!.id = tokens!.id!.replace(
      /\..*\./,
      `.${
        btoa(JSON.stringify({
          "https://api.openai.com/auth": { chatgpt_account_id: "two\nlines" },
        }))
      }.`,
    );
    tokens!.access = "opaque";
    tokens!.expiresAt = fleet.clock.now + 86_400_000;
  });
  fleet.clock.now += 2000;
  await fleet.ask();
  assertEquals(
    fleet.fake.log.map(({ headers }) => headers["chatgpt-account-id"])
      .includes("two\nlines"),
    false,
  );
});

test("rotator.fetch() learns nothing from a server that the backend redirects to", async () => {
  await using other = await stranger(401);
  await using fleet = await startKnown({ accounts: { alice: {}, bob: {} } });
  fleet.fake.account("alice").queue.push({ redirect: `${other.url}/landing` });
  const response = await fleet.rotator.fetch("/responses", post());
  assertEquals(await ends(response), 401);
  assertEquals(fleet.fake.log.length, 1);
  // nor from the backend, where that server sends the request back to it
  await using back = await stranger(
    307,
    `${fleet.fake.backend}/codex/responses`,
  );
  fleet.fake.account("bob").queue.push({ redirect: `${back.url}/landing` });
  const returned = await fleet.rotator.fetch("/responses", post());
  assertEquals(await ends(returned), 401);
  assertEquals(fleet.fake.log.some(({ kind }) => kind === "token"), false);
  assertEquals(
    fleet.events.map(({ type }) => type).includes("cooldown"),
    false,
  );
});

test("rotator.fetch() sends once what can never be sent, and follows no circle of redirects twice", async () => {
  await using fleet = await startKnown({ accounts: { alice: {}, bob: {} } });
  const { fake, rotator } = fleet;
  const fails = (init: RequestInit) =>
    assertRejects(() => rotator.fetch("/responses", post(init)), TypeError);
  await fails({ headers: { "no name": "x" } });
  await fails({ method: "GET" });
  assertEquals(fake.log, []);
  for (const name of ["alice", "bob"]) {
    fake.account(name).always = { redirect: "/backend-api/codex/responses" };
  }
  await fails({ redirect: "error" });
  assertEquals(fake.log.length, 1);
  await fails({});
  assertEquals(fake.log.length, 1 + 21);
});

test("rotator.fetch() keeps status, headers and URL of an answer", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const { response } = await fleet.ask();
  assertEquals([response.status, response.ok, response.url], [
    200,
    true,
    `${fleet.rotator.baseURL}/responses`,
  ]);
  assertMatch(response.headers.get("content-type") ?? "", /event-stream/);
  assertEquals(
    response.headers.get("x-request-id"),
    `req_${fleet.fake.log.at(-1)?.n}`,
  );
});

test("rotator.fetch() works without its rotator in front of it", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const { fetch } = fleet.rotator;
  assertEquals(await ends(await fetch("/responses", post())), 200);
});

test("rotator.fetch() lets go of the answers that the caller never sees", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: {}, bob: {}, carol: {} },
  });
  const big = {
    error: { type: "usage_limit_reached", padding: "x".repeat(1 << 20) },
  };
  fleet.fake.account("alice").queue.push({ status: 429, body: big });
  fleet.fake.account("bob").queue.push({ status: 429, body: big });
  assertEquals((await fleet.ask()).alias, "carol");
  for (const name of ["alice", "bob"]) {
    await fleet.fake.seen((entry) =>
      entry.account === name && entry.done && entry.status === 429
    );
  }
});

test("rotator.fetch() follows a 307 of a request on credits with its body", async () => {
  await using fleet = await startKnown({ accounts: { alice: CREDITED } });
  const redirect = `${fleet.rotator.baseURL}/responses?again`;
  fleet.fake.account("alice").queue.push({ redirect });
  const { status, text } = await fleet.ask();
  assertEquals(status, 200);
  assertMatch(text, /Hello from alice/);
});
