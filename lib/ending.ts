/**
 * What a caller gets when no account can serve.
 *
 * @module
 */
import { refusalResponse, type RefusalType } from "./codex/refusal.ts";
import type { PooledAccount } from "./pool/account_pool.ts";
import { untilOf } from "./pool/standing.ts";
import { iso, reasonOf } from "./report.ts";
import type { Standing } from "./types.ts";

/** How it ends, and until when that holds. */
export interface Ending {
  type: RefusalType;
  /** When the earliest account frees up, epoch ms; null when unknown. */
  resetsAt: number | null;
  message: string;
  respond(): Response;
}

/**
 * Tells how a request ends that nobody can serve.
 *
 * @param runners The accounts that were considered.
 * @param model The model of the request.
 * @param pinned The pinned name, which alone may serve.
 * @param now Epoch ms.
 */
export function endingOf(
  runners: readonly PooledAccount[],
  model: string | undefined,
  pinned: string | null,
  now: number,
): Ending {
  const rows = runners.map((runner) => {
    const { standing, availableAt: freesUpAt } = runner.assess(model, now);
    return { runner, standing, freesUpAt };
  });
  const limited = rows.filter(({ standing }) => isLimited(standing));
  const enabled = rows.filter(({ runner }) => runner.record.enabled !== false);
  const type: RefusalType = limited.length > 0
    ? "usage_limit_reached"
    : enabled.length > 0 &&
        enabled.every(({ standing }) => reasonOf(standing) === "login")
    ? "login_required"
    : "no_eligible_account";
  const times = limited.map(({ freesUpAt }) => freesUpAt)
    .filter((time) => time !== null);
  const resetsAt = times.length > 0 ? Math.min(...times) : null;
  const message = messageOf(type, rows.length, pinned, resetsAt);
  const accounts = rows.map(({ runner, standing }) => ({
    alias: runner.alias,
    reason: reasonOf(standing) ?? "failed",
    until: iso(untilOf(standing)),
  }));
  const earliest = limited.find(({ freesUpAt }) => freesUpAt === resetsAt);
  const plan = earliest?.runner.record.plan ?? null;
  const refusal = { type, message, accounts, plan, resetsAt, now };
  return { type, resetsAt, message, respond: () => refusalResponse(refusal) };
}

/** It may serve again by itself. */
function isLimited(standing: Standing): boolean {
  switch (standing.kind) {
    case "included":
      return false;
    case "unknown":
    case "credits":
    case "unconfirmed":
      return true;
    case "blocked":
      return ["cooldown", "exhausted", "unknown", "workspace"]
        .includes(standing.reason);
  }
}

function messageOf(
  type: RefusalType,
  count: number,
  pinned: string | null,
  resetsAt: number | null,
): string {
  const who = pinned === null
    ? count === 1 ? "The account" : `None of ${count} accounts`
    : `The pinned account "${pinned}"`;
  const can = pinned === null && count !== 1 ? "can" : "cannot";
  switch (type) {
    case "usage_limit_reached": {
      const when = iso(resetsAt);
      return `${who} ${can} serve now without going past a limit or a credit setting${
        when ? `; the earliest frees up at ${when}` : ""
      }`;
    }
    case "login_required":
      return `${who} ${can} serve: a sign-in is needed`;
    case "no_eligible_account":
      if (pinned !== null && count === 0) {
        return `The pinned account "${pinned}" is not in the store; pin another or unpin`;
      }
      return `${who} ${can} serve this request`;
  }
}
