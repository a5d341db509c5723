import { assertEquals } from "@std/assert";
import { assess } from "../../lib/pool/standing.ts";
import type { AccountRecord } from "../../lib/types.ts";
import {
  account,
  credits,
  DAY,
  HOUR,
  judge,
  MINUTE,
  noCredits,
  NOW,
  type Query,
  SECOND,
  until,
  usage,
  verdict,
  window,
} from "./accounts.ts";

const SPARK = "gpt-5.3-codex-spark";
const SPARK_METER = "codex_bengalfox";

type Row = [why: string, expected: string, AccountRecord, Query?];

function table(name: string, rows: Row[]): void {
  Deno.test(`assess() ${name}`, () => {
    for (const [why, expected, record, query] of rows) {
      assertEquals([why, verdict(record, query)], [why, expected]);
    }
  });
}

const open = { usage: usage([window(40)]) };
const full = { usage: usage([window(100)]) };

table("blocks what credits never lift, in this order", [
  ["nothing is wrong", "included", account(open)],
  ["disabled", "blocked:disabled", account({ ...open, enabled: false })],
  [
    "login",
    "blocked:login",
    account({ ...open, auth: { invalidAt: NOW, reason: "x" } }),
  ],
  ["login, without tokens", "blocked:login", { ...open }],
  ["a null mark is none", "included", account({ ...open, auth: null })],
  [
    "workspace",
    "blocked:workspace",
    account({ ...open, cooldowns: { workspace: until(NOW + 1) } }),
  ],
  [
    "workspace, over",
    "included",
    account({ ...open, cooldowns: { workspace: until(NOW) } }),
  ],
  [
    "plan",
    "blocked:plan",
    account({ ...open, cooldowns: { plan: until(NOW + 1) } }),
  ],
  [
    "plan, over",
    "included",
    account({ ...open, cooldowns: { plan: until(NOW) } }),
  ],
  [
    "throttle",
    "blocked:cooldown",
    account({ ...open, cooldowns: { throttle: until(NOW + 1) } }),
  ],
  [
    "throttle, over",
    "included",
    account({ ...open, cooldowns: { throttle: until(NOW) } }),
  ],
  [
    "token",
    "blocked:cooldown",
    account({ ...open, cooldowns: { token: until(NOW + 1) } }),
  ],
  [
    "token, over",
    "included",
    account({ ...open, cooldowns: { token: until(NOW) } }),
  ],
]);

Deno.test("assess() names the first of several reasons", () => {
  const record = account({
    ...full,
    credits: credits(),
    enabled: false,
    auth: { invalidAt: NOW, reason: "x" },
    cooldowns: {
      workspace: until(NOW + HOUR),
      plan: until(NOW + HOUR),
      "model:m": until(NOW + HOUR),
      throttle: until(NOW + HOUR),
      token: until(NOW + HOUR),
    },
  });
  const found: string[] = [];
  const next = () => found.push(verdict(record, { model: "m" }));
  next();
  record.enabled = true;
  next();
  delete record.auth;
  for (const key of ["workspace", "plan", "model:m", "throttle", "token"]) {
    next();
    delete record.cooldowns![key];
  }
  next();
  assertEquals(found, [
    "blocked:disabled",
    "blocked:login",
    "blocked:workspace",
    "blocked:plan",
    "blocked:model",
    "blocked:cooldown",
    "blocked:cooldown",
    "credits",
  ]);
});

table("blocks a model for an account without touching others", [
  [
    "this one",
    "blocked:model",
    account({ ...open, cooldowns: { "model:m": until(NOW + 1) } }),
    { model: "m" },
  ],
  [
    "over",
    "included",
    account({ ...open, cooldowns: { "model:m": until(NOW) } }),
    { model: "m" },
  ],
  [
    "another",
    "included",
    account({ ...open, cooldowns: { "model:m": until(NOW + 1) } }),
    { model: "n" },
  ],
  [
    "unknown",
    "included",
    account({ ...open, cooldowns: { "model:m": until(NOW + 1) } }),
  ],
]);

Deno.test("assess() says until when a cooldown blocks, and the later of two", () => {
  const cooldowns = {
    throttle: until(NOW + 20_000),
    token: until(NOW + 60_000),
  };
  assertEquals(judge(account({ ...open, cooldowns })), {
    kind: "blocked",
    reason: "cooldown",
    until: NOW + 60_000,
    cause: "token",
  });
});

