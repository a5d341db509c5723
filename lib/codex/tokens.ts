/**
 * What tokens claim, and what the issuer answers. Nothing is verified here: the
 * issuer handed the token to us, and the backend judges it.
 */

import {
  definedIn,
  isHeaderText,
  parseJson,
  readPositive,
  readText,
  recordOf,
} from "../values.ts";
import { unixTime } from "./times.ts";

/** What a token says about whose it is. */
export interface Claims {
  email: string | null;
  plan: string | null;
  userId: string | null;
  accountId: string | null;
  fedramp: boolean;
  /** Epoch ms. */
  expiresAt: number | null;
  /** How long it is valid from when it was issued (ms). */
  lifetimeMs: number | null;
}

/** Reads the claims of an id or access token; all null when it is not a JWT. */
export function readClaims(jwt: string | undefined): Claims {
  const payload = decodePayload(jwt);
  const auth = recordOf(payload["https://api.openai.com/auth"]);
  const profile = recordOf(payload["https://api.openai.com/profile"]);
  const expiresAt = unixTime(payload.exp);
  const issuedAt = unixTime(payload.iat);
  return {
    email: readText(payload.email) ?? readText(profile.email),
    plan: readText(auth.chatgpt_plan_type),
    userId: readText(auth.chatgpt_user_id) ?? readText(auth.user_id),
    accountId: readSendable(auth.chatgpt_account_id),
    fedramp: auth.chatgpt_account_is_fedramp === true,
    expiresAt,
    lifetimeMs: expiresAt === null || issuedAt === null
      ? null
      : expiresAt - issuedAt,
  };
}

/** What both tokens of a login say, the id token first; how long it is valid is said by the access token. */
export function readLoginClaims(
  { id, access }: { id?: string; access: string },
): Claims {
  const { email, plan, userId, accountId, fedramp } = readClaims(id);
  const more = readClaims(access);
  return {
    ...more,
    ...definedIn({ email, plan, userId, accountId }),
    fedramp: fedramp || more.fedramp,
  };
}

/** A text that a header can carry, else null. */
export function readSendable(value: unknown): string | null {
  const text = readText(value);
  return text !== null && isHeaderText(text) ? text : null;
}

function decodePayload(jwt: string | undefined): Record<string, unknown> {
  if (typeof jwt !== "string") return {};
  const parts = jwt.split(".");
  if (parts.length !== 3) return {};
  return recordOf(parseJson(decodeBase64Url(parts[1] ?? "")));
}

function decodeBase64Url(text: string): string {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
    return new TextDecoder().decode(bytes);
  } catch {
    return "";
  }
}

/** Tokens as the issuer gives them: each may be missing. */
export interface IssuedTokens {
  kind: "tokens";
  access: string | undefined;
  refresh: string | undefined;
  id: string | undefined;
  /** How long the access token is valid (ms). */
  lifetimeMs: number | null;
}

/** What the issuer answered to a token call. */
type TokenAnswer =
  | IssuedTokens
  /** Only a sign-in helps. */
  | { kind: "refused"; reason: string }
  | { kind: "transient"; reason: string };

/** Codes after which only a sign-in helps, whatever their status. */
const FINAL_CODES: ReadonlySet<string> = new Set([
  "refresh_token_expired",
  "refresh_token_reused",
  "refresh_token_invalidated",
  "invalid_refresh_token",
  "invalid_grant",
  "token_expired",
  "app_session_expired",
  "app_session_terminated",
  "account_deactivated",
]);

/** Reads the issuer's answer to a refresh or a code exchange. */
export function readTokenAnswer(status: number, text: string): TokenAnswer {
  const json = recordOf(parseJson(text));
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

function readTokens(json: Record<string, unknown>): TokenAnswer {
  const access = readSendable(json.access_token) ?? undefined;
  const refresh = readText(json.refresh_token) ?? undefined;
  const id = readText(json.id_token) ?? undefined;
  if ((access ?? refresh ?? id) === undefined) {
    return { kind: "transient", reason: "the issuer's answer has no token" };
  }
  const seconds = readPositive(json.expires_in);
  const lifetimeMs = readClaims(access).lifetimeMs ??
    (seconds === null ? null : seconds * 1000);
  return { kind: "tokens", access, refresh, id, lifetimeMs };
}

/** The code is in `error.code`, in `error` itself, or in `code`. */
function errorCode(json: Record<string, unknown>): string | undefined {
  const { error, code } = json;
  return [recordOf(error).code, error, code].find(isCode);
}

/** An error text may quote anything, even a token; a code is made of words. */
function isCode(value: unknown): value is string {
  return typeof value === "string" && /^[a-z_]{1,48}$/.test(value);
}
