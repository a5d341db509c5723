import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import {
  type AnswerInput,
  needsBody,
  type Outcome,
  readAnswer,
} from "../../lib/codex/answer.ts";
import { readHeaders } from "../../lib/codex/headers.ts";
import { errorJson, headerPairs } from "./arbitrary.ts";

const NOW = 1_790_000_000_000;
const MINUTE = 60_000;
const DAY = 86_400_000;

interface Given {
  headers?: Record<string, string>;
  model?: string;
}

function read(status: number, body?: unknown, given: Given = {}): Outcome {
  const input: AnswerInput = {
    status,
    headers: new Headers(given.headers),
    bodyText: body === undefined || typeof body === "string"
      ? body
      : JSON.stringify(body),
    now: NOW,
    model: given.model,
  };
  return readAnswer(input);
}

/** Until when, in ms from now. */
function delayOf(outcome: Outcome): number | undefined {
  return "until" in outcome ? outcome.until - NOW : undefined;
}

const LIMIT = { error: { type: "usage_limit_reached" } };

Deno.test("needsBody() asks for the bodies that matter", () => {
  const statuses = [200, 302, 400, 401, 402, 403, 404, 409, 429, 500, 503];
  assertEquals(statuses.filter(needsBody), [400, 402, 403, 404, 429]);
});

Deno.test("readAnswer() tells most answers by their status", () => {
  const table: [number, Outcome][] = [
    [200, { kind: "ok" }],
    [204, { kind: "ok" }],
    [302, { kind: "other" }],
    [400, { kind: "other" }],
    [401, { kind: "token-rejected" }],
    [402, { kind: "other" }],
    [403, { kind: "other" }],
    [404, { kind: "other" }],
    [422, { kind: "other" }],
    [500, { kind: "other" }],
    [501, { kind: "other" }],
    [502, { kind: "hiccup", status: 502 }],
    [503, { kind: "hiccup", status: 503 }],
    [504, { kind: "hiccup", status: 504 }],
  ];
  for (const [status, wanted] of table) {
    for (const body of [undefined, "", "null", "<html></html>", "{}"]) {
      assertEquals(read(status, body), wanted);
    }
  }
});

Deno.test("readAnswer() takes a 403 for a dead token only when it says so", () => {
  const dead = [
    { error: { code: "token_invalidated", message: "Sign in again" } },
    { error: { message: "Your authentication token has been invalidated." } },
    { detail: "The access token was revoked" },
    { detail: { code: "token_expired" } },
    { error: "invalid_token" },
  ];
  for (const body of dead) {
    assertEquals(read(403, body), { kind: "token-rejected" });
  }
  const other = [
    "<html>Your token has expired</html>",
    "Your token has expired",
    { error: { message: "Forbidden" } },
    { error: { message: "Your trial has expired", code: "no_token" } },
  ];
  for (const body of other) assertEquals(read(403, body), { kind: "other" });
});

Deno.test("readAnswer() knows a deactivated workspace", () => {
  const bodies = [
    { detail: { code: "deactivated_workspace" } },
    { error: { code: "deactivated_workspace" } },
    { code: "deactivated_workspace" },
  ];
  for (const body of bodies) {
    const outcome = read(402, body);
    assertEquals(outcome.kind, "workspace");
    assertEquals(delayOf(outcome), 30 * MINUTE);
  }
  assertEquals(read(402, { detail: "Pay first" }), { kind: "other" });
});

Deno.test("readAnswer() knows a model that the account cannot use", () => {
  const detail =
    "The 'gpt-9' model is not supported when using Codex with a ChatGPT account.";
  for (const body of [{ detail }, { error: { message: detail } }, detail]) {
    assertEquals(read(400, body), {
      kind: "model",
      until: NOW + 30 * MINUTE,
      detail,
    });
  }
});

