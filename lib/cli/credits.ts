import { isRecord } from "../codex/json.ts";
import { isAlias } from "../pool/credits.ts";
import type { PoolState, Settings } from "../types.ts";
import { printWarning } from "./findings.ts";
import { requireAlias, storedCaps } from "./alias.ts";
import { CliError, EXIT, usageError } from "./exit.ts";
import {
  creditWords,
  policyProblems,
  policyWords,
  sanitize,
} from "./format.ts";
import { openStore } from "./open.ts";
import {
  type Command,
  type Context,
  CREDIT_VARIABLES,
  requireAccounts,
} from "./options.ts";
import { say } from "./say.ts";
import { statusReader } from "./stored_status.ts";

/** `credits`: who may spend purchased credits, and how much. */
export const command: Command = {
  help: `
Purchased credits cost money. Once an account's included usage is used up, it
goes on serving on its credits only if it is allowed to here. While nothing is
set, all accounts may.

  all              every account may spend its credits
  none             none may
  ALIAS…           only these may

Options:
  --cap CAP        at most so many credits: 20/day or 200/month for all accounts
                   together, work=20/day for one, none or work=none for no cap

CODEX_ROTATOR_CREDIT_ACCOUNTS, where it is set, counts instead of the aliases
that are set here.

Examples:
  codex-rotator credits
  codex-rotator credits none
  codex-rotator credits personal work --cap 20/day --cap work=200/month
`,
  strings: ["cap"],
  words: ["all", "none"],
  operands: [0, Infinity],
  needs: { write: true, policy: true },
  run,
};

async function run(context: Context): Promise<number> {
  const { operands, flags } = context;
  const spenders = operands.length > 0 ? readSpenders(operands) : undefined;
  const caps = flags.values("cap").map(readCap);
  if (spenders !== undefined || caps.length > 0) {
    await openStore(context).update((state) => {
      if (Array.isArray(spenders)) requireAccounts(state, spenders);
      if (spenders !== undefined) {
        state.settings.creditAccountAliases = spenders;
      }
      for (const cap of caps) applyCap(state, cap);
    });
  }
  await show(context);
  return EXIT.ok;
}

function readSpenders(operands: readonly string[]): "all" | "none" | string[] {
  const [first] = operands;
  if (operands.length === 1 && (first === "all" || first === "none")) {
    return first;
  }
  for (const name of operands) {
    if (name !== "all" && name !== "none") requireAlias(name);
    else {
      throw usageError(
        `${name} stands alone; give either all, none, or aliases`,
      );
    }
  }
  return [...new Set(operands)];
}

type Period = "day" | "month";

/** One `--cap`: an account's, or that of all together, `*`. */
interface Cap {
  readonly alias: string;
  /** undefined: no cap. */
  readonly limit: { period: Period; credits: number } | undefined;
}

function readCap(text: string): Cap {
  const [, alias = "*", value = ""] = /^(?:(.*)=)?(.*)$/s.exec(text) ?? [];
  const [, credits, period] = /^(\d+(?:\.\d+)?)\/(day|month)$/.exec(value) ??
    [];
  const isKnown = alias === "*" || isAlias(alias);
  if (isKnown && value === "none") return { alias, limit: undefined };
  if (isKnown && credits !== undefined) {
    const limit = { period: period as Period, credits: Number(credits) };
    return { alias, limit };
  }
  throw usageError(
    `--cap ${
      sanitize(text)
    } is no cap; give a number of credits per day or month, such as 20/day, work=200/month, or none`,
  );
}

function applyCap(state: PoolState, { alias, limit }: Cap): void {
  const { settings } = state;
  if (alias !== "*") requireAccounts(state, [alias]);
  const caps = storedCaps(settings);
  if (caps === undefined && (settings.creditCaps ?? null) !== null) {
    throw new CliError(
      "The store's creditCaps cannot be read, so nobody may spend; mend or delete that setting in the file",
    );
  }
  const { [alias]: before, ...others } = caps ?? {};
  settings.creditCaps = limit === undefined ? others : {
    ...others,
    [alias]: {
      ...(isRecord(before) ? before : {}),
      [limit.period]: limit.credits,
    },
  };
}

async function show(context: Context): Promise<void> {
  const { io, operands } = context;
  const report = await statusReader(context)();
  const { settings } = await openStore(context).read();
  say(io, policyWords(report.credits));
  for (const account of report.accounts) {
    io.out(`  ${sanitize(account.alias)}: ${creditWords(account, io.now())}\n`);
  }
  for (const text of capWords(settings)) say(io, text);
  for (const it of policyProblems(report.credits)) printWarning(io, it);
  if (operands.length > 0 && report.credits.source === "environment") {
    printWarning(io, overridden(context));
  }
}

/** Returns the caps, a sentence each without a full stop. */
function capWords(settings: Settings): string[] {
  const caps = storedCaps(settings) ?? {};
  return Object.keys(caps).sort().flatMap((alias) => {
    const cap = caps[alias];
    const limits = (["day", "month"] as const).flatMap((period) => {
      const credits = isRecord(cap) ? cap[period] : undefined;
      return credits === undefined ? [] : [`${credits} a ${period}`];
    });
    const who = alias === "*" ? "all together" : sanitize(alias);
    return limits.length === 0
      ? []
      : [`At most ${limits.join(" and ")} for ${who}`];
  });
}

/** Returns that the environment counts, and the store does not. */
function overridden({ io }: Context): string {
  const variable = CREDIT_VARIABLES.find((name) => io.env(name) !== undefined);
  return `the setting is stored, but does not count until ${
    variable ?? "the environment"
  } is unset`;
}
