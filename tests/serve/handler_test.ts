import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import process from "node:process";
import { createRotator, memoryStore, type Rotator } from "../../mod.ts";
import {
  createHandler,
  type HandlerOptions,
  Metrics,
  type ServedRequest,
} from "../../lib/serve/mod.ts";
import type { FakeLogEntry } from "../../lib/testing/fake_codex.ts";
import {
  type Fleet,
  type FleetOptions,
  HOUR,
  requestBody,
  startFleet,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";

const KEY = "a-key-of-16-chars";
const ORIGIN = "http://127.0.0.1:8791";
const FULL = [{ seconds: 18_000, usedPercent: 100 }];

interface Counter extends AsyncDisposable {
  fleet: Fleet;
  seen: ServedRequest[];
  metrics: Metrics;
  warnings: string[];
  /** A request with the key. */
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  post(path: string, init?: RequestInit): Promise<Response>;
}

async function startDesk(
  options: FleetOptions,
  more: HandlerOptions = {},
): Promise<Counter> {
  const seen: ServedRequest[] = [];
  const metrics = new Metrics({ onRequest: (it) => seen.push(it) });
  const { onEvent } = metrics;
  const fleet = await startFleet({ credits: "none", onEvent, ...options });
  const warnings: string[] = [];
  const handler = createHandler(fleet.rotator, {
    key: KEY,
    metrics,
    onWarning: (message) => warnings.push(message),
    ...more,
  });
  const authorization = `Bearer ${KEY}`;
  return {
    fleet,
    seen,
    metrics,
    warnings,
    get: (path, headers) =>
      handler(
        new Request(ORIGIN + path, { headers: { authorization, ...headers } }),
      ),
    post: (path, init = {}) =>
      handler(
        new Request(ORIGIN + path, {
          method: "POST",
          body: JSON.stringify(requestBody()),
          duplex: "half",
          ...init,
          headers: {
            authorization,
            "content-type": "application/json",
            ...init.headers,
          },
        } as RequestInit),
      ),
    [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose](),
  };
}

function emptyRotator(): Rotator {
  return createRotator({ store: memoryStore(), credits: "none" });
}

test("createHandler() maps its paths onto the backend's", async () => {
  await using desk = await startDesk({ accounts: { alice: {} } });
  for (const base of ["", "/v1", "/backend-api/codex"]) {
    for (const path of ["/responses", "/responses/compact"]) {
      const answer = await desk.post(base + path);
      assertEquals(answer.status, 200, base + path);
      await answer.text();
      const sent = desk.fleet.fake.log.at(-1)!;
      assertEquals(sent.path, `/backend-api/codex${path}`);
      assertEquals(sent.json, requestBody());
    }
    const models = await desk.get(`${base}/models?client_version=1`);
    assert((await models.json()).models.length > 0);
    assertEquals(
      desk.fleet.fake.log.at(-1)!.path,
      "/backend-api/codex/models?client_version=1",
    );
  }
});

test("createHandler() passes a stream on byte for byte", async () => {
  await using desk = await startDesk({ accounts: { alice: {} } });
  const direct = await desk.fleet.ask();
  const answer = await desk.post("/v1/responses");
  const type = answer.headers.get("content-type") ?? "";
  assertStringIncludes(type, "text/event-stream");
  const varying = /(resp|msg|rs|req)_?\d+|"created_at":\d+/g;
  assertEquals(
    (await answer.text()).replaceAll(varying, "#"),
    direct.text.replaceAll(varying, "#"),
  );
});

test("createHandler() knows no other path and no other method", async () => {
  await using desk = await startDesk({ accounts: { alice: {} } });
  const paths = [
    "/",
    "/v1",
    "/v1/responses/compact/more",
    "/v1/images/more/edits",
    "/backend-api/wham/tasks",
    "/v1//responses",
    "/v1/responses/../../wham/usage",
    "/v1/responses%2f..%2f..%2fwham/usage",
  ];
  for (const path of paths) {
    assertEquals((await desk.post(path)).status, 404, path);
  }
  const wrong = await desk.get("/v1/responses");
  assertEquals([wrong.status, wrong.headers.get("allow")], [405, "POST"]);
  const read = ["/v1/models", "/health", "/status", "/metrics"];
  for (const path of [...read, "/backend-api/wham/usage"]) {
    assertEquals((await desk.post(path)).status, 405, path);
  }
  assertEquals(desk.fleet.fake.log.length, 0);
});

test("createHandler() says that other APIs are not served", async () => {
  await using desk = await startDesk({ accounts: { alice: {} } });
  for (
    const path of [
      "/v1/chat/completions",
      "/v1/messages",
      "/messages",
      "/backend-api/codex/chat/completions",
    ]
  ) {
    const answer = await desk.post(path);
    assertEquals(answer.status, 404);
    const { message } = (await answer.json()).error;
    assertStringIncludes(message, "Only the Responses API is served");
    assertStringIncludes(message, path);
  }
});

test("createHandler() passes Codex's other endpoints on, with failover", async () => {
  await using desk = await startDesk({
    accounts: { alice: { queue: [{ status: 503 }] }, bob: {} },
    random: () => 0,
  });
  const paths = [
    "/alpha/search",
    "/images/generations",
    "/images/edits",
    "/memories/trace_summarize",
  ];
  for (const base of ["", "/v1", "/backend-api/codex"]) {
    for (const path of paths) {
      const answer = await desk.post(base + path);
      assertEquals([base + path, answer.status], [base + path, 200]);
      assertStringIncludes((await answer.json()).output, "Hello from");
      const sent = desk.fleet.fake.log.at(-1)!;
      assertEquals(sent.path, `/backend-api/codex${path}`);
    }
  }
  const [first, second] = desk.fleet.fake.log
    .filter((it) => it.kind === "search");
  assertEquals([first?.account, first?.status, second?.account], [
    "alice",
    503,
    "bob",
  ]);
});

test("createHandler() answers an upgrade with 426 at once, and other requests go on", async () => {
  await using desk = await startDesk({ accounts: { alice: {} } });
  const upgrade = { connection: "Upgrade", upgrade: "websocket" };
  const answer = await desk.get("/v1/responses", upgrade);
  assertEquals(answer.status, 426);
  assertEquals(desk.fleet.fake.log.length, 0);
  const page = await desk.get("/v1/responses", { ...upgrade, origin: "null" });
  assertEquals(page.status, 403);
  const served = await desk.post("/v1/responses");
  assertEquals(served.status, 200);
  await served.text();
});

test("createHandler() takes the key in the path beside a token that is the caller's own", async () => {
  await using desk = await startDesk({ accounts: { alice: {} } });
  const own = {
    "authorization": "Bearer token-of-the-caller",
    "chatgpt-account-id": "account-of-the-caller",
  };
  const statusOf = async (answer: Response) => {
    await answer.text();
    return answer.status;
  };
  const inside = `/k/${KEY}`;
  const usage = "/backend-api/wham/usage";
  const post = desk.post(`${inside}/v1/responses`, { headers: own });
  assertEquals(await statusOf(await post), 200);
  const rows: [
    path: string,
    headers: typeof own | undefined,
    status: number,
  ][] = [
    [`${inside}${usage}`, own, 200],
    [usage, own, 401],
    // a base URL that ends in a slash
    [`/${inside}${usage}`, own, 200],
    [`/k/${KEY}x${usage}`, own, 401],
    [`/K/${KEY}${usage}`, own, 401],
    [`${inside}${inside}${usage}`, own, 404],
    // the key in the path counts alone
    ["/k/x/health", undefined, 401],
  ];
  for (const [path, headers, status] of rows) {
    assertEquals(await statusOf(await desk.get(path, headers)), status, path);
  }
  const { headers } = desk.fleet.fake.log.at(-1)!;
  assertEquals(headers["chatgpt-account-id"], "account-alice");
  const told = JSON.stringify([desk.fleet.fake.log, desk.seen, desk.warnings]);
  for (const secret of [KEY, "of-the-caller"]) assert(!told.includes(secret));
  const paths = desk.seen.map((it) => it.path);
  assertEquals(paths, [
    "/v1/responses",
    ...[usage, usage, usage, usage],
    ...[`/K/…${usage}`, `/k/…${usage}`],
    "/health",
  ]);
});

test("createHandler() names account and standing on every answer of an account", async () => {
  await using desk = await startDesk({
    accounts: { alice: {}, bob: { windows: FULL, credits: TEN_CREDITS } },
    credits: ["bob"],
  });
  const marks = async (answer: Response) => {
    await answer.text();
    return ["account", "standing"].map((name) =>
      answer.headers.get(`x-codex-rotator-${name}`)
    );
  };
  const models = await desk.get("/v1/models?client_version=1");
  assertEquals((await marks(models))[0], "alice");
  const post = async () => marks(await desk.post("/v1/responses"));
  assertEquals(await post(), ["alice", "included"]);
  desk.fleet.fake.account("alice").queue.push({ status: 400, body: {} });
  assertEquals(await post(), ["alice", "included"]);
  desk.fleet.fake.account("alice").windows = FULL;
  assertEquals(await post(), ["bob", "credits"]);
  desk.fleet.fake.account("bob").credits = null;
  assertEquals(await post(), [null, null]);
  assertEquals(await marks(await desk.get("/health")), [null, null]);
});

test("createHandler() tells the usage of the fleet, full only when nobody can serve", async () => {
  await using desk = await startDesk({ accounts: { alice: {}, bob: {} } });
  const { fake, clock, rotator } = desk.fleet;
  const usage = async (path = "/backend-api/wham/usage") => {
    const { plan_type, rate_limit } = await (await desk.get(path)).json();
    assertEquals(plan_type, "plus");
    const { primary_window: it, allowed, limit_reached } = rate_limit;
    assertEquals(limit_reached, !allowed);
    return [allowed, it.used_percent, it.reset_at * 1000 - clock.now];
  };
  const windows = (usedPercent: number, hours: number) => [
    { seconds: 18_000, usedPercent, resetAt: clock.now + hours * HOUR },
  ];
  fake.account("alice").windows = windows(100, 3);
  fake.account("bob").windows = windows(50, 2);
  await rotator.refresh();
  assertEquals(await usage(), [true, 75, 2 * HOUR]);
  assertEquals(await usage("/api/codex/usage"), [true, 75, 2 * HOUR]);
  fake.account("bob").windows = windows(99.9, 2);
  await rotator.refresh();
  assertEquals(await usage(), [true, 99, 2 * HOUR]);
  fake.account("bob").windows = windows(100, 4);
  await rotator.refresh();
  assertEquals(await usage(), [false, 100, 3 * HOUR]);
  for (const base of ["/backend-api/wham", "/api/codex"]) {
    const resets = await desk.get(`${base}/rate-limit-reset-credits`);
    assertEquals(await resets.json(), { available_count: 0, credits: [] });
  }
});

test("createHandler() names a signed-in Codex the workspace that it asks about, and leads it nowhere else", async () => {
  await using desk = await startDesk({ accounts: { alice: {} } });
  for (const base of ["/backend-api/wham", "/api/codex"]) {
    const headers = { "chatgpt-account-id": "account-mine" };
    const answer = await desk.get(`${base}/accounts/check`, headers);
    assertEquals(await answer.json(), {
      accounts: [{
        id: "account-mine",
        workspace_backend_origin: "https://chatgpt.com",
        account_routing_override: "NO_CONSTRAINT",
      }],
    });
  }
});

test("createHandler() serves a request once the only account's throttle is over", async () => {
  const busy = {
    status: 429,
    headers: { "retry-after": "1" },
    body: { error: { type: "rate_limit_exceeded", message: "Slow down" } },
  };
  for (const [throttleWait, status] of [[0, 429], [60_000, 200]] as const) {
    await using desk = await startDesk({
      accounts: { alice: { queue: [busy] } },
      now: Date.now,
    }, { throttleWait });
    const answer = await desk.post("/v1/responses");
    assertEquals([throttleWait, answer.status], [throttleWait, status]);
    await answer.text();
  }
});

/** A rotator that has only a throttle in the way for so many requests. */
function throttled(times: number, retryAfter: string): Rotator {
  const error = { type: "rate_limit_exceeded", message: "Later" };
  const headers = { "retry-after": retryAfter };
  const rotator = emptyRotator();
  return {
    ...rotator,
    baseURL: "http://127.0.0.1:1/codex",
    accountOf: () => undefined,
    fetch: () =>
      Promise.resolve(
        times-- > 0
          ? Response.json({ error }, { status: 429, headers })
          : new Response("served"),
      ),
  };
}

test("createHandler() waits for a throttle to end, as long as it may", async () => {
  const request = () => new Request(`${ORIGIN}/v1/models`);
  const rows: [rotator: Rotator, throttleWait: number, status: number][] = [
    [throttled(2, "0"), 60_000, 200],
    [throttled(1, "1"), 60_000, 200],
    [throttled(1, "0"), 0, 429],
    [throttled(1, "30"), 20_000, 429],
    [throttled(1, "never"), 60_000, 429],
  ];
  for (const [rotator, throttleWait, status] of rows) {
    const handler = createHandler(rotator, { key: null, throttleWait });
    assertEquals((await handler(request())).status, status);
  }
  const gone = new AbortController();
  const handler = createHandler(throttled(1, "30"), { key: null });
  const waiting = handler(new Request(request(), { signal: gone.signal }));
  gone.abort();
  assertEquals((await waiting).status, 502);
});

test("createHandler() lets nobody in who does not show the key", async () => {
  await using desk = await startDesk({ accounts: { alice: {} } });
  const shown = [
    "",
    KEY,
    `Basic ${KEY}`,
    "Bearer",
    "Bearer ",
    `Bearer ${KEY}x`,
    `Bearer ${KEY.slice(1)}`,
    `Bearer ${KEY.toUpperCase()}`,
    `Bearer ${KEY}, Bearer x`,
  ];
  const paths = ["/v1/models", "/health", "/status", "/metrics", "/none"];
  for (const authorization of shown) {
    for (const path of paths) {
      const answer = await desk.get(path, { authorization });
      assertEquals(answer.status, 401, `${authorization} ${path}`);
      assertEquals(answer.headers.get("www-authenticate"), "Bearer");
      assert(!(await answer.text()).includes(KEY));
    }
  }
  await fc.assert(
    fc.asyncProperty(fc.string(), async (text) => {
      fc.pre(text.trim() !== KEY && /^[ -~]*$/.test(text));
      const authorization = `Bearer ${text}`;
      const { status } = await desk.get("/health", { authorization });
      assertEquals(status, 401);
    }),
  );
  assertEquals((await desk.get("/health")).status, 200);
  assertEquals(desk.fleet.fake.log.length, 0);
  assertEquals(desk.warnings.slice(0, 2), [
    "1 request without the server's key, or with a wrong one",
    "10 requests without the server's key, or with a wrong one",
  ]);
  const metrics = await (await desk.get("/metrics")).text();
  assert(Number(/wrong_keys_total (\d+)/.exec(metrics)?.[1]) > 100);
});

test("createHandler() refuses browsers and foreign hosts, key or no key", async () => {
  for (const key of [KEY, null]) {
    await using desk = await startDesk({ accounts: { alice: {} } }, { key });
    const refused: Record<string, string>[] = [
      { origin: "https://example.com" },
      { origin: ORIGIN },
      { origin: "null" },
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-origin" },
      { host: "example.com" },
      { host: "example.com:8791" },
      { host: "127.0.0.1.example.com" },
      { host: "127.0.0.1:8791@example.com" },
      { host: "192.168.1.5:8791" },
      { host: "localhost.example.com" },
      { host: "" },
    ];
    for (const headers of refused) {
      const answer = await desk.get("/health", headers);
      assertEquals(answer.status, 403, JSON.stringify(headers));
      for (const [name] of answer.headers) {
        assert(!name.startsWith("access-control"));
      }
    }
    for (const host of ["localhost:8791", "127.0.0.1", "[::1]:8791"]) {
      assertEquals((await desk.get("/health", { host })).status, 200, host);
    }
  }
});

test("createHandler() knows the names it is given", async () => {
  const hosts = ["box.lan"];
  await using named = await startDesk({ accounts: { alice: {} } }, { hosts });
  const statuses = async (desk: Counter, names: string[]) =>
    await Promise.all(
      names.map(async (host) => (await desk.get("/health", { host })).status),
    );
  const names = ["Box.lan:8791", "192.168.1.5", "[fe80::1]:80", "evil.lan"];
  assertEquals(await statuses(named, names), [200, 403, 403, 403]);
  await using open = await startDesk({ accounts: { alice: {} } }, {
    hosts: ["0.0.0.0"],
  });
  assertEquals(await statuses(open, names), [403, 200, 200, 403]);
});

test("createHandler() wants a key that it can ask for", () => {
  const rotator = emptyRotator();
  const before = process.env.CODEX_ROTATOR_SERVE_KEY;
  delete process.env.CODEX_ROTATOR_SERVE_KEY;
  try {
    assertThrows(() => createHandler(rotator), TypeError, "No key is set");
    assertThrows(() => createHandler(rotator, { key: "" }), TypeError);
    assertThrows(
      () => createHandler(rotator, { key: "two words" }),
      TypeError,
      "characters that no header can carry",
    );
    process.env.CODEX_ROTATOR_SERVE_KEY = "from-outside";
    createHandler(rotator);
  } finally {
    delete process.env.CODEX_ROTATOR_SERVE_KEY;
    if (before !== undefined) process.env.CODEX_ROTATOR_SERVE_KEY = before;
  }
});

test("createHandler() passes on what is the caller's to say, and nothing else", async () => {
  await using desk = await startDesk({ accounts: { alice: {} } });
  desk.fleet.fake.account("alice").headers = (headers) => ({
    ...headers,
    "set-cookie": "cloud=1",
    "access-control-allow-origin": "*",
  });
  const answer = await desk.post("/v1/responses", {
    headers: {
      "cookie": "mine=1",
      "proxy-authorization": "Basic c2VjcmV0",
      "x-forwarded-for": "10.0.0.1",
      "x-api-key": KEY,
      "connection": "x-hop",
      "x-hop": "1",
      "session-id": "s-1",
      "user-agent": "my-agent/2",
    },
  });
  await answer.text();
  const { headers } = desk.fleet.fake.log.at(-1)!;
  assertEquals(headers["session-id"], "s-1");
  assertEquals(headers["user-agent"], "my-agent/2");
  assertEquals(headers["cookie"], undefined);
  assertEquals(headers["x-hop"], undefined);
  const said = JSON.stringify(headers);
  for (const it of [KEY, "mine=1", "c2VjcmV0", "10.0.0.1"]) {
    assert(!said.includes(it), it);
  }
  assertEquals(answer.headers.get("set-cookie"), null);
  assertEquals(answer.headers.get("access-control-allow-origin"), null);
  assertEquals(answer.headers.get("x-codex-plan-type"), "plus");
});

test("createHandler() bounds bodies and headers", async () => {
  const maxBodyBytes = 1000;
  await using desk = await startDesk({ accounts: { alice: {} } }, {
    maxBodyBytes,
  });
  const large = "x".repeat(maxBodyBytes + 1);
  const known = await desk.post("/v1/responses", { body: large });
  assertEquals(known.status, 413);
  let pulled = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulled++;
      controller.enqueue(new Uint8Array(100));
    },
  });
  const unknown = await desk.post("/v1/responses", { body: endless });
  assertEquals(unknown.status, 413);
  assert(pulled < 20, String(pulled));
  const wide = await desk.get("/health", { "x-wide": "x".repeat(70_000) });
  assertEquals(wide.status, 431);
  assertEquals(desk.fleet.fake.log.length, 0);
  const fits = await desk.post("/v1/responses");
  assertEquals(fits.status, 200);
  await fits.text();
});

