import { assert, assertEquals, assertRejects } from "@std/assert";
import type {
  FakeAccountOptions,
  FakeAnswer,
} from "../../lib/testing/fake_codex.ts";
import {
  CREDITED,
  EXHAUSTED,
  type Fleet,
  kindsOf,
  MINUTE,
  rowOf,
  START,
  startKnown,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";

/** alice has included usage and trouble; bob could serve on credits, or on included usage. */
function troubled(bob: FakeAccountOptions): Promise<Fleet> {
  return startKnown({ random: () => 0, accounts: { alice: {}, bob } });
}

const HICCUPS: [string, FakeAnswer][] = [
  ["502", { status: 502, body: "bad gateway" }],
  ["503", { status: 503, body: { error: { code: "server_is_overloaded" } } }],
  ["504", { status: 504, body: "too late" }],
  ["short throttle", {
    status: 429,
    headers: { "retry-after": "10" },
    body: {},
  }],
];

test("rotator.fetch() spends nothing because of a hiccup; an included sibling serves", async () => {
  for (const [why, answer] of HICCUPS) {
    await using fleet = await troubled(CREDITED);
    fleet.fake.account("alice").always = answer;
    const { status, alias } = await fleet.ask();
    assertEquals([why, status], [why, answer.status]);
    if (status !== 429) assertEquals(alias, "alice");
    assertEquals(fleet.fake.charged, []);

    await using twin = await troubled({});
    twin.fake.account("alice").always = answer;
    assertEquals([why, (await twin.ask()).alias], [why, "bob"]);
  }
});

test("rotator.fetch() spends nothing because of a connection that breaks; an included sibling serves", async () => {
  await using fleet = await troubled(CREDITED);
  fleet.fake.account("alice").always = { drop: "before-headers" };
  await assertRejects(() => fleet.ask(), Error);
  assertEquals(fleet.fake.charged, []);

  await using twin = await troubled({});
  twin.fake.account("alice").always = { drop: "before-headers" };
  assertEquals((await twin.ask()).alias, "bob");
});

test("rotator.fetch() spends nothing because of token trouble; an included sibling serves", async () => {
  for (const trouble of ["issuer", "backend"]) {
    const run = async (bob: FakeAccountOptions) => {
      await using fleet = await troubled(bob);
      const alice = fleet.fake.account("alice");
      if (trouble === "backend") alice.rejectAll = true;
      else {
        fleet.fake.revoke("alice", "access");
        alice.tokenAlways = { status: 503, body: "later" };
      }
      const first = await fleet.ask();
      fleet.clock.now += 59_000;
      const second = await fleet.ask();
      return [first.status, second.status, fleet.fake.charged.length];
    };
    assertEquals([trouble, ...await run(CREDITED)], [trouble, 429, 429, 0]);
    assertEquals([trouble, ...await run({})], [trouble, 200, 200, 0]);
  }
});

test("rotator.fetch() answers a short throttle with its Retry-After", async () => {
  await using fleet = await troubled(CREDITED);
  fleet.fake.account("alice").queue.push({
    status: 429,
    headers: { "retry-after": "7" },
    body: {},
  });
  for (let n = 0; n < 2; n++) {
    const { status, response } = await fleet.ask();
    assertEquals([status, response.headers.get("retry-after")], [429, "7"]);
    assertEquals(response.headers.get("x-should-retry"), null);
  }
  fleet.clock.now += 7_000;
  assertEquals((await fleet.ask()).alias, "alice");
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() moves on from a long throttle, to credits where allowed", async () => {
  const throttle = {
    status: 429,
    headers: { "retry-after": "1000" },
    body: {},
  };
  await using fleet = await troubled(CREDITED);
  fleet.fake.account("alice").queue.push(throttle);
  assertEquals((await fleet.ask()).alias, "bob");
  assertEquals(fleet.fake.charged.length, 1);
  await using twin = await startKnown({
    credits: "none",
    accounts: { alice: {}, bob: CREDITED },
  });
  twin.fake.account("alice").queue.push(throttle);
  const { status, response } = await twin.ask();
  assertEquals([status, response.headers.get("retry-after")], [429, "1000"]);
});

test("rotator.fetch() tries a hiccup twice more and gives the real answer", async () => {
  await using fleet = await startKnown({
    random: () => 0,
    accounts: { alice: {}, bob: {} },
  });
  for (const name of ["alice", "bob"]) {
    fleet.fake.account(name).always = {
      status: 503,
      body: `overloaded ${name}`,
    };
  }
  const { status, text, alias } = await fleet.ask();
  assertEquals(kindsOf(fleet), [
    "responses:alice",
    "responses:bob",
    "responses:alice",
  ]);
  assertEquals([status, text, alias], [503, "overloaded alice", "alice"]);
  for (const name of ["alice", "bob"]) {
    assertEquals(await rowOf(fleet, name), ["included", null]);
  }
});

test("rotator.fetch() gets over a hiccup on the only account", async () => {
  await using fleet = await startKnown({
    random: () => 0,
    accounts: { alice: {} },
  });
  fleet.fake.account("alice").queue.push({ status: 503 }, { status: 504 });
  assertEquals((await fleet.ask()).status, 200);
  assertEquals(fleet.fake.log.length, 3);
});

test("rotator.fetch() repeats nothing that may have been charged", async () => {
  for (const status of [502, 504]) {
    await using fleet = await startKnown({
      random: () => 0,
      accounts: { alice: CREDITED, bob: CREDITED },
    });
    fleet.fake.account("alice").always = { status, body: "gone" };
    const answer = await fleet.ask();
    assertEquals([answer.status, answer.text, answer.alias], [
      status,
      "gone",
      "alice",
    ]);
    assertEquals(fleet.fake.log.length, 1);
  }
  await using fleet = await startKnown({
    random: () => 0,
    accounts: { alice: CREDITED, bob: CREDITED },
  });
  fleet.fake.account("alice").always = { drop: "before-headers" };
  await assertRejects(() => fleet.ask(), Error);
  assertEquals(fleet.fake.log.length, 1);
});

test("rotator.fetch() repeats an overloaded request on credits, in the same pool", async () => {
  await using fleet = await startKnown({
    random: () => 0,
    accounts: { alice: CREDITED, bob: CREDITED },
  });
  fleet.fake.account("alice").always = { status: 503, body: "" };
  const { status, alias } = await fleet.ask();
  assertEquals([status, alias, fleet.fake.charged.length], [200, "bob", 1]);
});

test("rotator.fetch() alone repeats what a broken connection lost, also a used one: what may be charged not at all, else twice", async () => {
  for (const [account, times] of [[CREDITED, 1], [{}, 3]] as const) {
    await using fleet = await startKnown({
      random: () => 0,
      accounts: { alice: account },
    });
    await fleet.ask();
    fleet.fake.clearLog();
    fleet.fake.account("alice").always = { drop: "before-headers" };
    await assertRejects(() => fleet.ask(), Error);
    assertEquals(kindsOf(fleet), Array(times).fill("responses:alice"));
    assert(fleet.fake.log.every(({ headers }) => headers["content-length"]));
    const { accounts: [row] } = await fleet.rotator.status();
    assertEquals(row!.requests, 1 + times);
  }
});

test("rotator.fetch() shows a refresh token once, also where a used connection breaks", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  await fleet.ask();
  fleet.fake.clearLog();
  fleet.fake.revoke("alice", "access");
  fleet.fake.account("alice").tokenAlways = { drop: "before-headers" };
  assertEquals((await fleet.ask()).status, 429);
  assertEquals(kindsOf(fleet), ["responses:alice", "token:alice"]);
  assertEquals(fleet.fake.violations, []);
});

