import { creditPolicy, isAlias } from "../pool/credits.ts";
import type { PoolState } from "../types.ts";
import {
  type Command,
  type Context,
  CREDIT_VARIABLES,
  requireAccounts,
} from "./options.ts";
import { replaceInCreditList, storedCreditList } from "./credit_list.ts";
import { CliError, EXIT, usageError } from "./exit.ts";
import { openStore } from "./open.ts";
import { sanitize } from "./format.ts";

/** `rename`: gives an account another alias. */
export const command: Command = {
  help: `
The credit list and the pin follow the account. An alias is made of letters,
digits, '.', '_' and '-', begins with a letter or digit, has at most 64
characters, and is neither "all" nor "none".

Examples:
  cli.ts rename me-plus personal
`,
  operands: [2, 2],
  needs: { write: true, policy: true },
  run,
};

async function run(context: Context): Promise<number> {
  const { io, operands } = context;
  const [from, to] = operands as [string, string];
  if (!isAlias(to)) throw usageError(notAnAlias(to));
  const environment = environmentList(context);
  await openStore(context).update((state) => {
    requireAccounts(state, [from]);
    if (from === to) return;
    if (Object.hasOwn(state.accounts, to)) {
      throw new CliError(`An account is named ${to} already; choose another`);
    }
    refuseNewRight(environment?.names, from, to, environment?.variable ?? "");
    refuseNewRight(
      storedCreditList(state.settings),
      from,
      to,
      "the store's credit list",
    );
    rename(state, from, to);
  });
  io.out(
    from === to ? `${from} is its name already\n` : `${from} is ${to} now\n`,
  );
  if (from !== to && environment?.names.includes(from)) {
    io.err(
      `Warning: ${environment.variable} still names ${from}; change it there, or ${to} may not spend credits\n`,
    );
  }
  return EXIT.ok;
}

/** What an alias must look like. */
export function notAnAlias(text: string): string {
  return `${
    sanitize(text) || "Nothing"
  } cannot be an alias: use letters, digits, '.', '_' and '-', begin with a letter or digit, at most 64 characters, and neither all nor none`;
}

/** A new name must not bring a right to spend money that the old one lacked. */
function refuseNewRight(
  list: readonly string[] | undefined,
  from: string,
  to: string,
  where: string,
): void {
  if (list === undefined || !list.includes(to) || list.includes(from)) return;
  throw new CliError(
    `${to} is named in ${where}, and ${from} is not: under the new name the account could spend purchased credits; choose another name, or take ${to} off the list first`,
  );
}

function environmentList(
  { io }: Context,
): { variable: string; names: readonly string[] } | undefined {
  for (const variable of CREDIT_VARIABLES) {
    const environment = io.env(variable);
    if (environment === undefined) continue;
    const { allow } = creditPolicy({ environment });
    return typeof allow === "string" ? undefined : { variable, names: allow };
  }
  return undefined;
}

function rename(state: PoolState, from: string, to: string): void {
  state.accounts[to] = state.accounts[from]!;
  delete state.accounts[from];
  replaceInCreditList(state.settings, from, [to]);
  if (state.settings.pinned === from) state.settings.pinned = to;
}
