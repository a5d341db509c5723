import { assertEquals, assertNotEquals } from "@std/assert";
import { assess } from "../../lib/pool/standing.ts";
import type { NormalRecord } from "../../lib/normal_types.ts";
import type { AccountRecord } from "../../lib/types.ts";
import { test } from "../test.ts";
import {
  account,
  answer,
  assessed,
  credits,
  DAY,
  headers,
  HOUR,
  MINUTE,
  noCredits,
  NOW,
  RESERVE,
  RESERVE_METER,
  SPARK,
  SPARK_METER,
  table,
  until,
  usage,
  verdict,
  window,
} from "./accounts.ts";

const forbidden = { allowed: false };
const open = { usage: usage([window(40)]) };
const full = { usage: usage([window(100)]) };
const pausing = (key: string, time: number, more: AccountRecord = open) =>
  account({ ...more, cooldowns: { [key]: until(time) } });

table("assess() blocks for what credits never lift", [
  ["nothing is wrong", "included", account(open)],
  ["disabled", "blocked:disabled", account({ ...open, enabled: false })],
  [
    "a sign-in is needed",
    "blocked:login",
    account({ ...open, auth: { invalidAt: NOW, reason: "x" } }),
  ],
  ["a null mark is none", "included", account({ ...open, auth: null })],
  [
    "no tokens",
    "blocked:login",
    account({ ...open, tokens: { access: "" } }),
  ],
  [
    "a refresh token alone",
    "included",
    account({ ...open, tokens: { access: "", refresh: "r" } }),
  ],
  [
    "an account id that no header carries",
    "blocked:login",
    account({ ...open, accountId: "a\n" }),
  ],
  ["workspace", "blocked:workspace", pausing("workspace", NOW + 1)],
  ["workspace, over", "included", pausing("workspace", NOW)],
  ["plan", "blocked:plan", pausing("plan", NOW + 1)],
  ["plan, over", "included", pausing("plan", NOW)],
  ["throttle", "blocked:cooldown", pausing("throttle", NOW + 1)],
  ["throttle, over", "included", pausing("throttle", NOW)],
  ["token", "blocked:cooldown", pausing("token", NOW + 1)],
  ["token, over", "included", pausing("token", NOW)],
  ["model", "blocked:model", pausing("model:m", NOW + 1), { model: "m" }],
  ["model, over", "included", pausing("model:m", NOW), { model: "m" }],
  ["another model", "included", pausing("model:m", NOW + 1), { model: "n" }],
  ["model unknown", "included", pausing("model:m", NOW + 1)],
]);