table("calls a meter exhausted by its windows", [
  ["just below", "included", account({ usage: usage([window(99.9)]) })],
  ["full", "blocked:exhausted", account(full), { allowed: false }],
  ["over full", "blocked:exhausted", account({ usage: usage([window(130)]) }), {
    allowed: false,
  }],
  [
    "any window counts",
    "blocked:exhausted",
    account({
      usage: usage([window(1), window(100, { windowSeconds: 604_800 })]),
    }),
    { allowed: false },
  ],
  [
    "a millisecond before the reset",
    "blocked:exhausted",
    account({ usage: usage([window(100, { resetsAt: NOW + 1 })]) }),
    { allowed: false },
  ],
  [
    "at the reset",
    "included",
    account({ usage: usage([window(100, { resetsAt: NOW })]) }),
    { allowed: false },
  ],
  [
    "one of two has reset",
    "blocked:exhausted",
    account({
      usage: usage([
        window(100, { resetsAt: NOW }),
        window(100, { windowSeconds: 604_800 }),
      ]),
    }),
    { allowed: false },
  ],
  [
    "reset unknown, within 15 minutes",
    "blocked:exhausted",
    account({
      usage: usage([window(100, { resetsAt: null })], {
        observedAt: NOW - 15 * MINUTE + 1,
      }),
    }),
    { allowed: false },
  ],
  [
    "reset unknown, 15 minutes and no more",
    "blocked:exhausted",
    account({
      usage: usage([window(100, { resetsAt: null })], {
        observedAt: NOW - 15 * MINUTE,
      }),
    }),
    { allowed: false },
  ],
  [
    "reset unknown, later",
    "unknown",
    account({
      usage: usage([window(100, { resetsAt: null })], {
        observedAt: NOW - 15 * MINUTE - 1,
      }),
    }),
    { allowed: false },
  ],
  [
    "old facts, reset to come",
    "blocked:exhausted",
    account({ usage: usage([window(100)], { observedAt: NOW - 3 * HOUR }) }),
    { allowed: false },
  ],
  [
    "old facts, reset passed",
    "unknown",
    account({
      usage: usage([window(100, { resetsAt: NOW })], {
        observedAt: NOW - 3 * HOUR,
      }),
    }),
    { allowed: false },
  ],
]);

const said = { meter: { limitReached: true } };
table("calls a meter exhausted by what the backend said of it", [
  [
    "limit_reached",
    "blocked:exhausted",
    account({ usage: usage([window(40)], said) }),
    { allowed: false },
  ],
  [
    "allowed: false",
    "blocked:exhausted",
    account({ usage: usage([window(40)], { meter: { allowed: false } }) }),
    { allowed: false },
  ],
  [
    "neither",
    "included",
    account({
      usage: usage([window(40)], {
        meter: { allowed: true, limitReached: false },
      }),
    }),
    { allowed: false },
  ],
  [
    "unknown",
    "included",
    account({
      usage: usage([window(40)], {
        meter: { allowed: null, limitReached: null },
      }),
    }),
    { allowed: false },
  ],
  [
    "the full window decides: running",
    "blocked:exhausted",
    account({
      usage: usage([window(100), window(99, { resetsAt: NOW - 1 })], said),
    }),
    { allowed: false },
  ],
  [
    "the full window decides: reset",
    "included",
    account({
      usage: usage([
        window(100, { resetsAt: NOW }),
        window(99, { windowSeconds: 604_800 }),
      ], said),
    }),
    { allowed: false },
  ],
  [
    "else the fullest one: running",
    "blocked:exhausted",
    account({
      usage: usage([
        window(3, { resetsAt: NOW }),
        window(80, { windowSeconds: 604_800 }),
      ], said),
    }),
    { allowed: false },
  ],
  [
    "else the fullest one: reset",
    "included",
    account({
      usage: usage([
        window(80, { resetsAt: NOW }),
        window(3, { windowSeconds: 604_800 }),
      ], said),
    }),
    { allowed: false },
  ],
  [
    "two equally full: any may be meant",
    "blocked:exhausted",
    account({
      usage: usage([
        window(80, { resetsAt: NOW }),
        window(80, { windowSeconds: 604_800 }),
      ], said),
    }),
    { allowed: false },
  ],
  [
    "fullest without a reset, 15 minutes",
    "blocked:exhausted",
    account({
      usage: usage([window(80, { resetsAt: null })], {
        ...said,
        observedAt: NOW - 15 * MINUTE,
      }),
    }),
    { allowed: false },
  ],
  [
    "fullest without a reset, later",
    "unknown",
    account({
      usage: usage([window(80, { resetsAt: null })], {
        ...said,
        observedAt: NOW - 15 * MINUTE - 1,
      }),
    }),
    { allowed: false },
  ],
  [
    "no windows, 15 minutes",
    "blocked:exhausted",
    account({ usage: usage([], { ...said, observedAt: NOW - 15 * MINUTE }) }),
    { allowed: false },
  ],
  [
    "no windows, later",
    "unknown",
    account({
      usage: usage([], { ...said, observedAt: NOW - 15 * MINUTE - 1 }),
    }),
    { allowed: false },
  ],
  [
    "all windows that were full have to reset",
    "blocked:exhausted",
    account({
      usage: usage([
        window(100, { resetsAt: NOW }),
        window(100, { windowSeconds: 604_800 }),
      ], said),
    }),
    { allowed: false },
  ],
]);

