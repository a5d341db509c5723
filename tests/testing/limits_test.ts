import { assert, assertEquals } from "@std/assert";
import type { FakeAccountOptions } from "../../lib/testing/fake_codex.ts";
import { test } from "../test.ts";
import {
  type Answer,
  askUsage,
  FULL,
  MODEL,
  NOON,
  respond,
  SECONDS,
  type Site,
  SPARK,
  startAlice,
  TEN,
  WEEK,
} from "./client.ts";

function limits({ headers }: Answer): Record<string, string> {
  return Object.fromEntries(
    [...headers].filter(([name]) => /^x-(codex-(?!turn)|base)/.test(name)),
  );
}

/** The statuses of so many requests. */
async function statuses(site: Site, count: number, model = MODEL) {
  const all = [];
  for (let n = 0; n < count; n++) all.push((await site.ask({ model })).status);
  return all;
}

/** The percentage and the reset of each window, as usage tells them. */
async function told(site: Site): Promise<[percent: number, reset: number][]> {
  const { primary_window, secondary_window } =
    (await site.usage()).json.rate_limit;
  return [primary_window, secondary_window].filter((it) => it !== null)
    .map((it) => [it.used_percent, it.reset_at - SECONDS]);
}

test("usage() tells windows, credits and plan in the backend's words", async () => {
  await using site = await startAlice({
    windows: [
      { seconds: 18_000, usedPercent: 46.7 },
      { seconds: WEEK, usedPercent: 100, resetAt: NOON + 3_600_000 },
    ],
    credits: { hasCredits: true, unlimited: false, balance: "489.25" },
    bankedResets: 2,
  });
  assertEquals((await site.usage()).json, {
    user_id: "user-alice",
    account_id: "account-alice",
    email: "alice@example.com",
    plan_type: "plus",
    rate_limit: {
      allowed: false,
      limit_reached: true,
      primary_window: {
        used_percent: 46,
        limit_window_seconds: 18_000,
        reset_after_seconds: 18_000,
        reset_at: SECONDS + 18_000,
      },
      secondary_window: {
        used_percent: 100,
        limit_window_seconds: WEEK,
        reset_after_seconds: 3600,
        reset_at: SECONDS + 3600,
      },
    },
    additional_rate_limits: null,
    credits: {
      has_credits: true,
      unlimited: false,
      overage_limit_reached: false,
      balance: "489.25",
    },
    spend_control: null,
    rate_limit_reached_type: { type: "rate_limit_reached", details: "default" },
    rate_limit_reset_credits: { available_count: 2 },
  });
});

test("usage() tells meters, spend control, model usage and odd payloads", async () => {
  await using site = await startAlice({
    windows: null,
    meters: {
      base_model_inference: {
        limitName: "gpt-reserve",
        normalModelSlug: "gpt-5.6-luna",
        windows: [{ seconds: null, usedPercent: 3, resetAt: null }],
      },
    },
    credits: null,
    spendControl: { reached: true, individualLimit: { remaining: "7" } },
    modelUsage: {
      m: { available: false, availableAt: NOON + 1000 },
      n: { available: true, availableAt: NOON + 1000, inSeconds: true },
    },
  });
  const { json } = await site.usage();
  assertEquals([json.rate_limit, json.credits], [null, null]);
  assertEquals(json.additional_rate_limits, [{
    limit_name: "gpt-reserve",
    metered_feature: "base_model_inference",
    rate_limit: {
      allowed: true,
      limit_reached: false,
      primary_window: {
        used_percent: 3,
        limit_window_seconds: null,
        reset_after_seconds: null,
        reset_at: null,
      },
      secondary_window: null,
    },
    normal_model_slug: "gpt-5.6-luna",
  }]);
  assertEquals(json.spend_control.individual_limit, { remaining: "7" });
  assertEquals(json.model_usage, {
    m: {
      available: false,
      available_at: "2026-05-28T20:26:41.000000Z",
      credits_would_enable: true,
    },
    n: {
      available: true,
      available_at: SECONDS + 1,
      credits_would_enable: true,
    },
  });
  const alice = site.fake.account("alice");
  alice.usageOverride = (payload) => ({ ...payload, credits: "plenty" });
  assertEquals((await site.usage()).json.credits, "plenty");
  alice.usageOverride = () => "{ cut of";
  assertEquals((await site.usage()).text, "{ cut of");
});

