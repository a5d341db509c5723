/**
 * What a response means for the account that it came from.
 *
 * @module
 */

import { type ErrorReport, fieldOf, readErrorBody } from "./error_report.ts";
import { meterOfModel } from "../meters.ts";
import { type HeaderFacts, readHeaders } from "./headers.ts";
import { readText } from "./json.ts";
import { parseRetryAfter, parseTryAgain, resetTime } from "./times.ts";

/** What a response means. `until` is epoch ms, `detail` a short text for people. */
export type Outcome =
  | { kind: "ok" }
  | { kind: "token-rejected" }
  | { kind: "workspace"; detail: string; until: number }
  | { kind: "model"; until: number; detail: string }
  | { kind: "encrypted-content" }
  | {
    kind: "usage-limit";
    meter: string;
    until: number;
    plan: string | null;
    detail: string;
  }
  | { kind: "plan"; until: number; detail: string }
  | { kind: "credits-refused"; code: string; until: number }
  | { kind: "throttle"; until: number; detail: string }
  | { kind: "hiccup"; status: 502 | 503 | 504 }
  | { kind: "other" };

/** A response as {@linkcode readAnswer} wants it. */
export interface AnswerInput {
  status: number;
  headers: Headers;
  /** The body as text, where {@linkcode needsBody} asks for it. */
  bodyText: string | undefined;
  /** Epoch ms. */
  now: number;
  /** The model that was asked for, when known. */
  model: string | undefined;
  /** What the headers say, when that was read already. */
  headerFacts?: HeaderFacts;
}

const MINUTE = 60_000;
const CREDIT_CODES: ReadonlySet<string> = new Set([
  "insufficient_quota",
  "credit_balance_exhausted",
  "organization_spend_limit_exceeded",
  "project_spend_limit_exceeded",
  "organization_usage_limit_exceeded",
]);

/** Whether a response of this status cannot be judged without its body. */
export function needsBody(status: number): boolean {
  return status === 400 || status === 402 || status === 403 ||
    status === 404 || status === 429;
}

/** Tells what a response means for the account that it came from. */
export function readAnswer(input: AnswerInput): Outcome {
  const { status, now } = input;
  if (status >= 200 && status < 300) return { kind: "ok" };
  if (status === 401) return { kind: "token-rejected" };
  if (status === 502 || status === 503 || status === 504) {
    return { kind: "hiccup", status };
  }
  if (!needsBody(status)) return { kind: "other" };
  const report = readErrorBody(input.bodyText);
  switch (status) {
    case 400:
      return readBadRequest(report, now);
    case 402:
      return readWorkspace(report, now);
    case 403:
      return saysTokenIsDead(report)
        ? { kind: "token-rejected" }
        : { kind: "other" };
    case 404:
      return report.codes.includes("usage_limit_reached")
        ? readLimit(report, input)
        : { kind: "other" };
    default:
      return readLimit(report, input);
  }
}

function readBadRequest(report: ErrorReport, now: number): Outcome {
  if (isEncryptedContent(report)) return { kind: "encrypted-content" };
  const refused = report.text.toLowerCase().includes(
    "not supported when using codex with a chatgpt account",
  );
  if (!refused) return { kind: "other" };
  return { kind: "model", until: now + 30 * MINUTE, detail: report.detail };
}

/** Whether the conversation holds ciphertext of another account. */
export function isEncryptedContent(report: ErrorReport): boolean {
  if (report.codes.includes("invalid_encrypted_content")) return true;
  const text = report.text.toLowerCase();
  return text.includes("encrypted content") &&
    text.includes("could not be verified");
}

function readWorkspace(report: ErrorReport, now: number): Outcome {
  if (!report.codes.includes("deactivated_workspace")) return { kind: "other" };
  const detail = report.detail || "The workspace is deactivated";
  return { kind: "workspace", detail, until: now + 30 * MINUTE };
}

function saysTokenIsDead(report: ErrorReport): boolean {
  if (!report.json) return false;
  if (report.codes.includes("invalid_token")) return true;
  return [...report.codes, ...report.text.split("\n")].some((text) =>
    /token/i.test(text) && /invalidated|revoked|expired/i.test(text)
  );
}

function readLimit(report: ErrorReport, input: AnswerInput): Outcome {
  const { headers, model, now } = input;
  const facts = input.headerFacts ?? readHeaders(headers, now, model);
  const meter = facts.activeMeter ?? meterOfModel(model);
  const retryAfter = parseRetryAfter(headers, now);
  const reset = resetOf(facts, meter) ?? retryAfter;
  return limitOutcome(report, { now, meter, plan: facts.plan, reset }) ??
    throttleOutcome(report, now, retryAfter);
}

/** When the used-up windows of a meter have all reset, as far as headers tell. */
function resetOf(facts: HeaderFacts, meter: string): number | undefined {
  let latest: number | undefined;
  for (const window of facts.usage?.meters[meter]?.windows ?? []) {
    if (window.usedPercent < 100 || window.resetsAt === null) continue;
    latest = Math.max(latest ?? 0, window.resetsAt);
  }
  return latest;
}

/** What is known beside the error itself. */
export interface LimitContext {
  /** Epoch ms. */
  now: number;
  /** The meter it is about. */
  meter: string;
  plan?: string | null;
  /** Epoch ms, for an error that does not say when it ends. */
  reset?: number | undefined;
}

/** The limits that say what they are; undefined for anything else. */
export function limitOutcome(
  report: ErrorReport,
  context: LimitContext,
): Outcome | undefined {
  const { now, meter } = context;
  if (report.codes.includes("usage_limit_reached")) {
    const until = resetTime(
      fieldOf(report, "resets_at"),
      fieldOf(report, "resets_in_seconds"),
      now,
    ) ?? context.reset ?? now + 15 * MINUTE;
    const plan = readText(fieldOf(report, "plan_type")) ?? context.plan ?? null;
    const detail = report.detail || "The usage limit has been reached";
    return { kind: "usage-limit", meter, until, plan, detail };
  }
  if (report.codes.includes("usage_not_included")) {
    const detail = report.detail || "The plan does not include this usage";
    return { kind: "plan", until: now + 30 * MINUTE, detail };
  }
  const code = report.codes.find((code) => CREDIT_CODES.has(code));
  if (code === undefined) return undefined;
  return { kind: "credits-refused", code, until: now + 5 * MINUTE };
}

/** "Too many requests", until the header, the text or a minute says. */
export function throttleOutcome(
  report: ErrorReport,
  now: number,
  retryAfter?: number,
): Outcome {
  const until = retryAfter ?? parseTryAgain(report.text, now) ?? now + MINUTE;
  const detail = report.detail || "Too many requests";
  return { kind: "throttle", until, detail };
}
