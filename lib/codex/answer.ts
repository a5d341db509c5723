/** What a response, or a failure in its stream, means for the account. */
import { fullUntil, MAIN_METER, meterOfModel } from "../meters.ts";
import {
  type ErrorReport,
  fieldOf,
  readErrorBody,
  readErrorJson,
} from "./error_report.ts";
import { errorMeaning, needsBody, type Outcome } from "./error_table.ts";
import { type AboutRequest, readHeaders } from "./headers.ts";
import { recordOf } from "../values.ts";
import {
  clampReset,
  parseRetryAfter,
  parseTryAgain,
  resetTime,
} from "./times.ts";

/** A response as far as it was read, or a failure in a stream that stands for one. */
interface Failed {
  /** undefined: a failure in a stream that names no status. */
  status: number | undefined;
  headers: Headers;
  report: ErrorReport;
  about: AboutRequest;
}

const MINUTE = 60_000;

/**
 * Tells what a response means for the account that it came from.
 *
 * @param text The body, where {@linkcode needsBody} asks for it.
 */
export function readAnswer(
  { status, headers }: Pick<Response, "status" | "headers">,
  text: string | undefined,
  about: AboutRequest,
): Outcome {
  if (status >= 200 && status < 300) return { kind: "ok" };
  if (status < 400) return { kind: "other" };
  const report = readErrorBody(needsBody(status) ? text : undefined);
  return outcomeOf({ status, headers, report, about });
}

function outcomeOf(failed: Failed): Outcome {
  const { status, report, about: { seenAt: now } } = failed;
  const { detail } = report;
  const { kind, code = "unknown" } = errorMeaning(status, report);
  switch (kind) {
    case "usage-limit":
      return usageLimit(failed);
    case "throttle":
      return report.isHtml ? { kind: "other" } : throttle(failed);
    case "workspace": {
      const until = now + 30 * MINUTE;
      return { kind, code, detail: detail || "The workspace is closed", until };
    }
    case "model":
      return { kind, until: now + 30 * MINUTE, detail };
    case "plan": {
      const text = detail || "The plan does not include this usage";
      return { kind, until: now + 30 * MINUTE, detail: text };
    }
    case "credits-refused":
      return { kind, code, until: now + 5 * MINUTE };
    case "refused-body":
      return { kind, text: report.text };
    case "transient":
      return { kind, status: status ?? 503 };
    case "token-rejected":
      // a page of HTML with this status is somebody else's
      return status === 403 && !report.isJson ? { kind: "other" } : { kind };
    case "encrypted-content":
    case "other":
      return { kind };
  }
}

/** What a failure in a stream means; it may carry the HTTP answer that it replaces. */
export function readStreamFailure(
  { error, status, headers }: {
    error: Record<string, unknown>;
    status?: unknown;
    headers?: unknown;
  },
  about: AboutRequest,
): Outcome {
  const report = readErrorJson(error);
  const failed = { headers: eventHeaders(headers), report, about };
  const isStatus = typeof status === "number" && status >= 400 && status <= 599;
  const byStatus = isStatus ? outcomeOf({ ...failed, status }) : undefined;
  return byStatus && byStatus.kind !== "other"
    ? byStatus
    : outcomeOf({ ...failed, status: undefined });
}

/** The headers that an error event carries; names in any case, an absent value is an empty text. */
export function eventHeaders(raw: unknown): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(recordOf(raw))) {
    if (typeof value !== "string" && typeof value !== "number") continue;
    if (!/^[\w-]+$/.test(name) || /[^\t\x20-\x7e]/.test(String(value))) {
      continue;
    }
    headers.set(name, String(value));
  }
  return headers;
}

function usageLimit({ headers, report, about }: Failed): Outcome {
  const now = about.seenAt;
  const facts = readHeaders(headers, about);
  const meter = facts.activeMeter ?? meterOfModel(about.model, about.names);
  const windows = facts.usage?.meters[MAIN_METER]?.windows ?? [];
  const isMain = facts.activeMeter === null || facts.activeMeter === MAIN_METER;
  const told = resetTime(
    fieldOf(report, "resets_at"),
    fieldOf(report, "resets_in_seconds"),
    now,
  );
  const reset = fullUntil(facts.usage?.meters[meter]?.windows);
  return {
    kind: "usage-limit",
    meter,
    isAboutModel: about.model !== undefined && isMain && windows.length > 0 &&
      meterOfModel(about.model, about.names) === MAIN_METER &&
      windows.every((window) => window.usedPercent < 100),
    until: told ?? (reset > 0 ? clampReset(reset, now) : null) ??
      parseRetryAfter(headers, now) ?? null,
    detail: report.detail || "The usage limit has been reached",
  };
}

/** "Too many requests", until the header, the text or a minute says. */
function throttle({ headers, report, about }: Failed): Outcome {
  const now = about.seenAt;
  const until = parseRetryAfter(headers, now) ??
    parseTryAgain(report.text, now) ?? now + MINUTE;
  const detail = report.detail || "Too many requests";
  return { kind: "throttle", until, detail };
}
