import { assertEquals, assertMatch } from "@std/assert";
import { createRotator } from "../../mod.ts";
import type {
  FakeAccountOptions,
  FakeAnswer,
} from "../../lib/testing/fake_codex.ts";
import {
  CREDITED,
  DAY,
  type Fleet,
  HOUR,
  kindsOf,
  MINUTE,
  requestBody,
  rowOf,
  START,
  startFleet,
  startKnown,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";

/** Two open accounts; alice answers as told, bob is next. */
function pair(
  answer: FakeAnswer,
  more: FakeAccountOptions = {},
): Promise<Fleet> {
  return startKnown({
    credits: "none",
    accounts: { alice: { queue: [answer], ...more }, bob: {} },
  });
}

function limit(more: Record<string, unknown> = {}, status = 429): FakeAnswer {
  return {
    status,
    body: { error: { type: "usage_limit_reached", message: "Limit", ...more } },
  };
}

test("rotator.fetch() learns windows and credits from headers, without asking", async () => {
  await using fleet = await startFleet({
    accounts: { alice: { costPercent: 10, credits: TEN_CREDITS } },
  });
  for (let n = 0; n < 5; n++) {
    await fleet.ask();
    fleet.clock.now += 15 * MINUTE;
  }
  assertEquals(fleet.usageCalls(), 1);
  const { accounts } = await fleet.rotator.status();
  assertEquals(accounts[0]?.windows.map((window) => window.usedPercent), [
    50,
    50,
  ]);
  fleet.clock.now += 1;
  await fleet.ask();
  assertEquals(fleet.usageCalls(), 2, "facts that are too old are asked for");
});

test("rotator.fetch() takes an account for used up when one of two windows of one length is full", async () => {
  for (const primary of ["100", "99"]) {
    const headers = {
      "x-codex-primary-used-percent": primary,
      "x-codex-primary-window-minutes": "300",
      "x-codex-secondary-used-percent": "20",
      "x-codex-secondary-window-minutes": "300",
    };
    await using fleet = await startKnown({
      credits: "none",
      accounts: { alice: { queue: [{ headers }], credits: TEN_CREDITS } },
    });
    assertEquals((await fleet.ask()).status, 200);
    const { status } = await fleet.ask();
    assertEquals(status, primary === "100" ? 429 : 200);
    assertEquals(fleet.fake.charged, []);
  }
});

test("rotator.fetch() renews a refused token once and tries the same account again", async () => {
  const answers: [string, FakeAnswer][] = [
    ["401", { status: 401, body: { error: { code: "token_expired" } } }],
    ["403 JSON", {
      status: 403,
      body: {
        error: {
          code: "token_invalidated",
          message: "Your token has been invalidated",
        },
      },
    }],
  ];
  for (const [why, answer] of answers) {
    await using fleet = await pair(answer);
    const { status, alias } = await fleet.ask();
    assertEquals([why, status, alias], [why, 200, "alice"]);
    assertEquals(kindsOf(fleet), [
      "responses:alice",
      "token:alice",
      "responses:alice",
    ]);
    assertEquals(fleet.fake.violations, []);
  }
});

test("rotator.fetch() pauses an account whose renewed token is refused as well", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: {}, bob: {} },
  });
  fleet.fake.account("alice").rejectAll = true;
  assertEquals((await fleet.ask()).alias, "bob");
  assertEquals(kindsOf(fleet), [
    "responses:alice",
    "token:alice",
    "responses:alice",
    "responses:bob",
  ]);
  assertEquals(await rowOf(fleet, "alice"), ["cooldown", 5 * MINUTE]);
});

test("rotator.fetch() renews a token that was refused to a body it cannot send again, for the next request", async () => {
  await using fleet = await startKnown({
    accounts: { alice: {} },
    maxReplayBytes: 10,
  });
  fleet.fake.revoke("alice", "access");
  const once = new Response(JSON.stringify(requestBody())).body;
  const refused = await fleet.ask({}, {
    body: once,
    duplex: "half",
  } as RequestInit);
  assertEquals(refused.status, 401);
  assertEquals((await fleet.ask()).status, 200);
  assertEquals(kindsOf(fleet), [
    "responses:alice",
    "token:alice",
    "responses:alice",
  ]);
  assertEquals(fleet.events.filter(({ type }) => type === "cooldown"), []);
});

