import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { createRotator, RotatorError, type Store } from "../../mod.ts";
import {
  CREDITED,
  DAY,
  EXHAUSTED,
  type Fleet,
  fullWindows,
  HOUR,
  MINUTE,
  rowOf,
  START,
  startFleet,
  startKnown,
} from "../fleet.ts";
import { test } from "../test.ts";

async function refused(fleet: Fleet, body: Record<string, unknown> = {}) {
  const { status, text, response, alias } = await fleet.ask(body);
  assertEquals(alias, undefined);
  return { status, headers: response.headers, error: JSON.parse(text).error };
}

test("rotator.fetch() ends with 429, every account's reason, and the earliest time", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: {
      alice: EXHAUSTED,
      bob: { windows: fullWindows(START - HOUR / 2), plan: "team" },
      carol: {},
      dave: {},
    },
    records: { dave: { enabled: false } },
  });
  fleet.fake.account("carol").queue.push({
    status: 402,
    body: { detail: { code: "deactivated_workspace" } },
  });
  const { status, headers, error } = await refused(fleet);
  assertEquals(status, 429);
  assertEquals(headers.get("retry-after"), "1800");
  assertEquals(headers.get("x-should-retry"), "false");
  assertMatch(headers.get("content-type") ?? "", /json/);
  const { message, ...rest } = error;
  assertEquals(rest, {
    type: "usage_limit_reached",
    plan_type: "team",
    resets_at: (START + HOUR / 2) / 1000,
    resets_in_seconds: 1800,
    accounts: [
      {
        alias: "alice",
        reason: "exhausted",
        until: new Date(START + HOUR).toISOString(),
      },
      {
        alias: "bob",
        reason: "exhausted",
        until: new Date(START + HOUR / 2).toISOString(),
      },
      {
        alias: "carol",
        reason: "workspace",
        until: new Date(START + HOUR / 2).toISOString(),
      },
      { alias: "dave", reason: "disabled", until: null },
    ],
  });
  assertStringIncludes(message, "4 accounts");
});

test("rotator.fetch() tells no time where none is known", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: {
      alice: {
        windows: [{ seconds: 18_000, usedPercent: 100, resetAt: null }],
      },
    },
  });
  const { status, headers, error } = await refused(fleet);
  assertEquals([
    status,
    headers.get("retry-after"),
    headers.get("x-should-retry"),
  ], [429, null, null]);
  assertEquals(["resets_at" in error, "resets_in_seconds" in error], [
    false,
    false,
  ]);
});

test("rotator.fetch() invites a retry where the wait is short", async () => {
  for (const [seconds, retry] of [[60, null], [61, "false"]] as const) {
    await using fleet = await startKnown({
      credits: "none",
      accounts: { alice: {} },
    });
    fleet.fake.account("alice").queue.push({
      status: 429,
      headers: { "retry-after": String(seconds) },
      body: {},
    });
    const { headers } = await refused(fleet);
    assertEquals([headers.get("retry-after"), headers.get("x-should-retry")], [
      String(seconds),
      retry,
    ]);
  }
});

test("rotator.fetch() ends with 401 when all enabled accounts need a sign-in", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: {}, carol: {} },
    records: {
      alice: { auth: { invalidAt: START, reason: "x" } },
      bob: { auth: { invalidAt: START, reason: "x" } },
      carol: { enabled: false },
    },
  });
  const { status, error } = await refused(fleet);
  assertEquals([status, error.type], [401, "login_required"]);
  assertEquals(error.accounts.map((row: { reason: string }) => row.reason), [
    "login",
    "login",
    "disabled",
  ]);
  assertEquals(fleet.fake.log, []);
});

test("rotator.fetch() ends with the last real answer where nothing but plans and models is in the way", async () => {
  await using fleet = await startKnown({
    accounts: { alice: { supportedModels: [] }, bob: { supportedModels: [] } },
  });
  const first = await fleet.ask();
  assertEquals([first.status, first.alias], [400, "bob"]);
  assertMatch(first.text, /not supported when using Codex/);
  assertEquals((await rowOf(fleet, "alice"))[0], "included");
  fleet.fake.account("alice").supportedModels = ["gpt-5.5"];
  assertEquals((await fleet.ask()).alias, "alice");
  assertEquals((await fleet.ask()).alias, "alice");
  assertEquals((await rowOf(fleet, "bob", "gpt-5.5"))[0], "model");
});