test("rotator.fetch() ends as it does without a hiccup when an account fails by something else after one", async () => {
  const limited: FakeAnswer = {
    status: 429,
    body: { error: { type: "usage_limit_reached", resets_in_seconds: 600 } },
  };
  const throttled: FakeAnswer = {
    status: 429,
    body: {
      error: { code: "rate_limit_exceeded", message: "try again in 5s" },
    },
  };
  const hiccups: FakeAnswer[] = [
    { status: 502, body: "bad gateway" },
    { drop: "before-headers" },
  ];
  for (const hiccup of hiccups) {
    for (
      const [answer, seconds] of [[limited, "600"], [throttled, "5"]] as const
    ) {
      await using fleet = await startKnown({ accounts: { alice: {} } });
      fleet.fake.account("alice").queue.push(hiccup, answer);
      const { status, response, text, alias } = await fleet.ask();
      assertEquals([status, response.headers.get("retry-after")], [
        429,
        seconds,
      ]);
      assertEquals([JSON.parse(text).error.accounts.length, alias], [
        1,
        undefined,
      ]);
    }
    await using fleet = await startKnown({ accounts: { alice: {} } });
    fleet.fake.account("alice").queue.push(hiccup);
    fleet.fake.account("alice").queue.push({
      status: 401,
      body: { error: { code: "token_invalidated" } },
    });
    fleet.fake.account("alice").tokenAlways = {
      status: 400,
      body: { error: "invalid_grant" },
    };
    const { status, text } = await fleet.ask();
    assertEquals([status, JSON.parse(text).error.type], [
      401,
      "login_required",
    ]);
  }
});