test("rotator.fetch() pauses an account whose renewed token is refused to bodies that it cannot send again", async () => {
  await using fleet = await startKnown({
    accounts: { alice: {}, bob: {} },
    maxReplayBytes: 10,
  });
  fleet.fake.account("alice").rejectAll = true;
  const statuses: number[] = [];
  for (let n = 0; n < 6; n++) {
    const body = new Response(JSON.stringify(requestBody())).body;
    const { status } = await fleet.ask({}, {
      body,
      duplex: "half",
    } as RequestInit);
    statuses.push(status);
    fleet.clock.now += 1000;
  }
  assertEquals(statuses, [401, 200, 401, 200, 200, 200]);
  const tokenCalls = kindsOf(fleet).filter((it) => it === "token:alice");
  assertEquals(tokenCalls.length, 1);
  assertEquals((await rowOf(fleet, "alice"))[0], "cooldown");
});

test("rotator.fetch() leaves nobody signed out by a storm of 401", async () => {
  await using fleet = await startKnown({
    accounts: { alice: {}, bob: {}, carol: {} },
  });
  for (const name of ["alice", "bob", "carol"]) {
    fleet.fake.account(name).rejectAll = true;
  }
  const answer = await fleet.ask();
  assertEquals([answer.status, answer.response.headers.get("retry-after")], [
    429,
    "300",
  ]);
  for (const name of ["alice", "bob", "carol"]) {
    assertEquals(await rowOf(fleet, name), ["cooldown", 5 * MINUTE]);
    fleet.fake.account(name).rejectAll = false;
  }
  const kinds = fleet.fake.log.map((entry) => entry.kind);
  assertEquals(
    [kinds.length, kinds.filter((kind) => kind === "token").length],
    [9, 3],
  );
  fleet.clock.now += 5 * MINUTE - 1;
  assertEquals((await fleet.ask()).status, 429);
  fleet.clock.now += 1;
  assertEquals((await fleet.ask()).status, 200);
});

test("rotator.fetch() goes on without an account whose sign-in is over", async () => {
  await using fleet = await startKnown({ accounts: { alice: {}, bob: {} } });
  fleet.fake.revoke("alice", "all");
  assertEquals((await fleet.ask()).alias, "bob");
  assertEquals((await rowOf(fleet, "alice"))[0], "login");
  fleet.clock.now += 10 * DAY;
  for (let n = 0; n < 3; n++) await fleet.ask();
  assertEquals(
    kindsOf(fleet).filter((kind) => kind === "token:alice").length,
    1,
  );
  assertEquals(
    fleet.events.filter((event) => event.type === "login-required").length,
    1,
  );
});

test("rotator.fetch() asks before it refuses whether a workspace is active again, where usage can tell", async () => {
  for (
    const [status, code, next] of [
      [402, "deactivated_workspace", 200],
      [403, "workspace_access_denied", 429],
    ] as const
  ) {
    await using fleet = await startKnown({
      credits: "none",
      accounts: { alice: { queue: [{ status, body: { detail: { code } } }] } },
    });
    await fleet.ask();
    assertEquals((await rowOf(fleet, "alice"))[0], "workspace");
    fleet.clock.now += MINUTE;
    fleet.fake.clearLog();
    assertEquals([code, (await fleet.ask()).status], [code, next]);
    assertEquals(fleet.usageCalls(), next === 200 ? 1 : 0);
  }
});

test("the plan is what headers said last", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  for (const plan of ["pro", "plus"]) {
    fleet.fake.account("alice").plan = plan;
    fleet.clock.now += 1000;
    await fleet.ask();
    const [row] = (await fleet.rotator.status()).accounts;
    assertEquals(row?.plan, plan);
  }
});

