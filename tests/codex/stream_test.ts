import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { readStreamFailure } from "../../lib/codex/answer.ts";
import { readEvent, readRateLimitsEvent } from "../../lib/codex/stream.ts";
import { fixture } from "../fixtures.ts";
import { test } from "../test.ts";
import { errorJson, rateLimitsJson } from "./arbitrary.ts";
import {
  about,
  flagsOf,
  MINUTE,
  NOW,
  percents,
  SECOND,
  SPARK,
  SPARK_METER,
} from "./facts.ts";

/** The meters that accounts were seen with, by their names for people. */
const NAMES = new Map([[SPARK, SPARK_METER], ["gpt-7-next", "next_meter"]]);

function meaning(json: unknown, event: string | null = null) {
  return readEvent(JSON.stringify(json), event);
}

/** The percentages of each meter that an event tells, for a request for a model. */
function told(json: unknown, model?: string): Record<string, number[]> {
  return percents(readRateLimitsEvent(json, about(model, NAMES)).usage);
}

test("readEvent() tells preamble from content by the type, wherever that stands", () => {
  const rows: [type: string, kind: string][] = [
    ["response.created", "preamble"],
    ["response.queued", "preamble"],
    ["response.in_progress", "preamble"],
    ["response.metadata", "preamble"],
    ["codex.response.metadata", "preamble"],
    ["codex.anything", "preamble"],
    ["responsesapi.websocket_timing", "preamble"],
    ["keepalive", "preamble"],
    ["never.heard.of", "preamble"],
    ["response.output_item.added", "content"],
    ["response.output_text.delta", "content"],
    ["response.content_part.done", "content"],
    ["response.reasoning_summary_text.delta", "content"],
  ];
  for (const [type, kind] of rows) {
    for (
      const read of [
        meaning({ type, x: 1 }),
        meaning({ x: 1, type }),
        meaning({ x: 1 }, type),
        readEvent(`{ "type" : "${type}"}`, "message"),
      ]
    ) assertEquals([type, read.kind], [type, kind]);
  }
});

test("readEvent() knows content of an unknown type by the output that it carries", () => {
  for (const field of ["item", "delta", "part", "output_index"]) {
    assertEquals(meaning({ type: "new.event", [field]: 0 }).kind, "content");
    assertEquals(meaning({ [field]: null }).kind, "content");
    const preamble = { type: "codex.event", [field]: 0 };
    assertEquals(meaning(preamble).kind, "preamble");
    assertEquals(meaning({ type: "new.event", x: field }).kind, "preamble");
  }
  for (const data of ["", "hello", "{}", "[1]", "null", '{"type":5}']) {
    assertEquals(readEvent(data, null).kind, "preamble");
  }
});

test("readEvent() does not parse content", () => {
  const broken = '{"type":"response.output_text.delta","delta":"';
  assertEquals(readEvent(broken, null).kind, "content");
});

test("readEvent() reads the ends of a stream", () => {
  const response = { id: "r", output: [] };
  const kind = "ended";
  for (const type of ["response.completed", "response.incomplete"]) {
    assertEquals(meaning({ type, response }), { kind, response });
    assertEquals(meaning({ type }), { kind, response: {} });
    assertEquals(readEvent(`{"type":"${type}",`, null), { kind, response: {} });
  }
  assertEquals(readEvent("[DONE]", null), { kind: "done" });
  assertEquals(readEvent(" [DONE]", null), { kind: "done" });
});

test("readEvent() reads failures in all their shapes", () => {
  const error = { code: "slow_down", message: "Later" };
  const failed = (json: unknown) => {
    const read = meaning(json);
    return read.kind === "failed" ? read.error : read.kind;
  };
  for (
    const json of [
      { type: "response.failed", response: { error } },
      { type: "response.failed", response: {}, error },
      { type: "error", error },
      { type: "error", ...error },
    ]
  ) assertEquals(failed(json), error);
  const text = { message: "slow_down", code: "slow_down" };
  assertEquals(failed({ type: "error", error: "slow_down" }), text);
  for (
    const json of [
      { type: "response.failed" },
      { type: "response.failed", response: { error: null } },
      { type: "error" },
      { type: "error", error: 5 },
    ]
  ) assertEquals(failed(json), {});
});

