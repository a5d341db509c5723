import { assert, assertEquals } from "@std/assert";
import type { FakeAccountOptions } from "../../lib/testing/fake_codex.ts";
import {
  CREDITED,
  DAY,
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

const WEEK = 604_800;

/** Used up on the main meter, with something left of its reserve. */
function reserve(usedPercent: number): FakeAccountOptions {
  return {
    ...EXHAUSTED,
    credits: { ...TEN_CREDITS },
    meters: {
      base_model_inference: {
        limitName: "gpt-reserve",
        normalModelSlug: "gpt-5.6-luna",
        windows: [{ seconds: WEEK, usedPercent, resetAt: START + 3 * DAY }],
      },
    },
  };
}

test("rotator.fetch() serves gpt-reserve on its own meter, never on credits", async () => {
  await using fleet = await startKnown({
    accounts: { alice: reserve(24), bob: reserve(100) },
  });
  const model = "gpt-reserve";
  for (let n = 0; n < 3; n++) {
    assertEquals((await fleet.ask({ model })).alias, "alice");
  }
  assertEquals(await rowOf(fleet, "bob", model), ["exhausted", 3 * DAY]);
  fleet.fake.account("alice").meters = reserve(100).meters!;
  await fleet.rotator.refresh();
  assertEquals((await fleet.ask({ model })).status, 429);
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() tries no account for gpt-reserve that was asked and lacks its meter", async () => {
  await using fleet = await startKnown({
    accounts: { alice: {}, bob: CREDITED },
  });
  const { status } = await fleet.ask({ model: "gpt-reserve" });
  assertEquals(status, 403);
  assertEquals((await rowOf(fleet, "alice", "gpt-reserve"))[0], "plan");
  assertEquals(kindsOf(fleet), []);
  assertEquals((await fleet.ask()).alias, "alice");
});

test("rotator.fetch() learns the 429 and the headers of a meter by its name", async () => {
  await using fleet = await startKnown({
    accounts: { alice: reserve(24), bob: reserve(24) },
  });
  const model = "gpt-reserve";
  fleet.fake.account("alice").meters["base_model_inference"]!.windows![0]!
    .usedPercent = 100;
  assertEquals((await fleet.ask({ model })).alias, "bob");
  assertEquals((await rowOf(fleet, "alice", model))[0], "exhausted");
  fleet.fake.clearLog();
  assertEquals((await fleet.ask({ model })).alias, "bob");
  assertEquals(kindsOf(fleet), ["responses:bob"]);
});

test("rotator.fetch() takes a later meter by its limit_name for the model of that name", async () => {
  const meters = {
    some_future_meter: {
      limitName: "GPT-6-Sol",
      windows: [{ seconds: WEEK, usedPercent: 50, resetAt: START + DAY }],
    },
  };
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: { ...EXHAUSTED, meters }, bob: {} },
  });
  const model = "gpt-6-sol";
  assertEquals((await rowOf(fleet, "alice", model))[0], "included");
  assertEquals((await rowOf(fleet, "bob", model))[0], "plan");
  const { accounts } = await fleet.rotator.status();
  const names = accounts[0]!.windows.map(({ name }) => name);
  assert(names.includes("GPT-6-Sol"));
});

test("rotator.fetch() counts a model on the meter that the account itself has of its name", async () => {
  const sol = (name: string, usedPercent: number) => ({
    meters: {
      [name]: {
        limitName: "GPT-6-Sol",
        windows: [{ seconds: WEEK, usedPercent, resetAt: START + DAY }],
      },
    },
  });
  await using fleet = await startKnown({
    accounts: { alice: sol("sol_old", 5), bob: sol("sol_new", 100) },
  });
  const model = "gpt-6-sol";
  assertEquals((await rowOf(fleet, "alice", model))[0], "included");
  assertEquals((await rowOf(fleet, "bob", model))[0], "exhausted");
  assertEquals((await fleet.ask({ model })).alias, "alice");
});

test("rotator.fetch() takes a rate limits event without a name for the main meter's, also on a Spark request", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: {
      alice: { plan: "pro", credits: { ...TEN_CREDITS, balance: "50" } },
    },
  });
  const event = {
    type: "codex.rate_limits",
    plan_type: "pro",
    rate_limits: {
      allowed: false,
      limit_reached: true,
      primary: {
        used_percent: 100,
        window_minutes: 10_080,
        reset_at: (START + 3 * DAY) / 1000,
      },
      secondary: null,
    },
    additional_rate_limits: {
      "GPT-5.3-Codex-Spark": {
        allowed: true,
        limit_reached: false,
        primary: {
          used_percent: 4,
          window_minutes: 300,
          reset_at: (START + HOUR) / 1000,
        },
      },
    },
  };
  const model = "gpt-5.3-codex-spark";
  const added = { type: "response.output_item.added", item: {} };
  fleet.fake.account("alice").queue.push({ events: [event, added] });
  assertEquals((await fleet.ask({ model })).status, 200);
  assertEquals((await rowOf(fleet, "alice", model))[0], "included");
  assertEquals((await fleet.ask()).status, 429);
  assertEquals((await fleet.ask({ model })).status, 200);
});

