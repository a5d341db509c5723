/** What `doctor` checks of the settings in the store, and of each account. */
import { LinkedFile } from "../account/linked_file.ts";
import { isStrategy, STRATEGIES } from "../pool/strategy.ts";
import type { AccountStatus } from "../report_types.ts";
import { mayBeSameLogin } from "../store/state.ts";
import type { AccountRecord, PoolState } from "../types.ts";
import {
  ageWords,
  nameOf,
  standingWords,
  suggestCommand,
  texts,
} from "./format.ts";
import { type Finding, finding } from "./messages.ts";
import { refreshStore } from "./open.ts";
import type { Context } from "./options.ts";
import {
  capWords,
  policyProblems,
  policyWords,
  topUpWords,
} from "./status_summary.ts";
import { statusReader } from "./stored_status.ts";

export async function checkSettings(
  context: Context,
  { settings: { strategy } }: PoolState,
): Promise<Finding[]> {
  const report = await statusReader(context)();
  const { credits, pinned } = report;
  const isThere = report.accounts.some((it) => it.alias === pinned);
  const undo = suggestCommand("use --auto");
  const change = suggestCommand("credits NAMES");
  const choose = suggestCommand("strategy NAME");
  const policy = policyWords(credits);
  return [
    strategy === undefined || isStrategy(strategy)
      ? finding("ok", `The strategy is ${report.strategy}`)
      : finding(
        "warning",
        `The store names the strategy ${strategy}, which is not known: ${report.strategy} is used; ${choose}, one of ${
          STRATEGIES.join(", ")
        }`,
      ),
    finding(policy.includes("; ") ? "note" : "ok", policy),
    ...policyProblems(credits).map((it) => {
      const advice = `${change}, with all, none, or the aliases that may`;
      return finding("warning", it.includes("; ") ? it : `${it}; ${advice}`);
    }),
    ...capWords(report).map((it) =>
      finding(credits.warning === null ? "ok" : "note", it)
    ),
    ...topUpWords(report).map((it) => finding("warning", it)),
    ...(pinned === null ? [] : [
      isThere
        ? finding("note", `Only ${pinned} serves, as it is pinned; ${undo}`)
        : finding(
          "problem",
          `Nobody serves, as ${pinned} is pinned and does not exist; ${undo}`,
        ),
    ]),
  ];
}

/** Checks each account; with `ask` the backend is asked, and tokens are renewed that need it. */
export async function checkAccounts(
  context: Context,
  state: PoolState,
  ask: boolean,
): Promise<Finding[]> {
  const asked = ask ? await refreshStore(context) : undefined;
  const { accounts } = asked?.status ?? await statusReader(context)();
  const findings = await Promise.all(accounts.map(async (account) => {
    const { alias } = account;
    const record = state.accounts[alias] ?? {};
    const told = asked?.accounts.find((it) => it.alias === alias);
    return [
      standingFinding(account, told?.error ?? null, context.io.now()),
      ...tokenFindings(alias, record),
      ...await linkFindings(alias, record),
    ];
  }));
  return [...findings.flat(), ...twins(state)];
}

function standingFinding(
  account: AccountStatus,
  error: string | null,
  now: number,
): Finding {
  const { alias, detail, standing, reason } = account;
  const age = ageWords(account, now);
  const text = texts(
    `${nameOf(alias, account)}: ${standingWords(account, now)}`,
    age && (age === "never" ? "never seen" : `seen ${age}`),
  ).join(", ");
  const more = texts(text, detail).join(", ");
  if (reason === "login") {
    return finding("problem", `${more}; ${signIn(alias)}`);
  }
  if (!account.enabled) {
    const enable = suggestCommand("enable", alias);
    return finding("note", `${text}; to let it serve again: ${enable}`);
  }
  if (error !== null) {
    const again = suggestCommand("refresh", alias);
    return finding(
      "problem",
      `${text}, and asking for its usage failed: ${error}; try again with: ${again}`,
    );
  }
  return finding(standing === "blocked" ? "note" : "ok", more);
}

function signIn(alias: string): string {
  return `sign in again: ${suggestCommand("login", alias)}`;
}

function tokenFindings(
  alias: string,
  { tokens, source, auth }: AccountRecord,
): Finding[] {
  if (tokens === undefined || tokens.refresh || source || auth) return [];
  return [finding(
    "warning",
    `${alias} has no refresh token, so its sign-in ends with its access token; ${
      signIn(alias)
    }`,
  )];
}

async function linkFindings(
  alias: string,
  account: AccountRecord,
): Promise<Finding[]> {
  if (account.source === undefined) return [];
  const { kind, path } = account.source;
  const found = (level: Finding["level"], what: string) => {
    const text = `${alias}'s linked file ${path} ${what}`;
    const advice = level === "ok" ? "" : `; ${signIn(alias)}`;
    return [finding(level, text + advice)];
  };
  if (kind !== "codex" && kind !== "opencode") {
    return found("warning", `is of an unknown kind, ${kind}`);
  }
  const file = await new LinkedFile({ kind, path }).read();
  if (file === undefined) {
    return found(
      "warning",
      "is gone: its last access token goes on being used until it ends",
    );
  }
  if (!file.login) {
    return found(
      "warning",
      "holds no login that can be read: its last tokens go on being used",
    );
  }
  return mayBeSameLogin(account, file.login)
    ? found("ok", "holds the same sign-in")
    : found("problem", "holds another person or workspace now");
}

/** Accounts that are the same person and workspace: one renews the token of the other away. */
function twins({ accounts }: PoolState): Finding[] {
  const people = Map.groupBy(Object.keys(accounts).sort(), (it) => {
    const { userId, accountId } = accounts[it]!;
    const isKnown = userId !== undefined && accountId !== undefined;
    return isKnown ? JSON.stringify([userId, accountId]) : it;
  });
  return [...people.values()].flatMap(([first, ...others]) =>
    others.map((alias) => {
      const remove = suggestCommand("remove", alias);
      return finding(
        "problem",
        `${first} and ${alias} are the same person and workspace, so they end each other's sign-in; ${remove}`,
      );
    })
  );
}