Deno.test("assess() judges a said limit by the windows as they stood then", () => {
  const then = [window(100, { resetsAt: NOW + HOUR })];
  const seen = (limit: { observedAt: number; windows: typeof then } | null) =>
    account({
      usage: usage([window(2)], { meter: { limitReached: true, limit } }),
    });
  const limit = { observedAt: NOW - HOUR, windows: then };
  assertEquals(verdict(seen(limit), { allowed: false }), "blocked:exhausted");
  assertEquals(
    verdict(seen(limit), { allowed: false, now: NOW + HOUR }),
    "unknown",
  );
});

function modelUsage(
  available: boolean,
  availableAt: number | null,
  creditsWouldEnable: boolean | null = null,
) {
  return usage([window(1)], {
    modelUsage: { m: { available, availableAt, creditsWouldEnable } },
  });
}

table("calls a model exhausted where the backend says it is unavailable", [
  [
    "until later",
    "credits",
    account({ usage: modelUsage(false, NOW + 1), credits: credits() }),
    { model: "m" },
  ],
  [
    "time passed",
    "included",
    account({ usage: modelUsage(false, NOW), credits: credits() }),
    { model: "m" },
  ],
  [
    "no time known",
    "credits",
    account({ usage: modelUsage(false, null), credits: credits() }),
    { model: "m" },
  ],
  [
    "available",
    "included",
    account({ usage: modelUsage(true, NOW + 1), credits: credits() }),
    { model: "m" },
  ],
  [
    "another model",
    "included",
    account({ usage: modelUsage(false, NOW + 1), credits: credits() }),
    { model: "n" },
  ],
  [
    "credits would not help",
    "blocked:exhausted",
    account({ usage: modelUsage(false, NOW + 1, false), credits: credits() }),
    { model: "m" },
  ],
  [
    "credits would help",
    "credits",
    account({ usage: modelUsage(false, NOW + 1, true), credits: credits() }),
    { model: "m" },
  ],
  [
    "a name every object has",
    "included",
    account({ usage: modelUsage(false, NOW + 1), credits: credits() }),
    { model: "constructor" },
  ],
]);

table("calls a meter exhausted while its usage-limit cooldown runs", [
  [
    "main",
    "blocked:exhausted",
    account({ ...open, cooldowns: { "usage-limit:codex": until(NOW + 1) } }),
    { allowed: false },
  ],
  [
    "over",
    "included",
    account({ ...open, cooldowns: { "usage-limit:codex": until(NOW) } }),
    { allowed: false },
  ],
  [
    "without any usage seen",
    "blocked:exhausted",
    account({ cooldowns: { "usage-limit:codex": until(NOW + 1) } }),
    { allowed: false },
  ],
  [
    "another meter",
    "included",
    account({
      ...open,
      cooldowns: { [`usage-limit:${SPARK_METER}`]: until(NOW + 1) },
    }),
    { allowed: false },
  ],
  [
    "it is about quota: credits stand in",
    "credits",
    account({
      ...open,
      credits: credits(),
      cooldowns: { "usage-limit:codex": until(NOW + 1) },
    }),
  ],
]);