test("rotator.fetch() leaves a deactivated workspace alone for 30 minutes", async () => {
  await using fleet = await pair({
    status: 402,
    body: { detail: { code: "deactivated_workspace" } },
  });
  assertEquals((await fleet.ask()).alias, "bob");
  assertEquals(await rowOf(fleet, "alice"), ["workspace", 30 * MINUTE]);
  fleet.clock.now += 30 * MINUTE;
  assertEquals((await rowOf(fleet, "alice"))[0], "included");
});

test("rotator.fetch() leaves an account's missing model alone for 30 minutes, others not", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: { supportedModels: ["gpt-5.5"] }, bob: {} },
  });
  assertEquals((await fleet.ask({ model: "gpt-6" })).alias, "bob");
  assertEquals(await rowOf(fleet, "alice", "gpt-6"), ["model", 30 * MINUTE]);
  assertEquals((await rowOf(fleet, "alice", "gpt-5.5"))[0], "included");
  assertEquals((await fleet.ask({ model: "gpt-5.5" })).alias, "alice");
  assertEquals((await fleet.ask({ model: "gpt-6" })).alias, "bob");
});

test("rotator.fetch() tells once of each account that lacks a model, also where another one was known to serve it", async () => {
  const lacking = { supportedModels: ["gpt-5.5"] };
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: lacking, bob: lacking, carol: {} },
  });
  for (let turn = 0; turn < 2; turn++) {
    fleet.events.length = 0;
    assertEquals((await fleet.ask({ model: "gpt-6" })).alias, "carol");
    const told = fleet.events.flatMap((it) =>
      it.type === "cooldown" ? [it.alias] : []
    );
    assertEquals([turn, ...told], [turn, "alice", "bob"]);
    fleet.clock.now += 30 * MINUTE;
    await fleet.rotator.refresh();
  }
});

test("rotator.fetch() believes a usage limit until the time it names, within bounds", async () => {
  const start = 1_800_000_000;
  const rows: [string, FakeAnswer, ms: number][] = [
    [
      "resets_at",
      limit({ resets_at: start + 700, resets_in_seconds: 5 }),
      700_000,
    ],
    ["resets_in_seconds", limit({ resets_in_seconds: 500 }), 500_000],
    ["neither", limit(), 15 * MINUTE],
    ["headers", {
      ...limit(),
      headers: {
        "x-codex-primary-used-percent": "100",
        "x-codex-primary-window-minutes": "300",
        "x-codex-primary-reset-at": String(start + 800),
      },
    }, 800_000],
    ["in the past", limit({ resets_at: start - 5 }), MINUTE],
    ["right now", limit({ resets_in_seconds: 0 }), MINUTE],
    ["too far away", limit({ resets_in_seconds: 90 * 86_400 }), 35 * DAY],
    ["as 404", limit({ resets_in_seconds: 500 }, 404), 500_000],
  ];
  for (const [why, answer, ms] of rows) {
    await using fleet = await pair(answer);
    const { status, alias } = await fleet.ask();
    assertEquals([why, status, alias], [why, 200, "bob"]);
    assertEquals([why, ...await rowOf(fleet, "alice")], [why, "exhausted", ms]);
    assertEquals(fleet.usageCalls(), 0, "who may not spend is not asked");
  }
});

test("rotator.fetch() counts a limit on the meter it is about", async () => {
  const spark = {
    codex_bengalfox: { windows: [{ seconds: 18_000, usedPercent: 1 }] },
  };
  await using fleet = await pair({
    ...limit({ resets_in_seconds: 500 }),
    headers: { "x-codex-active-limit": "codex_bengalfox" },
  }, { meters: spark });
  fleet.fake.account("bob").meters = spark;
  await fleet.rotator.refresh();
  assertEquals(
    (await fleet.ask({ model: "gpt-5.3-codex-spark" })).alias,
    "bob",
  );
  assertEquals(
    (await rowOf(fleet, "alice", "gpt-5.3-codex-spark"))[0],
    "exhausted",
  );
  assertEquals((await rowOf(fleet, "alice"))[0], "included");
});

