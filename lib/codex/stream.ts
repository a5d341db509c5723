/** What the events of a response stream mean. */
import { MAIN_METER, meterOfModel } from "../meters.ts";
import type { NormalMeter, NormalUsage } from "../normal_types.ts";
import { type AboutRequest, type HeaderFacts, readAmounts } from "./headers.ts";
import {
  isRecord,
  parseJson,
  readDecimal,
  readText,
  recordOf,
} from "../values.ts";
import { displayName, meterName, partialUsage, readMeter } from "./windows.ts";

/** A stream that says that it failed. */
interface StreamFailure {
  kind: "failed";
  error: Record<string, unknown>;
  /** The HTTP status and headers that an error event may carry. */
  status?: unknown;
  headers?: unknown;
}

export type EventMeaning =
  | { kind: "preamble" }
  | { kind: "rate-limits"; json: unknown }
  | StreamFailure
  /** The response is complete, or as complete as its caller lets it be. */
  | { kind: "ended"; response: Record<string, unknown> }
  | { kind: "done" }
  | { kind: "content" };

const LEADING_TYPE = /^\s*\{\s*"type"\s*:\s*"([^"\\]*)"/;
/** Fields of which every event that carries output has one. */
const OUTPUT_FIELDS = ["item", "delta", "part", "output_index"];
/** Events that carry output are told by their type, without parsing them. */
const OUTPUT_TYPE = /\.(?:delta|done|added)$/;
/** Events before any output, whatever they carry. */
const PREAMBLE_TYPE =
  /^(?:response\.(?:created|in_progress|queued|metadata)|codex\..*|keepalive|ping)$/;

/** Tells what an event means; parses its JSON only where that is needed. */
export function readEvent(data: string, event: string | null): EventMeaning {
  if (data.trim() === "[DONE]") return { kind: "done" };
  const type = eventType(data, event);
  switch (type) {
    case "codex.rate_limits":
      return { kind: "rate-limits", json: parseJson(data) };
    case "response.failed": {
      const json = recordOf(parseJson(data));
      return failure(recordOf(json.response).error ?? json.error, json);
    }
    case "error":
      return readErrorEvent(parseJson(data));
    case "response.completed":
    case "response.incomplete": {
      const response = recordOf(recordOf(parseJson(data)).response);
      return { kind: "ended", response };
    }
    default:
      return { kind: isOutput(type, data) ? "content" : "preamble" };
  }
}

/** Whether an event carries output; of an unknown type its fields tell. */
function isOutput(type: string | null, data: string): boolean {
  if (type !== null && PREAMBLE_TYPE.test(type)) return false;
  if (type?.startsWith("response.") && OUTPUT_TYPE.test(type)) return true;
  const fields = parseJson(data);
  return isRecord(fields) &&
    OUTPUT_FIELDS.some((name) => Object.hasOwn(fields, name));
}

function eventType(data: string, event: string | null): string | null {
  const leading = LEADING_TYPE.exec(data)?.[1];
  if (leading !== undefined) return leading;
  if (event !== null && event !== "message") return event;
  return readText(recordOf(parseJson(data)).type);
}

function readErrorEvent(json: unknown): StreamFailure {
  if (!isRecord(json)) return failure(json, {});
  if (json.error !== undefined && json.error !== null) {
    return failure(json.error, json);
  }
  // the flat form: here `type` only says that this is an error
  const { type: _, ...error } = json;
  return failure(error, json);
}

function failure(
  raw: unknown,
  { status_code: status, headers }: Record<string, unknown>,
): StreamFailure {
  const error = typeof raw === "string"
    ? { message: raw, code: raw }
    : recordOf(raw);
  return { kind: "failed", error, status, headers };
}

/**
 * Reads a `codex.rate_limits` event. It can say that a limit was reached; one
 * without a name is about the main meter, whatever the model.
 */
export function readRateLimitsEvent(
  json: unknown,
  about: AboutRequest,
): Omit<HeaderFacts, "activeMeter"> {
  const fields = recordOf(json);
  return {
    plan: readText(fields.plan_type),
    usage: readEventUsage(fields, about),
    credits: readAmounts(recordOf(fields.credits), about.observedAt),
  };
}

function readEventUsage(
  fields: Record<string, unknown>,
  about: AboutRequest,
): NormalUsage | null {
  const { observedAt } = about;
  const meters: Record<string, NormalMeter> = Object.create(null);
  const add = (meter: string, raw: unknown, name?: string) => {
    const facts = readEventMeter(raw, about);
    if (!facts || meter === "__proto__") return;
    meters[meter] = name === undefined ? facts : { ...facts, name };
  };
  for (
    const [name, raw] of Object.entries(recordOf(fields.additional_rate_limits))
  ) {
    const meter = meterOfName(name, about);
    if (meter !== undefined) add(meter, raw, displayName(name));
  }
  const name = readText(fields.metered_limit_name) ??
    readText(fields.limit_name);
  add(
    name === null ? MAIN_METER : meterOfName(name, about) ?? meterName(name),
    fields.rate_limits,
  );
  return partialUsage(meters, observedAt);
}

/** The meter that goes by this `limit_name`; undefined for one that no usage answer ever named. */
function meterOfName(
  name: string,
  { names }: AboutRequest,
): string | undefined {
  const meter = meterOfModel(name, names);
  return meter === MAIN_METER ? undefined : meter;
}

function readEventMeter(
  raw: unknown,
  about: AboutRequest,
): NormalMeter | undefined {
  const meter = readMeter(raw, about);
  // flags that allow a meter without windows say nothing here
  const isTold = meter?.refusedAt !== undefined || meter?.windows.length;
  if (!meter || !isTold) return undefined;
  for (const window of meter.windows) {
    // only a usage answer can call a full window open
    if (window.usedPercent >= 100 && window.flags === "allowed") {
      delete window.flags;
    }
  }
  // what a usage answer told of the flags stays its word
  return { ...meter, allowed: null, limitReached: null };
}

export interface TokenUsage {
  inputTokens: number | null;
  /** Those of the input that were cached. */
  cachedTokens: number | null;
  outputTokens: number | null;
}

/** Reads the `usage` of a response; null where it tells none. */
export function readTokenUsage(
  response: Record<string, unknown>,
): TokenUsage | null {
  if (!isRecord(response.usage)) return null;
  const { usage } = response;
  const cached = recordOf(usage.input_tokens_details).cached_tokens;
  return {
    inputTokens: readDecimal(usage.input_tokens) ?? null,
    cachedTokens: readDecimal(cached) ?? null,
    outputTokens: readDecimal(usage.output_tokens) ?? null,
  };
}

/** The event that tells a whole item of the output. */
export const ITEM_DONE = "response.output_item.done";

/** The item that an event tells, and its place in the output; undefined when it tells none. */
export function doneItem(
  data: string,
): { index: number | undefined; item: unknown } | undefined {
  // deltas are most of a stream and are repeated in the items
  if (!data.includes(ITEM_DONE)) return undefined;
  const json = recordOf(parseJson(data));
  if (json.type !== ITEM_DONE) return undefined;
  const { output_index: index, item } = json;
  return { index: typeof index === "number" ? index : undefined, item };
}
