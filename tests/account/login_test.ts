import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { request } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { statSync } from "node:fs";
import process from "node:process";
import {
  type BrowserLoginOptions,
  signInByBrowser,
} from "../../lib/account/login_browser.ts";
import { type LoginOptions, signInByDevice } from "../../lib/account/login.ts";
import type { ImportedLogin } from "../../lib/account/login_files.ts";
import {
  type FakeCodex,
  type FakeCodexOptions,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import { freePort } from "../ports.ts";
import { spawn } from "../spawn.ts";
import { test } from "../test.ts";

/** Takes a port. */
async function occupy(
  host = "127.0.0.1",
): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, () => resolve()));
  return {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** A stand-in issuer and a browser sign-in under way. */
async function startSignIn(changes: Partial<BrowserLoginOptions> = {}) {
  const ports = changes.ports ?? [await freePort(), await freePort()];
  const fake = await startFakeCodex({
    accounts: { me: {}, "<b>": {} },
    redirectPorts: ports,
  });
  fake.signInAs = "me";
  const kept: ImportedLogin[] = [];
  const useless: string[] = [];
  const opened: (string | undefined)[] = [];
  const address = Promise.withResolvers<string>();
  const done = signInByBrowser({
    issuer: fake.issuer,
    fetch: (input, init) => fetch(input, init),
    signal: new AbortController().signal,
    ports,
    keep: (login) => Promise.resolve(void kept.push(login)),
    onAddress: ({ url, open }) => {
      address.resolve(url);
      opened.push(open);
    },
    onUseless: (reason) => useless.push(reason),
    ...changes,
  });
  done.catch(async (reason) => {
    // before it has begun, there is nobody yet to close it
    if (opened.length === 0) await fake.close();
    address.reject(reason);
  });
  return {
    fake,
    ports,
    kept,
    useless,
    opened,
    done,
    address: await address.promise,
    [Symbol.asyncDispose]: () => fake.close(),
  };
}

/** Opens an address as a browser does, up to the redirect to this machine. */
async function consent(address: string): Promise<string> {
  const response = await fetch(address, { redirect: "manual" });
  await response.body?.cancel();
  assertEquals(response.status, 302);
  return response.headers.get("location")!;
}

/** Where the browser was sent to, told apart by its path. */
async function open(url: string) {
  const response = await fetch(url);
  return {
    status: response.status,
    text: await response.text(),
    headers: response.headers,
  };
}

/** A GET with any host name. */
function get(url: string, host: string, method = "GET"): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers: { host } }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(answer.statusCode ?? 0));
    });
    sent.on("error", reject);
    sent.end();
  });
}

async function refuses(port: number): Promise<void> {
  for (const host of ["127.0.0.1", "[::1]"]) {
    await assertRejects(() => fetch(`http://${host}:${port}/`));
  }
}

test("signInByBrowser() signs in, keeps the login, says so, and stops listening", async () => {
  await using s = await startSignIn();
  const query = new URL(s.address).searchParams;
  assertEquals(
    query.get("redirect_uri"),
    `http://localhost:${s.ports[0]}/auth/callback`,
  );
  assertEquals(query.get("code_challenge_method"), "S256");
  const back = await consent(s.address);
  const page = await open(back);
  assertEquals([page.status, s.kept.length], [200, 1]);
  assertStringIncludes(page.text, "Signed in");
  assert(!page.text.includes(s.fake.canary));
  assert(!/https?:|src=|<script/.test(page.text));
  assertStringIncludes(
    page.headers.get("content-security-policy")!,
    "default-src 'none'",
  );
  await s.done;
  const [login] = s.kept;
  assertEquals(
    [login!.userId, login!.accountId, login!.email, login!.plan],
    ["user-me", "account-me", "me@example.com", "plus"],
  );
  assert(login!.tokens.refresh && login!.tokens.id && login!.tokens.expiresAt);
  await refuses(s.ports[0]!);
});

