import { assert, assertEquals, assertMatch } from "@std/assert";
import type { FakeAnswer } from "../../lib/testing/fake_codex.ts";
import {
  CREDITED,
  EXHAUSTED,
  HOUR,
  kindsOf,
  MINUTE,
  rowOf,
  START,
  startKnown,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";

test("rotator.fetch() puts an account that fails behind the others, for 1 to 15 minutes", async () => {
  await using fleet = await startKnown({
    random: () => 0,
    accounts: { alice: {}, bob: {} },
  });
  fleet.fake.account("alice").overloaded = "server_is_overloaded";
  let begunThere = 0;
  for (let second = 0; second < 3600; second += 20) {
    fleet.clock.now += 20_000;
    fleet.fake.clearLog();
    assertEquals((await fleet.ask()).alias, "bob");
    if (kindsOf(fleet)[0] === "responses:alice") begunThere++;
  }
  // after 1, 2, 4, 8, 15, 15 … minutes
  assert(begunThere >= 3 && begunThere <= 8, `${begunThere} in an hour`);
  fleet.fake.account("alice").overloaded = null;
  fleet.clock.now += 16 * MINUTE;
  assertEquals((await fleet.ask()).alias, "alice");
  assertEquals((await fleet.ask()).alias, "bob");
});

test("a session leaves an account that fails", async () => {
  await using fleet = await startKnown({
    random: () => 0,
    accounts: { alice: {}, bob: {} },
  });
  const ask = async () => (await fleet.ask({ prompt_cache_key: "k" })).alias;
  assertEquals(await ask(), "alice");
  fleet.fake.account("alice").overloaded = "server_is_overloaded";
  assertEquals(await ask(), "bob");
  fleet.fake.clearLog();
  assertEquals(await ask(), "bob");
  assertEquals(kindsOf(fleet), ["responses:bob"]);
});

test("rotator.fetch() fails over from an overload that a stream tells after a long preamble", async () => {
  for (const as of ["failed", "error"] as const) {
    await using fleet = await startKnown({
      random: () => 0,
      accounts: { alice: {}, bob: {} },
    });
    const alice = fleet.fake.account("alice");
    alice.overloaded = "server_is_overloaded";
    alice.reply = { noise: true };
    alice.refusals = { as, after: 50, preambleBytes: 600 * 1024 };
    const { alias, text } = await fleet.ask();
    assertEquals([as, alias], [as, "bob"]);
    assertMatch(text, /Hello from bob/);
  }
});

test("rotator.fetch() believes the status and headers of an error event", async () => {
  await using fleet = await startKnown({
    random: () => 0,
    accounts: { alice: {}, bob: {} },
  });
  const resetAt = START + 4 * HOUR;
  const error = {
    type: "error",
    error: { type: "usage_limit_reached", message: "The usage limit …" },
    status_code: 429,
    headers: {
      "X-Codex-Active-Limit": "premium",
      "X-Codex-Primary-Used-Percent": "100",
      "X-Codex-Primary-Window-Minutes": "300",
      "X-Codex-Primary-Reset-At": String(resetAt / 1000),
      "X-Codex-Credits-Balance": "",
    },
  };
  fleet.fake.account("alice").queue.push({
    events: [{ type: "response.created", response: {} }, error],
  });
  assertEquals((await fleet.ask()).alias, "bob");
  assertEquals(await rowOf(fleet, "alice"), ["exhausted", 4 * HOUR]);
});

/** Failures that say nothing about quota, and what the caller gets of each. */
const HICCUPS: [why: string, answer: FakeAnswer, status: number][] = [
  ["a throttle of ten minutes", {
    status: 429,
    headers: { "retry-after": "600" },
    body: {},
  }, 429],
  ["a page of HTML", { status: 429, body: "<html>1015</html>" }, 429],
  ["no room in a tier", {
    status: 429,
    body: { error: { code: "flex_unavailable" } },
  }, 429],
  ["an overload", {
    status: 503,
    body: { error: { code: "server_is_overloaded" } },
  }, 503],
];

test("rotator.fetch() opens no later pool because of a failure that says nothing about quota", async () => {
  for (const [why, answer, expected] of HICCUPS) {
    await using fleet = await startKnown({
      random: () => 0,
      accounts: { alice: {}, bob: CREDITED },
    });
    fleet.fake.account("alice").always = answer;
    const { status } = await fleet.ask();
    assertEquals([why, status], [why, expected]);
    assertEquals([why, fleet.fake.charged], [why, []]);
    fleet.fake.account("alice").always = undefined;
    fleet.fake.account("alice").windows = EXHAUSTED.windows!;
    fleet.clock.now += 16 * MINUTE;
    assertEquals([why, (await fleet.ask()).alias], [why, "bob"]);
  }
});

test("rotator.fetch() calls a throttle that alone is in the way rate_limit_exceeded", async () => {
  await using fleet = await startKnown({
    accounts: { alice: {}, bob: CREDITED },
  });
  const headers = { "retry-after": "120" };
  fleet.fake.account("alice").queue.push({ status: 429, headers, body: {} });
  const { status, text, response } = await fleet.ask();
  assertEquals([status, response.headers.get("retry-after")], [429, "120"]);
  assertEquals(JSON.parse(text).error.type, "rate_limit_exceeded");
  assertEquals(JSON.parse(text).error.accounts[0].reason, "cooldown");
});

test("rotator.fetch() opens the next pool in the same request when the only included account turns out used up after a hiccup", async () => {
  await using fleet = await startKnown({
    random: () => 0,
    accounts: { alice: {}, bob: CREDITED },
  });
  const limit = {
    error: { type: "usage_limit_reached", resets_in_seconds: 7200 },
  };
  fleet.fake.account("alice").queue.push(
    { status: 503, body: "later" },
    { status: 429, body: limit },
  );
  assertEquals((await fleet.ask()).alias, "bob");
  assertEquals(fleet.fake.charged.length, 1);
});

test("rotator.fetch() answers with the earliest of all ends", async () => {
  await using fleet = await startKnown({
    accounts: {
      alice: { ...CREDITED, creditsRefused: "insufficient_quota" },
    },
  });
  const { status, response } = await fleet.ask();
  // the credit refusal ends in 5 minutes, the window in an hour
  assertEquals([status, response.headers.get("retry-after")], [429, "300"]);
});

test("rotator.fetch() asks for nothing but what costs nothing when the caller allows no credits", async () => {
  await using fleet = await startKnown({ accounts: { alice: CREDITED } });
  const headers = {
    "content-type": "application/json",
    "x-codex-rotator-max-credits": "0",
  };
  assertEquals((await fleet.ask({}, { headers })).status, 429);
  assertEquals(fleet.fake.charged, []);
  assertEquals((await fleet.ask()).status, 200);
  assertEquals(fleet.fake.charged.length, 1);
  headers["x-codex-rotator-max-credits"] = "5";
  const { status, text } = await fleet.ask({}, { headers });
  assertEquals(status, 400);
  assertMatch(text, /x-codex-rotator-max-credits/);
  const sent = fleet.fake.log.filter(({ headers }) =>
    "x-codex-rotator-max-credits" in headers
  );
  assertEquals(sent, []);
});

test("rotator.fetch() serves what costs nothing whatever the quota, and tells of no charge", async () => {
  await using fleet = await startKnown({
    accounts: { alice: { ...EXHAUSTED, credits: { ...TEN_CREDITS } } },
  });
  const url = `${fleet.rotator.baseURL}/models?client_version=0.171.0`;
  const response = await fleet.rotator.fetch(url);
  await response.body?.cancel();
  assertEquals([response.status, fleet.rotator.accountOf(response)], [
    200,
    "alice",
  ]);
  assertEquals(fleet.events.filter(({ type }) => type === "credits-spent"), []);
  fleet.fake.account("alice").rejectAll = true;
  const store = fleet.store as { update(change: unknown): Promise<unknown> };
  await store.update(
    (state: { accounts: Record<string, { enabled: boolean }> }) => {
      state.accounts["alice"]!.enabled = false;
    },
  );
  fleet.clock.now += 1000;
  const refused = await fleet.rotator.fetch(url);
  await refused.body?.cancel();
  assertEquals(refused.status, 403);
});

test("a balance that fell is held against a request that may cost something, not against one that costs nothing", async () => {
  for (const [path, charges] of [["/models", 0], ["/responses", 1]] as const) {
    await using fleet = await startKnown({
      accounts: { alice: { credits: { ...TEN_CREDITS } } },
    });
    const headers = { "x-codex-credits-balance": "7" };
    const told = { "x-codex-credits-has-credits": "True" };
    const more = { "x-codex-credits-unlimited": "False" };
    fleet.fake.account("alice").queue.push({
      headers: { ...headers, ...told, ...more },
    });
    if (path === "/responses") await fleet.ask();
    else await (await fleet.rotator.fetch(path)).body?.cancel();
    const spent = fleet.events.filter(({ type }) => type === "credits-spent");
    const { accounts: [alice] } = await fleet.rotator.status();
    assertEquals([path, spent.length, alice?.credits?.balance], [
      path,
      charges,
      "7",
    ]);
  }
});
