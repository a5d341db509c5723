/**
 * What the events of a response stream mean.
 *
 * @module
 */

import { MAIN_METER, meterOfModel } from "../meters.ts";
import type {
  HeaderCredits,
  MeterFacts,
  UsageFacts,
  UsageWindow,
} from "../types.ts";
import {
  isEncryptedContent,
  limitOutcome,
  type Outcome,
  throttleOutcome,
} from "./answer.ts";
import { readErrorJson } from "./error_report.ts";
import { headerCredits } from "./headers.ts";
import {
  isRecord,
  parseJson,
  readFlag,
  readPositive,
  readText,
} from "./json.ts";
import {
  limitMark,
  makeWindow,
  mergeWindows,
  meterName,
  safeRecord,
} from "./meters.ts";

/** A stream that says that it failed. */
export interface StreamFailure {
  kind: "failed";
  code: string | null;
  message: string;
  error: Record<string, unknown>;
}

/** What one event means. */
export type EventMeaning =
  | { kind: "preamble" }
  | { kind: "rate-limits"; json: unknown }
  | StreamFailure
  | { kind: "completed"; response: Record<string, unknown> }
  | { kind: "incomplete"; response: Record<string, unknown> }
  | { kind: "done" }
  | { kind: "content" };

/** What a `codex.rate_limits` event says. */
export interface RateLimitsFacts {
  plan: string | null;
  usage: UsageFacts | null;
  credits: HeaderCredits | null;
}

const LEADING_TYPE = /^\s*\{\s*"type"\s*:\s*"([^"\\]*)"/;

/**
 * Tells what an event means; parses its JSON only where that is needed.
 *
 * @param data The event's data.
 * @param event Its `event:` field, when it has one.
 */
export function readEvent(data: string, event: string | null): EventMeaning {
  if (data.trim() === "[DONE]") return { kind: "done" };
  return meaningOf(eventType(data, event), () => data);
}

function meaningOf(type: string | null, data: () => string): EventMeaning {
  switch (type) {
    case "response.created":
    case "response.in_progress":
    case "response.queued":
    case "keepalive":
    case "ping":
      return { kind: "preamble" };
    case "codex.rate_limits":
      return { kind: "rate-limits", json: parseJson(data()) };
    case "response.failed":
      return readFailure(parseResponse(data()).error ?? errorOf(data()));
    case "error":
      return readErrorEvent(parseJson(data()));
    case "response.completed":
      return { kind: "completed", response: parseResponse(data()) };
    case "response.incomplete":
      return { kind: "incomplete", response: parseResponse(data()) };
    default:
      return { kind: "content" };
  }
}

function eventType(data: string, event: string | null): string | null {
  const leading = LEADING_TYPE.exec(data)?.[1];
  if (leading !== undefined) return leading;
  if (event !== null && event !== "message") return event;
  const json = parseJson(data);
  return isRecord(json) ? readText(json.type) : null;
}

function parseResponse(data: string): Record<string, unknown> {
  const json = parseJson(data);
  return isRecord(json) && isRecord(json.response) ? json.response : {};
}

function errorOf(data: string): unknown {
  const json = parseJson(data);
  return isRecord(json) ? json.error : undefined;
}

function readErrorEvent(json: unknown): StreamFailure {
  if (!isRecord(json)) return readFailure(json);
  if (json.error !== undefined && json.error !== null) {
    return readFailure(json.error);
  }
  // The flat form: here `type` only says that this is an error.
  const { type: _, ...error } = json;
  return readFailure(error);
}

function readFailure(raw: unknown): StreamFailure {
  const error = typeof raw === "string"
    ? { message: raw, code: raw }
    : isRecord(raw)
    ? raw
    : {};
  return {
    kind: "failed",
    code: readText(error.code) ?? readText(error.type),
    message: readText(error.message) ?? "",
    error,
  };
}

/** Maps a failure in a stream to what the matching status would have meant. */
export function readStreamFailure(
  failure: { error: Record<string, unknown> },
  now: number,
  model: string | undefined,
): Outcome {
  const report = readErrorJson(failure.error);
  const limit = limitOutcome(report, { now, meter: meterOfModel(model) });
  if (limit !== undefined) return limit;
  if (report.codes.includes("rate_limit_exceeded")) {
    return throttleOutcome(report, now);
  }
  const overloaded = report.codes.includes("server_is_overloaded") ||
    report.codes.includes("slow_down");
  if (overloaded) return { kind: "hiccup", status: 503 };
  return { kind: isEncryptedContent(report) ? "encrypted-content" : "other" };
}

/**
 * Reads a `codex.rate_limits` event. It can say that a limit was reached, but
 * not that one was not.
 *
 * @param observedAt When the event arrived, epoch ms.
 * @param model The model that was asked for, when known: an event that names no meter is about its.
 */
export function readRateLimitsEvent(
  json: unknown,
  observedAt: number,
  model?: string,
): RateLimitsFacts {
  const fields = isRecord(json) ? json : {};
  return {
    plan: readText(fields.plan_type),
    usage: readEventUsage(fields, observedAt, model),
    credits: readEventCredits(fields.credits, observedAt),
  };
}

function readEventUsage(
  fields: Record<string, unknown>,
  observedAt: number,
  model: string | undefined,
): UsageFacts | null {
  if (!isRecord(fields.rate_limits)) return null;
  const limits = fields.rate_limits;
  const windows = readEventWindows(limits, observedAt);
  const reached = readFlag(limits.limit_reached) === true ||
    readFlag(limits.allowed) === false;
  if (windows.length === 0 && !reached) return null;
  const meter: MeterFacts = { windows, observedAt };
  if (reached) meter.limit = limitMark(windows, observedAt);
  const meters = safeRecord([[eventMeter(fields, model), meter]]);
  return { observedAt, answeredAt: null, meters };
}

function readEventWindows(
  limits: Record<string, unknown>,
  observedAt: number,
): UsageWindow[] {
  const windows: UsageWindow[] = [];
  for (const value of Object.values(limits)) {
    if (!isRecord(value)) continue;
    const window = makeWindow(
      value.used_percent,
      (readPositive(value.window_minutes) ?? 0) * 60,
      value.reset_at,
      value.reset_after_seconds,
      observedAt,
    );
    if (window !== undefined) windows.push(window);
  }
  return mergeWindows([], windows);
}

/** Limits go by their meter's name, the main one also as `premium`, or by a model's. */
function eventMeter(
  fields: Record<string, unknown>,
  model: string | undefined,
): string {
  const name = readText(fields.metered_limit_name) ??
    readText(fields.limit_name);
  if (name === null) return meterOfModel(model);
  const byModel = meterOfModel(name.toLowerCase());
  if (byModel !== MAIN_METER) return byModel;
  const meter = meterName(name);
  return meter === "premium" ? MAIN_METER : meter;
}

function readEventCredits(
  raw: unknown,
  observedAt: number,
): HeaderCredits | null {
  if (!isRecord(raw)) return null;
  const { has_credits, unlimited, balance } = raw;
  return headerCredits(
    has_credits,
    unlimited,
    balance === undefined || balance === null || balance === ""
      ? undefined
      : typeof balance === "string" || typeof balance === "number"
      ? String(balance)
      : "NaN",
    observedAt,
  );
}