test("rotator.fetch() serves Spark on a meter of its own where an account lives on credits", async () => {
  const meters = {
    codex_bengalfox: {
      limitName: "GPT-5.3-Codex-Spark",
      windows: [{ seconds: 18_000, usedPercent: 1, resetAt: START + HOUR }],
    },
  };
  const plan = "business";
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: { plan, windows: null, credits: TEN_CREDITS, meters } },
  });
  assertEquals((await fleet.ask()).status, 429);
  assertEquals((await fleet.ask({ model: "gpt-5.3-codex-spark" })).status, 200);
  assertEquals(fleet.fake.charged, []);
});

test("rotator.fetch() holds a limit against the model alone when its own headers show room on the main meter", async () => {
  await using fleet = await startKnown({ accounts: { alice: {}, bob: {} } });
  const alice = fleet.fake.account("alice");
  alice.windows = [{ seconds: 18_000, usedPercent: 40, resetAt: START + HOUR }];
  alice.limited = { until: START + HOUR, showsWindows: true };
  assertEquals((await fleet.ask()).alias, "bob");
  alice.limited = null;
  assertEquals((await rowOf(fleet, "alice", "gpt-5.5"))[0], "model");
  assertEquals((await rowOf(fleet, "alice", "gpt-5.4"))[0], "included");
  assertEquals((await fleet.ask({ model: "gpt-5.4" })).alias, "alice");
});

test("rotator.fetch() refuses a model by model_usage only where credits would not enable it either", async () => {
  const model = "gpt-6-astra";
  for (
    const [available, creditsWouldEnable, status] of [
      [true, false, 200],
      [false, true, 200],
      [false, false, 429],
    ] as const
  ) {
    await using fleet = await startKnown({
      accounts: {
        alice: {
          ...EXHAUSTED,
          credits: { ...TEN_CREDITS },
          modelUsage: { [model]: { available, creditsWouldEnable } },
        },
      },
    });
    const answer = await fleet.ask({ model }, {
      headers: { "content-type": "application/json", version: "0.171.0" },
    });
    assertEquals([available, creditsWouldEnable, answer.status], [
      available,
      creditsWouldEnable,
      status,
    ]);
  }
});

test("rotator.fetch() waits for available_at, told as text or as seconds", async () => {
  const model = "gpt-6-astra";
  for (const inSeconds of [true, false]) {
    await using fleet = await startKnown({
      accounts: {
        alice: {
          modelUsage: {
            [model]: { available: false, availableAt: START + HOUR, inSeconds },
          },
        },
      },
    });
    assertEquals(await rowOf(fleet, "alice", model), ["exhausted", HOUR]);
    assertEquals((await rowOf(fleet, "alice"))[0], "included");
  }
});

test("rotator.fetch() sends nothing on credits whose workspace cap is overrun", async () => {
  for (
    const [limit, status] of [
      [{ remaining: "-33140", used_percent: 455 }, 429],
      [{ remaining: "0", used_percent: 100 }, 429],
      [{ remaining: "12", used_percent: 40 }, 200],
    ] as const
  ) {
    await using fleet = await startKnown({
      accounts: {
        alice: {
          plan: "business",
          windows: null,
          credits: { hasCredits: true, unlimited: false, balance: null },
          spendControl: { reached: false, individualLimit: limit },
        },
      },
    });
    assertEquals([limit, (await fleet.ask()).status], [limit, status]);
    assertEquals(fleet.fake.charged.length, status === 200 ? 1 : 0);
  }
});

test("a workspace that was deactivated comes back with a later usage answer, one that denies access does not", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const alice = fleet.fake.account("alice");
  alice.queue.push({
    status: 402,
    body: { detail: { code: "deactivated_workspace" } },
  });
  assertEquals((await fleet.ask()).status, 429);
  assertEquals((await rowOf(fleet, "alice"))[0], "workspace");
  fleet.clock.now += MINUTE;
  assertEquals((await fleet.ask()).status, 200);
  alice.workspaceRefusal = "codex_workspace_access_denied";
  assertEquals((await fleet.ask()).status, 429);
  alice.workspaceRefusal = null;
  fleet.clock.now += MINUTE;
  await fleet.rotator.refresh();
  assertEquals((await rowOf(fleet, "alice"))[0], "workspace");
  fleet.clock.now += 30 * MINUTE;
  assertEquals((await fleet.ask()).status, 200);
});
