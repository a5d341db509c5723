import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import type { Outcome } from "../../lib/codex/answer.ts";
import {
  readEvent,
  readRateLimitsEvent,
  readStreamFailure,
} from "../../lib/codex/stream.ts";
import { errorJson, rateLimitsJson } from "./arbitrary.ts";

const NOW = 1_790_000_000_000;
const MINUTE = 60_000;

function meaning(json: unknown, event: string | null = null) {
  return readEvent(JSON.stringify(json), event);
}

function outcomeOf(json: unknown, model?: string): Outcome | undefined {
  const failure = meaning(json);
  return failure.kind === "failed"
    ? readStreamFailure(failure, NOW, model)
    : undefined;
}

Deno.test("readEvent() tells preamble from content", () => {
  const table: [string, string][] = [
    ["response.created", "preamble"],
    ["response.in_progress", "preamble"],
    ["keepalive", "preamble"],
    ["response.output_item.added", "content"],
    ["response.output_text.delta", "content"],
    ["response.reasoning_summary_text.delta", "content"],
    ["never.heard.of", "content"],
  ];
  for (const [type, kind] of table) {
    assertEquals(meaning({ type, x: 1 }).kind, kind);
    assertEquals(meaning({ x: 1, type }).kind, kind);
    assertEquals(meaning({ x: 1 }, type).kind, kind);
    assertEquals(readEvent(`{ "type" : "${type}"}`, "message").kind, kind);
  }
});

Deno.test("readEvent() takes what it cannot read for content", () => {
  for (const data of ["", "hello", "{}", "[1]", "null", '{"type":5}']) {
    assertEquals(readEvent(data, null).kind, "content");
  }
});

Deno.test("readEvent() does not parse content", () => {
  const broken = '{"type":"response.output_text.delta","delta":"';
  assertEquals(readEvent(broken, null).kind, "content");
});

Deno.test("readEvent() reads the ends of a stream", () => {
  const response = { id: "r", output: [] };
  for (const kind of ["completed", "incomplete"] as const) {
    const type = `response.${kind}`;
    assertEquals(meaning({ type, response }), { kind, response });
    assertEquals(meaning({ type }), { kind, response: {} });
    assertEquals(readEvent(`{"type":"${type}",`, null), { kind, response: {} });
  }
  assertEquals(readEvent("[DONE]", null), { kind: "done" });
  assertEquals(readEvent(" [DONE]", null), { kind: "done" });
});

Deno.test("readEvent() reads failures in all their shapes", () => {
  const error = { code: "slow_down", message: "Later" };
  const kind = "failed" as const;
  const wanted = { kind, code: "slow_down", message: "Later", error };
  const table: unknown[] = [
    { type: "response.failed", response: { error } },
    { type: "response.failed", response: {}, error },
    { type: "error", error },
    { type: "error", ...error },
  ];
  for (const json of table) assertEquals(meaning(json), wanted);
  const byType = meaning({ type: "error", error: { type: "slow_down" } });
  assertEquals(byType.kind === "failed" && byType.code, "slow_down");
  const silent = [
    { type: "response.failed" },
    { type: "response.failed", response: { error: null } },
    { type: "error" },
    { type: "error", error: 5 },
  ];
  for (const json of silent) {
    const failure = meaning(json);
    assertEquals(failure.kind === "failed" && failure.code, null);
    assertEquals(failure.kind === "failed" && failure.message, "");
  }
});

Deno.test("readStreamFailure() means what the matching status means", () => {
  const failed = (code: string, message = "") => ({
    type: "response.failed",
    response: { error: { code, message } },
  });
  const table: [unknown, Outcome["kind"], number?][] = [
    [
      { type: "error", error: { type: "usage_limit_reached" } },
      "usage-limit",
      15 * MINUTE,
    ],
    [
      {
        type: "error",
        error: { type: "usage_limit_reached", resets_in_seconds: 30 },
      },
      "usage-limit",
      30_000,
    ],
    [failed("usage_not_included"), "plan", 30 * MINUTE],
    [failed("insufficient_quota"), "credits-refused", 5 * MINUTE],
    [failed("rate_limit_exceeded", "try again in 250ms"), "throttle", 250],
    [failed("rate_limit_exceeded", "try again in 1.3s"), "throttle", 1300],
    [failed("rate_limit_exceeded"), "throttle", MINUTE],
    [failed("invalid_encrypted_content"), "encrypted-content"],
    [failed("server_error", "try again in 3s"), "other"],
    [failed("context_length_exceeded"), "other"],
    [{ type: "error" }, "other"],
  ];
  for (const [json, kind, delay] of table) {
    const outcome = outcomeOf(json);
    assertEquals(outcome?.kind, kind);
    if (delay === undefined || !outcome || !("until" in outcome)) continue;
    assertEquals(outcome.until - NOW, delay);
  }
  for (const code of ["server_is_overloaded", "slow_down"]) {
    assertEquals(outcomeOf(failed(code)), { kind: "hiccup", status: 503 });
  }
});

Deno.test("readStreamFailure() limits the meter of the model", () => {
  const json = { type: "error", error: { type: "usage_limit_reached" } };
  const spark = outcomeOf(json, "gpt-5.3-codex-spark");
  assertEquals(spark?.kind === "usage-limit" && spark.meter, "codex_bengalfox");
});

