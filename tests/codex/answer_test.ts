import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  eventHeaders,
  readAnswer,
  readStreamFailure,
} from "../../lib/codex/answer.ts";
import { type AboutRequest, readHeaders } from "../../lib/codex/headers.ts";
import type { Outcome } from "../../lib/codex/error_table.ts";
import { readEvent } from "../../lib/codex/stream.ts";
import { fixture } from "../fixtures.ts";
import { test } from "../test.ts";
import { errorJson, headerPairs } from "./arbitrary.ts";
import {
  about,
  DAY,
  MINUTE,
  NOW,
  percents,
  RESERVE_METER,
  SECOND,
  SPARK,
  SPARK_METER,
} from "./facts.ts";

interface Given {
  headers?: Record<string, string>;
  about?: AboutRequest;
}

function read(status: number, body?: unknown, given: Given = {}): Outcome {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const head = { status, headers: new Headers(given.headers) };
  return readAnswer(head, text, given.about ?? about("gpt-5.5"));
}

/** Until when, in ms from now; null where nothing says. */
function delayOf(outcome: Outcome): number | null | undefined {
  if (!("until" in outcome)) return undefined;
  return outcome.until === null ? null : outcome.until - NOW;
}

/** The headers of the main meter with this much used of its two windows, percent. */
function mainHeaders(primary: number, secondary: number) {
  return {
    "x-codex-primary-used-percent": String(primary),
    "x-codex-primary-window-minutes": "300",
    "x-codex-primary-reset-at": String(NOW / 1000 + 100),
    "x-codex-secondary-used-percent": String(secondary),
    "x-codex-secondary-window-minutes": "10080",
    "x-codex-secondary-reset-at": String(NOW / 1000 + 900),
  };
}

const LIMIT = { error: { type: "usage_limit_reached" } };

test("readAnswer() calls every 2xx fine and no other status below 400", () => {
  for (const status of [200, 201, 204]) {
    assertEquals(read(status), { kind: "ok" });
  }
  for (const status of [101, 302, 304]) {
    assertEquals(read(status), { kind: "other" });
  }
});

test("readAnswer() says for how long a refusal counts", () => {
  const rows: [status: number, body: unknown, delay: number | undefined][] = [
    [402, { detail: { code: "deactivated_workspace" } }, 30 * MINUTE],
    [403, { detail: { code: "workspace_access_denied" } }, 30 * MINUTE],
    [404, { error: { message: "Model not found x" } }, 30 * MINUTE],
    [429, { error: { code: "usage_not_included" } }, 30 * MINUTE],
    [429, { error: { code: "insufficient_quota" } }, 5 * MINUTE],
    [429, { detail: "Too fast" }, MINUTE],
    [429, { detail: "Please try again in 1.3s" }, 1300],
    [400, { detail: "Unsupported parameter: user" }, undefined],
    [503, undefined, undefined],
  ];
  for (const [status, body, delay] of rows) {
    const row = JSON.stringify(body);
    assertEquals([row, delayOf(read(status, body))], [row, delay]);
  }
});

test("readAnswer() names the code by which a workspace is closed", () => {
  for (
    const [status, code] of [
      [402, "deactivated_workspace"],
      [403, "codex_workspace_access_denied"],
    ] as const
  ) {
    const outcome = read(status, { detail: { code } });
    assertEquals(outcome.kind === "workspace" && outcome.code, code);
  }
});

test("readAnswer() passes on what the body is refused for", () => {
  const text = "Unsupported parameter: temperature";
  assertEquals(read(400, { detail: text }), { kind: "refused-body", text });
});

