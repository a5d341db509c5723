import { creditPolicy } from "../pool/credits.ts";
import type { Settings } from "../types.ts";
import { printWarning } from "./findings.ts";
import {
  replaceAlias,
  requireAlias,
  storedCaps,
  storedCreditList,
} from "./alias.ts";
import { CliError, EXIT } from "./exit.ts";
import { openStore } from "./open.ts";
import {
  type Command,
  type Context,
  CREDIT_VARIABLES,
  requireAccounts,
} from "./options.ts";
import { say } from "./say.ts";

/** `rename`: gives an account another alias. */
export const command: Command = {
  help: `
The credit list, the caps and the pin follow the account. An alias is made of
letters, digits, '.', '_' and '-', begins with a letter or digit, has at most 64
characters, and is neither "all" nor "none".

Examples:
  codex-rotator rename me-plus personal
`,
  operands: [2, 2],
  needs: { write: true, policy: true },
  run,
};

async function run(context: Context): Promise<number> {
  const { io, operands } = context;
  const [from, to] = operands as [string, string];
  requireAlias(to);
  const listing = environmentList(context);
  await openStore(context).update((state) => {
    requireAccounts(state, [from]);
    if (from === to) return;
    if (Object.hasOwn(state.accounts, to)) {
      throw new CliError(`An account is named ${to} already; choose another`);
    }
    for (const role of [...listing, ...rolesIn(state.settings)]) {
      refuseNewRole(role, from, to);
    }
    const account = state.accounts[to] = state.accounts[from]!;
    account.formerAliases = { ...account.formerAliases, [from]: io.now() };
    delete state.accounts[from];
    replaceAlias(state.settings, from, to);
  });
  if (from === to) say(io, `${from} is its name already`);
  else say(io, `${from} is ${to} now`);
  for (const { where, names } of listing) {
    if (from === to || !names.includes(from)) continue;
    printWarning(
      io,
      `${where} still names ${from}; change it there, or ${to} may not spend credits`,
    );
  }
  return EXIT.ok;
}

/** What it means that a setting names an alias. */
interface Role {
  readonly where: string;
  readonly names: readonly string[];
  readonly effect: string;
}

const MAY_SPEND = "the account could spend purchased credits";

function environmentList({ io }: Context): Role[] {
  const where = CREDIT_VARIABLES.find((name) => io.env(name) !== undefined);
  if (where === undefined) return [];
  const { allow: names } = creditPolicy({ environment: io.env(where) });
  return typeof names === "string" ? [] : [{ where, names, effect: MAY_SPEND }];
}

function rolesIn(settings: Settings): Role[] {
  const { pinned } = settings;
  return [{
    where: "the store's credit list",
    names: storedCreditList(settings) ?? [],
    effect: MAY_SPEND,
  }, {
    where: "the caps",
    names: Object.keys(storedCaps(settings) ?? {}),
    effect: "another cap would hold for the account",
  }, {
    where: "the pin",
    names: pinned ? [pinned] : [],
    effect: "the account alone would serve",
  }];
}

/** A new name must not bring what the old one lacked, above all a right to spend money. */
function refuseNewRole(
  { where, names, effect }: Role,
  from: string,
  to: string,
): void {
  if (!names.includes(to) || names.includes(from)) return;
  throw new CliError(
    `${to} is named in ${where}, and ${from} is not: under the new name ${effect}; choose another name, or take ${to} off there first`,
  );
}