test("rotator.fetch() prefers an account last seen with room to known credits when usage cannot be asked", async () => {
  await using fleet = await startKnown({
    accounts: { alice: { credits: CREDITED.credits! }, bob: CREDITED },
  });
  fleet.fake.account("alice").usageAlways = { status: 500 };
  fleet.clock.now += 16 * MINUTE;
  const { alias } = await fleet.ask();
  assertEquals([alias, fleet.fake.charged.length], ["alice", 0]);
  assertEquals(fleet.events.some(({ type }) => type === "warning"), true);
});

test("rotator.fetch() asks an account that is throttled for a short time and unknown, as it holds the later pools only while it has room", async () => {
  for (
    const [seconds, isFull, isAsked] of [
      [600, true, true],
      [600, false, true],
      [3600, false, false],
    ] as const
  ) {
    await using fleet = await startKnown({
      credits: ["bob"],
      accounts: { alice: { credits: { ...TEN_CREDITS } }, bob: CREDITED },
    });
    const alice = fleet.fake.account("alice");
    const asksAlice = () => kindsOf(fleet).includes("usage:alice");
    const headers = { "retry-after": String(seconds) };
    alice.queue.push({ status: 429, headers, body: {} });
    fleet.clock.now += 10 * MINUTE;
    for (let n = 0; n < 2; n++) await fleet.ask();
    assertEquals(asksAlice(), false, "what is known of it is fresh");
    if (isFull) alice.windows = EXHAUSTED.windows!;
    fleet.clock.now += 6 * MINUTE;
    const { status, alias } = await fleet.ask();
    const isHeld = seconds === 600 && !isFull;
    assertEquals([status, alias], isHeld ? [429, undefined] : [200, "bob"]);
    assertEquals([seconds, asksAlice()], [seconds, isAsked]);
  }
});

test("rotator.fetch() does not ask an account in vain whose token was just refused", async () => {
  for (const rejectAll of [true, false]) {
    await using fleet = await startKnown({
      credits: ["bob"],
      accounts: {
        alice: {
          windows: [{
            seconds: 18_000,
            usedPercent: 100,
            resetAt: START + 5 * MINUTE,
          }],
          credits: { ...TEN_CREDITS },
        },
        bob: CREDITED,
      },
    });
    fleet.fake.account("alice").rejectAll = rejectAll;
    fleet.clock.now += 4 * MINUTE;
    await (await fleet.rotator.fetch("/models")).body?.cancel();
    fleet.clock.now += MINUTE;
    fleet.fake.clearLog();
    const { status, alias } = await fleet.ask();
    assertEquals(
      [status, alias],
      rejectAll ? [429, undefined] : [200, "alice"],
    );
    const isAsked = kindsOf(fleet).includes("usage:alice");
    assertEquals([rejectAll, isAsked], [rejectAll, !rejectAll]);
    assertEquals(fleet.fake.charged, []);
  }
});

test("rotator.fetch() asks again what it knew before it waited long for a token", async () => {
  for (const isFull of [true, false]) {
    await using fleet = await startKnown({
      credits: "none",
      accounts: { alice: { credits: { ...TEN_CREDITS } } },
    });
    const released = Promise.withResolvers<void>();
    const alice = fleet.fake.account("alice");
    fleet.fake.revoke("alice", "access");
    alice.tokenQueue.push({ until: released.promise });
    const asked = fleet.ask();
    await fleet.fake.seen(({ kind }) => kind === "token");
    if (isFull) alice.windows = EXHAUSTED.windows!;
    fleet.clock.now += 16 * MINUTE;
    released.resolve();
    assertEquals((await asked).status, isFull ? 429 : 200);
    assertEquals(fleet.fake.charged, []);
    assertEquals(kindsOf(fleet).includes("usage:alice"), true);
  }
});