test("readEvent() keeps the status and headers that an error event carries", () => {
  const event = fixture("events/error-with-headers");
  assertEquals(meaning(event), {
    kind: "failed",
    error: event["error"] as Record<string, unknown>,
    status: 429,
    headers: event["headers"],
  });
});

test("readStreamFailure() says until when, as the matching response would", () => {
  const limit = { type: "usage_limit_reached" };
  const rows: [error: Record<string, unknown>, delay: number | null][] = [
    [limit, null],
    [{ ...limit, resets_in_seconds: 30 }, 30 * SECOND],
    [{ ...limit, resets_at: NOW / 1000 + 40 }, 40 * SECOND],
    [{ code: "usage_not_included" }, 30 * MINUTE],
    [{ code: "insufficient_quota" }, 5 * MINUTE],
    [{ code: "rate_limit_exceeded", message: "try again in 250ms" }, 250],
    [{ code: "rate_limit_exceeded", message: "try again in 1.3s" }, 1300],
    [{ code: "rate_limit_exceeded" }, MINUTE],
  ];
  for (const [error, delay] of rows) {
    const outcome = readStreamFailure({ error }, about("gpt-5.5"));
    const until = "until" in outcome ? outcome.until : undefined;
    const row = JSON.stringify(error);
    assertEquals([row, until], [row, delay === null ? null : NOW + delay]);
  }
});

test("readRateLimitsEvent() reads windows and credits", () => {
  const facts = readRateLimitsEvent({
    plan_type: "plus",
    rate_limits: {
      primary: {
        used_percent: 12.5,
        window_minutes: 300,
        reset_at: NOW / 1000 + 5,
      },
      secondary: { used_percent: "3", window_minutes: 10080 },
    },
    credits: { has_credits: true, unlimited: false, balance: "4" },
  }, about());
  assertEquals(facts.plan, "plus");
  assertEquals(facts.credits, {
    observedAt: NOW,
    hasCredits: true,
    unlimited: false,
    balance: "4",
  });
  assertStrictEquals(facts.usage?.answeredAt, null);
  const seen = { observedAt: NOW, seenAt: NOW };
  assertEquals(facts.usage?.meters.codex?.windows, [
    {
      usedPercent: 12.5,
      windowSeconds: 18_000,
      resetsAt: NOW + 5 * SECOND,
      ...seen,
    },
    { usedPercent: 3, windowSeconds: 604_800, resetsAt: null, ...seen },
  ]);
});

test("readRateLimitsEvent() takes an event without a name for the main meter's, on a Spark request as well", () => {
  const event = fixture("events/rate-limits-2026-09");
  const meters = { codex: [100], [SPARK_METER]: [4] };
  for (const model of ["gpt-5.5", SPARK, undefined]) {
    assertEquals(told(event, model), meters);
  }
  const { usage, credits, plan } = readRateLimitsEvent(
    event,
    about(SPARK, NAMES),
  );
  assertEquals(flagsOf(usage?.meters.codex), ["100 refused"]);
  assertEquals(flagsOf(usage?.meters[SPARK_METER]), ["4 allowed"]);
  assertEquals(usage?.meters[SPARK_METER]?.name, "GPT-5.3-Codex-Spark");
  assertEquals([credits?.balance, plan], ["50", "pro"]);
});

test("readRateLimitsEvent() finds the meter by the name that an event gives", () => {
  const rows: [names: Record<string, unknown>, meter: string][] = [
    [{}, "codex"],
    [{ metered_limit_name: "codex" }, "codex"],
    [{ metered_limit_name: "Premium" }, "codex"],
    [{ metered_limit_name: "codex-bengalfox" }, SPARK_METER],
    [{ metered_limit_name: null, limit_name: "codex_other" }, "codex_other"],
    [{ limit_name: "GPT-5.3-Codex-Spark" }, SPARK_METER],
    [{ limit_name: "gpt-reserve" }, "base_model_inference"],
    [{ limit_name: "GPT-7-Next" }, "next_meter"],
    [{ metered_limit_name: 5 }, "codex"],
  ];
  const limits = { primary: { used_percent: 1 } };
  for (const [names, meter] of rows) {
    const row = JSON.stringify(names);
    const meters = told({ ...names, rate_limits: limits });
    assertEquals([row, meters], [row, { [meter]: [1] }]);
  }
  const additional_rate_limits = {
    "gpt-reserve": limits,
    "GPT-7-Next": limits,
    "never-heard-of": limits,
    "__proto__": limits,
  };
  assertEquals(told({ additional_rate_limits }), {
    base_model_inference: [1],
    next_meter: [1],
  });
});

