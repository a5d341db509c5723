/** The commands that manage accounts. Each changes all that it names, or nothing. */
import { isRecord } from "../values.ts";
import { creditPolicy } from "../pool/credits.ts";
import type { NormalState } from "../normal_types.ts";
import { spentAtLast } from "../pool/spending.ts";
import { withSpent } from "../spent.ts";
import type { Settings } from "../types.ts";
import { suggestCommand } from "./format.ts";
import { CliError, confirm, EXIT, usageError } from "./messages.ts";
import { changeStore, openStore } from "./open.ts";
import {
  type Command,
  type Context,
  CREDIT_VARIABLES,
  requireAccounts,
  requireAlias,
} from "./options.ts";

export const enable = switching(true, "");
export const disable = switching(
  false,
  "A disabled account keeps its tokens and settings, but serves no request.\n",
);

function switching(enabled: boolean, note: string): Command {
  const name = enabled ? "enable" : "disable";
  return {
    help: `
${note}
Examples:
  codex-rotator ${name} work
  codex-rotator ${name} work personal
`,
    operands: [1, Infinity],
    needs: { write: true },
    run: (context) => setEnabled(context, enabled),
  };
}

async function setEnabled(context: Context, enabled: boolean): Promise<void> {
  const word = enabled ? "enabled" : "disabled";
  await changeAccounts(context, (alias, { accounts }) => {
    const account = accounts[alias]!;
    if ((account.enabled ?? true) === enabled) {
      return `${alias} was already ${word}`;
    }
    account.enabled = enabled;
    return `${alias} is ${word} now`;
  });
}

async function changeAccounts(
  context: Context,
  change: (alias: string, state: NormalState) => string,
): Promise<void> {
  const aliases = [...new Set(context.operands)];
  await changeStore(context, (state) => {
    requireAccounts(state, aliases);
    return aliases.map((alias) => change(alias, state));
  });
}

export const use: Command = {
  help: `
The named account alone serves until this is undone with --auto. When it cannot
serve, requests are refused instead of going to another account.

Options:
  --auto           let all accounts serve again

Examples:
  codex-rotator use work
  codex-rotator use --auto
`,
  operands: [0, 1],
  needs: { write: true },
  async run(context) {
    const { flags, operands: [alias] } = context;
    if (flags.on("auto") === (alias !== undefined)) {
      throw usageError("Give either an alias or --auto; for example: use work");
    }
    const { accounts } = await changeStore(context, (state) => {
      if (alias !== undefined) requireAccounts(state, [alias]);
      const before = state.settings.pinned ?? null;
      state.settings.pinned = alias ?? null;
      return [pinned(before, alias)];
    });
    if (alias !== undefined && accounts[alias]?.enabled === false) {
      const enable = suggestCommand("enable", alias);
      context.warn(
        `${alias} is disabled, so nobody serves; enable it with: ${enable}`,
      );
    }
  },
};

/** Forgets an account, but not what it has spent. */
function removeAccount(
  { settings, accounts }: NormalState,
  alias: string,
  now: number,
): void {
  const spent = spentAtLast(accounts[alias]!, now);
  delete accounts[alias];
  if (Object.keys(spent).length === 0) return;
  settings.spentByRemoved = withSpent(settings.spentByRemoved, spent, now);
}

function pinned(before: string | null, alias: string | undefined): string {
  if (alias === undefined) {
    return before === null
      ? "All accounts may serve already: none was pinned"
      : `All accounts may serve again: ${before} is not pinned any more`;
  }
  if (before === alias) return `Only ${alias} served already`;
  const undo = suggestCommand("use --auto");
  return `From now on only ${alias} serves; undo with: ${undo}`;
}

export const remove: Command = {
  help: `
Forgets the accounts named and their tokens, in the store and its backup. The
names leave the credit list, the caps and the pin as well; a credit list that is
empty then means that nobody may spend credits. In a terminal it asks first.

Options:
  --yes, -y        do not ask

Examples:
  codex-rotator remove work
  codex-rotator remove work personal --yes
`,
  operands: [1, Infinity],
  needs: { write: true },
  async run(context) {
    const { io, flags, operands } = context;
    requireAccounts(await openStore(context).read(), operands);
    const names = [...new Set(operands)].join(", ");
    const question = `Forget ${names} and the tokens?`;
    if (!flags.on("yes") && await confirm(io, question) === false) {
      context.note("Nothing is removed");
      return EXIT.failed;
    }
    await changeAccounts(context, (alias, state) => {
      removeAccount(state, alias, io.now());
      const places = replaceAlias(state.settings, alias).join(" and ");
      return `${alias} is removed${places && `, also from ${places}`}`;
    });
  },
};

