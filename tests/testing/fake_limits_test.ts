import { assertEquals } from "@std/assert";
import {
  type Answer,
  askUsage,
  MODEL,
  NOON,
  respond,
  SPARK,
  startAt,
} from "./fake_client.ts";

const SECONDS = NOON / 1000;
const WEEK = 604_800;

function limits(answer: Answer): Record<string, string> {
  const found: Record<string, string> = {};
  answer.headers.forEach((value, name) => {
    if (/^x-codex-(?!turn-state)/.test(name)) found[name] = value;
  });
  return found;
}

Deno.test("usage() tells windows, credits and plan in the backend's words", async () => {
  const { fake } = await startAt(NOON, {
    accounts: {
      alice: {
        plan: "plus",
        windows: [
          { seconds: 18_000, usedPercent: 46.7 },
          { seconds: WEEK, usedPercent: 100, resetAt: NOON + 3_600_000 },
        ],
        credits: { hasCredits: true, unlimited: false, balance: "489.25" },
        bankedResets: 2,
      },
    },
  });
  const answer = await askUsage(fake, "alice");
  assertEquals(answer.status, 200);
  assertEquals(answer.json, {
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
  await fake.close();
});

Deno.test("usage() tells meters, spend control, model usage, slots and odd payloads", async () => {
  const { fake } = await startAt(NOON, {
    accounts: {
      alice: {
        windows: null,
        meters: {
          codex_bengalfox: {
            limitName: "GPT-5.3-Codex-Spark",
            windows: [{
              seconds: null,
              usedPercent: 3,
              resetAt: null,
              slot: "tertiary",
            }],
          },
        },
        credits: null,
        spendControl: { reached: true, individualLimit: { remaining: "7" } },
        rateLimitReachedType: "workspace_member_credits_depleted",
        modelUsage: { m: { available: false, availableAt: NOON + 1000 } },
      },
    },
  });
  const { json } = await askUsage(fake, "alice");
  assertEquals(json.rate_limit, null);
  assertEquals(json.credits, null);
  assertEquals(json.additional_rate_limits, [{
    limit_name: "GPT-5.3-Codex-Spark",
    metered_feature: "codex_bengalfox",
    rate_limit: {
      allowed: true,
      limit_reached: false,
      primary_window: null,
      secondary_window: null,
      tertiary_window: {
        used_percent: 3,
        limit_window_seconds: null,
        reset_after_seconds: null,
        reset_at: null,
      },
    },
    normal_model_slug: null,
  }]);
  assertEquals(json.spend_control.individual_limit, { remaining: "7" });
  assertEquals(json.rate_limit_reached_type, {
    type: "workspace_member_credits_depleted",
  });
  assertEquals(json.model_usage.m, {
    available: false,
    available_at: SECONDS + 1,
    credits_would_enable: true,
  });
  fake.account("alice").usageOverride = (payload) => ({
    ...payload,
    credits: "plenty",
  });
  assertEquals((await askUsage(fake, "alice")).json.credits, "plenty");
  fake.account("alice").usageOverride = () => "{ cut of";
  assertEquals((await askUsage(fake, "alice")).text, "{ cut of");
  await fake.close();
});

Deno.test("usage() is found where the stand-in is told to answer it", async () => {
  const { fake } = await startAt(NOON, { accounts: { alice: {} } });
  fake.usagePaths = ["/codex/usage"];
  assertEquals((await askUsage(fake, "alice")).status, 404);
  assertEquals((await askUsage(fake, "alice", "/codex/usage")).status, 200);
  await fake.close();
  const other = await startAt(NOON, {
    accounts: { alice: {} },
    backendPath: "",
  });
  const path = "/api/codex/usage";
  assertEquals((await askUsage(other.fake, "alice", path)).status, 200);
  assertEquals((await respond(other.fake, "alice")).status, 200);
  await other.fake.close();
});

Deno.test("responses() uses windows up, then draws credits, then refuses", async () => {
  const { fake } = await startAt(NOON, {
    accounts: {
      alice: {
        costPercent: 50,
        credits: {
          hasCredits: true,
          unlimited: false,
          balance: "0.3",
          costPerRequest: 0.2,
        },
      },
    },
  });
  const statuses = [];
  for (let n = 0; n < 5; n++) {
    statuses.push((await respond(fake, "alice")).status);
  }
  assertEquals(statuses, [200, 200, 200, 200, 429]);
  assertEquals(fake.log.map((entry) => entry.charged), [
    false,
    false,
    true,
    true,
    false,
  ]);
  assertEquals(fake.charged.map((entry) => entry.n), [3, 4]);
  assertEquals(fake.account("alice").credits?.balance, "0");
  assertEquals(fake.account("alice").credits?.hasCredits, false);
  await fake.close();
});

Deno.test("responses() tells the state after the request in its headers", async () => {
  const { fake } = await startAt(NOON, {
    accounts: {
      alice: {
        costPercent: 2.5,
        windows: [
          { seconds: 18_000, usedPercent: 40 },
          { seconds: WEEK, usedPercent: 1, resetAt: null },
        ],
        credits: { hasCredits: true, unlimited: false, balance: "12.5" },
      },
    },
  });
  const answer = await respond(fake, "alice");
  assertEquals(limits(answer), {
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
  fake.account("alice").headers = ({ "content-type": _, ...rest }) => ({
    ...rest,
    "x-codex-primary-used-percent": "odd",
  });
  const odd = await respond(fake, "alice");
  assertEquals(odd.headers.get("content-type"), null);
  assertEquals(odd.headers.get("x-codex-primary-used-percent"), "odd");
  await fake.close();
});

Deno.test("responses() refuses an exhausted account and says until when", async () => {
  const { fake } = await startAt(NOON, {
    accounts: {
      alice: {
        plan: "team",
        windows: [
          { seconds: 18_000, usedPercent: 100 },
          { seconds: WEEK, usedPercent: 100, resetAt: NOON + 90_500 },
          { seconds: 2_592_000, usedPercent: 99 },
        ],
        rateLimitReachedType: "workspace_owner_credits_depleted",
      },
    },
  });
  const answer = await respond(fake, "alice");
  assertEquals(answer.status, 429);
  assertEquals(answer.json.error, {
    type: "usage_limit_reached",
    message: "The usage limit has been reached",
    plan_type: "team",
    resets_at: SECONDS + 18_000,
    resets_in_seconds: 18_000,
  });
  assertEquals(answer.headers.get("x-codex-secondary-used-percent"), "100");
  assertEquals(
    answer.headers.get("x-codex-rate-limit-reached-type"),
    "workspace_owner_credits_depleted",
  );
  await fake.close();
});

Deno.test("responses() starts a window afresh once its reset has passed", async () => {
  const { fake, clock } = await startAt(NOON, {
    accounts: { alice: { windows: [{ seconds: 60, usedPercent: 100 }] } },
  });
  clock.now = NOON + 59_999;
  assertEquals((await respond(fake, "alice")).status, 429);
  clock.now = NOON + 60_000;
  const answer = await respond(fake, "alice");
  assertEquals(answer.status, 200);
  assertEquals(answer.headers.get("x-codex-primary-used-percent"), "0");
  assertEquals(
    answer.headers.get("x-codex-primary-reset-at"),
    String(SECONDS + 120),
  );
  await fake.close();
});

Deno.test("responses() draws Spark models on their own meter, never on credits", async () => {
  const { fake } = await startAt(NOON, {
    accounts: {
      alice: {
        costPercent: 50,
        windows: [{ seconds: WEEK, usedPercent: 0 }],
        meters: {
          codex_bengalfox: {
            windows: [{ seconds: 18_000, usedPercent: 50 }],
            limitName: "GPT-5.3-Codex-Spark",
          },
        },
        credits: { hasCredits: true, unlimited: true, balance: null },
      },
    },
  });
  const spark = await respond(fake, "alice", { model: SPARK });
  assertEquals(spark.status, 200);
  const { headers } = spark;
  assertEquals(headers.get("x-codex-active-limit"), "codex_bengalfox");
  assertEquals(headers.get("x-codex-primary-used-percent"), "100");
  assertEquals(headers.get("x-codex-bengalfox-primary-used-percent"), "100");
  assertEquals(
    headers.get("x-codex-bengalfox-limit-name"),
    "GPT-5.3-Codex-Spark",
  );
  assertEquals(
    (await respond(fake, "alice", { model: SPARK })).status,
    429,
  );
  const main = await respond(fake, "alice", { model: MODEL });
  assertEquals(main.status, 200);
  assertEquals(main.headers.get("x-codex-primary-window-minutes"), "10080");
  assertEquals(fake.charged, []);
  await fake.close();
});

Deno.test("responses() charges every request of an account without a rate limit", async () => {
  const { fake } = await startAt(NOON, {
    accounts: {
      firm: {
        windows: null,
        credits: { hasCredits: true, unlimited: false, balance: null },
      },
      bare: { windows: null },
    },
  });
  assertEquals((await respond(fake, "firm")).status, 200);
  const refused = await respond(fake, "bare");
  assertEquals(refused.status, 429);
  assertEquals(refused.json.error.resets_at, undefined);
  assertEquals(fake.charged.map((entry) => entry.account), ["firm"]);
  await fake.close();
});

Deno.test("responses() refuses credits that cannot be used", async () => {
  const { fake } = await startAt(NOON, { accounts: { alice: {} } });
  const account = fake.account("alice");
  const full = () => {
    account.windows = [{ seconds: WEEK, usedPercent: 100 }];
    account.credits = { hasCredits: true, unlimited: false, balance: "5" };
  };
  full();
  assertEquals((await respond(fake, "alice")).status, 200);
  account.creditsRefused = "insufficient_quota";
  const refused = await respond(fake, "alice");
  assertEquals(refused.status, 429);
  assertEquals(refused.json.error.code, "insufficient_quota");
  account.creditsRefused = false;
  account.spendControl = { reached: true };
  assertEquals((await respond(fake, "alice")).status, 429);
  account.spendControl = null;
  account.credits = { ...account.credits!, overageLimitReached: true };
  assertEquals((await respond(fake, "alice")).status, 429);
  full();
  account.rateLimitReachedType = "workspace_member_usage_limit_reached";
  assertEquals((await respond(fake, "alice")).status, 429);
  account.rateLimitReachedType = undefined;
  account.credits!.balance = "0";
  assertEquals((await respond(fake, "alice")).status, 429);
  account.spendControl = { reached: false, individualLimit: { limit: "9" } };
  assertEquals((await respond(fake, "alice")).status, 200);
  assertEquals(fake.charged.length, 2);
  await fake.close();
});

Deno.test("responses() obeys model usage", async () => {
  const { fake, clock } = await startAt(NOON, {
    accounts: {
      alice: {
        modelUsage: {
          [MODEL]: {
            available: false,
            availableAt: NOON + 1000,
            creditsWouldEnable: false,
          },
        },
        credits: { hasCredits: true, unlimited: true, balance: null },
      },
    },
  });
  assertEquals((await respond(fake, "alice")).status, 429);
  assertEquals((await respond(fake, "alice", { model: "other" })).status, 200);
  fake.account("alice").modelUsage[MODEL]!.creditsWouldEnable = true;
  assertEquals((await respond(fake, "alice")).status, 200);
  clock.now += 1000;
  assertEquals((await respond(fake, "alice")).status, 200);
  assertEquals(fake.charged.map((entry) => entry.n), [3]);
  await fake.close();
});

Deno.test("responses() refuses by workspace, plan and model", async () => {
  const { fake } = await startAt(NOON, {
    accounts: { alice: { supportedModels: ["gpt-5.2"] } },
  });
  const account = fake.account("alice");
  const model = await respond(fake, "alice");
  assertEquals(model.status, 400);
  assertEquals(model.json, {
    detail:
      `The '${MODEL}' model is not supported when using Codex with a ChatGPT account.`,
  });
  account.supportedModels = undefined;
  account.noCodex = true;
  const plan = await respond(fake, "alice");
  assertEquals(plan.status, 429);
  assertEquals(plan.json.error.type, "usage_not_included");
  account.deactivated = true;
  const workspace = await respond(fake, "alice");
  assertEquals(workspace.status, 402);
  assertEquals(workspace.json, { detail: { code: "deactivated_workspace" } });
  assertEquals((await askUsage(fake, "alice")).status, 402);
  await fake.close();
});

Deno.test("startFakeCodex() keeps accounts with shared options apart", async () => {
  const shared = {
    costPercent: 60,
    windows: [{ seconds: 60, usedPercent: 0 }],
  };
  const { fake } = await startAt(NOON, {
    accounts: { alice: shared, bob: shared },
  });
  await respond(fake, "alice");
  assertEquals(fake.account("alice").windows?.[0]?.usedPercent, 60);
  assertEquals(fake.account("bob").windows?.[0]?.usedPercent, 0);
  await fake.close();
});
