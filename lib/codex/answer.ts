/** What a response, or a failure in its stream, means for the account. */
import { MAIN_METER, meterOfModel } from "../meters.ts";
import {
  type ErrorReport,
  fieldOf,
  readErrorBody,
  readErrorJson,
} from "./error_report.ts";
import { errorMeaning, needsBody, type Outcome } from "./error_table.ts";
import { type AboutRequest, type HeaderFacts, readHeaders } from "./headers.ts";
import { recordOf } from "./json.ts";
import {
  clampReset,
  parseRetryAfter,
  parseTryAgain,
  resetTime,
} from "./times.ts";

export { needsBody, type Outcome } from "./error_table.ts";

export interface AnswerInput {
  /** undefined: a failure in a stream that names no status. */
  status: number | undefined;
  headers: Headers;
  /** What the body says, where {@linkcode needsBody} asks for it. */
  report: ErrorReport;
  now: number;
  about: AboutRequest;
  /** What the headers say, when that was read already. */
  headerFacts?: HeaderFacts;
}

const MINUTE = 60_000;

/** Tells what a response means for the account that it came from. */
export function readAnswer(input: AnswerInput): Outcome {
  const { status, report, now } = input;
  if (status !== undefined && status < 400) {
    return { kind: status >= 200 && status < 300 ? "ok" : "other" };
  }
  const { detail } = report;
  const { kind, code = "unknown" } = errorMeaning(status, report);
  switch (kind) {
    case "usage-limit":
      return usageLimit(input);
    case "throttle":
      return report.isHtml ? { kind: "other" } : throttle(input);
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

/** Reads the body of an error, where its status says that it has to be read. */
export function readReport(
  status: number,
  bodyText: string | undefined,
): ErrorReport {
  return readErrorBody(needsBody(status) ? bodyText : undefined);
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
  const now = about.seenAt;
  const input = { headers: eventHeaders(headers), report, now, about };
  const isStatus = typeof status === "number" && status >= 400 && status <= 599;
  const byStatus = isStatus ? readAnswer({ ...input, status }) : undefined;
  return byStatus && byStatus.kind !== "other"
    ? byStatus
    : readAnswer({ ...input, status: undefined });
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

function usageLimit(input: AnswerInput): Outcome {
  const { headers, report, now, about } = input;
  const facts = input.headerFacts ?? readHeaders(headers, about);
  const meter = facts.activeMeter ?? meterOfModel(about.model, about.names);
  const windows = facts.usage?.meters[MAIN_METER]?.windows ?? [];
  const isMain = facts.activeMeter === null || facts.activeMeter === MAIN_METER;
  const told = resetTime(
    fieldOf(report, "resets_at"),
    fieldOf(report, "resets_in_seconds"),
    now,
  );
  return {
    kind: "usage-limit",
    meter,
    isAboutModel: about.model !== undefined && isMain && windows.length > 0 &&
      meterOfModel(about.model, about.names) === MAIN_METER &&
      windows.every((window) => window.usedPercent < 100),
    until: told ?? resetOf(facts, meter, now) ??
      parseRetryAfter(headers, now) ??
      null,
    detail: report.detail || "The usage limit has been reached",
  };
}

/** When the used-up windows of a meter have all reset, as far as headers tell. */
function resetOf(
  facts: HeaderFacts,
  meter: string,
  now: number,
): number | undefined {
  const resets = (facts.usage?.meters[meter]?.windows ?? [])
    .filter(({ usedPercent }) => usedPercent >= 100)
    .map(({ resetsAt }) => resetsAt ?? 0);
  const latest = Math.max(0, ...resets);
  return latest > 0 ? clampReset(latest, now) : undefined;
}

/** "Too many requests", until the header, the text or a minute says. */
function throttle({ headers, report, now }: AnswerInput): Outcome {
  const until = parseRetryAfter(headers, now) ??
    parseTryAgain(report.text, now) ?? now + MINUTE;
  const detail = report.detail || "Too many requests";
  return { kind: "throttle", until, detail };
}