test("signInByBrowser() uses new secrets each time, and never shows the verifier", async () => {
  await using one = await startSignIn();
  await using two = await startSignIn();
  const seen = [one, two].flatMap(({ address }) => {
    const query = new URL(address).searchParams;
    return [query.get("state"), query.get("code_challenge")];
  });
  assertEquals(new Set(seen).size, 4);
  for (const s of [one, two]) {
    await open(await consent(s.address));
    await s.done;
    const { text } = await s.fake.seen((it) => it.kind === "token");
    const verifier = new URLSearchParams(text).get("code_verifier")!;
    assert(verifier.length >= 43 && verifier.length <= 128);
    assert(!s.address.includes(verifier));
  }
});

test("signInByBrowser() opens an address of this machine, so that no process list shows its state", async () => {
  await using s = await startSignIn();
  const { fake: { issuer }, opened: [local = ""], ports } = s;
  assertEquals(local, `http://localhost:${ports[0]}/sign-in`);
  assert(s.address.startsWith(issuer) && s.address.includes("state="));
  assertEquals(await get(local, "evil.test"), 404);
  assertEquals(await consent(local), s.address);
  assertEquals(await get(local, `localhost:${ports[0]}`), 404, "only once");
  await open(await consent(s.address));
  await s.done;
  const lines = Promise.withResolvers<string>();
  const taken = await occupy();
  await using pasted = await startSignIn({
    ports: [taken.port],
    async *pasted() {
      yield await lines.promise;
    },
  });
  assertEquals(pasted.opened, [undefined], "nobody listens to lead on");
  lines.resolve(await consent(pasted.address));
  await pasted.done;
  await taken.close();
});

test("signInByBrowser() listens on both loopbacks, and on a port that is free on both", async () => {
  for (const host of ["127.0.0.1", "[::1]"]) {
    await using s = await startSignIn();
    const { pathname, search } = new URL(await consent(s.address));
    const back = `http://${host}:${s.ports[0]}${pathname}${search}`;
    assertEquals((await open(back)).status, 200);
    await s.done;
  }
  const taken = await occupy("::1");
  const free = await freePort();
  await using s = await startSignIn({ ports: [taken.port, free] });
  assertStringIncludes(s.address, encodeURIComponent(`localhost:${free}`));
  await open(await consent(s.address));
  await s.done;
  await taken.close();
});

test("signInByBrowser() takes the second port when the first is taken", async () => {
  const taken = await occupy();
  const free = await freePort();
  await using s = await startSignIn({ ports: [taken.port, free] });
  assertStringIncludes(s.address, encodeURIComponent(`localhost:${free}`));
  assertEquals((await open(await consent(s.address))).status, 200);
  await s.done;
  await taken.close();
});

test("signInByBrowser() wants a paste when both ports are taken, or says what to do", async () => {
  const taken = [await occupy(), await occupy()];
  const ports = taken.map(({ port }) => port);
  const error = await assertRejects(() => startSignIn({ ports }), Error);
  assertStringIncludes(error.message, "--device");
  await using closed = await startSignIn({ ports, async *pasted() {} });
  await assertRejects(() => closed.done, Error, "--device");
  const lines = Promise.withResolvers<string>();
  await using s = await startSignIn({
    ports,
    async *pasted() {
      yield await lines.promise;
    },
  });
  lines.resolve(await consent(s.address));
  await s.done;
  assertEquals(s.kept.length, 1);
  await Promise.all(taken.map(({ close }) => close()));
});

test("signInByBrowser() takes a pasted address, or the bare code, and nothing else", async () => {
  for (const paste of ["address", "code", "query"] as const) {
    const lines = Promise.withResolvers<string[]>();
    await using s = await startSignIn({
      async *pasted() {
        yield* await lines.promise;
      },
    });
    const back = await consent(s.address);
    const code = new URL(back).searchParams.get("code")!;
    const good = {
      address: `  ${back}\t`,
      code,
      query: back.replace("http://", ""),
    }[paste];
    lines.resolve([
      "",
      "what now?",
      back.replace(/state=[^&]*/, "state=forged"),
      `http://localhost:1455/auth/callback?code=${code}`,
      good,
    ]);
    await s.done;
    assertEquals(s.kept.length, 1);
    assertEquals(s.useless.length, 3);
    assertStringIncludes(s.useless.join("\n"), "belongs to another sign-in");
    const calls = s.fake.log.filter((it) => it.kind === "token");
    assertEquals(calls.length, 1);
  }
});

