import { assertEquals } from "@std/assert";
import type { ModelUsage } from "../../lib/types.ts";
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
  quota,
  type Row,
  SECOND,
  SPARK_METER,
  table,
  until,
  usage,
  WEEK,
  window,
} from "./accounts.ts";

const forbidden = { allowed: false };
/** An account seen at that time (epoch ms) with these windows. */
const seen = (at: number, ...windows: ReturnType<typeof window>[]) =>
  account({ usage: usage(windows, { observedAt: at }) });
/** The same row for an account that was seen without credits: it may guess. */
const withoutCredits = ([why, expected, record, query]: Row): Row => [
  `${why}, no credits`,
  expected,
  { ...record, credits: noCredits() },
  query,
];

table("assess() calls a meter exhausted while a window at 100 % runs", [
  ["just below", "included", seen(NOW, window(99.9)), forbidden],
  ["full", "blocked:exhausted", seen(NOW, window(100)), forbidden],
  ["over full", "blocked:exhausted", seen(NOW, window(130)), forbidden],
  [
    "one of two",
    "blocked:exhausted",
    seen(NOW, window(1), window(100, WEEK)),
    forbidden,
  ],
  [
    "a millisecond before its reset",
    "blocked:exhausted",
    seen(NOW, window(100, { resetsAt: NOW + 1 })),
    forbidden,
  ],
  [
    "old facts, reset to come",
    "blocked:exhausted",
    seen(NOW - 3 * HOUR, window(100)),
    forbidden,
  ],
  [
    "reset unknown, 15 minutes",
    "blocked:exhausted",
    seen(NOW - 15 * MINUTE, window(100, { resetsAt: null })),
    forbidden,
  ],
  [
    "one of two has reset",
    "blocked:exhausted",
    seen(NOW, window(100, { resetsAt: NOW }), window(100, WEEK)),
    forbidden,
  ],
]);

table("assess() lets the clock alone open nothing that can be charged", [
  [
    "a window has reset",
    "unknown",
    seen(NOW - MINUTE, window(100, { resetsAt: NOW })),
    forbidden,
  ],
  [
    "its reset had passed already",
    "unknown",
    seen(NOW, window(100, { resetsAt: NOW - HOUR })),
    forbidden,
  ],
  [
    "reset unknown, longer than 15 minutes",
    "unknown",
    seen(NOW - 15 * MINUTE - 1, window(100, { resetsAt: null })),
    forbidden,
  ],
  [
    "reset unknown, while another window was seen since",
    "unknown",
    account({
      usage: usage([
        window(100, { resetsAt: null, observedAt: NOW - HOUR }),
        window(3, WEEK),
      ]),
    }),
    forbidden,
  ],
  [
    "a refused window below 100 % has reset",
    "unknown",
    account({
      usage: usage([window(80, { resetsAt: NOW })], {
        observedAt: NOW - MINUTE,
        meter: { limitReached: true },
      }),
    }),
    forbidden,
  ],
  [
    "a usage limit is over",
    "unknown",
    account({
      usage: usage([window(40)], { observedAt: NOW - MINUTE }),
      cooldowns: { "usage-limit:codex": until(NOW) },
    }),
    forbidden,
  ],
  [
    "a model is back",
    "unknown",
    account({ usage: models({ available: false, availableAt: NOW }) }),
    { ...forbidden, model: "m" },
  ],
]);

table(
  "assess() lets the clock open what was seen without credits in the last 24 hours",
  [
    withoutCredits([
      "a window has reset",
      "included",
      seen(NOW - MINUTE, window(100, { resetsAt: NOW })),
    ]),
    withoutCredits([
      "one that has not",
      "blocked:exhausted",
      seen(NOW - MINUTE, window(100, { resetsAt: NOW + 1 })),
    ]),
    withoutCredits([
      "a usage limit is over",
      "included",
      account({
        usage: usage([window(40)]),
        cooldowns: { "usage-limit:codex": until(NOW) },
      }),
    ]),
    withoutCredits([
      "a model is back",
      "included",
      account({ usage: models({ available: false, availableAt: NOW }) }),
      { model: "m" },
    ]),
    [
      "no credits 24 hours ago",
      "included",
      {
        ...seen(NOW - MINUTE, window(100, { resetsAt: NOW })),
        credits: noCredits({ observedAt: NOW - DAY }),
      },
    ],
    [
      "longer ago",
      "unknown",
      {
        ...seen(NOW - MINUTE, window(100, { resetsAt: NOW })),
        credits: noCredits({ observedAt: NOW - DAY - 1 }),
      },
    ],
  ],
);