export const rename: Command = {
  help: `
The credit list, the caps and the pin follow the account. An alias is made of
letters, digits, '.', '_' and '-', begins with a letter or digit, has at most 64
characters, and is neither "all" nor "none".

Examples:
  codex-rotator rename me-plus personal
`,
  operands: [2, 2],
  needs: { write: true, policy: true },
  async run(context) {
    const { io } = context;
    const [from, to] = context.operands as [string, string];
    requireAlias(to);
    const listing = environmentList(context);
    await changeStore(context, (state) => {
      requireAccounts(state, [from]);
      if (from === to) return [`${from} is its name already`];
      if (Object.hasOwn(state.accounts, to)) {
        throw new CliError(`An account is named ${to} already; choose another`);
      }
      // a new name must not bring what the old one lacked, above all a right to spend money
      for (const it of [...listing, ...rolesIn(state.settings)]) {
        if (!it.names.includes(to) || it.names.includes(from)) continue;
        throw new CliError(
          `${to} is named in ${it.where}, and ${from} is not: under the new name ${it.effect}; choose another name, or take ${to} off there first`,
        );
      }
      const account = state.accounts[to] = state.accounts[from]!;
      account.formerAliases = { ...account.formerAliases, [from]: io.now() };
      delete state.accounts[from];
      replaceAlias(state.settings, from, to);
      return [`${from} is ${to} now`];
    });
    for (const { where, names } of listing) {
      if (from === to || !names.includes(from)) continue;
      context.warn(
        `${where} still names ${from}; change it there, or ${to} may not spend credits`,
      );
    }
  },
};

interface Role {
  readonly where: string;
  readonly names: readonly string[];
  /** What it means to be named there. */
  readonly effect: string;
  /** Names another account instead of one, or none; absent: the environment's. */
  replace?(alias: string, replacement?: string): void;
}

const MAY_SPEND = "the account could spend purchased credits";

function environmentList({ io }: Context): Role[] {
  const where = CREDIT_VARIABLES.find((name) => io.env(name) !== undefined);
  if (where === undefined) return [];
  const { allow: names } = creditPolicy({ environment: io.env(where) });
  return typeof names === "string" ? [] : [{ where, names, effect: MAY_SPEND }];
}

function rolesIn(settings: Settings): Role[] {
  const { creditAccountAliases, creditCaps, pinned } = settings;
  const { allow, warning } = creditPolicy({ store: creditAccountAliases });
  const list = typeof allow === "string" || warning !== undefined ? [] : allow;
  const caps = isRecord(creditCaps) ? creditCaps : {};
  return [{
    where: "the credit list",
    names: list,
    effect: MAY_SPEND,
    replace(alias, replacement) {
      const names = list.map((it) => it === alias ? replacement : it);
      // an emptied list means nobody, while none at all would mean everybody
      settings.creditAccountAliases = [...new Set(names)]
        .filter((it) => it !== undefined);
    },
  }, {
    where: "the caps",
    names: Object.keys(caps),
    effect: "another cap would hold for the account",
    replace(alias, replacement) {
      const { [alias]: cap, ...others } = caps;
      settings.creditCaps = replacement === undefined
        ? others
        : { ...others, [replacement]: cap };
    },
  }, {
    where: "the pin",
    names: pinned ? [pinned] : [],
    effect: "the account alone would serve",
    replace: (_, replacement) => void (settings.pinned = replacement ?? null),
  }];
}

/** Renames an alias in the settings, or drops it from them. Returns which settings named it, in words. */
function replaceAlias(
  settings: Settings,
  alias: string,
  replacement?: string,
): string[] {
  const roles = rolesIn(settings).filter((it) => it.names.includes(alias));
  return roles.map(({ where, replace }) => {
    replace!(alias, replacement);
    return where;
  });
}