Deno.test("readAnswer() knows ciphertext of another account", () => {
  const text =
    "The encrypted content gAAAAABabc could not be verified. Reason: none.";
  const bodies = [
    { error: { code: "invalid_encrypted_content", message: "x" } },
    { error: { type: "invalid_encrypted_content" } },
    { error: { message: text, code: null } },
    { detail: text },
  ];
  for (const body of bodies) {
    assertEquals(read(400, body), { kind: "encrypted-content" });
  }
  assertEquals(read(400, { detail: "Store must be set to false" }), {
    kind: "other",
  });
});

Deno.test("readAnswer() reads a usage limit in all its shapes", () => {
  const type = "usage_limit_reached";
  const bodies: unknown[] = [
    { error: { type } },
    { error: { code: type, type: "invalid_request_error" } },
    { error: type, message: "Enough" },
    { type },
    { code: type },
    { detail: { code: type } },
    { detail: { error: { type } } },
    [{ error: { type } }],
    { error: [{ type }] },
  ];
  for (const body of bodies) {
    for (const status of [429, 404]) {
      const outcome = read(status, body);
      assertEquals(outcome.kind, "usage-limit");
      assertEquals(delayOf(outcome), 15 * MINUTE);
    }
  }
});

Deno.test("readAnswer() tells all about a usage limit", () => {
  const error = {
    type: "usage_limit_reached",
    message: "The usage limit\u001b[31m has\nbeen reached",
    plan_type: "team",
    resets_at: NOW / 1000 + 3032,
    resets_in_seconds: 5,
  };
  assertEquals(read(429, { error }), {
    kind: "usage-limit",
    meter: "codex",
    until: NOW + 3_032_000,
    plan: "team",
    detail: "The usage limit [31m has been reached",
  });
});

Deno.test("readAnswer() finds when a usage limit ends", () => {
  const header = (name: string, value: unknown) => ({
    [`x-codex-${name}`]: String(value),
  });
  const seconds = NOW / 1000;
  const full = {
    ...header("primary-used-percent", 100),
    ...header("primary-window-minutes", 300),
    ...header("primary-reset-at", seconds + 100),
    ...header("secondary-used-percent", 100),
    ...header("secondary-window-minutes", 10080),
    ...header("secondary-reset-at", seconds + 900),
  };
  const half = { ...full, ...header("secondary-used-percent", 99.9) };
  const retry = { "retry-after": "77" };
  const table: [
    Record<string, unknown>,
    Record<string, string>,
    number,
  ][] = [
    [{ resets_at: seconds + 10, resets_in_seconds: 99 }, full, 10_000],
    [{ resets_at: null, resets_in_seconds: 99 }, full, 99_000],
    [{ resets_in_seconds: "99" }, full, 99_000],
    [{ resets_at: seconds - 10 }, full, MINUTE],
    [{ resets_at: seconds * 1000 }, full, 35 * DAY],
    [{}, { ...full, ...retry }, 900_000],
    [{}, half, 100_000],
    [{}, { ...half, ...header("primary-used-percent", 99), ...retry }, 77_000],
    [{}, {}, 15 * MINUTE],
    [{ resets_at: "soon" }, {}, 15 * MINUTE],
  ];
  for (const [fields, headers, wanted] of table) {
    const body = { error: { ...LIMIT.error, ...fields } };
    assertEquals(delayOf(read(429, body, { headers })), wanted);
  }
});

Deno.test("readAnswer() finds the meter of a usage limit", () => {
  const spark = "gpt-5.3-codex-spark";
  const active = (name: string) => ({ "x-codex-active-limit": name });
  const table: [Given, string][] = [
    [{}, "codex"],
    [{ model: "gpt-5" }, "codex"],
    [{ model: spark }, "codex_bengalfox"],
    [{ model: spark, headers: active("premium") }, "codex"],
    [{ model: "gpt-5", headers: active("codex-bengalfox") }, "codex_bengalfox"],
  ];
  for (const [given, meter] of table) {
    const outcome = read(429, LIMIT, given);
    assertEquals(outcome.kind === "usage-limit" && outcome.meter, meter);
  }
});

