/**
 * `cli.ts serve` as a process of its own, with no more permissions than it
 * needs: read and write for the store's folder, the addresses it listens on and
 * speaks to, and three variables (five without --store, --backend, --issuer).
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect } from "node:net";
import { join } from "@std/path";
import { requestBody } from "../fleet.ts";
import { KEY, serveCommand, type Serving, startServing } from "./serving.ts";

const HEADERS = {
  "authorization": `Bearer ${KEY}`,
  "content-type": "application/json",
};
const NONE = { creditAccountAliases: "none" };

function ask({ baseURL }: Serving, init: RequestInit = {}): Promise<Response> {
  return fetch(`${baseURL}/responses`, {
    method: "POST",
    headers: HEADERS,
    body: JSON.stringify(requestBody({ prompt_cache_key: "thread 7" })),
    ...init,
  });
}

async function spawn(
  folder: string,
  args: string[],
  env: Record<string, string> = {},
) {
  const { code, stdout, stderr } = await serveCommand(folder, args, { env })
    .output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test("serve answers, logs a line per request, and ends by SIGTERM", async () => {
  await using it = await startServing({
    accounts: { alice: {} },
    settings: NONE,
    args: ["--log"],
  });
  const answer = await ask(it);
  assertStringIncludes(await answer.text(), "response.completed");
  const lost = await fetch(`${it.origin}/status`);
  assertEquals(lost.status, 401);
  await lost.body?.cancel();
  const status = await fetch(`${it.origin}/status`, { headers: HEADERS });
  assertEquals((await status.json()).accounts[0].requests, 1);
  assertEquals(await it.stop(), 0);
  const lines = it.err().trim().split("\n");
  const line =
    /^\d{4}-\S+Z method=POST path=\/v1\/responses model=gpt-5.5 session=\w+ account=alice standing=included attempts=1 status=200 result=ok in=12 out=4 ms=\d+$/;
  assertEquals(lines.filter((text) => line.test(text)).length, 1, it.err());
  assertStringIncludes(it.err(), "status=401 result=refused");
  assert(!it.err().includes(KEY) && !it.err().includes(it.fake.canary));
});

Deno.test("serve lets running requests finish when it is told to stop", async () => {
  const signals = [["SIGTERM", 0], ["SIGHUP", 0], ["SIGINT", 130]] as const;
  for (const [signal, code] of signals) {
    await using it = await startServing({
      accounts: { alice: {} },
      settings: NONE,
    });
    const { queue } = it.fake.account("alice");
    const { promise: until, resolve } = Promise.withResolvers<void>();
    queue.push({ until });
    const running = ask(it);
    await it.fake.seen((entry) => entry.kind === "responses");
    it.child.kill(signal);
    await it.said("Stopping");
    const late = await ask(it).then((late) => late.status, () => "refused");
    assertEquals(late, "refused");
    resolve();
    assertStringIncludes(await (await running).text(), "response.completed");
    assertEquals((await it.child.status).code, code);
  }
});

Deno.test("serve ends at once by a second signal", async () => {
  await using it = await startServing({
    accounts: { alice: { queue: [{ hang: true }] } },
    settings: NONE,
  });
  const running = ask(it).then(() => "answered", () => "cut");
  await it.fake.seen((entry) => entry.kind === "responses");
  it.child.kill("SIGINT");
  await it.said("Stopping");
  it.child.kill("SIGINT");
  assertEquals((await it.child.status).code, 130);
  assertEquals(await running, "cut");
});

Deno.test("serve cancels upstream when its caller goes away", async () => {
  await using it = await startServing({
    accounts: { alice: { reply: { padBytes: 64 << 20 } } },
    settings: NONE,
  });
  const gone = new AbortController();
  const answer = await ask(it, { signal: gone.signal });
  const reader = answer.body!.getReader();
  await reader.read();
  gone.abort();
  await reader.read().catch(() => {});
  const sent = await it.fake.seen((entry) =>
    entry.kind === "responses" && entry.done
  );
  assert(sent.aborted);
});

Deno.test("serve makes its key at the first start and shows it", async () => {
  await using it = await startServing({
    accounts: { alice: {} },
    settings: NONE,
    env: {},
  });
  const key = (await Deno.readTextFile(join(it.folder, "serve-key"))).trim();
  const shown = await spawn(it.folder, ["--show-key"]);
  assertEquals([shown.code, shown.out, shown.err], [0, `${key}\n`, ""]);
  assertStringIncludes(it.err(), join(it.folder, "serve-key"));
  assert(!it.err().includes(key));
  const statuses = await Promise.all([KEY, key].map(async (it_) => {
    const headers = { authorization: `Bearer ${it_}` };
    const answer = await fetch(`${it.origin}/health`, { headers });
    await answer.body?.cancel();
    return answer.status;
  }));
  assertEquals(statuses, [401, 200]);
});

Deno.test("serve asks for no key on the loopback alone", async () => {
  await using it = await startServing({
    accounts: { alice: {} },
    settings: NONE,
    args: ["--no-key"],
    env: {},
  });
  const answer = await fetch(`${it.origin}/health`);
  assertEquals(answer.status, 200);
  await answer.body?.cancel();
  const origin = { origin: "http://example.com" };
  const page = await fetch(`${it.origin}/health`, { headers: origin });
  assertEquals(page.status, 403);
  await page.body?.cancel();
  for (const host of ["0.0.0.0", "192.168.1.5", "::", "example.com"]) {
    const open = await spawn(it.folder, ["--no-key", "--host", host]);
    assertEquals([open.code, open.out], [2, ""]);
    assertStringIncludes(open.err, "--no-key");
  }
});

Deno.test("serve says what is wrong with its port", async () => {
  await using it = await startServing({ accounts: { alice: {} } });
  const { port } = new URL(it.origin);
  const backend = ["--backend", it.fake.backend, "--issuer", it.fake.issuer];
  const taken = await spawn(it.folder, ["--port", port, ...backend]);
  assertEquals([taken.code, taken.out], [1, ""]);
  assertStringIncludes(taken.err, `Port ${port} of 127.0.0.1 is taken`);
  for (const wrong of ["x", "-1", "65536", "1.5"]) {
    const { code, err } = await spawn(it.folder, [`--port=${wrong}`]);
    assertEquals(code, 2, err);
  }
});

Deno.test("serve warns of a key that can be guessed and of hosts beyond the loopback", async () => {
  await using weak = await startServing({
    accounts: { alice: {} },
    env: { CODEX_ROTATOR_SERVE_KEY: "short" },
  });
  await weak.said("can be guessed");
  await using open = await startServing({
    accounts: { alice: {} },
    args: ["--host", "0.0.0.0"],
    start: [Deno.execPath(), "run", "-A", "cli.ts"],
  });
  await open.said("without encryption");
  await using fine = await startServing({ accounts: { alice: {} } });
  const answer = await ask(fine);
  assertEquals(answer.status, 200);
  await answer.text();
  assert(!fine.err().includes("Warning"), fine.err());
  assert(!weak.err().includes("without encryption"));
});

Deno.test("serve is reached under the names that --allow-host gives", async () => {
  await using it = await startServing({
    accounts: { alice: {} },
    args: ["--allow-host", "box.lan,10.0.0.7"],
  });
  const port = Number(new URL(it.origin).port);
  const statusFor = async (host: string) => {
    const head =
      `GET /health HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${KEY}\r\nConnection: close\r\n\r\n`;
    return (await throwAt(port, new TextEncoder().encode(head))).slice(9, 12);
  };
  const hosts = ["box.lan", "10.0.0.7:80", "127.0.0.1", "evil.lan"];
  assertEquals(await Promise.all(hosts.map(statusFor)), [
    "200",
    "200",
    "200",
    "403",
  ]);
  for (const wrong of [["--allow-host", "a b"], ["--max-wait", "soon"]]) {
    assertEquals((await spawn(it.folder, wrong)).code, 2);
  }
});

Deno.test("serve waits for a reset as long as --max-wait says", async () => {
  for (const [seconds, status] of [[0, 429], [60, 200]] as const) {
    await using it = await startServing({
      accounts: { alice: {} },
      settings: NONE,
      args: ["--max-wait", String(seconds)],
    });
    it.fake.account("alice").windows = [
      { seconds: 18_000, usedPercent: 100, resetAt: Date.now() + 4000 },
    ];
    const answer = await ask(it);
    assertEquals(answer.status, status);
    await answer.body?.cancel();
  }
});

Deno.test("serve runs a command for events of the named types, one at a time, and waits for none", async () => {
  const folder = await Deno.makeTempDir();
  const file = join(folder, "two words");
  await using it = await startServing({
    accounts: { alice: {}, bob: {} },
    settings: NONE,
    start: [Deno.execPath(), "run", "-A", "cli.ts"],
    args: [
      "--on-event",
      `sh -c 'cat >> "$0"; exec sleep 60' "${file}"`,
      "--on-event-types",
      "selected",
    ],
  });
  for (let n = 0; n < 3; n++) {
    const answer = await ask(it);
    assertEquals(answer.status, 200);
    await answer.text();
  }
  let text = "";
  while (!text.endsWith("\n")) {
    text = await Deno.readTextFile(file).catch(() => "");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // the second event waits for the first command, which hangs
  const { type, alias } = JSON.parse(text);
  assertEquals([type, alias], ["selected", "alice"]);
  assert(!text.includes(it.fake.canary));
  for (const types of ["", "selected,odd"]) {
    const args = ["--on-event", "true", "--on-event-types", types];
    const { code, err } = await spawn(it.folder, args);
    assertEquals([types, code], [types, 2], err);
  }
  const alone = await spawn(it.folder, ["--on-event-types", "selected"]);
  assertEquals(alone.code, 2);
  assertStringIncludes(alone.err, "give --on-event too");
  assertEquals(await it.stop(), 0);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("serve says once that the command of --on-event does not start, and serves on", async () => {
  await using it = await startServing({
    accounts: { alice: {} },
    settings: NONE,
    start: [Deno.execPath(), "run", "-A", "cli.ts"],
    args: ["--on-event", "/nowhere/notify", "--on-event-types", "selected"],
  });
  for (let n = 0; n < 2; n++) {
    const answer = await ask(it);
    assertEquals(answer.status, 200);
    await answer.text();
  }
  await it.said("The command of --on-event did not start: ");
  await it.stop();
  assertEquals(it.err().split("did not start").length, 2, it.err());
});

Deno.test("serve says at its start that there is no account, and how to add one", async () => {
  await using it = await startServing({ accounts: {}, settings: NONE });
  await it.said(`login --store ${it.folder}/accounts.json`);
});

Deno.test("serve refuses a body that is too large while it comes", async () => {
  await using it = await startServing({
    accounts: { alice: {} },
    settings: NONE,
  });
  const port = Number(new URL(it.origin).port);
  const head =
    `POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${KEY}\r\nTransfer-Encoding: chunked\r\n\r\n`;
  const chunk = `100000\r\n${"x".repeat(1 << 20)}\r\n`;
  const text = await new Promise<string>((resolve) => {
    let sent = 0;
    // one more than fit, and then no end
    const more = () => {
      while (sent++ < 33) if (!socket.write(chunk)) return;
    };
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(head);
      more();
    });
    socket.on("drain", more);
    socket.setTimeout(30_000, () => socket.destroy());
    socket.on("data", (data) => (resolve(String(data)), socket.destroy()));
    socket.on("close", () => resolve("closed"));
    socket.on("error", () => {});
  });
  assertStringIncludes(text, "HTTP/1.1 413");
  assertEquals(it.fake.log.length, 0);
});

/** Waits until something is so. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!await isSo()) await new Promise((resolve) => setTimeout(resolve, 50));
}

Deno.test("serve answers with commands of this process while it cannot serve", async () => {
  await using it = await startServing({
    accounts: { alice: {} },
    settings: NONE,
  });
  const store = join(it.folder, "accounts.json");
  const whole = await Deno.readTextFile(store);
  const command = (name: string) =>
    `"deno run -A cli.ts ${name} --store ${store}"`;
  const none = JSON.stringify({ version: 1, settings: NONE, accounts: {} });
  const cases = [
    ["no_accounts", none, command("login")],
    ["store_corrupt", "{", command("restore")],
  ] as const;
  await Deno.writeTextFile(`${store}.bak`, whole);
  for (const [type, text, wanted] of cases) {
    await Deno.writeTextFile(store, text);
    // reads it at once, so that alice is not asked before she is gone
    await (await fetch(`${it.origin}/status`, { headers: HEADERS })).text();
    let error = { type: "", message: "" };
    await until(async () => {
      ({ error } = await (await ask(it)).json());
      return error.type === type;
    });
    assertStringIncludes(error.message, wanted);
    assert(!error.message.includes('"codex-rotator'), error.message);
    await it.said(wanted.slice(1, -1));
  }
  await Deno.writeTextFile(store, whole);
  await until(async () => {
    const answer = await ask(it);
    await answer.text();
    return answer.status === 200;
  });
  assert(!it.err().includes("codex-rotator "), it.err());
  // who shows no key does not learn where the store is
  const stranger = await fetch(`${it.origin}/status`);
  assert(!(await stranger.text()).includes(it.folder));
});

/** Bytes that are no proper request, or one that is not finished. */
function badRequests(n: number): Uint8Array<ArrayBuffer>[] {
  const texts = [
    "",
    "\r\n\r\n",
    "GET\r\n\r\n",
    "GET / HTTP/9.9\r\n\r\n",
    "GET /health HTTP/1.1\r\n\r\n",
    "GET /health HTTP/1.0\r\n\r\n",
    "GET //evil/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET http://evil/health HTTP/1.1\r\nHost: evil\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: a b\r\nHost: c\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\nx",
    "POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx",
    `POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${KEY}\r\nContent-Length: 5000\r\n\r\n{"model"`,
    `POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${KEY}\r\nContent-Length: 8\r\n\r\n{"model"`,
    `GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ${
      "x".repeat(200_000)
    }\r\n\r\n`,
    `GET /${"y".repeat(200_000)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`,
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  ];
  const encoder = new TextEncoder();
  const bytes = texts.map((text) => encoder.encode(text));
  while (bytes.length < n) {
    // a known one with some bytes changed, or cut off
    const copy = bytes[Math.floor(Math.random() * texts.length)]!.slice(0, 999);
    for (let i = 0; i < 4 && copy.length > 0; i++) {
      copy[Math.floor(Math.random() * copy.length)] = Math.random() * 256;
    }
    bytes.push(copy.slice(0, Math.ceil(Math.random() * copy.length)));
  }
  return bytes;
}