test("usage() is found where the stand-in is told to answer it", async () => {
  await using site = await startAlice();
  site.fake.usagePaths = ["/codex/usage"];
  assertEquals((await site.usage()).status, 404);
  const moved = await askUsage(site.fake, "alice", "/codex/usage");
  assertEquals(moved.status, 200);
  await using other = await startAlice({}, { backendPath: "" });
  const path = "/api/codex/usage";
  assertEquals((await askUsage(other.fake, "alice", path)).status, 200);
  assertEquals((await other.ask()).status, 200);
});

test("usage() answers out of a cache where it has one", async () => {
  await using site = await startAlice({
    costPercent: 10,
    usageCacheSeconds: 60,
  });
  const percents = [];
  for (const later of [0, 59_000, 1000]) {
    site.clock.now += later;
    percents.push((await told(site))[0]![0]);
    await site.ask();
  }
  assertEquals(percents, [0, 0, 20]);
});

test("responses() uses windows up, then draws credits, then refuses", async () => {
  await using site = await startAlice({
    costPercent: 50,
    credits: { ...TEN, balance: "0.3", costPerRequest: 0.2 },
  });
  assertEquals(await statuses(site, 5), [200, 200, 200, 200, 429]);
  const { fake } = site;
  assertEquals(fake.charged.map((entry) => entry.n), [3, 4]);
  const facts = { account: "alice", model: MODEL, at: NOON };
  assertEquals(fake.book, [
    { kind: "charge", ...facts, request: 3, amount: 0.2 },
    { kind: "charge", ...facts, request: 4, amount: 0.1 },
  ]);
  assertEquals(fake.account("alice").credits?.balance, "0");
  assertEquals(fake.account("alice").credits?.hasCredits, false);
});

test("responses() costs what a script says, in percent and in credits", async () => {
  await using site = await startAlice({ credits: { ...TEN } });
  const alice = site.fake.account("alice");
  alice.queue.push(
    { cost: { percent: 99.5 } },
    { cost: { percent: 0.5 } },
    { cost: { credits: 1.25 } },
  );
  assertEquals(await statuses(site, 3), [200, 200, 200]);
  assertEquals(site.fake.book.map((it) => it.amount), [1.25]);
  assertEquals(alice.credits?.balance, "8.75");
});

test("responses() tells the state after the request in its headers", async () => {
  await using site = await startAlice({
    costPercent: 2.5,
    windows: [
      { seconds: 18_000, usedPercent: 40 },
      { seconds: WEEK, usedPercent: 1, resetAt: null },
    ],
    credits: { ...TEN, balance: "12.5" },
  });
  assertEquals(limits(await site.ask()), {
    "x-codex-active-limit": "premium",
    "x-codex-plan-type": "plus",
    "x-codex-primary-used-percent": "42.5",
    "x-codex-primary-window-minutes": "300",
    "x-codex-primary-reset-at": String(SECONDS + 18_000),
    "x-codex-primary-reset-after-seconds": "18000",
    "x-codex-secondary-used-percent": "3.5",
    "x-codex-secondary-window-minutes": "10080",
    "x-codex-secondary-reset-at": "",
    "x-codex-credits-has-credits": "True",
    "x-codex-credits-unlimited": "False",
    "x-codex-credits-balance": "12.5",
  });
  site.fake.account("alice").headers = ({ "content-type": _, ...rest }) => ({
    ...rest,
    "x-codex-primary-used-percent": "odd",
  });
  const { headers } = await site.ask();
  assertEquals(headers.get("content-type"), null);
  assertEquals(headers.get("x-codex-primary-used-percent"), "odd");
});

test("responses() refuses an exhausted account and says until when", async () => {
  await using site = await startAlice({
    plan: "team",
    windows: [
      { seconds: 18_000, usedPercent: 100 },
      { seconds: WEEK, usedPercent: 100, resetAt: NOON + 90_500 },
      { seconds: 2_592_000, usedPercent: 99 },
    ],
  });
  const error = {
    type: "usage_limit_reached",
    message: "The usage limit has been reached",
    plan_type: "team",
    resets_at: SECONDS + 18_000,
    resets_in_seconds: 18_000,
  };
  const answer = await site.ask();
  assertEquals([answer.status, answer.json], [429, { error }]);
  assertEquals(limits(answer)["x-codex-secondary-used-percent"], "100");
});

test("a window begins with its first use, slides until then, and starts afresh at its reset", async () => {
  const windows = [{ seconds: 60, usedPercent: 0 }];
  await using site = await startAlice({ windows, costPercent: 100 });
  const { clock } = site;
  assertEquals(await told(site), [[0, 60]]);
  clock.now += 10_000;
  assertEquals(await told(site), [[0, 70]]);
  assertEquals(await statuses(site, 2), [200, 429]);
  clock.now += 59_999;
  assertEquals(await told(site), [[100, 70]]);
  clock.now += 1;
  assertEquals(await told(site), [[0, 130]]);
  assertEquals(await statuses(site, 1), [200]);
});