test("assess() names the first of several reasons", () => {
  const causes = ["workspace", "plan", "model:m", "throttle", "token"];
  const record = account({
    ...full,
    credits: credits(),
    enabled: false,
    auth: { invalidAt: NOW, reason: "x" },
    cooldowns: Object.fromEntries(
      causes.map((cause) => [cause, until(NOW + HOUR)]),
    ),
  });
  const found: string[] = [];
  const next = () => found.push(verdict(record, { model: "m" }));
  next();
  record.enabled = true;
  next();
  delete record.auth;
  for (const cause of causes) {
    next();
    delete record.cooldowns[cause];
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

test("assess() says until when a cooldown blocks, and the later of two", () => {
  const cooldowns = { throttle: until(NOW + HOUR), token: until(NOW + MINUTE) };
  const found = () => assessed(account({ ...open, cooldowns })).standing;
  const blocked = { kind: "blocked", reason: "cooldown" } as const;
  const cause = "throttle";
  assertEquals(found(), { ...blocked, until: NOW + HOUR, cause });
  cooldowns.token = until(NOW + 2 * HOUR);
  assertEquals(found(), { ...blocked, until: NOW + 2 * HOUR, cause: "token" });
});

table("assess() tells open from unknown by the age of the facts", [
  ["nothing seen", "unknown", account()],
  [
    "15 minutes",
    "included",
    account({ usage: answer(NOW - 15 * MINUTE, [window(1)]) }),
  ],
  [
    "longer",
    "unknown",
    account({ usage: answer(NOW - 15 * MINUTE - 1, [window(1)]) }),
  ],
  [
    "a minute ahead",
    "included",
    account({ usage: answer(NOW + MINUTE, [window(1)]) }),
  ],
  [
    "further ahead",
    "unknown",
    account({ usage: answer(NOW + MINUTE + 1, [window(1)]) }),
  ],
  ["headers alone", "included", account({ usage: headers(NOW, [window(1)]) })],
  [
    "headers of another meter",
    "unknown",
    account({ usage: headers(NOW, [window(1)], { meter: "other" }) }),
  ],
  [
    "the meter is not mentioned by an answer",
    "included",
    account({ usage: answer(NOW, [window(1)], { meter: "other" }) }),
  ],
  [
    "not mentioned by an old one",
    "unknown",
    account({ usage: answer(NOW - HOUR, [window(1)], { meter: "other" }) }),
  ],
]);

const old = { usage: answer(NOW - HOUR, [window(1)]) };
table(
  "assess() believes for a day that there are no credits, and nothing less",
  [
    ["none", "included", account({ ...old, credits: noCredits() })],
    [
      "24 hours ago",
      "included",
      account({ ...old, credits: noCredits({ observedAt: NOW - DAY }) }),
    ],
    [
      "longer ago",
      "unknown",
      account({ ...old, credits: noCredits({ observedAt: NOW - DAY - 1 }) }),
    ],
    [
      "from the future",
      "unknown",
      account({ ...old, credits: noCredits({ observedAt: NOW + MINUTE + 1 }) }),
    ],
    ["some", "unknown", account({ ...old, credits: credits() })],
    ["never seen", "unknown", account(old)],
    ...([
      ["unlimited", { unlimited: true }],
      ["one flag missing", { unlimited: null }],
      ["the other missing", { hasCredits: null }],
      ["malformed", { malformed: true }],
      ["a balance that is none", { balance: "lots" }],
    ] as const).map(([why, more]) =>
      [
        why,
        "unknown",
        account({ ...old, credits: noCredits(more) }),
      ] as const satisfies [string, string, NormalRecord]
    ),
    [
      "balance unknown",
      "included",
      account({ ...old, credits: noCredits({ balance: null }) }),
    ],
    ["no usage was ever seen", "unknown", account({ credits: noCredits() })],
  ],
);

const asked = (ago: number, more: AccountRecord = old) =>
  account({ ...more, usageCheck: { askedAt: NOW - ago } });
const lastSeen = (more: Parameters<typeof noCredits>[0]) => ({
  ...old,
  credits: noCredits({ observedAt: NOW - 365 * DAY, ...more }),
});
table(
  "assess() tells what an account is that is unknown and may not be asked",
  [
    ["just asked", "unconfirmed:unknown", asked(0)],
    ["60 s ago", "unknown", asked(MINUTE)],
    ["almost 60 s ago", "unconfirmed:unknown", asked(MINUTE - 1)],
    [
      "by a clock far ahead",
      "unknown",
      account({ ...old, usageCheck: { askedAt: NOW + HOUR } }),
    ],
    ["fresh facts need no asking", "included", asked(0, open)],
    [
      "forbidden, credits never seen",
      "unconfirmed:unknown",
      asked(0),
      forbidden,
    ],
    [
      "forbidden, last seen absent",
      "unconfirmed:unknown",
      asked(0, lastSeen({})),
      forbidden,
    ],
    [
      "forbidden, last seen present",
      "blocked:unknown",
      asked(0, lastSeen({ hasCredits: true })),
      forbidden,
    ],
    [
      "forbidden, last seen unlimited",
      "blocked:unknown",
      asked(0, lastSeen({ unlimited: true })),
      forbidden,
    ],
    [
      "forbidden, last seen malformed",
      "blocked:unknown",
      asked(0, lastSeen({ malformed: true })),
      forbidden,
    ],
    [
      "allowed, last seen present",
      "unconfirmed:unknown",
      asked(0, lastSeen({ hasCredits: true })),
    ],
    [
      "credits just refused",
      "blocked:unknown",
      asked(0, { ...old, cooldowns: { credits: until(NOW + 1) } }),
    ],
    [
      "credits just refused, forbidden",
      "blocked:unknown",
      asked(0, { ...old, cooldowns: { credits: until(NOW + 1) } }),
      forbidden,
    ],
    [
      "refused before",
      "unconfirmed:unknown",
      asked(0, { ...old, cooldowns: { credits: until(NOW) } }),
    ],
  ],
);

test("assess() says when an unknown account may be asked again", () => {
  for (const allowed of [true, false]) {
    const record = asked(20_000, lastSeen({ hasCredits: true }));
    const { standing, availableAt } = assessed(record, { allowed });
    const again = NOW + 40_000;
    assertEquals(["until" in standing && standing.until, availableAt], [
      again,
      again,
    ]);
    assertEquals(verdict(record, { allowed, now: again }), "unknown");
  }
});

test("assess() puts an account last seen open before credits, and no other that is unconfirmed", () => {
  const lapsed = {
    usage: answer(NOW - HOUR, [window(100, { resetsAt: NOW })]),
  };
  const doubted = {
    usage: { ...answer(NOW, [window(1)]), doubtedAt: NOW + 1 },
  };
  const rows: [why: string, index: number, record: NormalRecord][] = [
    ["last seen open", 1, asked(0)],
    ["exhausted until the clock ended it", 3, asked(0, lapsed)],
    ["never seen", 3, asked(0, {})],
    ["charged where nobody expected it", 3, asked(0, doubted)],
    ["exhausted, credits unknown", 3, account(full)],
    ["exhausted, credits usable", 2, account({ ...full, credits: credits() })],
    ["may be asked", 0, account(old)],
    ["included", 0, account(open)],
  ];
  for (const [why, index, record] of rows) {
    assertEquals([why, assessed(record).poolIndex], [why, index]);
  }
});

test("assess() doubts an account after an unexpected charge, until an answer asked for later", () => {
  const doubted = (answeredAt: number, more: AccountRecord = {}) =>
    account({
      usage: { ...answer(answeredAt, [window(1)]), doubtedAt: NOW },
      ...more,
    });
  const now = NOW + 1;
  assertEquals(verdict(doubted(NOW), { now }), "unknown");
  assertEquals(verdict(doubted(NOW, { credits: noCredits() })), "unknown");
  assertEquals(verdict(doubted(NOW + 1), { now }), "included");
});

test("assess() says that a cap is in the way where only that is, whether credits are known or not", () => {
  const verdictOf = (record: NormalRecord, creditsAllowed = true) => {
    const cap = { kind: "capped", until: NOW + HOUR } as const;
    return assess(record, { creditsAllowed, now: NOW, cap }).standing;
  };
  const capped = { kind: "blocked", reason: "capped", until: NOW + HOUR };
  const known = account({ ...full, credits: credits() });
  // who may not spend may be charged once where nothing was ever seen of its credits
  for (const record of [known, account(full), asked(0)]) {
    assertEquals<unknown>(verdictOf(record), capped);
  }
  assertEquals<unknown>(verdictOf(asked(0), false), capped);
  // whichever is first
  const sooner = usage([window(100, { resetsAt: NOW + MINUTE })]);
  assertEquals<unknown>(
    verdictOf(account({ usage: sooner, credits: credits() })),
    { ...capped, until: NOW + MINUTE },
  );
  for (
    const standing of [
      verdictOf(known, false),
      verdictOf(account(full), false),
      verdictOf(account(open)),
      verdictOf(asked(MINUTE)),
    ]
  ) assertNotEquals<unknown>(standing, capped);
});

const refused = { cooldowns: { credits: until(NOW + 1) } };
table("assess() lets credits stand in where that is allowed and sure", [
  ["usable", "credits", account({ ...full, credits: credits() })],
  [
    "forbidden",
    "blocked:exhausted",
    account({ ...full, credits: credits() }),
    forbidden,
  ],
  ["never seen", "unconfirmed:exhausted", account(full)],
  ["never seen, forbidden", "blocked:exhausted", account(full), forbidden],
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
    forbidden,
  ],
  ["used up", "blocked:exhausted", account({ ...full, credits: noCredits() })],
  [
    "just refused",
    "blocked:exhausted",
    account({ ...full, credits: credits(), ...refused }),
  ],
  [
    "just refused and old",
    "blocked:exhausted",
    account({ ...full, credits: credits({ observedAt: 0 }), ...refused }),
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
]);

/** The main meter used up, and another one used this much, percent. */
function meters(name: string, used: number, limitName?: string) {
  const other = {
    windows: [window(used)],
    ...(limitName && { name: limitName }),
  };
  return usage([window(100)], {
    meters: { codex: { windows: [window(100)] }, [name]: other },
  });
}
const spark = (used: number) => ({
  usage: meters(SPARK_METER, used),
  credits: credits(),
});
table(
  "assess() judges the Spark models by a meter of their own, never on credits",
  [
    ["open there", "included", account(spark(1)), { model: SPARK }],
    ["by prefix, case ignored", "included", account(spark(1)), {
      model: "GPT-5.3-Codex-Spark-High",
    }],
    ["full there", "blocked:exhausted", account(spark(100)), { model: SPARK }],
    ["other models", "credits", account(spark(1)), { model: "gpt-5.3-codex" }],
    ["model unknown", "credits", account(spark(1))],
    ["asked, without the meter", "blocked:plan", account(open), {
      model: SPARK,
    }],
    [
      "could not be asked, without the meter",
      "blocked:plan",
      account({ usageCheck: { askedAt: NOW, failedAt: NOW } }),
      { model: SPARK },
    ],
    ["never asked", "unknown", account(), { model: SPARK }],
    ["pro without it", "included", account({ ...open, plan: "pro" }), {
      model: SPARK,
    }],
    [
      "prolite is not pro",
      "blocked:plan",
      account({ ...open, plan: "prolite" }),
      {
        model: SPARK,
      },
    ],
    ["prolite with it", "included", account({ ...spark(1), plan: "prolite" }), {
      model: SPARK,
    }],
  ],
);

const lives = (meter: string) =>
  account({
    usage: { ...answer(NOW, [window(1)], { meter }), creditOnly: true },
    credits: credits(),
  });
const next = new Map([["gpt-7-next", "next_meter"]]);
table(
  "assess() judges a model with a meter of its own by that, and by nothing else",
  [
    [
      "the reserve is open",
      "included",
      account({ usage: meters(RESERVE_METER, 24) }),
      { model: RESERVE, ...forbidden },
    ],
    [
      "case ignored",
      "included",
      account({ usage: meters(RESERVE_METER, 24) }),
      { model: "GPT-Reserve", ...forbidden },
    ],
    [
      "the reserve is used up: no credits for it",
      "blocked:exhausted",
      account({ usage: meters(RESERVE_METER, 100), credits: credits() }),
      { model: RESERVE },
    ],
    [
      "asked, without the reserve: not the main meter",
      "blocked:plan",
      account({ ...open, plan: "pro", credits: credits() }),
      { model: RESERVE },
    ],
    ["never asked", "unknown", account(), { model: RESERVE }],
    [
      "only headers seen",
      "unknown",
      account({ usage: headers(NOW, [window(1)]) }),
      { model: RESERVE },
    ],
    [
      "a later meter by its limit_name",
      "included",
      account({ usage: meters("next_meter", 5) }),
      { model: "gpt-7-next", names: next, ...forbidden },
    ],
    [
      "a later meter that this account lacks",
      "blocked:plan",
      account(open),
      { model: "gpt-7-next", names: next },
    ],
    [
      "no account has such a meter: the main one",
      "included",
      account(open),
      { model: "gpt-7-next" },
    ],
    [
      "beside credits that pay for everything else",
      "included",
      lives(SPARK_METER),
      { model: SPARK, ...forbidden },
    ],
    ["everything else", "credits", lives(SPARK_METER), { model: "gpt-5.5" }],
  ],
);

test("assess() holds a pool for what says nothing about quota, as long as that lasts", () => {
  const at = (ms: number) => until(NOW + ms);
  const rows: [why: string, isHeld: boolean, NormalRecord][] = [
    ["throttle of 15 minutes", true, pausing("throttle", NOW + 15 * MINUTE)],
    ["a longer one", false, pausing("throttle", NOW + 15 * MINUTE + 1)],
    ["token", true, pausing("token", NOW + HOUR)],
    [
      "token, 15 minutes after one last worked",
      false,
      pausing("token", NOW + HOUR, {
        usage: usage([window(1)], { observedAt: NOW - 15 * MINUTE }),
        credits: noCredits(),
      }),
    ],
    [
      "a long throttle and a token",
      false,
      account({
        ...open,
        cooldowns: { throttle: at(16 * MINUTE), token: at(1) },
      }),
    ],
    ["exhausted as well", false, pausing("throttle", NOW + 1, full)],
    ["nothing known", true, pausing("throttle", NOW + 1, {})],
    [
      "disabled",
      false,
      pausing("throttle", NOW + 1, { ...open, enabled: false }),
    ],
    ["a refused model", false, pausing("model:m", NOW + 1)],
    ["serving", false, account(open)],
  ];
  for (const [why, isHeld, record] of rows) {
    const found = assessed(record, { model: "m" }).isBlockedTransiently;
    assertEquals([why, found], [why, isHeld]);
  }
});

test("assess() lets what costs nothing go to any account that is signed in and not pausing", () => {
  const rows: [why: string, serves: boolean, NormalRecord][] = [
    ["included", true, account(open)],
    ["used up", true, account({ ...full, credits: noCredits() })],
    ["nothing known", true, account()],
    ["plan", true, pausing("plan", NOW + 1)],
    ["model", true, pausing("model:m", NOW + 1)],
    ["disabled", false, account({ ...open, enabled: false })],
    ["login", false, account({ ...open, tokens: { access: "" } })],
    ["workspace", false, pausing("workspace", NOW + 1)],
    ["throttle", false, pausing("throttle", NOW + 1)],
    ["token", false, pausing("token", NOW + 1)],
  ];
  for (const [why, serves, record] of rows) {
    const { servesFree } = assessed(record, { model: "m", ...forbidden });
    assertEquals([why, servesFree], [why, serves]);
  }
});

test("assess() says when an account that waits for more than one thing can serve again", () => {
  const at = (more: AccountRecord, allowed = false) =>
    assessed(account(more), { allowed }).availableAt;
  const pause = { cooldowns: { throttle: until(NOW + MINUTE) } };
  assertEquals(at({ ...open, ...pause }), NOW + MINUTE);
  assertEquals(
    at({ ...full, credits: noCredits(), ...pause }),
    NOW + HOUR,
    "its quota comes back later",
  );
  assertEquals(
    at({ ...full, credits: credits(), ...pause }, true),
    NOW + MINUTE,
    "its credits pay as soon as the pause is over",
  );
  const untold = { usage: usage([window(100, { resetsAt: null })]) };
  assertEquals(at({ ...untold, ...pause }), null);
  const refused = { cooldowns: { credits: until(NOW + MINUTE) } };
  assertEquals(
    at({ ...full, credits: credits(), ...refused }, true),
    NOW + MINUTE,
    "its credits are tried again before the reset",
  );
  const soon = { usage: usage([window(100, { resetsAt: NOW + 1 })]) };
  const check = { usageCheck: { askedAt: NOW - 20_000 } };
  assertEquals(at({ ...soon, ...check }), NOW + 40_000, "it is asked first");
  assertEquals(at({ ...soon, ...check, credits: noCredits() }), NOW + 1);
});

test("assess() needs no more than the documented fields of a store", () => {
  const text = `{
    "accountId": "a", "plan": "plus", "enabled": true, "weight": 1,
    "tokens": { "access": "a", "refresh": "r", "id": "i",
      "expiresAt": ${NOW + DAY} },
    "usage": { "observedAt": ${NOW}, "meters": { "codex": { "allowed": true,
      "limitReached": true, "windows": [ { "usedPercent": 60,
        "windowSeconds": 18000, "resetsAt": ${NOW + MINUTE} } ] } } },
    "credits": { "observedAt": ${NOW}, "hasCredits": true,
      "unlimited": false, "balance": "12.5" },
    "cooldowns": {}, "requests": 0, "lastUsedAt": 0 }`;
  const record = account(JSON.parse(text));
  assertEquals(verdict(record), "credits");
  assertEquals(verdict(record, forbidden), "blocked:exhausted");
  assertEquals(
    verdict(record, { ...forbidden, now: NOW + MINUTE }),
    "unknown",
  );
});