test("rotator.fetch() asks in the background after a limit, where credits may follow", async () => {
  await using fleet = await startKnown({
    credits: ["alice"],
    accounts: { alice: {}, bob: {} },
  });
  fleet.clock.now += MINUTE;
  const { fake } = fleet;
  fake.account("alice").queue.push(limit());
  fake.account("bob").queue.push(limit());
  await fleet.ask();
  await fake.seen((entry) =>
    entry.kind === "usage" && entry.done && entry.account === "alice"
  );
  assertEquals(
    fake.log.filter((entry) => entry.kind === "usage").map((entry) =>
      entry.account
    ),
    ["alice"],
    "who may not spend is not asked",
  );
});

test("rotator.fetch() leaves a plan without Codex alone for 30 minutes", async () => {
  await using fleet = await pair({
    status: 429,
    body: { error: { code: "usage_not_included" } },
  });
  assertEquals((await fleet.ask()).alias, "bob");
  assertEquals(await rowOf(fleet, "alice"), ["plan", 30 * MINUTE]);
});

const CREDIT_CODES = [
  "insufficient_quota",
  "credit_balance_exhausted",
  "organization_spend_limit_exceeded",
  "project_spend_limit_exceeded",
  "organization_usage_limit_exceeded",
];

test("rotator.fetch() takes a credit code on included usage as a limit of five minutes", async () => {
  for (const code of CREDIT_CODES) {
    await using fleet = await pair({
      status: 429,
      body: { error: { code, message: "No" } },
    });
    assertEquals((await fleet.ask()).alias, "bob");
    assertEquals([code, ...await rowOf(fleet, "alice")], [
      code,
      "exhausted",
      5 * MINUTE,
    ]);
  }
});

test("rotator.fetch() does not try refused credits again for five minutes, whatever usage says", async () => {
  for (const code of [...CREDIT_CODES, "usage_limit_reached"]) {
    await using fleet = await startKnown({
      accounts: { alice: { ...CREDITED, creditsRefused: code } },
    });
    const isUsable = async () =>
      (await fleet.rotator.status()).accounts[0]?.credits?.usable;
    assertEquals(await isUsable(), true);
    assertEquals((await fleet.ask()).status, 429);
    assertEquals([code, await isUsable()], [code, false]);
    assertEquals(
      fleet.fake.log.filter((entry) => entry.kind === "responses").length,
      1,
    );
    fleet.clock.now += 5 * MINUTE - 1;
    assertEquals((await fleet.ask()).status, 429);
    assertEquals(
      fleet.fake.log.filter((entry) => entry.kind === "responses").length,
      1,
    );
    fleet.fake.account("alice").creditsRefused = false;
    fleet.clock.now += 1;
    assertEquals([code, (await fleet.ask()).status], [code, 200]);
  }
});

test("rotator.fetch() never calls an account unconfirmed whose credits were just refused", async () => {
  await using fleet = await startKnown({
    accounts: { alice: { ...CREDITED, creditsRefused: "insufficient_quota" } },
  });
  await fleet.ask();
  fleet.fake.account("alice").usageAlways = { status: 500 };
  fleet.clock.now += 61_000;
  assertEquals((await fleet.ask()).status, 429);
  assertEquals(
    fleet.fake.log.filter((entry) => entry.kind === "responses").length,
    1,
  );
});

test("rotator.fetch() does not try an unconfirmed account's credits again for five minutes after they were refused", async () => {
  const refusals = [
    limit({ resets_in_seconds: 60 }),
    { status: 429, body: { error: { code: "insufficient_quota" } } },
  ];
  for (const refusal of refusals) {
    await using fleet = await startFleet({
      credits: "all",
      accounts: { alice: { usageAlways: { status: 500 }, queue: [refusal] } },
    });
    const sent = () => kindsOf(fleet).filter((it) => it === "responses:alice");
    assertEquals((await fleet.ask()).status, 429);
    assertEquals((await rowOf(fleet, "alice"))[0], "exhausted");
    for (const wait of [61_000, 4 * MINUTE - 1_001]) {
      fleet.clock.now += wait;
      assertEquals((await fleet.ask()).status, 429);
    }
    assertEquals(sent().length, 1);
    fleet.clock.now += 1;
    assertEquals((await fleet.ask()).status, 200);
    assertEquals(sent().length, 2);
  }
});