test("signInByBrowser() ignores forged answers, other paths, methods and hosts", async () => {
  await using s = await startSignIn();
  const [port] = s.ports;
  const base = `http://127.0.0.1:${port}`;
  const back = await consent(s.address);
  const { search } = new URL(back);
  const own = `localhost:${port}`;
  assertEquals(await get(`${base}/`, own), 404);
  assertEquals(await get(`${base}/auth/callback/x${search}`, own), 404);
  assertEquals(await get(`${base}/auth/callback${search}`, "evil.test"), 404);
  assertEquals(
    await get(`${base}/auth/callback${search}`, `evil.test:${port}`),
    404,
  );
  assertEquals(await get(`${base}/auth/callback${search}`, own, "POST"), 404);
  for (
    const query of [
      "",
      "?code=x",
      "?code=x&state=",
      "?code=x&state=forged",
      "?error=access_denied",
      "?error=access_denied&state=forged",
    ]
  ) {
    assertEquals(await get(`${base}/auth/callback${query}`, own), 400);
  }
  assertEquals(s.kept.length, 0);
  assertEquals(s.fake.log.filter((it) => it.kind === "token").length, 0);
  assertEquals((await open(back)).status, 200);
  await s.done;
});

test("signInByBrowser() shows the issuer's refusal, harmless", async () => {
  await using s = await startSignIn();
  const state = new URL(s.address).searchParams.get("state");
  const query = new URLSearchParams({
    error: "access_denied",
    error_description: "<script>x</script>\u001b[2J\u0000 & no",
    state: state!,
  });
  const failed = assertRejects(() => s.done, Error, "refused the sign-in");
  const page = await open(
    `http://127.0.0.1:${s.ports[0]}/auth/callback?${query}`,
  );
  assertEquals(page.status, 400);
  assertStringIncludes(page.text, "&lt;script&gt;x&lt;/script&gt;");
  assert(!page.text.includes("<script"));
  const { message } = await failed;
  for (const text of [page.text.replaceAll("\n", ""), message]) {
    assert(!/\p{Cc}/u.test(text));
  }
  await refuses(s.ports[0]!);
});

test("signInByBrowser() says on the page too when the login could not be kept or exchanged", async () => {
  await using s = await startSignIn({
    keep: () => Promise.reject(new Error("The store is full")),
  });
  const failed = assertRejects(() => s.done, Error, "The store is full");
  const page = await open(await consent(s.address));
  assertEquals(page.status, 400);
  assertStringIncludes(page.text, "The store is full");
  await failed;
  await using t = await startSignIn();
  const back = new URL(await consent(t.address));
  back.searchParams.set("code", "wrong");
  const refused = assertRejects(() => t.done, Error, "(invalid_grant)");
  assertEquals((await open(back.href)).status, 400);
  await refused;
});

test("signInByBrowser() exchanges a code once when the page is loaded again", async () => {
  await using s = await startSignIn();
  s.fake.account("me").tokenQueue.push({ delayMs: 50 });
  const back = await consent(s.address);
  const pages = await Promise.all([open(back), open(back)]);
  assertEquals(pages.map(({ status }) => status), [200, 200]);
  await s.done;
  assertEquals(s.fake.log.filter((it) => it.kind === "token").length, 1);
  assertEquals(s.kept.length, 1);
});

test("signInByBrowser() ends with the reason of its signal and stops listening", async () => {
  const interrupted = new AbortController();
  await using s = await startSignIn({ signal: interrupted.signal });
  interrupted.abort(new Error("Interrupted"));
  await assertRejects(() => s.done, Error, "Interrupted");
  await refuses(s.ports[0]!);
});

test({
  name: "signInByBrowser() works in a headless browser",
  ignore: browserPath() === undefined,
  async fn() {
    await using s = await startSignIn();
    const args = ["--headless", "--no-sandbox", "--dump-dom", s.address];
    const { out } = await spawn([browserPath()!, ...args]);
    assertStringIncludes(out, "Signed in");
    await s.done;
  },
});