const creditOnly = { observedAt: NOW, meters: {}, creditOnly: true };
table("knows that an account without an allowance is charged for everything", [
  ["fresh", "credits", account({ usage: creditOnly, credits: credits() })],
  [
    "a year old",
    "unconfirmed:exhausted",
    account({
      usage: { ...creditOnly, observedAt: NOW - 365 * DAY },
      credits: credits({ observedAt: NOW - 365 * DAY }),
    }),
  ],
  [
    "forbidden",
    "blocked:exhausted",
    account({ usage: creditOnly, credits: credits() }),
    { allowed: false },
  ],
  [
    "forbidden, a year old",
    "blocked:exhausted",
    account({ usage: { ...creditOnly, observedAt: NOW - 365 * DAY } }),
    { allowed: false },
  ],
  [
    "the twin that has an allowance",
    "included",
    account({
      usage: { ...creditOnly, creditOnly: false },
      credits: credits(),
    }),
    { allowed: false },
  ],
]);

table("tells open from unknown by the age of the facts", [
  ["nothing seen", "unknown", account()],
  [
    "15 minutes",
    "included",
    account({ usage: usage([window(1)], { observedAt: NOW - 15 * MINUTE }) }),
  ],
  [
    "a millisecond more",
    "unknown",
    account({
      usage: usage([window(1)], { observedAt: NOW - 15 * MINUTE - 1 }),
    }),
  ],
  [
    "a minute ahead",
    "included",
    account({ usage: usage([window(1)], { observedAt: NOW + MINUTE }) }),
  ],
  [
    "a millisecond more ahead",
    "unknown",
    account({ usage: usage([window(1)], { observedAt: NOW + MINUTE + 1 }) }),
  ],
  [
    "the meter is not mentioned",
    "included",
    account({ usage: { observedAt: NOW, meters: {} } }),
  ],
  [
    "not mentioned, old",
    "unknown",
    account({ usage: { observedAt: NOW - HOUR, meters: {} } }),
  ],
]);

const old = { usage: usage([window(1)], { observedAt: NOW - HOUR }) };
table("believes for a day that an account has no credits, and nothing less", [
  ["no credits", "included", account({ ...old, credits: noCredits() })],
  [
    "24 hours",
    "included",
    account({ ...old, credits: noCredits({ observedAt: NOW - DAY }) }),
  ],
  [
    "a millisecond more",
    "unknown",
    account({ ...old, credits: noCredits({ observedAt: NOW - DAY - 1 }) }),
  ],
  [
    "from the future",
    "unknown",
    account({ ...old, credits: noCredits({ observedAt: NOW + MINUTE + 1 }) }),
  ],
  ["some", "unknown", account({ ...old, credits: credits() })],
  [
    "unlimited",
    "unknown",
    account({ ...old, credits: noCredits({ unlimited: true }) }),
  ],
  [
    "one flag missing",
    "unknown",
    account({ ...old, credits: noCredits({ unlimited: null }) }),
  ],
  [
    "the other missing",
    "unknown",
    account({ ...old, credits: noCredits({ hasCredits: null }) }),
  ],
  [
    "malformed",
    "unknown",
    account({ ...old, credits: noCredits({ malformed: true }) }),
  ],
  [
    "a balance that is none",
    "unknown",
    account({ ...old, credits: noCredits({ balance: "lots" }) }),
  ],
  [
    "balance unknown",
    "included",
    account({ ...old, credits: noCredits({ balance: null }) }),
  ],
  ["no usage was ever seen", "unknown", account({ credits: noCredits() })],
]);

const failed = (ago: number) => ({
  usageCheck: { askedAt: NOW - ago, failedAt: NOW - ago },
});
table("tells what an unanswered usage check means", [
  [
    "just failed, may spend",
    "unconfirmed:unknown",
    account({ ...old, ...failed(0) }),
  ],
  ["60 s ago", "unconfirmed:unknown", account({ ...old, ...failed(MINUTE) })],
  ["longer ago", "unknown", account({ ...old, ...failed(MINUTE + 1) })],
  [
    "it did not fail",
    "unknown",
    account({ ...old, usageCheck: { askedAt: NOW } }),
  ],
  ["forbidden, never seen", "unconfirmed:unknown", account(failed(0)), {
    allowed: false,
  }],
  [
    "forbidden, last seen absent",
    "unconfirmed:unknown",
    account({
      ...old,
      ...failed(0),
      credits: noCredits({ observedAt: NOW - 2 * DAY }),
    }),
    { allowed: false },
  ],
  [
    "forbidden, last seen present",
    "blocked:unknown",
    account({ ...old, ...failed(0), credits: credits() }),
    { allowed: false },
  ],
  [
    "forbidden, last seen present a year ago",
    "blocked:unknown",
    account({
      ...old,
      ...failed(0),
      credits: credits({ observedAt: NOW - 365 * DAY }),
    }),
    { allowed: false },
  ],
  [
    "forbidden, last seen unlimited",
    "blocked:unknown",
    account({ ...old, ...failed(0), credits: noCredits({ unlimited: true }) }),
    { allowed: false },
  ],
  [
    "forbidden, last seen malformed",
    "blocked:unknown",
    account({ ...old, ...failed(0), credits: noCredits({ malformed: true }) }),
    { allowed: false },
  ],
  [
    "the twin that may spend",
    "unconfirmed:unknown",
    account({
      ...old,
      ...failed(0),
      credits: credits({ observedAt: NOW - 365 * DAY }),
    }),
  ],
  ["fresh facts need no check", "included", account({ ...open, ...failed(0) })],
]);

