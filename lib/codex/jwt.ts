/**
 * The claims of a login's tokens. Nothing is verified here: the issuer handed
 * the token to us, and the backend judges it.
 *
 * @module
 */

import { isRecord, parseJson, readText } from "./json.ts";
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
}

/** Reads the claims of an id or access token; all null when it is not a JWT. */
export function readClaims(jwt: string | undefined): Claims {
  const payload = decodePayload(jwt);
  const auth = recordOf(payload["https://api.openai.com/auth"]);
  const profile = recordOf(payload["https://api.openai.com/profile"]);
  return {
    email: readText(payload.email) ?? readText(profile.email),
    plan: readText(auth.chatgpt_plan_type),
    userId: readText(auth.chatgpt_user_id) ?? readText(auth.user_id),
    accountId: readText(auth.chatgpt_account_id),
    fedramp: auth.chatgpt_account_is_fedramp === true,
    expiresAt: unixTime(payload.exp),
  };
}

function recordOf(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
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
