import { assert, assertEquals } from "@std/assert";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "@std/path";
import { createRotator, jsonStore, type Rotator } from "../../mod.ts";
import { STRATEGIES } from "../../lib/pool/strategy.ts";
import {
  type Fleet,
  fullWindows,
  HOUR,
  requestBody,
  START,
  startFleet,
  startKnown,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";

const SPARK = "gpt-5.3-codex-spark";
const SPARK_METER = "codex_bengalfox";

/** A Spark meter, used up or not. */
function spark(usedPercent: number) {
  const windows = [{ seconds: 18_000, usedPercent, resetAt: START + HOUR }];
  return { [SPARK_METER]: { windows, limitName: "GPT-5.3-Codex-Spark" } };
}

function counted(fleet: Fleet): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of fleet.served()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

test("every strategy tries all of its pool for one request, preferred plans first", async () => {
  for (const strategy of STRATEGIES) {
    const refusal = {
      status: 429,
      body: { error: { type: "usage_limit_reached" } },
    };
    await using fleet = await startKnown({
      strategy,
      accounts: {
        alice: { always: refusal },
        bob: { always: refusal, plan: "pro" },
        carol: { always: refusal },
        dave: { always: refusal, plan: "pro" },
        erin: { windows: fullWindows(START), credits: { ...TEN_CREDITS } },
      },
      records: { carol: { weight: 0 }, dave: { weight: 3 } },
    });
    const { alias } = await fleet.ask();
    assertEquals([strategy, alias], [strategy, "erin"]);
    const tried = fleet.fake.log.filter(({ kind }) => kind === "responses")
      .map(({ account }) => account!);
    assertEquals(tried.slice(0, 2).sort(), ["bob", "dave"]);
    assertEquals(tried.slice(2, 4).sort(), ["alice", "carol"]);
    assertEquals(tried.slice(4), ["erin"], "money comes last");
  }
});

test("every strategy spreads requests sent side by side, and over credits too", async () => {
  const even = { alice: 4, bob: 4, carol: 4 };
  for (const strategy of ["round-robin", "least-used", "weighted"] as const) {
    await using fleet = await startFleet({
      strategy,
      accounts: { alice: {}, bob: {}, carol: {} },
    });
    await fleet.rotator.refresh();
    await Promise.all(Array.from({ length: 12 }, () => fleet.ask()));
    assertEquals([strategy, counted(fleet)], [strategy, even]);
    for (const name of Object.keys(even)) {
      const account = fleet.fake.account(name);
      account.windows = fullWindows(START);
      account.credits = { ...TEN_CREDITS };
    }
    await fleet.rotator.refresh();
    fleet.fake.clearLog();
    await Promise.all(Array.from({ length: 12 }, () => fleet.ask()));
    assertEquals(counted(fleet), { alice$: 4, bob$: 4, carol$: 4 });
  }
});

test("drain sends one request after the other where most is lost first, and spreads those sent side by side and sessions", async () => {
  const account = (days: number) => ({
    windows: [{
      seconds: 7 * 24 * 3600,
      usedPercent: 10,
      resetAt: START + days * 24 * HOUR,
    }],
  });
  await using fleet = await startFleet({
    strategy: "drain",
    accounts: { alice: account(1), bob: account(3.5) },
  });
  await fleet.rotator.refresh();
  for (let n = 0; n < 6; n++) await fleet.ask();
  assertEquals(counted(fleet), { alice: 6 });
  fleet.fake.clearLog();
  await Promise.all(Array.from({ length: 9 }, () => fleet.ask()));
  assertEquals(counted(fleet), { alice: 7, bob: 2 });
  fleet.fake.clearLog();
  for (let n = 0; n < 9; n++) await fleet.ask({ prompt_cache_key: `k${n}` });
  assertEquals(counted(fleet), { alice: 7, bob: 2 });
});

test("weighted counts a request once, however often its account had to be tried", async () => {
  await using fleet = await startFleet({
    strategy: "weighted",
    accounts: { alice: {}, bob: {} },
    records: { alice: { weight: 2 }, bob: { weight: 1 } },
    random: () => 0.5,
  });
  await fleet.rotator.refresh();
  for (let n = 0; n < 9; n++) {
    fleet.fake.revoke("alice", "access");
    await fleet.ask();
  }
  assertEquals(counted(fleet), { alice: 6, bob: 3 });
});

test("a full Spark meter touches neither the main one nor credits, and a full main one not Spark", async () => {
  await using fleet = await startFleet({
    accounts: {
      alice: { meters: spark(100), credits: { ...TEN_CREDITS } },
      bob: {
        meters: spark(0),
        windows: fullWindows(START),
        credits: { ...TEN_CREDITS },
      },
    },
  });
  await fleet.rotator.refresh();
  for (let n = 0; n < 3; n++) {
    assertEquals((await fleet.ask({ model: SPARK })).alias, "bob");
    assertEquals((await fleet.ask()).alias, "alice");
  }
  assertEquals(fleet.fake.charged, []);
  fleet.fake.account("bob").meters = spark(100);
  await fleet.rotator.refresh();
  const { status } = await fleet.ask({ model: SPARK });
  assertEquals(status, 429, "credits stand in for the main meter only");
  assertEquals((await fleet.ask()).alias, "alice");
  assertEquals(fleet.fake.charged, []);
});

test("a 429 for a Spark model limits its meter alone", async () => {
  await using fleet = await startFleet({
    accounts: { alice: { meters: spark(0) }, bob: { meters: spark(0) } },
  });
  await fleet.rotator.refresh();
  fleet.fake.account("alice").meters = spark(100);
  assertEquals((await fleet.ask({ model: SPARK })).alias, "bob");
  const causes = fleet.events.flatMap((event) =>
    event.type === "cooldown" ? [`${event.alias} ${event.cause}`] : []
  );
  assertEquals(causes, [`alice usage-limit:${SPARK_METER}`]);
  const main = await fleet.rotator.status();
  const other = await fleet.rotator.status({ model: SPARK });
  assertEquals(main.accounts[0]?.standing, "included");
  assertEquals(other.accounts[0]?.reason, "exhausted");
});

test("Spark models go to the plan pro and to accounts with their meter only", async () => {
  await using fleet = await startFleet({
    accounts: {
      alice: {},
      bob: { plan: "pro" },
      carol: { meters: spark(0) },
      dave: { plan: "prolite" },
    },
    preferPlans: [],
  });
  await fleet.rotator.refresh();
  for (let n = 0; n < 6; n++) await fleet.ask({ model: `${SPARK}-high` });
  assertEquals(counted(fleet), { bob: 3, carol: 3 });
  const { accounts } = await fleet.rotator.status({ model: SPARK });
  assertEquals(accounts.map(({ reason }) => reason), [
    "plan",
    null,
    null,
    "plan",
  ]);
});

test("other meters are only shown, and model_usage gates one model", async () => {
  const full = { windows: fullWindows(START), limitName: "gpt-reserve" };
  await using fleet = await startFleet({
    accounts: {
      alice: {
        meters: { base_model_inference: full },
        modelUsage: {
          "gpt-5.5": {
            available: false,
            availableAt: START + HOUR,
            inSeconds: true,
            creditsWouldEnable: false,
          },
        },
        credits: { ...TEN_CREDITS },
      },
    },
  });
  assertEquals((await fleet.ask({ model: "gpt-5.4" })).status, 200);
  assertEquals((await fleet.ask()).status, 429);
  const { accounts } = await fleet.rotator.status();
  const shown = accounts[0]!.windows.map(({ meter }) => meter);
  assert(shown.includes("base_model_inference"));
  fleet.clock.now += HOUR;
  assertEquals((await fleet.ask()).status, 200, "it is available again");
  assertEquals(fleet.fake.charged, []);
});

test("round-robin leaves no account waiting for longer than a cycle and 10 s across processes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "codex-rotator-turns-"));
  const path = join(folder, "accounts.json");
  try {
    const names = ["alice", "bob", "carol", "dave"];
    await using fleet = await startFleet({
      accounts: Object.fromEntries(names.map((name) => [name, {}])),
      store: (initial) => {
        writeFileSync(path, JSON.stringify(initial), { mode: 0o600 });
        return path;
      },
    });
    await using other = createRotator({
      store: jsonStore(path),
      backend: fleet.fake.backend,
      issuer: fleet.fake.issuer,
      now: () => fleet.clock.now,
    });
    await assertTurns(fleet, [fleet.rotator, other], names);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** Two processes at different paces, each writing its uses every 10 s. */
async function assertTurns(
  fleet: Fleet,
  rotators: readonly [Rotator, Rotator],
  names: readonly string[],
): Promise<void> {
  const usedAt = new Map(names.map((name) => [name, START]));
  const times: number[][] = [[], []];
  const total = 120;
  for (let n = 0; n < total; n++) {
    fleet.clock.now += 500;
    const index = n % 3 === 0 ? 1 : 0;
    const rotator = rotators[index]!;
    // asking for usage writes at once, and what was put off along with it
    if (n % 20 === 19) {
      for (const each of rotators) await each.refresh({ aliases: ["alice"] });
    }
    const response = await rotator.fetch(`${rotator.baseURL}/responses`, {
      method: "POST",
      body: JSON.stringify(requestBody()),
      headers: { "content-type": "application/json" },
    });
    await response.body?.cancel();
    const now = fleet.clock.now;
    usedAt.set(rotator.accountOf(response)!, now);
    times[index]!.push(now);
    const cycle = Math.min(
      ...times.map((list) => now - (list.at(-names.length) ?? START)),
    );
    for (const [name, at] of usedAt) {
      assert(now - at <= cycle + 10_000, `${name} waited ${now - at} ms`);
    }
  }
  for (const each of rotators) await each.close();
  const { accounts } = await rotators[0].status();
  const requests = accounts.map((account) => account.requests);
  assertEquals(requests.reduce((sum, count) => sum + count, 0), total);
  assert(Math.max(...requests) - Math.min(...requests) <= 12, `${requests}`);
}