table(
  "lets credits stand in for the main meter only where that is allowed and sure",
  [
    ["usable", "credits", account({ ...full, credits: credits() })],
    [
      "forbidden",
      "blocked:exhausted",
      account({ ...full, credits: credits() }),
      { allowed: false },
    ],
    ["never seen", "unconfirmed:exhausted", account(full)],
    ["never seen, forbidden", "blocked:exhausted", account(full), {
      allowed: false,
    }],
    [
      "15 minutes old",
      "credits",
      account({ ...full, credits: credits({ observedAt: NOW - 15 * MINUTE }) }),
    ],
    [
      "older",
      "unconfirmed:exhausted",
      account({
        ...full,
        credits: credits({ observedAt: NOW - 15 * MINUTE - 1 }),
      }),
    ],
    [
      "older, forbidden",
      "blocked:exhausted",
      account({ ...full, credits: credits({ observedAt: NOW - HOUR }) }),
      { allowed: false },
    ],
    [
      "used up",
      "blocked:exhausted",
      account({ ...full, credits: noCredits() }),
    ],
    [
      "just refused",
      "blocked:exhausted",
      account({
        ...full,
        credits: credits(),
        cooldowns: { credits: until(NOW + 1) },
      }),
    ],
    [
      "just refused and old",
      "blocked:exhausted",
      account({
        ...full,
        credits: credits({ observedAt: NOW - HOUR }),
        cooldowns: { credits: until(NOW + 1) },
      }),
    ],
    [
      "refused before",
      "credits",
      account({
        ...full,
        credits: credits(),
        cooldowns: { credits: until(NOW) },
      }),
    ],
  ],
);

table("never calls an account unconfirmed whose credits were just refused", [
  [
    "may spend",
    "blocked:unknown",
    account({ ...old, ...failed(0), cooldowns: { credits: until(NOW + 1) } }),
  ],
  [
    "forbidden",
    "blocked:unknown",
    account({ ...old, ...failed(0), cooldowns: { credits: until(NOW + 1) } }),
    { allowed: false },
  ],
  [
    "the twin a moment later",
    "unconfirmed:unknown",
    account({ ...old, ...failed(0), cooldowns: { credits: until(NOW) } }),
  ],
]);

const sparkUsage = (used: number) => ({
  observedAt: NOW,
  meters: {
    codex: { windows: [window(100)] },
    [SPARK_METER]: { windows: [window(used)] },
  },
});
table("judges the Spark models by a meter of their own", [
  ["open there", "included", account({ usage: sparkUsage(1) }), {
    model: SPARK,
    allowed: false,
  }],
  ["and by prefix", "included", account({ usage: sparkUsage(1) }), {
    model: `${SPARK}-high`,
    allowed: false,
  }],
  ["other models", "blocked:exhausted", account({ usage: sparkUsage(1) }), {
    model: "gpt-5.3-codex",
    allowed: false,
  }],
  ["model unknown", "blocked:exhausted", account({ usage: sparkUsage(1) }), {
    allowed: false,
  }],
  [
    "full there: credits never stand in",
    "blocked:exhausted",
    account({ usage: sparkUsage(100), credits: credits() }),
    { model: SPARK },
  ],
  [
    "the twin on the main meter",
    "credits",
    account({ usage: sparkUsage(100), credits: credits() }),
    { model: "gpt-5.3-codex" },
  ],
  ["plus without the meter", "blocked:plan", account(open), { model: SPARK }],
  ["pro without the meter", "included", account({ ...open, plan: "pro" }), {
    model: SPARK,
  }],
  [
    "prolite is not pro",
    "blocked:plan",
    account({ ...open, plan: "prolite" }),
    { model: SPARK },
  ],
  [
    "prolite with the meter",
    "included",
    account({ usage: sparkUsage(1), plan: "prolite" }),
    { model: SPARK },
  ],
]);

