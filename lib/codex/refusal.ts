/**
 * Answers of our own in the backend's form, for when no account can serve.
 *
 * @module
 */

/** An account's row in a refusal. */
export interface RefusedAccount {
  alias: string;
  reason: string;
  /** ISO time, or null when unknown. */
  until: string | null;
}

/** Why nobody serves. */
export type RefusalType =
  | "usage_limit_reached"
  | "login_required"
  | "no_eligible_account";

/** What a refusal says. */
export interface Refusal {
  type: RefusalType;
  message: string;
  accounts: readonly RefusedAccount[];
  plan: string | null;
  /** When the earliest account frees up, epoch ms; null when unknown. */
  resetsAt: number | null;
  /** Epoch ms. */
  now: number;
}

const STATUS: Record<RefusalType, number> = {
  usage_limit_reached: 429,
  login_required: 401,
  no_eligible_account: 403,
};
/** A client's own quick retries are pointless when it takes longer, s. */
const RETRY_SOON_SECONDS = 60;

/** Makes the response. Its times are in the backend's units: seconds. */
export function refusalResponse(refusal: Refusal): Response {
  const { type, message, accounts, plan, resetsAt, now } = refusal;
  const headers = new Headers({ "content-type": "application/json" });
  const error: Record<string, unknown> = { type, message };
  if (type === "usage_limit_reached") {
    error["plan_type"] = plan;
    if (resetsAt !== null) {
      const seconds = Math.max(0, Math.ceil((resetsAt - now) / 1000));
      error["resets_at"] = Math.ceil(resetsAt / 1000);
      error["resets_in_seconds"] = seconds;
      headers.set("retry-after", String(seconds));
      if (seconds > RETRY_SOON_SECONDS) headers.set("x-should-retry", "false");
    }
  }
  error["accounts"] = accounts;
  const body = JSON.stringify({ error });
  return new Response(body, { status: STATUS[type], headers });
}