test("readRateLimitsEvent() can say that a limit was reached, not that a full window is open", () => {
  const at = (used_percent: number) => ({ primary: { used_percent } });
  const rows: [rateLimits: Record<string, unknown>, flags: string[]][] = [
    [{ limit_reached: true, ...at(97) }, ["97 refused"]],
    [{ allowed: false, ...at(97) }, ["97 refused"]],
    [{ allowed: false, ...at(100) }, ["100 refused"]],
    [{ allowed: true, limit_reached: false, ...at(97) }, ["97 allowed"]],
    [{ allowed: true, limit_reached: false, ...at(100) }, ["100"]],
    [at(100), ["100"]],
  ];
  for (const [rate_limits, flags] of rows) {
    const meter = readRateLimitsEvent({ rate_limits }, about()).usage?.meters
      .codex;
    const row = JSON.stringify(rate_limits);
    assertEquals([row, flagsOf(meter)], [row, flags]);
    assertEquals([meter?.allowed, meter?.limitReached], [null, null]);
  }
  const bare = readRateLimitsEvent(
    { rate_limits: { allowed: false } },
    about(),
  );
  assertEquals(bare.usage?.meters.codex?.refusedAt, NOW);
  for (const rate_limits of [null, {}, { allowed: true }, "x", undefined]) {
    const { usage } = readRateLimitsEvent({ rate_limits }, about());
    assertStrictEquals(usage, null);
  }
});

test("readRateLimitsEvent() takes the fuller of two windows of one length", () => {
  const rate_limits = {
    primary: { used_percent: 100, reset_at: NOW / 1000 + 3600 },
    secondary: { used_percent: 20, reset_at: NOW / 1000 + 500_000 },
  };
  assertEquals(told({ rate_limits }), { codex: [100] });
});

test("readRateLimitsEvent() reads balances as headers do", () => {
  const rows: [unknown, string | undefined][] = [
    [null, undefined],
    ["", undefined],
    ["7", "7"],
    [7.5, "7.5"],
    ["junk", "junk"],
    [{}, "NaN"],
  ];
  for (const [balance, wanted] of rows) {
    const credits = { has_credits: true, unlimited: false, balance };
    const facts = readRateLimitsEvent({ credits }, about());
    assertEquals(facts.credits?.hasCredits, true);
    assertStrictEquals(facts.credits?.balance, wanted);
  }
  const half = { credits: { has_credits: true } };
  assertStrictEquals(readRateLimitsEvent(half, about()).credits, null);
});

test("readRateLimitsEvent() survives anything and loses no reached limit", () => {
  fc.assert(fc.property(rateLimitsJson, (json) => {
    const { usage } = readRateLimitsEvent(json, about());
    const raw = json as Record<string, Record<string, unknown>> | undefined;
    const name = JSON.stringify([raw?.metered_limit_name, raw?.limit_name]);
    if (raw?.rate_limits?.limit_reached !== true || name.includes("__")) return;
    assert(
      Object.values(usage?.meters ?? {}).some(({ windows, refusedAt }) =>
        refusedAt !== undefined || windows.some((it) => it.flags === "refused")
      ),
    );
  }));
});

test("readEvent() and readStreamFailure() survive anything", () => {
  const type = fc.constantFrom("error", "response.failed", "codex.rate_limits");
  fc.assert(fc.property(type, errorJson, (type, json) => {
    const read = meaning({ type, response: json, error: json });
    if (read.kind !== "failed") return;
    const outcome = readStreamFailure(read, about());
    if ("until" in outcome && outcome.until !== null) {
      assert(outcome.until > NOW);
    }
  }));
  fc.assert(fc.property(fc.string(), (data) => {
    assert(readEvent(data, null).kind);
  }));
});