test("a window can count on after its reset", async () => {
  await using site = await startAlice({
    windows: [
      { seconds: 60, usedPercent: 100, resetAt: NOON - 5000, countsOn: true },
    ],
  });
  assertEquals(await told(site), [[100, -5]]);
  assertEquals(await statuses(site, 1), [429]);
});

test("flags outrank percentages, and a scripted limit both", async () => {
  const half = [{ seconds: WEEK, usedPercent: 25 }];
  const rows: [FakeAccountOptions, flags: boolean[], status: number][] = [
    [{ windows: FULL }, [false, true], 429],
    [{ windows: FULL, flags: { allowed: true } }, [true, false], 200],
    [{ windows: half, flags: { allowed: false } }, [false, true], 429],
    [{ windows: half, flags: { limitReached: true } }, [false, true], 429],
    [{ windows: half, limited: { until: NOON + 1000 } }, [true, false], 429],
  ];
  for (const [alice, flags, status] of rows) {
    await using site = await startAlice(alice);
    const { allowed, limit_reached } = (await site.usage()).json.rate_limit;
    assertEquals([allowed, limit_reached], flags);
    assertEquals(await statuses(site, 1), [status]);
  }
});

test("usage and enforcement can disagree for a time", async () => {
  const windows = [{ seconds: WEEK, usedPercent: 25 }];
  await using site = await startAlice({ windows });
  const alice = site.fake.account("alice");
  alice.limited = { until: NOON + 3000 };
  const bare = await site.ask();
  assertEquals([bare.status, bare.json.error.resets_in_seconds], [429, 3]);
  assertEquals(limits(bare)["x-codex-primary-used-percent"], undefined);
  alice.limited.showsWindows = true;
  assertEquals(limits(await site.ask())["x-codex-primary-used-percent"], "25");
  assertEquals((await told(site))[0]![0], 25);
  site.clock.now += 3000;
  assertEquals(await statuses(site, 1), [200]);
});

test("models with a meter of their own draw on it, never on credits", async () => {
  await using site = await startAlice({
    costPercent: 50,
    windows: [{ seconds: WEEK, usedPercent: 0 }],
    meters: {
      codex_bengalfox: {
        windows: [{ seconds: 18_000, usedPercent: 50 }],
        limitName: "GPT-5.3-Codex-Spark",
      },
      base_model_inference: {
        windows: [{ seconds: WEEK, usedPercent: 50 }],
        limitName: "gpt-reserve",
      },
    },
    credits: { hasCredits: true, unlimited: true, balance: null },
  });
  const rows = [
    [SPARK, "codex_bengalfox", "x-codex-bengalfox", "GPT-5.3-Codex-Spark"],
    [
      "gpt-reserve",
      "base_model_inference",
      "x-base-model-inference",
      "gpt-reserve",
    ],
  ];
  for (const [model, meter, family, name] of rows) {
    const headers = limits(await site.ask({ model }));
    assertEquals(headers["x-codex-active-limit"], meter);
    assertEquals(headers["x-codex-primary-used-percent"], "100");
    assertEquals(headers[`${family}-primary-used-percent`], "100");
    assertEquals(headers[`${family}-limit-name`], name);
    assertEquals((await site.ask({ model })).status, 429);
  }
  const main = limits(await site.ask());
  assertEquals(main["x-codex-active-limit"], "premium");
  assertEquals(main["x-codex-primary-used-percent"], "50");
  assertEquals(site.fake.charged, []);
  const reserve = site.fake.account("alice").meters.base_model_inference!;
  reserve.flags = { allowed: true };
  assertEquals(await statuses(site, 1, "gpt-reserve"), [200]);
});

test("responses() charges every request of an account without a rate limit", async () => {
  const credits = { hasCredits: true, unlimited: false, balance: null };
  await using site = await startAlice({ windows: null, credits }, {
    accounts: { bare: { windows: null } },
  });
  assertEquals(await statuses(site, 1), [200]);
  const refused = await respond(site.fake, "bare");
  assertEquals([refused.status, refused.json.error.resets_at], [
    429,
    undefined,
  ]);
  assertEquals(site.fake.book.map((it) => [it.account, it.amount]), [
    ["alice", 1],
  ]);
});

