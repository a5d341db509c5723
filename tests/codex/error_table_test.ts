import { assertEquals } from "@std/assert";
import { readAnswer, readStreamFailure } from "../../lib/codex/answer.ts";
import { needsBody, statusOfFailure } from "../../lib/codex/error_table.ts";
import { readEvent } from "../../lib/codex/stream.ts";
import { test } from "../test.ts";
import { about } from "./facts.ts";

/** The kind of outcome of a response. */
function kindOf(status: number, body?: unknown): string {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const head = { status, headers: new Headers() };
  return readAnswer(head, text, about("gpt-5.5")).kind;
}

/** The kind of outcome of a failure in a stream that names no status. */
function kindInStream(error: unknown): string {
  const data = JSON.stringify({ type: "response.failed", response: { error } });
  const meaning = readEvent(data, null);
  return meaning.kind === "failed"
    ? readStreamFailure(meaning, about("gpt-5.5")).kind
    : meaning.kind;
}

const code = (code: string) => ({ error: { code } });
const type = (type: string) => ({ error: { type } });
const detail = (code: string) => ({ detail: { code } });
const text = (message: string) => ({ error: { message } });
const saying = (detail: string) => ({ detail });

const CREDIT_CODES = [
  "insufficient_quota",
  "credit_balance_exhausted",
  "organization_spend_limit_exceeded",
  "project_spend_limit_exceeded",
  "organization_usage_limit_exceeded",
];
const WORKSPACE_CODES = [
  "codex_workspace_access_denied",
  "workspace_access_denied",
  "invalid_workspace_selected",
  "codex_entitlement_missing",
  "entitlement_missing",
];
const NOT_SUPPORTED =
  "The 'gpt-9' model is not supported when using Codex with a ChatGPT account.";
const NEWER =
  "The 'gpt-9' model requires a newer version of Codex. Please upgrade.";
const OTHER_ACCOUNT = [
  "The encrypted content gAAAAABabc could not be verified. Reason: none.",
  "Encrypted function output content could not be decrypted or decoded.",
  "Encrypted agent message content could not be decoded.",
];

/** An error, what it means, and a neighbour that means something else. */
type Row = [
  status: number,
  body: unknown,
  kind: string,
  neighbour: [status: number, body: unknown, kind: string],
];

const ROWS: Row[] = [
  [400, code("invalid_encrypted_content"), "encrypted-content", [
    422,
    code("invalid_encrypted_content"),
    "other",
  ]],
  ...OTHER_ACCOUNT.map((message): Row => [
    400,
    text(message),
    "encrypted-content",
    [400, text(message.replace("could not be", "was")), "other"],
  ]),
  [400, saying(NOT_SUPPORTED), "model", [
    400,
    saying(NOT_SUPPORTED.replace("not supported", "supported")),
    "other",
  ]],
  [404, text("Model not found gpt-9"), "model", [
    404,
    text("The file says: Model not found"),
    "other",
  ]],
  [400, saying(NEWER), "other", [400, saying(NOT_SUPPORTED), "model"]],
  ...[
    "Unsupported parameter: temperature",
    "Unsupported service_tier: auto",
    "System messages are not allowed",
    "Instructions are required",
  ].map((message): Row => [
    400,
    saying(message),
    "refused-body",
    [422, saying(message), "other"],
  ]),
  [402, detail("deactivated_workspace"), "workspace", [
    402,
    detail("payment_required"),
    "other",
  ]],
  ...WORKSPACE_CODES.map((name): Row => [
    403,
    detail(name),
    "workspace",
    [402, detail(name), "other"],
  ]),
  [403, detail("unsupported_country_region_territory"), "other", [
    403,
    detail("codex_workspace_access_denied"),
    "workspace",
  ]],
  ...["usage_limit_reached", "usage_limit_exceeded"].flatMap((name): Row[] => [
    [429, type(name), "usage-limit", [500, type(name), "other"]],
    [404, code(name), "usage-limit", [404, code(`${name}_soon`), "other"]],
  ]),
  [429, type("usage_not_included"), "plan", [
    404,
    type("usage_not_included"),
    "other",
  ]],
  [429, code("usage_not_included"), "plan", [
    429,
    text("usage_not_included"),
    "throttle",
  ]],
  ...CREDIT_CODES.flatMap((name): Row[] => [
    [429, code(name), "credits-refused", [402, code(name), "other"]],
    [429, type(name), "credits-refused", [403, type(name), "other"]],
  ]),
  [429, code("flex_unavailable"), "other", [
    429,
    code("flex_busy"),
    "throttle",
  ]],
  [429, "<!doctype html><title>Error 1015</title>", "other", [
    429,
    "Error 1015",
    "throttle",
  ]],
  [429, code("rate_limit_exceeded"), "throttle", [
    400,
    code("rate_limit_exceeded"),
    "other",
  ]],
  [401, undefined, "token-rejected", [403, undefined, "other"]],
  [403, code("token_invalidated"), "token-rejected", [
    403,
    code("country_invalidated"),
    "other",
  ]],
  [403, saying("The access token was revoked"), "token-rejected", [
    403,
    text("Your trial has expired"),
    "other",
  ]],
  [403, { error: "invalid_token" }, "token-rejected", [
    403,
    "<html>Your token has expired</html>",
    "other",
  ]],
  [403, detail("token_expired"), "token-rejected", [
    403,
    "Your token has expired",
    "other",
  ]],
  [503, code("server_is_overloaded"), "transient", [
    500,
    code("server_is_overloaded"),
    "other",
  ]],
  [502, undefined, "transient", [501, undefined, "other"]],
  [504, "<html></html>", "transient", [505, "<html></html>", "other"]],
];