test("createHandler() cancels upstream when its caller goes away", async () => {
  await using desk = await startDesk({ accounts: { alice: {} } });
  const { fake } = desk.fleet;
  fake.account("alice").reply = { padBytes: 64 << 20 };
  const answer = await desk.post("/v1/responses");
  const reader = answer.body!.getReader();
  await reader.read();
  await reader.cancel();
  const isAnswered = (after: number) => (it: FakeLogEntry) =>
    it.kind === "responses" && it.n > after && it.done;
  const first = await fake.seen(isAnswered(0));
  assert(first.aborted);
  assertEquals(desk.seen.map((it) => it.result), ["cancelled"]);
  fake.account("alice").queue.push({ hang: true });
  const gone = new AbortController();
  const waiting = desk.post("/v1/responses", { signal: gone.signal });
  await fake.seen((it) => it.kind === "responses" && it.n > first.n);
  gone.abort();
  await waiting;
  assert((await fake.seen(isAnswered(first.n))).aborted);
  assertEquals(desk.seen.map((it) => it.result), ["cancelled", "cancelled"]);
  assertEquals(desk.metrics.running, 0);
});

test("createHandler() reads no more of a stream than its caller takes", async () => {
  let pulled = 0;
  const event = 'data: {"type":"response.output_text.delta","delta":"x"}\n\n';
  const endless = () =>
    new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled++;
        controller.enqueue(new TextEncoder().encode(event));
      },
    }, { highWaterMark: 0 });
  await using desk = await startDesk({
    accounts: { alice: {} },
    fetch: async (input, init) =>
      init?.method === "POST"
        ? new Response(endless(), {
          headers: { "content-type": "text/event-stream" },
        })
        : await fetch(input, init),
  });
  const answer = await desk.post("/v1/responses");
  const reader = answer.body!.getReader();
  for (let i = 1; i <= 100; i++) {
    const { value } = await reader.read();
    assertEquals(new TextDecoder().decode(value), event);
    assertEquals(pulled, i);
  }
  await reader.cancel();
});