test("responses() refuses credits that cannot be used", async () => {
  const limit = (individualLimit: Record<string, unknown>) => ({
    spendControl: { reached: false, individualLimit },
  });
  const rows: [FakeAccountOptions, status: number, code?: string][] = [
    [{}, 200],
    [{ creditsRefused: "insufficient_quota" }, 429, "insufficient_quota"],
    [{ spendControl: { reached: true } }, 429],
    [{ credits: { ...TEN, overageLimitReached: true } }, 429],
    [{ credits: { ...TEN, balance: "0" } }, 429],
    [{ credits: { ...TEN, balance: "0" }, ...limit({ limit: "9" }) }, 200],
    [limit({ remaining: "-33140", used_percent: 455 }), 429],
    [limit({ used_percent: 100 }), 429],
  ];
  for (const [more, status, code] of rows) {
    await using site = await startAlice({
      windows: FULL,
      credits: TEN,
      ...more,
    });
    const answer = await site.ask();
    assertEquals([more, answer.status, answer.json?.error.code], [
      more,
      status,
      code,
    ]);
    assertEquals(site.fake.book.length, status === 200 ? 1 : 0);
  }
});

test("a spend limit counts what is charged, until it is reached", async () => {
  const individualLimit = { limit: "5000", used: "4998.5", remaining: 1.5 };
  await using site = await startAlice({
    windows: null,
    credits: { hasCredits: true, unlimited: false, balance: "0" },
    spendControl: { reached: false, individualLimit },
  });
  assertEquals(await statuses(site, 3), [200, 200, 429]);
  const { spend_control } = (await site.usage()).json;
  assertEquals(spend_control.individual_limit, {
    limit: "5000",
    used: "5000.5",
    remaining: -0.5,
  });
});

test("credits are topped up by hand", async () => {
  await using site = await startAlice({
    windows: FULL,
    credits: { ...TEN, balance: "0" },
  });
  const { fake } = site;
  assertEquals(await statuses(site, 1), [429]);
  fake.topUp("alice", 2.5);
  assertEquals(await statuses(site, 1), [200]);
  assertEquals(fake.book.map((it) => [it.kind, it.amount, it.request]), [
    ["top-up", 2.5, null],
    ["charge", 1, 2],
  ]);
  assertEquals((await site.usage()).json.credits.balance, "1.5");
});

test("a request can count at its end, on what is left then", async () => {
  await using site = await startAlice({
    windows: [{ seconds: WEEK, usedPercent: 90 }],
    costPercent: 10,
    credits: { ...TEN },
    chargesAtEnd: true,
  });
  const { fake } = site;
  const { promise: until, resolve } = Promise.withResolvers<void>();
  fake.account("alice").queue.push({ until });
  const slow = site.ask();
  await fake.seen((entry) => entry.n === 1);
  // both were let in while there was room
  assertEquals(limits(await site.ask())["x-codex-primary-used-percent"], "90");
  await fake.seen((entry) => entry.n === 2 && entry.done);
  assertEquals(fake.charged, []);
  resolve();
  await slow;
  await fake.seen((entry) => entry.n === 1 && entry.done);
  assertEquals(fake.book.map((it) => it.request), [1]);
});

test("responses() obeys model usage", async () => {
  const gate = { available: false, availableAt: NOON + 1000 };
  await using site = await startAlice({
    modelUsage: { [MODEL]: { ...gate, creditsWouldEnable: false } },
    credits: { hasCredits: true, unlimited: true, balance: null },
  });
  const { fake } = site;
  assertEquals(await statuses(site, 1), [429]);
  assertEquals(await statuses(site, 1, "gpt-5.5"), [200]);
  fake.account("alice").modelUsage[MODEL]!.creditsWouldEnable = true;
  assertEquals(await statuses(site, 1), [200]);
  site.clock.now += 1000;
  assertEquals(await statuses(site, 1), [200]);
  assertEquals(fake.charged.map((entry) => entry.n), [3]);
});

test("startFakeCodex() keeps accounts with shared options apart", async () => {
  const shared = {
    costPercent: 60,
    windows: [{ seconds: 60, usedPercent: 0 }],
  };
  await using site = await startAlice(shared, { accounts: { bob: shared } });
  await site.ask();
  const [alice, bob] = ["alice", "bob"].map((it) => site.fake.account(it));
  assertEquals(alice?.windows?.[0]?.usedPercent, 60);
  assertEquals(bob?.windows?.[0]?.usedPercent, 0);
  // what no option names is not shared either
  for (const value of Object.values(alice!)) {
    const isLive = typeof value === "object" && value !== null;
    assert(
      !isLive || Object.isFrozen(value) || !Object.values(bob!).includes(value),
    );
  }
});