test("an error means what its row of the table says, and its neighbour does not", () => {
  for (const [status, body, kind, neighbour] of ROWS) {
    for (
      const [on, what, wanted] of [[status, body, kind] as const, neighbour]
    ) {
      const row = `${on} ${JSON.stringify(what)}`;
      assertEquals([row, kindOf(on, what)], [row, wanted]);
    }
  }
});

test("an error is known by its code wherever the body carries it", () => {
  const name = "usage_limit_reached";
  const bodies: unknown[] = [
    { error: { type: name } },
    { error: { code: name, type: "invalid_request_error" } },
    { error: name, message: "Enough" },
    { type: name },
    { code: name },
    { detail: { code: name } },
    { detail: { error: { type: name } } },
    [{ error: { type: name } }],
    { error: [{ type: name }] },
  ];
  for (const body of bodies) assertEquals(kindOf(429, body), "usage-limit");
  assertEquals(kindOf(429, { error: { other: name } }), "throttle");
});

test("a failure in a stream without a status means what its code means", () => {
  const rows: [error: unknown, kind: string, status: number][] = [
    [{ type: "usage_limit_reached" }, "usage-limit", 429],
    [{ code: "usage_limit_exceeded" }, "usage-limit", 429],
    [{ code: "usage_not_included" }, "plan", 429],
    ...CREDIT_CODES.map((code): [unknown, string, number] => [
      { code },
      "credits-refused",
      429,
    ]),
    [{ code: "rate_limit_exceeded" }, "throttle", 429],
    [{ code: "server_is_overloaded" }, "transient", 503],
    [{ code: "slow_down" }, "transient", 503],
    [{ message: "Selected model is at capacity." }, "transient", 503],
    [{ code: "invalid_encrypted_content" }, "encrypted-content", 400],
    ...OTHER_ACCOUNT.map((message): [unknown, string, number] => [
      { code: "invalid_request_body", message },
      "encrypted-content",
      400,
    ]),
    [{ code: "flex_unavailable" }, "other", 429],
    [{ code: "server_error", message: "try again in 3s" }, "other", 502],
    [{ code: "context_length_exceeded" }, "other", 400],
    [{ code: "invalid_prompt" }, "other", 400],
    [{ message: "Model not found gpt-9" }, "other", 502],
    [{ message: NOT_SUPPORTED }, "other", 502],
    [{ message: "Unsupported parameter: user" }, "other", 502],
    [{ code: "deactivated_workspace" }, "other", 502],
    [{ code: "workspace_access_denied" }, "other", 502],
    [{}, "other", 502],
  ];
  for (const [error, kind, status] of rows) {
    const row = JSON.stringify(error);
    assertEquals([row, kindInStream(error)], [row, kind]);
    const told = statusOfFailure(error as Record<string, unknown>);
    assertEquals([row, told], [row, status]);
  }
});

test("a failure in a stream has the status that it names itself", () => {
  const failed = { code: "slow_down" };
  assertEquals(statusOfFailure({ ...failed, status: 529 }), 529);
  assertEquals(statusOfFailure({ ...failed, status_code: 400 }), 400);
  assertEquals(statusOfFailure({ ...failed, status: 200 }), 503);
  assertEquals(statusOfFailure({ ...failed, status: "429" }), 503);
});

test("needsBody() asks for the bodies that decide, and reads no others", () => {
  const statuses = [200, 302, 400, 401, 402, 403, 404, 409, 429, 500, 503];
  assertEquals(statuses.filter(needsBody), [400, 402, 403, 404, 429]);
  for (const [status, , kind] of ROWS) {
    if (!needsBody(status)) assertEquals(kindOf(status), kind);
  }
});