/** Sends bytes and waits for the end of the connection, or not. */
function throwAt(port: number, bytes: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => socket.end(bytes));
    socket.on("data", (data) => text += String(data));
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
    socket.setTimeout(2_000, () => socket.destroy());
  });
}

Deno.test("serve loses nothing under bad HTTP", async () => {
  await using it = await startServing({
    accounts: { alice: {}, bob: {} },
    settings: NONE,
  });
  const port = Number(new URL(it.origin).port);
  const bad = badRequests(400);
  let good = 0;
  let isOver = false;
  const asking = Array.from({ length: 4 }, async () => {
    while (!isOver) {
      const answer = await ask(it);
      assertEquals(answer.status, 200);
      assertStringIncludes(await answer.text(), "response.completed");
      good++;
    }
  });
  const answers: string[] = [];
  const throwing = Array.from({ length: 20 }, async () => {
    for (let next = bad.pop(); next; next = bad.pop()) {
      answers.push(await throwAt(port, next));
    }
  });
  await Promise.all(throwing);
  isOver = true;
  await Promise.all(asking);
  assert(good > 0);
  const said = answers.join("");
  assert(!said.includes(KEY) && !said.includes(it.fake.canary));
  assert(!said.includes('{"status":"ok"}'), "someone got in");
  const headers = HEADERS;
  const metrics = await fetch(`${it.origin}/metrics`, { headers });
  assertStringIncludes(
    await metrics.text(),
    "codex_rotator_requests_running 1\n",
  );
  const { log } = it.fake;
  const whole = log.filter((entry) => entry.kind === "responses").length;
  // the one request that is finished but is no JSON may have reached the backend too
  assert(whole >= good && whole <= good + 400);
  assertEquals(await it.stop(), 0);
  assertEquals(it.err().match(/error|uncaught/gi), null, it.err());
});