function browserPath(): string | undefined {
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const folders = (process.env.PATH ?? "").split(":");
  const paths = folders.flatMap((it) => names.map((name) => `${it}/${name}`));
  return paths.find((path) => {
    try {
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}

async function withDevice(
  job: (s: { fake: FakeCodex; options: LoginOptions }) => Promise<void>,
  more: FakeCodexOptions = {},
): Promise<void> {
  await using fake = await startFakeCodex({
    accounts: { me: {} },
    deviceInterval: 0.01,
    ...more,
  });
  const options = {
    issuer: fake.issuer,
    fetch: (input: RequestInfo | URL, init?: RequestInit) => fetch(input, init),
    signal: new AbortController().signal,
  };
  await job({ fake, options });
}

const polls = (fake: FakeCodex) =>
  fake.log.filter((it) => it.path.endsWith("/deviceauth/token")).length;

test("signInByDevice() shows the code and goes on once it was entered", async () => {
  await withDevice(async ({ fake, options }) => {
    const login = await signInByDevice({
      ...options,
      onCode({ userCode, page, lifetimeMs }) {
        assertEquals(page, `${fake.issuer}/codex/device`);
        assertEquals(lifetimeMs, 15 * 60_000);
        fake.seen(() => polls(fake) === 3)
          .then(() => fake.approveDevice(userCode, "me"));
      },
    });
    assertEquals([login.userId, login.email], ["user-me", "me@example.com"]);
    assert(login.tokens.refresh);
    assert(polls(fake) > 3);
  });
});

test("signInByDevice() polls as it is told, slower when asked to, and not for ever", async () => {
  await withDevice(async ({ options, fake }) => {
    const waits: number[] = [];
    const slow = [2, 4];
    await assertRejects(
      () =>
        signInByDevice({
          ...options,
          onCode: () => {},
          wait: (ms) => Promise.resolve(void waits.push(ms)),
          fetch(input, init) {
            const isPoll = String(input).endsWith("/deviceauth/token");
            if (isPoll && slow.includes(waits.length)) {
              const error = { error: "slow_down" };
              return Promise.resolve(Response.json(error, { status: 400 }));
            }
            return fetch(input, init);
          },
        }),
      Error,
      "expired",
    );
    assertEquals(
      waits.slice(0, 6),
      [30, 30, 35, 35, 40, 40].map((s) => s * 1000),
    );
    const total = waits.reduce((sum, ms) => sum + ms, 0);
    assert(total <= 15 * 60_000 && total > 14 * 60_000);
    assertEquals(polls(fake), waits.length - slow.length);
  }, { deviceInterval: 30 });
});

test("signInByDevice() says when it is denied, expired or not offered", async () => {
  await withDevice(async ({ fake, options }) => {
    await assertRejects(
      () =>
        signInByDevice({
          ...options,
          onCode: ({ userCode }) => fake.denyDevice(userCode),
        }),
      Error,
      "denied",
    );
    fake.deviceLogin = false;
    await assertRejects(
      () => signInByDevice({ ...options, onCode: () => {} }),
      Error,
      "without --device",
    );
    assertEquals(fake.log.filter((it) => it.kind === "token").length, 0);
  });
  const clock = { now: Date.now() };
  await withDevice(async ({ options }) => {
    await assertRejects(
      () =>
        signInByDevice({
          ...options,
          onCode: () => void (clock.now += 16 * 60_000),
        }),
      Error,
      "expired",
    );
  }, { now: () => clock.now });
});

test("signInByDevice() goes on after lost calls, and ends with the reason of its signal", async () => {
  await withDevice(async ({ fake, options }) => {
    let lost = 0;
    const login = await signInByDevice({
      ...options,
      onCode: ({ userCode }) => fake.approveDevice(userCode, "me"),
      fetch(input, init) {
        const isPoll = String(input).endsWith("/deviceauth/token");
        if (isPoll && lost++ === 0) return Promise.reject(new TypeError("cut"));
        if (isPoll && lost === 2) {
          return Promise.resolve(new Response("", { status: 502 }));
        }
        return fetch(input, init);
      },
    });
    assertEquals([login.userId, lost], ["user-me", 3]);
    const interrupted = new AbortController();
    await assertRejects(
      () =>
        signInByDevice({
          ...options,
          signal: interrupted.signal,
          onCode: () => interrupted.abort(new Error("Interrupted")),
        }),
      Error,
      "Interrupted",
    );
  });
});
