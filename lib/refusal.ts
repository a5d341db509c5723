/**
 * What a caller gets when no account can serve: an answer of the rotator's own
 * in the backend's form.
 */
import type { PooledAccount } from "./pool/account_pool.ts";
import { cooldownOf } from "./pool/cooldowns.ts";
import { pendingEnds } from "./pool/spending.ts";
import { type Assessment, reasonOf, untilOf } from "./pool/standing.ts";
import type { RotatorContext } from "./context.ts";
import type { Standing } from "./report_types.ts";
import type { ReplayableRequest } from "./request.ts";
import type { Tries } from "./tries.ts";
import { iso } from "./values.ts";

/** Why nobody serves, and its HTTP status. */
const STATUS = {
  usage_limit_reached: 429,
  rate_limit_exceeded: 429,
  login_required: 401,
  no_eligible_account: 403,
} as const;
type RefusalType = keyof typeof STATUS;

/** A client's own quick retries are pointless when it takes longer, s. */
const RETRY_SOON_SECONDS = 60;

/** How a request ends that nobody can serve. */
export interface Refusal {
  type: RefusalType;
  message: string;
  /** When the earliest account is available, epoch ms; null when unknown. */
  resetsAt: number | null;
  plan: string | null;
  accounts: { alias: string; reason: string; until: string | null }[];
}

interface Row extends Assessment {
  account: PooledAccount;
  isLimited: boolean;
}

/** Kept out by requests alone whose cost is not known yet: until the first of those ends. */
function pendingAssessment(
  found: Assessment,
  accounts: readonly PooledAccount[],
): Assessment {
  if (reasonOf(found.standing) === "capped") return found;
  const ends = accounts.flatMap(({ record }) => pendingEnds(record));
  const end = Math.min(found.availableAt ?? Infinity, ...ends);
  const until = end === Infinity ? null : end;
  const standing: Standing = { kind: "blocked", reason: "capped", until };
  return { ...found, standing, availableAt: until };
}

export function refusalOf(
  { accounts: { all, candidates, pinned }, now }: RotatorContext,
  { model }: ReplayableRequest,
  { capped }: Tries,
): Refusal {
  const rows = candidates.map((account): Row => {
    const found = account.assess(model, now());
    const assessment: Assessment = capped.has(account.alias)
      ? pendingAssessment(found, all)
      : found;
    return {
      ...assessment,
      account,
      isLimited: isLimited(account, assessment, model),
    };
  });
  const limited = rows.filter((row) => row.isLimited);
  const type = typeOf(rows);
  const times = limited.map(({ availableAt }) => availableAt)
    .filter((time) => time !== null);
  const resetsAt = times.length > 0 ? Math.min(...times) : null;
  const earliest = limited.find(({ availableAt }) => availableAt === resetsAt);
  return {
    type,
    message: messageOf(type, { pinned, count: rows.length, resetsAt }),
    resetsAt,
    plan: earliest?.account.record.plan ?? null,
    accounts: rows.map(({ account, standing }) => ({
      alias: account.alias,
      reason: reasonOf(standing) ?? "failed",
      until: iso(untilOf(standing)),
    })),
  };
}

function typeOf(rows: readonly Row[]): RefusalType {
  if (
    rows.some(({ isBlockedTransiently, standing }) =>
      isBlockedTransiently && standing.kind === "blocked" &&
      standing.cause === "throttle"
    )
  ) return "rate_limit_exceeded";
  if (rows.some(({ isLimited }) => isLimited)) return "usage_limit_reached";
  const enabled = rows.filter(({ account }) => account.record.enabled);
  const needLogin = enabled.length > 0 &&
    enabled.every(({ standing }) => reasonOf(standing) === "login");
  return needLogin ? "login_required" : "no_eligible_account";
}

/** Whether an account may serve again by itself. */
function isLimited(
  { record }: PooledAccount,
  { standing }: Assessment,
  model: string | undefined,
): boolean {
  if (standing.kind !== "blocked") return standing.kind !== "included";
  switch (standing.reason) {
    case "cooldown":
    case "exhausted":
    case "capped":
    case "unknown":
    case "workspace":
      return true;
    case "model":
      // one that a limit set, not one that says that the model is not for it
      return cooldownOf(record, `model:${model}`)?.code !== undefined;
    default:
      return false;
  }
}

function messageOf(
  type: RefusalType,
  { pinned, count, resetsAt }: {
    pinned: string | null;
    count: number;
    resetsAt: number | null;
  },
): string {
  const who = pinned === null
    ? count === 1 ? "The account" : `None of ${count} accounts`
    : `The pinned account "${pinned}"`;
  const can = pinned === null && count !== 1 ? "can" : "cannot";
  const when = iso(resetsAt);
  switch (type) {
    case "usage_limit_reached":
      return `${who} ${can} serve now without going past a limit or a credit setting${
        when ? `; the earliest is available at ${when}` : ""
      }`;
    case "rate_limit_exceeded":
      return `${who} ${can} serve now: too many requests${
        when ? `; try again at ${when}` : ""
      }`;
    case "login_required":
      return `${who} ${can} serve: a sign-in is needed`;
    case "no_eligible_account":
      return pinned !== null && count === 0
        ? `The pinned account "${pinned}" is not in the store; pin another or unpin`
        : `${who} ${can} serve this request`;
  }
}

/** Makes the response. Its times are in the backend's units: seconds. */
export function refusalResponse(refusal: Refusal, now: number): Response {
  const { type, message, accounts, plan, resetsAt } = refusal;
  const headers = new Headers({ "content-type": "application/json" });
  const error: Record<string, unknown> = { type, message };
  const status = STATUS[type];
  if (status === 429) {
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
  return new Response(JSON.stringify({ error }), { status, headers });
}

/** How long it is until somebody can serve again, ms; Infinity when nobody knows. */
export function waitFor(refusal: Refusal, now: number): number {
  const { resetsAt } = refusal;
  if (!isLimit(refusal) || resetsAt === null) return Infinity;
  // counted in waits of our own, so that a standing clock cannot hold us forever
  return Math.max(1, resetsAt - now);
}

/** Whether a limit is in the way, so that somebody may serve later. */
export function isLimit({ type }: Refusal): boolean {
  return STATUS[type] === 429;
}