test("createHandler() answers as the rotator does when nobody can serve", async () => {
  await using desk = await startDesk({
    accounts: { alice: { windows: FULL, credits: TEN_CREDITS } },
  });
  const answer = await desk.post("/v1/responses");
  assertEquals(answer.status, 429);
  assert(Number(answer.headers.get("retry-after")) > 0);
  const { error } = await answer.json();
  assertEquals(error.type, "usage_limit_reached");
  assertEquals(error.accounts[0].alias, "alice");
  assertEquals(desk.fleet.fake.charged, []);
  assertEquals(desk.seen.map((it) => [it.result, it.account]), [
    ["limited", null],
  ]);
});

test("createHandler() tells that there is no account, or no backend", async () => {
  await using empty = emptyRotator();
  const url = `${ORIGIN}/v1/models`;
  const none = await createHandler(empty, { key: null })(new Request(url));
  assertEquals(none.status, 403);
  assertEquals((await none.json()).error.type, "no_accounts");
  await using desk = await startDesk({
    accounts: { alice: {} },
    fetch: () => Promise.reject(new TypeError("no route")),
    random: () => 0,
  });
  const lost = await desk.get("/v1/models");
  assertEquals(lost.status, 502);
  assertEquals((await lost.json()).error.type, "backend_unreachable");
});