test("rotator.fetch() ends with 403 when all accounts are disabled or lack the plan", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: {} },
    records: {
      alice: { enabled: false },
      bob: { cooldowns: { plan: { until: START + HOUR, setAt: START } } },
    },
  });
  const { status, headers, error } = await refused(fleet);
  assertEquals([status, error.type, headers.get("retry-after")], [
    403,
    "no_eligible_account",
    null,
  ]);
  assertEquals(error.accounts[1], {
    alias: "bob",
    reason: "plan",
    until: new Date(START + HOUR).toISOString(),
  });
});

test("rotator.fetch() throws where there is no account, and says how to add one", async () => {
  await using fleet = await startFleet({ accounts: {} });
  const error = await assertRejects(() => fleet.ask(), RotatorError);
  assertEquals(error.code, "no_accounts");
  assertMatch(error.message, /login|import/);
});

test("rotator.fetch() says how to add an account to the store that was named", async () => {
  const store = "/nowhere/of mine/accounts.json";
  await using rotator = createRotator({ store });
  const { message } = await assertRejects(
    () => rotator.fetch("/v1/models"),
    RotatorError,
  );
  assertStringIncludes(message, `"codex-rotator login --store '${store}'"`);
  assertStringIncludes(message, `"codex-rotator import --store '${store}'"`);
});

test("rotator.fetch() lets nobody but the pinned account serve", async () => {
  await using fleet = await startKnown({
    credits: "none",
    settings: { pinned: "bob" },
    accounts: { alice: {}, bob: {} },
  });
  for (let n = 0; n < 3; n++) assertEquals((await fleet.ask()).alias, "bob");
  fleet.fake.account("bob").queue.push({
    status: 429,
    body: { error: { type: "usage_limit_reached" } },
  });
  const { status, error } = await refused(fleet);
  assertEquals([status, error.accounts.length], [429, 1]);
  assertStringIncludes(error.message, "bob");
  assertEquals(
    fleet.fake.log.some((entry) => entry.account === "alice"),
    false,
  );
});

test("rotator.fetch() says so when no account bears the pinned name", async () => {
  await using fleet = await startKnown({
    settings: { pinned: "gone" },
    accounts: { alice: {} },
  });
  const { status, error } = await refused(fleet);
  assertEquals([status, error.type, error.accounts], [
    403,
    "no_eligible_account",
    [],
  ]);
  assertStringIncludes(error.message, "gone");
});

test("rotator.fetch() spends on the pinned account only what the policy allows", async () => {
  const options = {
    settings: { pinned: "bob" },
    accounts: { alice: {}, bob: CREDITED },
  };
  await using fleet = await startKnown({ ...options, credits: ["alice"] });
  assertEquals((await refused(fleet)).status, 429);
  await using twin = await startKnown({ ...options, credits: ["bob"] });
  assertEquals((await twin.ask()).alias, "bob");
  assertEquals(twin.fake.charged.length, 1);
});

test("rotator.fetch() waits for a reset that is near enough", async () => {
  await using fleet = await startKnown({
    credits: "none",
    maxWait: 2_000,
    accounts: { alice: {} },
  });
  fleet.fake.account("alice").queue.push({
    status: 429,
    body: {
      error: { code: "rate_limit_exceeded", message: "try again in 60ms" },
    },
  });
  const clockwork = setInterval(() => fleet.clock.now += 20, 10);
  try {
    assertEquals((await fleet.ask()).status, 200);
    assertEquals(fleet.fake.log.length, 2);
  } finally {
    clearInterval(clockwork);
  }
});

test("rotator.fetch() does not wait for a reset that is too far away", async () => {
  await using fleet = await startKnown({
    credits: "none",
    maxWait: 2_000,
    accounts: { alice: EXHAUSTED },
  });
  assertEquals((await refused(fleet)).status, 429);
});

test("rotator.fetch() waits for no reset that nobody knows", async () => {
  const windows = [{ seconds: 18_000, usedPercent: 100, resetAt: null }];
  await using fleet = await startKnown({
    credits: "none",
    maxWait: Infinity,
    accounts: { alice: { windows } },
  });
  assertEquals((await refused(fleet)).status, 429);
});

