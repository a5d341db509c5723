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

type ErrorKind = Exclude<Outcome["kind"], "ok">;

/** One row: what a code, or a text for people, means under these statuses. */
type Row = readonly [
  kind: ErrorKind,
  /** In a stream that names no status all rows count but those not for streams. */
  statuses: readonly number[],
  /** Codes, of which one is enough, or a pattern of the text. */
  sign: readonly string[] | RegExp,
  where?: "not in streams",
];

/** In order: the first row that fits counts. */
const ROWS: readonly Row[] = [
  ["encrypted-content", [400], ["invalid_encrypted_content"]],
  [
    "encrypted-content",
    [400],
    /encrypted\b.*\bcontent\b.*\bcould not be (?:verified|decrypted|decoded)/i,
  ],
  [
    "model",
    [400],
    /not supported when using codex with a chatgpt account/i,
    "not in streams",
  ],
  ["model", [404], /^model not found\b/im, "not in streams"],
  ["other", [400], /requires a newer version of codex/i],
  [
    "refused-body",
    [400],
    /unsupported (?:parameter|service_tier)\b|system messages are not allowed|instructions are required/i,
    "not in streams",
  ],
  ["workspace", [402], ["deactivated_workspace"], "not in streams"],
  [
    "workspace",
    [403],
    [
      "codex_workspace_access_denied",
      "workspace_access_denied",
      "invalid_workspace_selected",
      "codex_entitlement_missing",
      "entitlement_missing",
    ],
    "not in streams",
  ],
  [
    "usage-limit",
    [429, 404],
    ["usage_limit_reached", "usage_limit_exceeded"],
  ],
  ["plan", [429], ["usage_not_included"]],
  [
    "credits-refused",
    [429],
    [
      "insufficient_quota",
      "credit_balance_exhausted",
      "organization_spend_limit_exceeded",
      "project_spend_limit_exceeded",
      "organization_usage_limit_exceeded",
    ],
  ],
  ["other", [429], ["flex_unavailable"]],
  ["transient", [], ["server_is_overloaded", "slow_down"]],
  ["transient", [], /selected model is at capacity/i],
  ["throttle", [], ["rate_limit_exceeded"]],
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
      ROWS.some(([, statuses]) => statuses.includes(status)) || status === 403;
}

interface ErrorMeaning {
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
  for (const [kind, statuses, sign, where] of ROWS) {
    const isMeant = status === undefined ? !where : statuses.includes(status);
    if (!isMeant) continue;
    if (sign instanceof RegExp) {
      if (sign.test(text)) return { kind, status: statuses[0] };
      continue;
    }
    const code = sign.find((it) => codes.includes(it));
    if (code !== undefined) return { kind, code, status: statuses[0] };
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