test("readAnswer() finds when a usage limit ends: in the body, in the headers, in Retry-After", () => {
  const seconds = NOW / 1000;
  const retry = { "retry-after": "77" };
  const full = mainHeaders(100, 100);
  const rows: [
    fields: Record<string, unknown>,
    headers: Record<string, string>,
    delay: number | null,
  ][] = [
    [{ resets_at: seconds + 10, resets_in_seconds: 99 }, full, 10 * SECOND],
    [{ resets_at: null, resets_in_seconds: 99 }, full, 99 * SECOND],
    [{ resets_in_seconds: "99" }, full, 99 * SECOND],
    [{ resets_at: seconds - 10 }, full, MINUTE],
    [{ resets_at: seconds * 1000 }, full, 35 * DAY],
    [{}, { ...full, ...retry }, 900 * SECOND],
    [{}, mainHeaders(100, 99.9), 100 * SECOND],
    [{}, { ...mainHeaders(99, 99.9), ...retry }, 77 * SECOND],
    [{ resets_at: "soon" }, {}, null],
  ];
  for (const [fields, headers, wanted] of rows) {
    const body = { error: { ...LIMIT.error, ...fields } };
    const row = JSON.stringify([fields, headers]);
    assertEquals([row, delayOf(read(429, body, { headers }))], [row, wanted]);
  }
});

test("readAnswer() finds the meter of a usage limit", () => {
  const active = (name: string) => ({ "x-codex-active-limit": name });
  const reserve = { "x-base-model-inference-primary-used-percent": "100" };
  const later = new Map([["gpt-7-next", "next_meter"]]);
  const rows: [Given, meter: string][] = [
    [{}, "codex"],
    [{ about: about() }, "codex"],
    [{ about: about(SPARK) }, SPARK_METER],
    [{ about: about("GPT-Reserve") }, RESERVE_METER],
    [{ about: about("gpt-7-next", later) }, "next_meter"],
    [{ about: about("gpt-7-next") }, "codex"],
    [{ about: about(SPARK), headers: active("premium") }, "codex"],
    [{ headers: active("codex-bengalfox") }, SPARK_METER],
    [
      { headers: { ...active("base-model-inference"), ...reserve } },
      RESERVE_METER,
    ],
    [{ headers: active("never-heard-of") }, "codex"],
  ];
  for (const [given, meter] of rows) {
    const outcome = read(429, LIMIT, given);
    const row = JSON.stringify(given);
    assertEquals([row, outcome.kind === "usage-limit" && outcome.meter], [
      row,
      meter,
    ]);
  }
});

test("readAnswer() takes a usage limit for one of the model when its own headers show room on the main meter", () => {
  const active = (name: string) => ({ "x-codex-active-limit": name });
  const room = mainHeaders(40, 99.9);
  const rows: [why: string, isAboutModel: boolean, Given][] = [
    ["room in every window", true, { headers: room }],
    ["the main meter is named", true, {
      headers: { ...room, ...active("premium") },
    }],
    ["a full window", false, { headers: mainHeaders(40, 100) }],
    ["no windows", false, {}],
    ["another meter is named", false, {
      headers: { ...room, ...active("codex_bengalfox") },
    }],
    ["model unknown", false, { headers: room, about: about() }],
    ["a model with a meter of its own", false, {
      headers: { ...room, ...active("codex") },
      about: about(SPARK),
    }],
  ];
  for (const [why, isAboutModel, given] of rows) {
    const outcome = read(429, LIMIT, given);
    assertEquals(
      [why, outcome.kind === "usage-limit" && outcome.isAboutModel],
      [
        why,
        isAboutModel,
      ],
    );
  }
});

test("readAnswer() takes the end of a throttle from the headers first", () => {
  const text = (message: string) => ({
    error: { code: "rate_limit_exceeded", message },
  });
  const rows: [unknown, Record<string, string>, number][] = [
    [undefined, {}, MINUTE],
    ["Please try again in 3s", {}, 3 * SECOND],
    [text("try again in 1.3s"), { "retry-after": "9" }, 9 * SECOND],
    [text("busy"), { "retry-after": "0" }, SECOND],
    [text("busy"), { "retry-after": "soon" }, MINUTE],
    [{ detail: "Too fast" }, { "retry-after-ms": "400" }, 400],
  ];
  for (const [body, headers, delay] of rows) {
    const outcome = read(429, body, { headers });
    assertEquals([outcome.kind, delayOf(outcome)], ["throttle", delay]);
  }
});