test("createHandler() tells /status without e-mails, and no token anywhere", async () => {
  await using desk = await startDesk({
    accounts: { alice: {}, bob: { windows: FULL } },
  });
  const { fake, rotator } = desk.fleet;
  await (await desk.post("/v1/responses")).text();
  const error = { code: "invalid_grant", message: "x@example.com is gone" };
  fake.account("bob").tokenAlways = { status: 400, body: { error } };
  fake.revoke("bob", "access");
  await rotator.refresh();
  const status = await desk.get("/status");
  const text = await status.text();
  const report = await rotator.status();
  const told = JSON.stringify(report).replaceAll(/"[^"]+@example.com"/g, "null")
    .replaceAll("x@example.com", "(address)");
  assertEquals(JSON.parse(text), JSON.parse(told));
  assertEquals(report.accounts[0]?.email, "alice@example.com");
  const metrics = await (await desk.get("/metrics")).text();
  const health = await (await desk.get("/health")).text();
  assertEquals(JSON.parse(health), { status: "ok" });
  for (const it of [text, metrics, health, JSON.stringify(desk.seen)]) {
    assert(!it.includes(fake.canary) && !it.includes("@example.com"));
  }
});

test("createHandler() counts who served on what, for /metrics", async () => {
  await using desk = await startDesk({
    accounts: {
      alice: {},
      bob: { windows: FULL, credits: TEN_CREDITS },
    },
    credits: ["bob"],
  });
  const { fake, clock } = desk.fleet;
  await (await desk.post("/v1/responses")).text();
  fake.account("alice").windows = FULL;
  await (await desk.post("/v1/responses")).text();
  clock.now += 1000;
  const lines = (await (await desk.get("/metrics")).text()).split("\n");
  const expected = [
    'requests_total{account="alice",standing="included",result="ok"} 1',
    'requests_total{account="bob",standing="credits",result="ok"} 1',
    'charged_requests_total{account="bob",certain="true"} 1',
    'switches_total{from="alice",account="bob"} 1',
    'cooldowns_total{account="alice",cause="usage-limit"} 1',
    'credits_balance{account="bob"} 9',
    'window_used_percent{account="bob",meter="codex",window_seconds="18000"} 100',
    'account_standing{account="alice",standing="blocked",reason="exhausted"} 1',
    'account_standing{account="bob",standing="credits",reason="exhausted"} 1',
  ];
  for (const line of expected) {
    assert(
      lines.some((it) => it.startsWith(`codex_rotator_${line}`)),
      `${line}\n${lines.join("\n")}`,
    );
  }
  const shape = /^codex_rotator_\w+(\{(\w+="(\\.|[^"\\])*",?)*\})? [\d.]+$/;
  for (const line of lines) {
    assert(line === "" || line.startsWith("# ") || shape.test(line), line);
  }
  assertEquals(fake.charged.length, 1);
});

test("createHandler() records each request once", async () => {
  await using desk = await startDesk({ accounts: { alice: {} } });
  const body = JSON.stringify(requestBody({ prompt_cache_key: "thread-7" }));
  await (await desk.post("/v1/responses", { body })).text();
  await (await desk.get("/nothing")).text();
  const facts = desk.seen.map(({ at: _at, ms: _ms, session, ...rest }) => ({
    ...rest,
    hasSession: session !== null && session !== "thread-7",
  }));
  assertEquals(facts, [
    {
      method: "POST",
      path: "/v1/responses",
      model: "gpt-5.5",
      account: "alice",
      standing: "included",
      attempts: 1,
      status: 200,
      result: "ok",
      inputTokens: 12,
      outputTokens: 4,
      hasSession: true,
    },
    {
      method: "GET",
      path: "/nothing",
      model: null,
      account: null,
      standing: null,
      attempts: 0,
      status: 404,
      result: "refused",
      inputTokens: null,
      outputTokens: null,
      hasSession: false,
    },
  ]);
});