test("rotator.fetch() tells a limit without an end until all full windows have reset", async () => {
  const windows = (week: number) => [
    { seconds: 18_000, usedPercent: 100, resetAt: START + HOUR },
    { seconds: 604_800, usedPercent: week, resetAt: START + 3 * DAY },
  ];
  const headers = (week: number) => ({
    "x-codex-primary-used-percent": "100",
    "x-codex-primary-window-minutes": "300",
    "x-codex-primary-reset-at": String((START + HOUR) / 1000),
    "x-codex-secondary-used-percent": String(week),
    "x-codex-secondary-window-minutes": "10080",
    "x-codex-secondary-reset-at": String((START + 3 * DAY) / 1000),
  });
  for (const [week, until] of [[100, 3 * DAY], [99, HOUR]] as const) {
    for (const isTold of [true, false]) {
      await using fleet = await startKnown({
        accounts: {
          alice: { windows: windows(week), credits: { ...TEN_CREDITS } },
        },
      });
      const answer = isTold ? { headers: headers(week) } : {};
      fleet.fake.account("alice").queue.push({ ...limit(), ...answer });
      await fleet.ask();
      const ends = fleet.events.map((event) =>
        event.type === "cooldown" && event.cause.startsWith("usage-limit")
          ? event.until - START
          : 0
      );
      assertEquals([week, isTold, Math.max(...ends)], [week, isTold, until]);
    }
  }
});

test("rotator.fetch() pauses a throttled account for as long as it is told", async () => {
  const rows: [string, FakeAnswer, ms: number][] = [
    [
      "Retry-After",
      { status: 429, headers: { "retry-after": "17" }, body: {} },
      17_000,
    ],
    ["the text", {
      status: 429,
      body: {
        error: {
          code: "rate_limit_exceeded",
          message: "Please try again in 1.5s.",
        },
      },
    }, 1_500],
    ["the text, ms", {
      status: 429,
      body: {
        error: { code: "rate_limit_exceeded", message: "try again in 250ms" },
      },
    }, 250],
    ["nothing", { status: 429, body: "" }, MINUTE],
  ];
  for (const [why, answer, ms] of rows) {
    await using fleet = await pair(answer);
    const { status, alias } = await fleet.ask();
    assertEquals([why, status, alias], [why, 200, "bob"]);
    assertEquals([why, ...await rowOf(fleet, "alice")], [why, "cooldown", ms]);
    fleet.clock.now += ms;
    assertEquals((await rowOf(fleet, "alice"))[0], "included");
  }
});

test("rotator.fetch() returns as it came what says nothing about the account", async () => {
  const rows: FakeAnswer[] = [
    { status: 403, body: "<html>Just a moment</html>" },
    {
      status: 403,
      body: { error: { code: "forbidden", message: "Not here" } },
    },
    { status: 400, body: { detail: "Something else is wrong" } },
    { status: 402, body: { detail: "Pay first" } },
    { status: 404, body: { error: { message: "No such thing" } } },
    { status: 409, body: { error: "conflict" } },
    { status: 413, body: "too large" },
    { status: 422, body: "what?" },
    {
      status: 500,
      body: { error: { type: "server_error" } },
      headers: { "x-request-id": "req_1" },
    },
  ];
  for (const answer of rows) {
    await using fleet = await pair(answer);
    const { status, text, alias, response } = await fleet.ask();
    const sent = typeof answer.body === "string"
      ? answer.body
      : JSON.stringify(answer.body);
    assertEquals([status, text, alias], [answer.status, sent, "alice"]);
    assertEquals(
      response.headers.get("x-request-id"),
      answer.headers?.["x-request-id"] ?? null,
    );
    assertEquals(await rowOf(fleet, "alice"), ["included", null]);
    assertEquals(fleet.fake.log.length, 1);
  }
});

