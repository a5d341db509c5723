/** What the backend's errors mean. A new one is a row here and a test. */
import type { ErrorReport } from "./error_report.ts";

/** What a response means. `until` is epoch ms, `detail` a short text for people. */
export type Outcome =
  | { kind: "ok" }
  /** The access token is not accepted any more. */
  | { kind: "token-rejected" }
  /** The workspace does not let this account in. */
  | { kind: "workspace"; code: string; detail: string; until: number }
  /** The model is refused; another account has to tell whether that is about this account. */
  | { kind: "model"; until: number; detail: string }
  /** The conversation holds what only another account can read. */
  | { kind: "encrypted-content" }
  /** Something in the body is not accepted, and can be mended. */
  | { kind: "refused-body"; text: string }
  /** The included usage of a meter is used up. */
  | {
    kind: "usage-limit";
    meter: string;
    /** Its own headers show room on the main meter, so that it is about the model alone. */
    isAboutModel: boolean;
    /** null when neither body nor headers say. */
    until: number | null;
    detail: string;
  }
  /** The plan does not include Codex. */
  | { kind: "plan"; until: number; detail: string }
  | { kind: "credits-refused"; code: string; until: number }
  /** Too many requests. */
  | { kind: "throttle"; until: number; detail: string }
  /** Overload, a gateway or the network: it says nothing about quota. */
  | { kind: "transient"; status: number }
  /** It says nothing about the account. */
  | { kind: "other" };

/** What an error means, whatever the account. */
type ErrorKind = Exclude<Outcome["kind"], "ok">;

/** One row: what a code or a text means under these statuses. */
interface Row {
  kind: ErrorKind;
  /** HTTP statuses it counts under; in a stream without a status all rows count but those of `notInStreams`. */
  statuses: readonly number[];
  /** Codes, exactly; one of them is enough. */
  codes?: readonly string[];
  /** Or a pattern of the text for people. */
  text?: RegExp;
  notInStreams?: boolean;
}

/** In order: the first row that fits counts. */
const ROWS: readonly Row[] = [
  {
    kind: "encrypted-content",
    statuses: [400],
    codes: ["invalid_encrypted_content"],
  },
  {
    kind: "encrypted-content",
    statuses: [400],
    text:
      /encrypted\b.*\bcontent\b.*\bcould not be (?:verified|decrypted|decoded)/i,
  },
  {
    kind: "model",
    statuses: [400],
    text: /not supported when using codex with a chatgpt account/i,
    notInStreams: true,
  },
  {
    kind: "model",
    statuses: [404],
    text: /^model not found\b/im,
    notInStreams: true,
  },
  {
    kind: "other",
    statuses: [400],
    text: /requires a newer version of codex/i,
  },
  {
    kind: "refused-body",
    statuses: [400],
    text:
      /unsupported (?:parameter|service_tier)\b|system messages are not allowed|instructions are required/i,
    notInStreams: true,
  },
  {
    kind: "workspace",
    statuses: [402],
    codes: ["deactivated_workspace"],
    notInStreams: true,
  },
  {
    kind: "workspace",
    statuses: [403],
    codes: [
      "codex_workspace_access_denied",
      "workspace_access_denied",
      "invalid_workspace_selected",
      "codex_entitlement_missing",
      "entitlement_missing",
    ],
    notInStreams: true,
  },
  {
    kind: "usage-limit",
    statuses: [429, 404],
    codes: ["usage_limit_reached", "usage_limit_exceeded"],
  },
  { kind: "plan", statuses: [429], codes: ["usage_not_included"] },
  {
    kind: "credits-refused",
    statuses: [429],
    codes: [
      "insufficient_quota",
      "credit_balance_exhausted",
      "organization_spend_limit_exceeded",
      "project_spend_limit_exceeded",
      "organization_usage_limit_exceeded",
    ],
  },
  { kind: "other", statuses: [429], codes: ["flex_unavailable"] },
  {
    kind: "transient",
    statuses: [],
    codes: ["server_is_overloaded", "slow_down"],
  },
  {
    kind: "transient",
    statuses: [],
    text: /selected model is at capacity/i,
  },
  { kind: "throttle", statuses: [], codes: ["rate_limit_exceeded"] },
];

/** What a status means by itself, where no row fits. */
const STATUSES: ReadonlyMap<number, ErrorKind> = new Map([
  [401, "token-rejected"],
  [429, "throttle"],
  [502, "transient"],
  [503, "transient"],
  [504, "transient"],
]);

/** Whether a response of this status cannot be judged without its body. */
export function needsBody(status: number): boolean {
  return status >= 400 &&
      ROWS.some(({ statuses }) => statuses.includes(status)) || status === 403;
}

/** What an error means, and what says so. */
export interface ErrorMeaning {
  kind: ErrorKind;
  code?: string;
  /** The HTTP status that it usually comes with, where the table has one. */
  status?: number | undefined;
}

/** What an error means; `status` is undefined in a stream that names none. */
export function errorMeaning(
  status: number | undefined,
  { codes, text }: Pick<ErrorReport, "codes" | "text">,
): ErrorMeaning {
  for (const row of ROWS) {
    const isMeant = status === undefined
      ? !row.notInStreams
      : row.statuses.includes(status);
    if (!isMeant) continue;
    const { kind, statuses: [usual] } = row;
    const code = row.codes?.find((it) => codes.includes(it));
    if (code !== undefined) return { kind, code, status: usual };
    if (row.text?.test(text)) return { kind, status: usual };
  }
  if (status === 403 && saysTokenIsDead(codes, text)) {
    return { kind: "token-rejected" };
  }
  return { kind: (status !== undefined && STATUSES.get(status)) || "other" };
}

function saysTokenIsDead(codes: readonly string[], text: string): boolean {
  if (codes.includes("invalid_token")) return true;
  return [...codes, ...text.split("\n")].some((line) =>
    /token/i.test(line) && /invalidated|revoked|expired/i.test(line)
  );
}

/**
 * The status that a failure in a stream would have had.
 *
 * @param carried The status that its event carried beside the error.
 */
export function statusOfFailure(
  error: Record<string, unknown>,
  carried?: unknown,
): number {
  const { status, status_code: statusCode, code, type } = error;
  const told = carried ?? status ?? statusCode;
  if (typeof told === "number" && told >= 400 && told <= 599) return told;
  const codes = [code, type].filter((it) => typeof it === "string");
  const text = String(error.message ?? "");
  const meaning = errorMeaning(undefined, { codes, text });
  if (meaning.status !== undefined) return meaning.status;
  if (meaning.kind === "throttle") return 429;
  if (meaning.kind === "transient") return 503;
  return codes.some((it) => CALLERS_FAULT.has(it)) ? 400 : 502;
}

/** Codes that say that the request itself is wrong. */
const CALLERS_FAULT: ReadonlySet<string> = new Set([
  "invalid_request_error",
  "invalid_prompt",
  "context_length_exceeded",
]);