Deno.test("assess() says when all blocking windows have reset, null where that is unknown", () => {
  const untilOf = (windows: ReturnType<typeof window>[]) => {
    const found = judge(account({ usage: usage(windows) }), { allowed: false });
    return found.kind === "blocked" ? found.until : undefined;
  };
  const week = { windowSeconds: 604_800, resetsAt: NOW + 3 * DAY };
  assertEquals(untilOf([window(100), window(50, week)]), NOW + HOUR);
  assertEquals(untilOf([window(100), window(100, week)]), NOW + 3 * DAY);
  assertEquals(untilOf([window(100), window(100, { resetsAt: null })]), null);
});

Deno.test("assess() disbelieves a cooldown that no backend could have set", () => {
  const cooldowns = {
    throttle: { until: NOW + 400 * DAY, setAt: NOW + 399 * DAY },
  };
  assertEquals(verdict(account({ ...open, cooldowns })), "included");
  const possible = { throttle: until(NOW + 34 * DAY) };
  assertEquals(
    verdict(account({ ...open, cooldowns: possible })),
    "blocked:cooldown",
  );
});

Deno.test("assess() believes a cooldown of which nobody knows when it was set", () => {
  const entry = { until: NOW + MINUTE, setAt: 0 };
  for (const cause of ["throttle", "usage-limit:codex"]) {
    const record = account({ ...open, cooldowns: { [cause]: entry } });
    const blocked = judge(record, { allowed: false });
    assertEquals([cause, blocked.kind], [cause, "blocked"]);
    assertEquals(verdict(record, { now: entry.until }), "included");
  }
});

Deno.test("assess() needs no more than the documented fields of a store", () => {
  const record: AccountRecord = JSON.parse(`{
    "accountId": "a", "plan": "plus", "enabled": true, "weight": 1,
    "tokens": { "access": "a", "refresh": "r", "id": "i", "expiresAt": ${
    NOW + DAY
  } },
    "usage": { "observedAt": ${NOW}, "meters": { "codex": { "allowed": true,
      "limitReached": true, "windows": [
        { "usedPercent": 60, "windowSeconds": 18000, "resetsAt": ${
    NOW + SECOND
  } } ] } } },
    "credits": { "observedAt": ${NOW}, "hasCredits": true, "unlimited": false, "balance": "12.5" },
    "cooldowns": {}, "requests": 0, "lastUsedAt": 0 }`);
  assertEquals(verdict(record), "credits");
  assertEquals(verdict(record, { allowed: false }), "blocked:exhausted");
  assertEquals(
    verdict(record, { now: NOW + SECOND, allowed: false }),
    "included",
  );
});

Deno.test("assess() believes a cooldown of which nobody knows when it was set, however far it reaches", () => {
  const far = { until: NOW + 40 * DAY, setAt: 0 };
  const cooldowns = (key: string) =>
    account({ ...open, cooldowns: { [key]: far } });
  assertEquals(
    verdict(cooldowns("usage-limit:codex"), { allowed: false }),
    "blocked:exhausted",
  );
  assertEquals(verdict(cooldowns("workspace")), "blocked:workspace");
  const spent = account({
    ...full,
    credits: credits(),
    cooldowns: { credits: far },
  });
  assertEquals(verdict(spent), "blocked:exhausted");
  const over = { until: NOW - 1, setAt: 0 };
  assertEquals(
    verdict(account({ ...open, cooldowns: { workspace: over } })),
    "included",
  );
});

Deno.test("assess() says when an account frees up that waits for more than one thing", () => {
  const freesUpAt = (record: AccountRecord, creditsAllowed = false) =>
    assess(record, { creditsAllowed, now: NOW }).availableAt;
  const pause = { throttle: until(NOW + MINUTE) };
  const exhausted = { usage: usage([window(100)]), credits: noCredits() };
  assertEquals(freesUpAt(account({ ...open, cooldowns: pause })), NOW + MINUTE);
  assertEquals(
    freesUpAt(account({ ...exhausted, cooldowns: pause })),
    NOW + HOUR,
  );
  // its credits pay as soon as the pause is over
  assertEquals(
    freesUpAt(account({ ...full, credits: credits(), cooldowns: pause }), true),
    NOW + MINUTE,
  );
  const unknown = usage([window(100, { resetsAt: null })]);
  assertEquals(
    freesUpAt(account({ usage: unknown, cooldowns: pause })),
    null,
  );
});