test("assess() opens a meter again by an observation after its reset that shows it open", () => {
  const full = answer(NOW - MINUTE, [window(100, { resetsAt: NOW })]);
  const fresh = window(1, { resetsAt: NOW + 5 * HOUR });
  assertEquals(quota(full), "unknown");
  assertEquals(quota(answer(NOW, [fresh])), "included");
  assertEquals(quota(headers(NOW, [fresh])), "included");
  const limited = (at: number) =>
    account({
      usage: answer(at, [window(40)]),
      cooldowns: { "usage-limit:codex": until(NOW - SECOND) },
    });
  const rows: Row[] = [
    ["seen before the end", "unknown", limited(NOW - 2 * SECOND), forbidden],
    ["seen after it", "included", limited(NOW - SECOND), forbidden],
  ];
  for (const [why, expected, record, asked] of rows) {
    const { standing } = assessed(record, asked);
    assertEquals([why, standing.kind], [why, expected]);
  }
});

/** A meter with these flags and windows. */
const flagged = (
  flags: { allowed?: boolean; limitReached?: boolean },
  windows: ReturnType<typeof window>[],
  observedAt = NOW,
) => account({ usage: usage(windows, { meter: flags, observedAt }) });
const reached = { limitReached: true };

table("assess() believes flags before the percentages of their own answer", [
  [
    "limit_reached",
    "blocked:exhausted",
    flagged(reached, [window(40)]),
    forbidden,
  ],
  [
    "allowed: false",
    "blocked:exhausted",
    flagged({ allowed: false }, [window(40)]),
    forbidden,
  ],
  [
    "both against a full window",
    "included",
    flagged({ allowed: true, limitReached: false }, [window(100)]),
    forbidden,
  ],
  [
    "allowed alone does not open a full window",
    "blocked:exhausted",
    flagged({ allowed: true }, [window(100)]),
    forbidden,
  ],
  [
    "no limit reached alone does not either",
    "blocked:exhausted",
    flagged({ limitReached: false }, [window(100)]),
    forbidden,
  ],
  ["no flags", "included", flagged({}, [window(40)]), forbidden],
  [
    "the full window is meant: it runs",
    "blocked:exhausted",
    flagged(reached, [window(100), window(99, { ...WEEK, resetsAt: NOW - 1 })]),
    forbidden,
  ],
  [
    "the full window is meant: it has reset",
    "unknown",
    flagged(reached, [window(100, { resetsAt: NOW }), window(99, WEEK)]),
    forbidden,
  ],
  [
    "else the fullest: it runs",
    "blocked:exhausted",
    flagged(reached, [window(3, { resetsAt: NOW }), window(80, WEEK)]),
    forbidden,
  ],
  [
    "else the fullest: it has reset",
    "unknown",
    flagged(reached, [window(80, { resetsAt: NOW }), window(3, WEEK)]),
    forbidden,
  ],
  [
    "of two equally full ones any",
    "blocked:exhausted",
    flagged(reached, [window(80, { resetsAt: NOW }), window(80, WEEK)]),
    forbidden,
  ],
  [
    "of two at 100 % both",
    "blocked:exhausted",
    flagged(reached, [window(100, { resetsAt: NOW }), window(120, WEEK)]),
    forbidden,
  ],
  [
    "the fullest has no reset, 15 minutes",
    "blocked:exhausted",
    flagged(reached, [window(80, { resetsAt: null })], NOW - 15 * MINUTE),
    forbidden,
  ],
  [
    "the fullest has no reset, longer",
    "unknown",
    flagged(reached, [window(80, { resetsAt: null })], NOW - 15 * MINUTE - 1),
    forbidden,
  ],
  [
    "no windows, 15 minutes",
    "blocked:exhausted",
    flagged(reached, [], NOW - 15 * MINUTE),
    forbidden,
  ],
  [
    "no windows, longer",
    "unknown",
    flagged(reached, [], NOW - 15 * MINUTE - 1),
    forbidden,
  ],
]);

/** Usage that tells of the model `m`. */
function models(m: Partial<ModelUsage>) {
  const entry = {
    available: true,
    availableAt: null,
    creditsWouldEnable: null,
  };
  return usage([window(1)], { modelUsage: { m: { ...entry, ...m } } });
}
const gone = (more: Partial<ModelUsage> = {}, has = credits()) =>
  account({ usage: models({ available: false, ...more }), credits: has });
const later = { availableAt: NOW + 1 };
const about = { model: "m" };