test("readAnswer() shows short details without secrets or control characters", () => {
  const jwt = "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.sig";
  const message = `Bad\u0007 \u202etoken ${jwt}, key sk-abcdefghijkl ` +
    `${"Ab3-".repeat(20)} ` + "and so on ".repeat(50);
  const outcome = read(429, { error: { message } });
  const detail = outcome.kind === "throttle" ? outcome.detail : "";
  assert(detail.startsWith("Bad token …, key … … and so on and"), detail);
  assertEquals(detail.length, 200);
});

test("readStreamFailure() reads the status and the headers of an error event: four hours, not 15 minutes", () => {
  const event = fixture("events/error-with-headers");
  const now = 1_795_014_400_000 - 4 * 60 * MINUTE;
  const request = { ...about("gpt-5.5"), observedAt: now, seenAt: now };
  const outcome = (json: unknown) => {
    const meaning = readEvent(JSON.stringify(json), null);
    return meaning.kind === "failed"
      ? readStreamFailure(meaning, request)
      : { kind: "other" } as const;
  };
  const until = (outcome: Outcome) =>
    outcome.kind === "usage-limit" ? outcome.until : outcome.kind;
  assertEquals(until(outcome(event)), now + 4 * 60 * MINUTE);
  const { headers: _, ...bare } = event;
  assertEquals(until(outcome(bare)), null);
});

test("eventHeaders() gives what an error event carries the form of headers", () => {
  const { headers } = fixture("events/error-with-headers");
  const facts = readHeaders(eventHeaders(headers), about("gpt-5.5"));
  assertEquals(percents(facts.usage), { codex: [100, 80] });
  assertEquals(facts.credits, {
    observedAt: NOW,
    hasCredits: false,
    unlimited: false,
  });
  const odd = {
    "x a": "1",
    "x-é": "1",
    "x-line": "a\nb",
    "x-list": [1],
    "X-Number": 5,
    "x-empty": "",
  };
  assertEquals([...eventHeaders(odd)], [["x-empty", ""], ["x-number", "5"]]);
  for (const none of [undefined, null, "x", 5, []]) {
    assertEquals([...eventHeaders(none)], []);
  }
});

test("readStreamFailure() falls back to the code where the status says nothing", () => {
  const failure = (status: unknown) =>
    readStreamFailure(
      { error: { code: "usage_limit_reached" }, status },
      about("gpt-5.5"),
    ).kind;
  assertEquals(
    [429, 404, 500, 200, "429", undefined].map(failure),
    Array(6).fill("usage-limit"),
  );
  const transient = readStreamFailure(
    { error: { message: "?" }, status: 502 },
    about("gpt-5.5"),
  );
  assertEquals(transient, { kind: "transient", status: 502 });
});

test("readAnswer() survives any body and stays within 35 days", () => {
  const endless = '{"error":'.repeat(5000) + "1" + "}".repeat(5000);
  assertEquals(read(429, endless).kind, "throttle");
  const status = fc.constantFrom(200, 400, 401, 402, 403, 404, 429, 500, 503);
  const body = fc.oneof(
    errorJson.map((json) => JSON.stringify(json) ?? ""),
    fc.string(),
  );
  fc.assert(
    fc.property(status, body, headerPairs, (status, body, pairs) => {
      const outcome = read(status, body, {
        headers: Object.fromEntries(pairs),
      });
      if (status !== 200) assert(outcome.kind !== "ok");
      const delay = delayOf(outcome) ?? undefined;
      if (delay !== undefined) assert(delay > 0 && delay <= 35 * DAY);
    }),
    { numRuns: 500 },
  );
});