test("rotator.fetch() does not let an answer from before a limit clear it", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: {} },
  });
  const { fake, clock } = fleet;
  const held = Promise.withResolvers<void>();
  fake.account("alice").queue.push(
    { until: held.promise },
    limit({ resets_in_seconds: 3600 }),
  );
  const first = fleet.ask();
  await fake.seen((entry) => entry.kind === "responses");
  clock.now += 1_000;
  assertEquals((await fleet.ask()).status, 429);
  held.resolve();
  assertEquals((await first).status, 200);
  assertEquals(await rowOf(fleet, "alice"), ["exhausted", HOUR]);
});

test("rotator.fetch() lets usage end a limit early, and believes one that comes back", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: {} },
  });
  const { fake, clock } = fleet;
  fake.account("alice").queue.push(limit({ resets_in_seconds: 3600 }));
  assertEquals((await fleet.ask()).status, 429);
  assertEquals(fleet.usageCalls(), 0, "asked less than 60 s ago");
  clock.now += MINUTE;
  assertEquals((await fleet.ask()).status, 200);
  assertEquals(fleet.usageCalls(), 1);
  fake.account("alice").queue.push(limit({ resets_in_seconds: 3600 }));
  clock.now += MINUTE;
  assertEquals((await fleet.ask()).status, 429);
  clock.now += 10 * MINUTE;
  assertEquals(
    (await fleet.ask()).status,
    429,
    "usage cannot end it a second time",
  );
  assertEquals(
    fake.log.filter((entry) => entry.kind === "responses").length,
    3,
  );
  clock.now += 50 * MINUTE;
  assertEquals((await fleet.ask()).status, 200);
});

test("rotator.fetch() does not let usage that was asked for before a limit end it", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: {} },
  });
  const { fake, clock } = fleet;
  const held = Promise.withResolvers<void>();
  fake.account("alice").usageQueue.push({ until: held.promise });
  const refreshing = fleet.rotator.refresh();
  await fake.seen((entry) => entry.kind === "usage");
  fake.account("alice").queue.push(limit({ resets_in_seconds: 3600 }));
  clock.now += 1;
  assertEquals((await fleet.ask()).status, 429);
  held.resolve();
  await refreshing;
  assertEquals((await rowOf(fleet, "alice"))[0], "exhausted");
});

test("rotator.fetch() never lets usage end a throttle", async () => {
  await using fleet = await pair({
    status: 429,
    headers: { "retry-after": "600" },
    body: {},
  });
  await fleet.ask();
  fleet.clock.now += MINUTE;
  await fleet.rotator.refresh();
  assertEquals(await rowOf(fleet, "alice"), ["cooldown", 9 * MINUTE]);
});

test("rotator.refresh() goes on when its onProgress throws", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  const { accounts } = await fleet.rotator.refresh({
    onProgress() {
      throw new Error("not mine");
    },
  });
  assertEquals(accounts.map(({ ok }) => ok), [true, true]);
});

test("rotator.refresh() learns nothing from a usage endpoint that fails", async () => {
  for (const status of [403, 404, 429, 500, 503]) {
    await using fleet = await startKnown({
      accounts: { alice: { usageAlways: undefined } },
    });
    fleet.fake.account("alice").usageAlways = {
      status,
      body: { error: { message: "Your token has been invalidated" } },
    };
    const { accounts } = await fleet.rotator.refresh();
    const [row] = accounts;
    assertEquals([status, row?.ok, row?.tokenRefreshed, row?.standing], [
      status,
      false,
      false,
      "included",
    ]);
    assertMatch(accounts[0]?.error ?? "", new RegExp(String(status)));
  }
});

