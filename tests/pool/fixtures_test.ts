import { assertEquals } from "@std/assert";
import { readHeaders } from "../../lib/codex/headers.ts";
import { eventHeaders } from "../../lib/codex/answer.ts";
import { readRateLimitsEvent } from "../../lib/codex/stream.ts";
import { readUsage } from "../../lib/codex/usage.ts";
import { MAIN_METER, meterNames } from "../../lib/meters.ts";
import { mergeUsage } from "../../lib/pool/facts.ts";
import type { NormalRecord } from "../../lib/normal_types.ts";
import { fixture } from "../fixtures.ts";
import { test } from "../test.ts";
import {
  account,
  credits,
  HOUR,
  MINUTE,
  RESERVE,
  SECOND,
  SPARK,
  SPARK_METER,
  verdict,
} from "./accounts.ts";

/** When the payloads of autumn 2026 were sent, epoch ms. */
const AUTUMN = 1_795_000_000_000;
const ASTRA = "gpt-6-astra";

/** An account that was told this at that time (epoch ms). */
function told(json: Record<string, unknown>, at: number): NormalRecord {
  const answer = readUsage(json, { observedAt: at, seenAt: at })!;
  const { plan, usage, credits } = answer;
  return account({
    ...(plan !== null && { plan }),
    usage,
    ...(credits && { credits }),
  });
}

/** Verdicts on an account that may spend and one that may not. */
type Row = [
  name: string,
  at: number,
  model: string | undefined,
  allowed: string,
  forbidden: string,
];

/** A reset (epoch seconds) and how far away (seconds) it was. */
const before = (reset: number, left: number) => (reset - left) * SECOND;

const ROWS: Row[] = [
  [
    "free-monthly",
    before(1779694268, 501635),
    undefined,
    "included",
    "included",
  ],
  [
    "plus-5h-and-weekly",
    before(1778689421, 6699),
    undefined,
    "included",
    "included",
  ],
  [
    "plus-weekly-only",
    before(1784800646, 547005),
    undefined,
    "included",
    "included",
  ],
  [
    "plus-exhausted-no-credits",
    before(1788708977, 15635),
    undefined,
    "blocked:exhausted",
    "blocked:exhausted",
  ],
  [
    "plus-exhausted-with-credits",
    before(1789836474, 9000),
    undefined,
    "credits",
    "blocked:exhausted",
  ],
  [
    "team-exhausted-depleted",
    before(1787421242, 74033),
    undefined,
    "blocked:exhausted",
    "blocked:exhausted",
  ],
  [
    "prolite-with-spark-meter",
    before(1789385295, 603053),
    SPARK,
    "included",
    "included",
  ],
  ["business-credit-only", AUTUMN, undefined, "credits", "blocked:exhausted"],
  [
    "business-astra-on-credits",
    AUTUMN,
    undefined,
    "credits",
    "blocked:exhausted",
  ],
  ["business-astra-on-credits", AUTUMN, ASTRA, "credits", "blocked:exhausted"],
  ["business-astra-on-credits", AUTUMN, SPARK, "included", "included"],
  [
    "business-spend-cap-overrun",
    AUTUMN,
    undefined,
    "blocked:exhausted",
    "blocked:exhausted",
  ],
  ["reserve-left-main-used-up", AUTUMN, RESERVE, "included", "included"],
  [
    "reserve-left-main-used-up",
    AUTUMN,
    "gpt-5.6-luna",
    "blocked:exhausted",
    "blocked:exhausted",
  ],
  ["team-full-but-allowed", AUTUMN, undefined, "included", "included"],
  [
    "pro-model-back-at-iso-time",
    AUTUMN,
    ASTRA,
    "blocked:exhausted",
    "blocked:exhausted",
  ],
  ["plus-reset-in-the-past", AUTUMN, undefined, "unknown", "unknown"],
];