test("rotator.fetch() waits no longer than it may in all, although the clock stands still", async () => {
  await using fleet = await startKnown({
    credits: "none",
    maxWait: 150,
    accounts: { alice: {} },
  });
  fleet.fake.account("alice").always = {
    status: 429,
    body: {
      error: { code: "rate_limit_exceeded", message: "try again in 60ms" },
    },
  };
  // it waits twice, and then not a third time
  assertEquals((await fleet.ask()).status, 429);
});

test("rotator.fetch() stops waiting with the caller's own reason", async () => {
  await using fleet = await startKnown({
    credits: "none",
    maxWait: DAY,
    accounts: { alice: EXHAUSTED },
  });
  const abort = new AbortController();
  const reason = new Error("enough");
  const waiting = fleet.ask({}, { signal: abort.signal });
  const timer = setTimeout(() => abort.abort(reason), 20);
  try {
    assertEquals(await assertRejects(() => waiting), reason);
  } finally {
    clearTimeout(timer);
  }
  assertEquals(fleet.fake.log, []);
});

test("rotator.fetch() lets a waiting request ask again once a minute has passed", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: EXHAUSTED },
  });
  await refused(fleet);
  fleet.clock.now += MINUTE;
  fleet.fake.account("alice").windows = [{ seconds: 604_800, usedPercent: 0 }];
  assertEquals(
    (await fleet.ask()).status,
    200,
    "an early reset counts in this same request",
  );
});

test("rotator.fetch() names the time at which an account can serve again, not the end of its pause", async () => {
  for (
    const [windows, seconds, retry] of [
      [fullWindows(START), "3600", "false"],
      [[], "30", null],
    ] as const
  ) {
    await using fleet = await startKnown({
      credits: "none",
      accounts: { alice: { windows: [...windows] } },
      records: {
        alice: {
          cooldowns: { throttle: { until: START + 30_000, setAt: START } },
        },
      },
    });
    const { headers, error } = await refused(fleet);
    assertEquals([headers.get("retry-after"), headers.get("x-should-retry")], [
      seconds,
      retry,
    ]);
    assertEquals(error.accounts[0].reason, "cooldown");
  }
});

test("rotator.accountOf() names the account whose answer it is, also when another was tried after it", async () => {
  await using fleet = await startKnown({ accounts: { alice: {}, bob: {} } });
  fleet.fake.account("alice").always = {
    status: 400,
    body: {
      detail:
        "The 'gpt-5.5' model is not supported when using Codex with a ChatGPT account.",
    },
  };
  fleet.fake.revoke("bob", "all");
  fleet.clock.now += HOUR;
  await (fleet.store as Store).update((state) => {
    state.accounts.bob!.tokens!.expiresAt = fleet.clock.now + 1000;
  });
  await fleet.rotator.refresh({ aliases: ["alice"] });
  const { status, alias } = await fleet.ask();
  assertEquals([status, alias], [400, "alice"]);
});

test("rotator.fetch() takes an account whose token no header can carry for one that needs a sign-in", async () => {
  for (const isKnown of [false, true]) {
    const start = isKnown ? startKnown : startFleet;
    await using fleet = await start({
      accounts: { alice: {}, bob: { ...CREDITED } },
    });
    await (fleet.store as Store).update((state) => {
      state.accounts.alice!.tokens!.access = "bad\ntoken";
    });
    fleet.clock.now += 2000;
    const { status, alias } = await fleet.ask();
    assertEquals([status, alias], [200, "bob"]);
    const [alice] = (await fleet.rotator.status()).accounts;
    assertEquals([alice?.standing, alice?.reason], ["blocked", "login"]);
  }
});

test("rotator.fetch() waits as long as it is told, also for longer than a timer can", async () => {
  let looks = 0;
  await using fleet = await startKnown({
    accounts: {
      alice: {
        windows: [{
          seconds: 30 * 86_400,
          usedPercent: 100,
          resetAt: START + 30 * DAY,
        }],
      },
    },
    credits: "none",
    maxWait: Infinity,
    now() {
      looks++;
      return START;
    },
  });
  looks = 0;
  const reason = new Error("enough");
  const caller = new AbortController();
  const asked = fleet.ask({}, { signal: caller.signal });
  setTimeout(() => caller.abort(reason), 300);
  assertEquals(await assertRejects(() => asked), reason);
  assert(looks < 100, `It went round: the clock was looked at ${looks} times`);
});