table("assess() calls a model exhausted that usage says is unavailable", [
  ["until later", "credits", gone(later), about],
  ["the time has passed", "unknown", gone({ availableAt: NOW }), about],
  ["no time known", "credits", gone(), about],
  [
    "no time known, longer than 15 minutes",
    "unknown",
    account({
      usage: {
        ...models({ available: false }),
        observedAt: NOW - 15 * MINUTE - 1,
      },
      credits: credits(),
    }),
    about,
  ],
  ["available", "included", gone({ available: true, ...later }), about],
  ["another model", "included", gone(later), { model: "n" }],
  ["model unknown", "included", gone(later)],
  [
    "credits would not help",
    "blocked:exhausted",
    gone({ ...later, creditsWouldEnable: false }),
    about,
  ],
  [
    "which means nothing beside available",
    "included",
    gone({ available: true, creditsWouldEnable: false }),
    about,
  ],
  [
    "credits would help",
    "credits",
    gone({ ...later, creditsWouldEnable: true }),
    about,
  ],
  [
    "a name that every object has",
    "included",
    gone(later),
    { model: "constructor" },
  ],
]);

const limited = (key: string, time: number) => ({
  usage: usage([window(40)]),
  cooldowns: { [`usage-limit:${key}`]: until(time) },
});
table("assess() calls a meter exhausted while its usage limit runs", [
  [
    "main",
    "blocked:exhausted",
    account(limited("codex", NOW + 1)),
    forbidden,
  ],
  [
    "without any usage seen",
    "blocked:exhausted",
    account({ cooldowns: { "usage-limit:codex": until(NOW + 1) } }),
    forbidden,
  ],
  [
    "another meter",
    "included",
    account(limited(SPARK_METER, NOW + 1)),
    forbidden,
  ],
  [
    "it is about quota, so that credits stand in",
    "credits",
    account({ ...limited("codex", NOW + 1), credits: credits() }),
  ],
  [
    "cleared",
    "included",
    account({
      usage: usage([window(40)]),
      cooldowns: {
        "usage-limit:codex": until(NOW + HOUR, { clearedAt: NOW }),
      },
    }),
    forbidden,
  ],
]);

/** Usage without a rate limit, that many ms ago. */
const bare = (creditOnly: boolean | null, ago = 0) => ({
  usage: { observedAt: NOW - ago, meters: {}, creditOnly },
});
table("assess() knows that without a rate limit every request is charged", [
  ["credits", "credits", account({ ...bare(true), credits: credits() })],
  [
    "a year old",
    "unconfirmed:exhausted",
    account({
      ...bare(true, 365 * DAY),
      credits: credits({ observedAt: NOW - 365 * DAY }),
    }),
  ],
  [
    "forbidden",
    "blocked:exhausted",
    account({ ...bare(true), credits: credits() }),
    forbidden,
  ],
  [
    "forbidden, a year old",
    "blocked:exhausted",
    account(bare(true, 365 * DAY)),
    forbidden,
  ],
  ["credits untold", "unconfirmed:exhausted", account(bare(null))],
  ["credits untold, forbidden", "blocked:exhausted", account(bare(null)), {
    allowed: false,
  }],
  [
    "credits untold, none seen since",
    "included",
    account({ ...bare(null), credits: noCredits() }),
    forbidden,
  ],
  [
    "credits untold, none seen longer ago",
    "blocked:exhausted",
    account({
      ...bare(null),
      credits: noCredits({ observedAt: NOW - DAY - 1 }),
    }),
    forbidden,
  ],
  [
    "no credits",
    "included",
    account({ ...bare(false), credits: noCredits() }),
    forbidden,
  ],
]);

test("assess() says when all that limits a meter is over, null where that is unknown", () => {
  const end = (...windows: ReturnType<typeof window>[]) => {
    const { standing } = assessed(seen(NOW, ...windows), forbidden);
    return "until" in standing ? standing.until : undefined;
  };
  assertEquals(end(window(100), window(50, WEEK)), NOW + HOUR);
  assertEquals(end(window(100), window(100, WEEK)), NOW + 3 * DAY);
  assertEquals(end(window(100, WEEK), window(100)), NOW + 3 * DAY);
  assertEquals(end(window(100, WEEK), window(100, { resetsAt: null })), null);
  const both = assessed(
    account({
      usage: usage([window(100)]),
      cooldowns: { "usage-limit:codex": until(NOW + 2 * HOUR) },
    }),
    forbidden,
  );
  assertEquals(both.availableAt, NOW + 2 * HOUR);
});
