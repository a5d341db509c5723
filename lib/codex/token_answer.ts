/** What the issuer answered to a token call. */
export type TokenAnswer =
  | {
    kind: "tokens";
    access?: string;
    refresh?: string;
    id?: string;
    /** Seconds. */
    expiresInSeconds?: number;
  }
  | { kind: "refused"; reason: string }
  | { kind: "transient"; reason: string };

/** Codes after which only a sign-in helps. */
const FINAL_CODES = new Set([
  "refresh_token_expired",
  "refresh_token_reused",
  "refresh_token_invalidated",
  "invalid_grant",
]);

/**
 * Reads the issuer's answer to a refresh or a code exchange.
 *
 * @param status HTTP status.
 * @param text The body.
 */
export function readTokenAnswer(status: number, text: string): TokenAnswer {
  const json = parse(text);
  if (status >= 200 && status < 300) return readTokens(json);
  const code = errorCode(json);
  if (status === 401 || (code !== undefined && FINAL_CODES.has(code))) {
    return {
      kind: "refused",
      reason: `The issuer refused the refresh token (${code ?? status})`,
    };
  }
  return {
    kind: "transient",
    reason: `the issuer answered ${status}${code ? ` (${code})` : ""}`,
  };
}

function readTokens(json: unknown): TokenAnswer {
  if (!isObject(json)) {
    return { kind: "transient", reason: "the issuer's answer is not JSON" };
  }
  const access = nonEmpty(json["access_token"]);
  const refresh = nonEmpty(json["refresh_token"]);
  const id = nonEmpty(json["id_token"]);
  const seconds = json["expires_in"];
  if (access === undefined && refresh === undefined && id === undefined) {
    return { kind: "transient", reason: "the issuer's answer has no token" };
  }
  return {
    kind: "tokens",
    ...(access === undefined ? {} : { access }),
    ...(refresh === undefined ? {} : { refresh }),
    ...(id === undefined ? {} : { id }),
    ...(typeof seconds === "number" && seconds > 0
      ? { expiresInSeconds: seconds }
      : {}),
  };
}

/** The code stands in `error.code`, in `error` itself, or in `code`. */
function errorCode(json: unknown): string | undefined {
  if (!isObject(json)) return undefined;
  const { error, code } = json;
  return [isObject(error) ? error["code"] : error, code].find(isCode);
}

/** An error text may quote anything, even a token; a code is made of words. */
function isCode(value: unknown): value is string {
  return typeof value === "string" && /^[a-z_]{1,48}$/.test(value);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function nonEmpty(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