Deno.test("readAnswer() uses headers that were read already", () => {
  const headers = new Headers({ "x-codex-plan-type": "plus" });
  const outcome = readAnswer({
    status: 429,
    headers,
    bodyText: JSON.stringify(LIMIT),
    now: NOW,
    model: undefined,
    headerFacts: {
      ...readHeaders(headers, NOW, undefined),
      activeMeter: "gpt_reserve",
    },
  });
  assertEquals(outcome.kind === "usage-limit" && outcome.meter, "gpt_reserve");
  assertEquals(outcome.kind === "usage-limit" && outcome.plan, "plus");
});

Deno.test("readAnswer() knows a plan without Codex", () => {
  for (const field of ["type", "code"]) {
    const outcome = read(429, { error: { [field]: "usage_not_included" } });
    assertEquals(outcome.kind, "plan");
    assertEquals(delayOf(outcome), 30 * MINUTE);
  }
});

Deno.test("readAnswer() knows refused credits", () => {
  const codes = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
  ];
  for (const code of codes) {
    const kind = "credits-refused" as const;
    const wanted = { kind, code, until: NOW + 5 * MINUTE };
    assertEquals(read(429, { error: { code } }), wanted);
    assertEquals(read(429, { error: { type: code } }), wanted);
  }
});

Deno.test("readAnswer() takes any other 429 for a throttle", () => {
  const text = (message: string) => ({
    error: { code: "rate_limit_exceeded", message },
  });
  const table: [unknown, Record<string, string>, number][] = [
    [undefined, {}, MINUTE],
    ["<html>Too many</html>", {}, MINUTE],
    ["Please try again in 3s", {}, 3000],
    [text("Please try again in 1.3s"), {}, 1300],
    [text("try again in 1.3s"), { "retry-after": "9" }, 9000],
    [text("busy"), { "retry-after": "0" }, 1000],
    [text("busy"), { "retry-after": "soon" }, MINUTE],
    [{ detail: "Too fast" }, { "retry-after-ms": "400" }, 400],
  ];
  for (const [body, headers, delay] of table) {
    const outcome = read(429, body, { headers });
    assertEquals(outcome.kind, "throttle");
    assertEquals(delayOf(outcome), delay);
  }
});

Deno.test("readAnswer() shows short details without secrets or control characters", () => {
  const jwt = "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.sig";
  const message = `Bad\u0007 \u202etoken ${jwt}, key sk-abcdefghijkl ` +
    `${"Ab3-".repeat(20)} ` + "and so on ".repeat(50);
  const outcome = read(429, { error: { message } });
  assert(outcome.kind === "throttle");
  const detail = outcome.kind === "throttle" ? outcome.detail : "";
  assert(detail.startsWith("Bad token …, key … … and so on and"), detail);
  assertEquals(detail.length, 200);
});

Deno.test("readAnswer() survives any body and stays within 35 days", () => {
  const status = fc.constantFrom(200, 400, 401, 402, 403, 404, 429, 500, 503);
  const text = fc.oneof(
    errorJson.map((json) => JSON.stringify(json) ?? ""),
    fc.string(),
  );
  fc.assert(
    fc.property(status, text, headerPairs, (status, bodyText, pairs) => {
      const headers = new Headers(pairs);
      const input = { status, headers, bodyText, now: NOW, model: undefined };
      const outcome = readAnswer(input);
      if (status === 429) assert("until" in outcome);
      if (status !== 200) assert(outcome.kind !== "ok");
      const delay = delayOf(outcome);
      if (delay !== undefined) assert(delay > 0 && delay <= 35 * DAY);
    }),
    { numRuns: 500 },
  );
});

Deno.test("readAnswer() survives a body of endless depth", () => {
  const depth = 5000;
  const body = '{"error":'.repeat(depth) + "1" + "}".repeat(depth);
  assertStrictEquals(read(429, body).kind, "throttle");
});
