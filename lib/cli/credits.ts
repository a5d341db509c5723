import { isAlias } from "../pool/credits.ts";
import {
  type Command,
  type Context,
  CREDIT_VARIABLES,
  requireAccounts,
} from "./options.ts";
import { EXIT, usageError } from "./exit.ts";
import { openStore } from "./open.ts";
import { statusReader } from "./stored_status.ts";
import {
  creditWords,
  policyProblems,
  policyWords,
  sanitize,
} from "./format.ts";
import { notAnAlias } from "./rename.ts";

/** `credits`: who may spend purchased credits. */
export const command: Command = {
  help: `
Purchased credits cost money. Once an account's included usage is used up, it
goes on serving on its credits only if it is allowed to here. While nothing is
set, all accounts may.

  all              every account may spend its credits
  none             none may
  ALIAS…           only these may

CODEX_ROTATOR_CREDIT_ACCOUNTS, where it is set, counts instead of what is set
here.

Examples:
  cli.ts credits
  cli.ts credits none
  cli.ts credits personal work
`,
  operands: [0, Infinity],
  needs: { write: true, policy: true },
  run,
};

async function run(context: Context): Promise<number> {
  if (context.operands.length > 0) await set(context);
  await show(context);
  return EXIT.ok;
}

async function set(context: Context): Promise<void> {
  const { operands } = context;
  const value = readSetting(operands);
  await openStore(context).update((state) => {
    if (typeof value !== "string") requireAccounts(state, value);
    state.settings.creditAccountAliases = value;
  });
}

function readSetting(operands: readonly string[]): "all" | "none" | string[] {
  const [first] = operands;
  if (operands.length === 1 && (first === "all" || first === "none")) {
    return first;
  }
  const wrong = operands.find((it) => !isAlias(it));
  if (wrong === undefined) return [...new Set(operands)];
  throw usageError(
    wrong === "all" || wrong === "none"
      ? `${wrong} stands alone; give either all, none, or aliases`
      : notAnAlias(wrong),
  );
}

async function show(context: Context): Promise<void> {
  const { io, operands } = context;
  const report = await statusReader(context)();
  io.out(`${policyWords(report.credits)}\n`);
  for (const account of report.accounts) {
    io.out(`  ${sanitize(account.alias)}: ${creditWords(account)}\n`);
  }
  for (const text of policyProblems(report.credits)) io.err(`${text}\n`);
  if (operands.length > 0 && report.credits.source === "environment") {
    io.err(`Warning: ${overridden(context)}\n`);
  }
}

/** That the environment counts, and the store does not. */
function overridden({ io }: Context): string {
  const variable = CREDIT_VARIABLES.find((name) => io.env(name) !== undefined);
  return `the setting is stored, but does not count until ${
    variable ?? "the environment"
  } is unset`;
}