test("rotator.refresh() takes 401 and 402 from the usage endpoint as from the backend", async () => {
  await using fleet = await startKnown({
    accounts: { alice: {}, bob: {}, carol: {} },
  });
  fleet.fake.account("alice").usageQueue.push({ status: 401, body: {} });
  fleet.fake.account("bob").deactivated = true;
  fleet.fake.account("carol").rejectAll = true;
  const { accounts } = await fleet.rotator.refresh();
  assertEquals(accounts.map((row) => [row.ok, row.tokenRefreshed]), [
    [true, true],
    [false, false],
    [false, true],
  ]);
  assertEquals(await rowOf(fleet, "bob"), ["workspace", 30 * MINUTE]);
  assertEquals(await rowOf(fleet, "carol"), ["cooldown", 5 * MINUTE]);
});

test("rotator.fetch() writes at once what a response says of the other meter, so that other programs know", async () => {
  const full = (family: string) => ({
    [`${family}-primary-used-percent`]: "100",
    [`${family}-primary-window-minutes`]: "300",
    [`${family}-primary-reset-at`]: String((START + HOUR) / 1000),
  });
  const SPARK = "gpt-5.3-codex-spark";
  for (
    const [model, headers, other] of [
      ["gpt-5.5", full("x-codex-bengalfox"), SPARK],
      [
        SPARK,
        { ...full("x-codex"), "x-codex-active-limit": "codex" },
        "gpt-5.5",
      ],
    ] as const
  ) {
    await using fleet = await startKnown({
      credits: "none",
      accounts: { alice: { plan: "pro", queue: [{ headers }] } },
    });
    assertEquals((await fleet.ask({ model })).status, 200);
    await using second = createRotator({
      store: fleet.store,
      backend: fleet.fake.backend,
      now: () => fleet.clock.now,
    });
    const { accounts } = await second.status({ model: other });
    assertEquals([model, accounts[0]?.reason], [model, "exhausted"]);
  }
});

test("rotator.fetch() writes at once what the answer of another meter says of credits, so that other programs know", async () => {
  const model = "gpt-5.3-codex-spark";
  for (
    const [hasCredits, balance, standing] of [
      ["False", "0", "blocked"],
      ["False", "", "blocked"],
      ["True", "9", "credits"],
    ] as const
  ) {
    const headers = {
      "x-codex-credits-has-credits": hasCredits,
      "x-codex-credits-unlimited": "False",
      "x-codex-credits-balance": balance,
    };
    await using fleet = await startKnown({
      credits: "all",
      accounts: { alice: { ...CREDITED, plan: "pro", queue: [{ headers }] } },
    });
    assertEquals((await fleet.ask({ model })).status, 200);
    await using second = createRotator({
      store: fleet.store,
      backend: fleet.fake.backend,
      now: () => fleet.clock.now,
      credits: "all",
    });
    const { accounts } = await second.status();
    assertEquals([balance, accounts[0]?.standing], [balance, standing]);
  }
});

test("rotator.fetch() returns a 429 that is a page of HTML as it came, and holds it against no account", async () => {
  await using fleet = await pair({ status: 429, body: "<p>Slow down</p>" });
  const { status, alias, text } = await fleet.ask();
  assertEquals([status, alias, text], [429, "alice", "<p>Slow down</p>"]);
  assertEquals((await rowOf(fleet, "alice"))[0], "included");
});

test("rotator.fetch() takes a limit that a stream names no meter for as the main meter's, whatever the model", async () => {
  await using fleet = await startKnown({
    credits: "none",
    accounts: { alice: { plan: "pro" } },
  });
  const limits = {
    type: "codex.rate_limits",
    rate_limits: {
      limit_reached: true,
      primary: {
        used_percent: 100,
        window_minutes: 300,
        reset_at: START / 1000 + 600,
      },
    },
  };
  const model = "gpt-5.3-codex-spark";
  const added = { type: "response.output_item.added", item: {} };
  fleet.fake.account("alice").queue.push({ events: [limits, added] });
  assertEquals((await fleet.ask({ model })).status, 200);
  assertEquals((await rowOf(fleet, "alice"))[0], "exhausted");
  assertEquals((await fleet.ask()).status, 429);
  assertEquals((await fleet.ask({ model })).status, 200);
});