for (const [name, at, model, allowed, forbidden] of ROWS) {
  const which = `${name}${model === undefined ? "" : ` for ${model}`}`;
  test(`an account told ${which} is ${allowed}, and ${forbidden} where it may not spend`, () => {
    const record = told(fixture(`usage/${name}`), at);
    const query = model === undefined ? { now: at } : { now: at, model };
    assertEquals(verdict(record, query), allowed);
    assertEquals(verdict(record, { ...query, allowed: false }), forbidden);
  });
}

test("a usage answer with a reset in the past never opens its account, however often it comes", () => {
  const json = fixture("usage/plus-reset-in-the-past");
  for (let at = AUTUMN; at < AUTUMN + HOUR; at += MINUTE) {
    const record = told(json, at);
    record.usageCheck = { askedAt: at };
    assertEquals(verdict(record, { now: at }), "unconfirmed:unknown");
    assertEquals(
      verdict(record, { now: at, allowed: false }),
      "blocked:unknown",
    );
  }
});

test("a spend cap with room lets the same credits pay", () => {
  const json = fixture("usage/business-spend-cap-overrun");
  const control = json["spend_control"] as Record<string, object>;
  control["individual_limit"] = {
    ...control["individual_limit"],
    remaining: "1",
    used_percent: 99,
  };
  assertEquals(verdict(told(json, AUTUMN), { now: AUTUMN }), "credits");
});

test("a model that is back later leaves the others alone", () => {
  const json = fixture("usage/pro-model-back-at-iso-time");
  const rate_limit = { allowed: true, limit_reached: false };
  const record = told({ ...json, rate_limit }, AUTUMN);
  const at = (model: string, now = AUTUMN) =>
    verdict(record, { model, now, allowed: false });
  assertEquals(at(ASTRA), "blocked:exhausted");
  assertEquals(at("gpt-5.5"), "included");
  const back = Date.parse("2026-11-22T14:38:22.363Z");
  assertEquals(at(ASTRA, back - 1), "blocked:exhausted");
  assertEquals(at(ASTRA, back), "unknown", "it is asked first");
});

test("an event on a Spark request fills the main meter, not Spark's", () => {
  const observed = { observedAt: AUTUMN, seenAt: AUTUMN };
  const room = (meter: string) => ({
    allowed: null,
    limitReached: null,
    windows: [],
    observedAt: AUTUMN - MINUTE,
    ...(meter === SPARK_METER && { name: SPARK }),
  });
  const record = account({ plan: "pro", credits: credits() });
  record.usage = {
    ...told(fixture("usage/plus-weekly-only"), AUTUMN - MINUTE).usage!,
    meters: {
      [MAIN_METER]: room(MAIN_METER),
      [SPARK_METER]: room(SPARK_METER),
    },
  };
  const names = meterNames([record]);
  const event = readRateLimitsEvent(
    fixture("events/rate-limits-2026-09"),
    { ...observed, model: SPARK, names },
  );
  record.usage = mergeUsage(record.usage, event.usage!, false);
  const at = (model?: string) =>
    verdict(record, {
      now: AUTUMN,
      allowed: false,
      ...(model && { model }),
    });
  assertEquals([at(SPARK), at(), at("gpt-5.5")], [
    "included",
    "blocked:exhausted",
    "blocked:exhausted",
  ]);
});

test("the headers of an error event say that the main meter is full and that there are no credits", () => {
  const { headers } = fixture("events/error-with-headers");
  const { usage, credits } = readHeaders(eventHeaders(headers), {
    observedAt: AUTUMN,
    seenAt: AUTUMN,
    model: "gpt-5.5",
  });
  const record = account({
    usage: usage!,
    credits: { balance: null, ...credits! },
  });
  assertEquals(verdict(record, { now: AUTUMN }), "blocked:exhausted");
  const reset = 1_795_014_400 * SECOND;
  const at = (now: number) => verdict(record, { now, allowed: false });
  assertEquals(at(reset - 1), "blocked:exhausted");
  assertEquals(at(reset), "included");
});
