import { LinkedFile } from "../account/linked_file.ts";
import type { AccountRecord, PoolState } from "../types.ts";
import type {
  AccountStatus,
  RefreshReport,
  StatusReport,
} from "../report_types.ts";
import type { Context } from "./options.ts";
import type { Finding } from "./findings.ts";
import { openOnlineRotator, refreshAccounts } from "./open.ts";
import { statusReader } from "./stored_status.ts";
import { sanitize, standingWords, suggestCommand } from "./format.ts";

/**
 * How each account stands, and what keeps it from serving.
 *
 * @param state What the store holds.
 * @param ask Ask the backend, and renew tokens that need it.
 */
export async function accountFindings(
  context: Context,
  state: PoolState,
  ask: boolean,
): Promise<Finding[]> {
  const { report, refreshed } = await read(context, ask);
  const errors = new Map(refreshed.map(({ alias, error }) => [alias, error]));
  const now = context.io.now();
  const findings: Finding[] = [];
  for (const account of report.accounts) {
    const record = state.accounts[account.alias];
    const error = errors.get(account.alias) ?? null;
    findings.push(standingFinding(account, error, now));
    if (record !== undefined) {
      findings.push(...tokenFindings(account.alias, record));
      findings.push(...await linkFindings(account.alias, record));
    }
  }
  return [...findings, ...doubles(state)];
}

async function read(
  context: Context,
  ask: boolean,
): Promise<{ report: StatusReport; refreshed: RefreshReport["accounts"] }> {
  if (!ask) return { report: await statusReader(context)(), refreshed: [] };
  const rotator = openOnlineRotator(context);
  try {
    const { accounts } = await refreshAccounts(rotator, context, []);
    return { report: await rotator.status(), refreshed: accounts };
  } finally {
    await rotator.close();
  }
}

function standingFinding(
  account: AccountStatus,
  error: string | null,
  now: number,
): Finding {
  const alias = sanitize(account.alias);
  const who = [account.email, account.plan].filter((it) => it !== null)
    .map(sanitize).join(", ");
  const text = `${alias}${who === "" ? "" : ` (${who})`}: ${
    standingWords(account, now)
  }`;
  const detail = account.detail === null ? "" : `, ${sanitize(account.detail)}`;
  if (account.reason === "login") {
    const advice = signIn(alias);
    return { level: "problem", text: text + detail, advice };
  }
  if (!account.enabled) {
    const advice = `to let it serve again: ${
      suggestCommand(`enable ${alias}`)
    }`;
    return { level: "note", text, advice };
  }
  if (error !== null) {
    return {
      level: "problem",
      text: `${text}, and asking for its usage failed: ${sanitize(error)}`,
      advice: `try again with: ${suggestCommand(`refresh ${alias}`)}`,
    };
  }
  const fine = account.standing !== "blocked";
  return { level: fine ? "ok" : "note", text: text + detail };
}

function signIn(alias: string): string {
  return `sign in again: ${suggestCommand(`login ${alias}`)}`;
}

function tokenFindings(alias: string, record: AccountRecord): Finding[] {
  const { tokens, source, auth } = record;
  if (tokens === undefined || tokens.refresh || source || auth) return [];
  return [{
    level: "warning",
    text: `${
      sanitize(alias)
    } has no refresh token, so its sign-in ends with its access token`,
    advice: signIn(sanitize(alias)),
  }];
}

/** Whether the file that an account is linked to still holds this account. */
async function linkFindings(
  alias: string,
  { source, userId, accountId }: AccountRecord,
): Promise<Finding[]> {
  if (source === undefined) return [];
  const { kind, path } = source;
  const name = `${sanitize(alias)}'s linked file ${sanitize(path)}`;
  const advice = signIn(sanitize(alias));
  if (kind !== "codex" && kind !== "opencode") {
    const text = `${name} is of an unknown kind, ${sanitize(kind)}`;
    return [{ level: "warning", text, advice }];
  }
  const found = await new LinkedFile({ kind, path }).read();
  if (!found?.login) {
    const text = found === undefined
      ? `${name} is gone; its last access token goes on being used until it ends`
      : `${name} holds no login that can be read; its last tokens go on being used`;
    return [{ level: "warning", text, advice }];
  }
  const { login } = found;
  const isOther = (mine: string | undefined, theirs: string | null) =>
    mine !== undefined && theirs !== null && mine !== theirs;
  if (isOther(userId, login.userId) || isOther(accountId, login.accountId)) {
    const text = `${name} holds another person or workspace now`;
    return [{ level: "problem", text, advice }];
  }
  return [{ level: "ok", text: `${name} holds the same sign-in` }];
}

/** Accounts that are the same person and workspace: one renews the token of the other away. */
function doubles({ accounts }: PoolState): Finding[] {
  const seen = new Map<string, string>();
  return Object.keys(accounts).sort().flatMap((alias): Finding[] => {
    const { userId, accountId } = accounts[alias]!;
    if (userId === undefined || accountId === undefined) return [];
    const identity = JSON.stringify([userId, accountId]);
    const first = seen.get(identity);
    if (first === undefined) {
      seen.set(identity, alias);
      return [];
    }
    return [{
      level: "problem",
      text: `${sanitize(first)} and ${
        sanitize(alias)
      } are the same person and workspace, so they end each other's sign-in`,
      advice: suggestCommand(`remove ${sanitize(alias)}`),
    }];
  });
}