Deno.test("readRateLimitsEvent() reads windows and credits", () => {
  const facts = readRateLimitsEvent({
    plan_type: "plus",
    rate_limits: {
      allowed: true,
      limit_reached: false,
      primary: {
        used_percent: 12.5,
        window_minutes: 300,
        reset_at: NOW / 1000 + 5,
      },
      secondary: { used_percent: "3", window_minutes: 10080 },
    },
    credits: { has_credits: true, unlimited: false, balance: "4" },
  }, NOW);
  assertEquals(facts.plan, "plus");
  assertEquals(facts.credits, {
    observedAt: NOW,
    hasCredits: true,
    unlimited: false,
    balance: "4",
  });
  assertEquals(facts.usage && { ...facts.usage, meters: null }, {
    observedAt: NOW,
    answeredAt: null,
    meters: null,
  });
  assertEquals(facts.usage?.meters.codex, {
    observedAt: NOW,
    windows: [{
      usedPercent: 12.5,
      windowSeconds: 18000,
      resetsAt: NOW + 5000,
      observedAt: NOW,
    }, {
      usedPercent: 3,
      windowSeconds: 604800,
      resetsAt: null,
      observedAt: NOW,
    }],
  });
});

Deno.test("readRateLimitsEvent() can say that a limit was reached, not that none was", () => {
  const primary = { used_percent: 97 };
  const table: [Record<string, unknown>, boolean][] = [
    [{ limit_reached: true, primary }, true],
    [{ allowed: false, primary }, true],
    [{ allowed: false }, true],
    [{ allowed: true, limit_reached: false, primary }, false],
  ];
  for (const [rate_limits, reached] of table) {
    const meter = readRateLimitsEvent({ rate_limits }, NOW).usage?.meters.codex;
    assertEquals(meter?.limit?.observedAt, reached ? NOW : undefined);
    assert(meter && !("allowed" in meter) && !("limitReached" in meter));
  }
  for (const rate_limits of [null, {}, { allowed: true }, "x", undefined]) {
    assertStrictEquals(readRateLimitsEvent({ rate_limits }, NOW).usage, null);
  }
});

Deno.test("readRateLimitsEvent() finds the meter", () => {
  const table: [Record<string, unknown>, string][] = [
    [{}, "codex"],
    [{ metered_limit_name: "codex" }, "codex"],
    [{ metered_limit_name: "Premium" }, "codex"],
    [{ metered_limit_name: "codex-bengalfox" }, "codex_bengalfox"],
    [{ metered_limit_name: null, limit_name: "codex_other" }, "codex_other"],
    [{ limit_name: "GPT-5.3-Codex-Spark" }, "codex_bengalfox"],
    [{ metered_limit_name: 5 }, "codex"],
  ];
  for (const [names, wanted] of table) {
    const json = { ...names, rate_limits: { primary: { used_percent: 1 } } };
    const meters = readRateLimitsEvent(json, NOW).usage?.meters ?? {};
    assertEquals(Object.keys(meters), [wanted]);
  }
});

Deno.test("readRateLimitsEvent() reads balances as headers do", () => {
  const table: [unknown, string | undefined][] = [
    [null, undefined],
    ["", undefined],
    ["7", "7"],
    [7.5, "7.5"],
    ["junk", "junk"],
    [{}, "NaN"],
  ];
  for (const [balance, wanted] of table) {
    const credits = { has_credits: true, unlimited: false, balance };
    const facts = readRateLimitsEvent({ credits }, NOW);
    assertEquals(facts.credits?.hasCredits, true);
    assertStrictEquals(facts.credits?.balance, wanted);
  }
  const half = readRateLimitsEvent({ credits: { has_credits: true } }, NOW);
  assertStrictEquals(half.credits, null);
});

Deno.test("readRateLimitsEvent() survives anything", () => {
  fc.assert(fc.property(rateLimitsJson, (json) => {
    const { usage } = readRateLimitsEvent(json, NOW);
    const raw = json as Record<string, Record<string, unknown>> | undefined;
    const name = JSON.stringify([raw?.metered_limit_name, raw?.limit_name]);
    if (raw?.rate_limits?.limit_reached === true && !name.includes("__")) {
      assert(Object.values(usage?.meters ?? {}).some((meter) => meter.limit));
    }
  }));
});

Deno.test("readEvent() and readStreamFailure() survive anything", () => {
  const type = fc.constantFrom("error", "response.failed", "codex.rate_limits");
  fc.assert(fc.property(type, errorJson, (type, json) => {
    const read = meaning({ type, response: json, error: json });
    if (read.kind !== "failed") return;
    const outcome = readStreamFailure(read, NOW, undefined);
    if ("until" in outcome) assert(outcome.until > NOW);
  }));
  fc.assert(fc.property(fc.string(), (data) => {
    assert(readEvent(data, null).kind);
  }));
});

Deno.test("readRateLimitsEvent() takes the fuller of two windows of one length", () => {
  const rate_limits = {
    primary: { used_percent: 100, reset_at: NOW / 1000 + 3600 },
    secondary: { used_percent: 20, reset_at: NOW / 1000 + 500_000 },
  };
  const meter = readRateLimitsEvent({ rate_limits }, NOW).usage?.meters.codex;
  assertEquals(meter?.windows.map((window) => window.usedPercent), [100]);
});
