/** The commands that show and set who serves in which order, and who may spend. */
import { isRecord } from "../values.ts";
import { suggestion } from "../nearest.ts";
import { isAlias } from "../pool/credits.ts";
import { isStrategy, STRATEGIES } from "../pool/strategy.ts";
import type { PoolState, StrategyName } from "../types.ts";
import { creditWords, suggestCommand } from "./format.ts";
import { CliError, requireName, usageError } from "./messages.ts";
import { changeStore, openStore } from "./open.ts";
import {
  type Command,
  type Context,
  CREDIT_VARIABLES,
  requireAccounts,
  requireAlias,
} from "./options.ts";
import { capWords, policyProblems, policyWords } from "./status_summary.ts";
import { statusReader } from "./stored_status.ts";

const STRATEGY_WORDS: Readonly<Record<StrategyName, string>> = {
  "round-robin": "longest unused first",
  "least-used": "fewest requests first",
  "random": "any",
  "weighted": "in turn, by each account's weight",
  "drain": "first the quota that would be lost soonest",
};
const STRATEGY_LINES = STRATEGIES
  .map((name) => `  ${name.padEnd(13)} ${STRATEGY_WORDS[name]}\n`).join("");
const DEFAULT: StrategyName = "round-robin";

export const strategy: Command = {
  help: `
Orders the accounts that can serve on the same terms; included usage always
comes before credits. Without NAME it shows the strategy in use.

${STRATEGY_LINES}
Examples:
  codex-rotator strategy
  codex-rotator strategy drain
`,
  words: STRATEGIES,
  operands: [0, 1],
  needs: { write: true },
  async run(context) {
    const { operands: [wanted] } = context;
    if (wanted === undefined) {
      const { settings: { strategy: set } } = await openStore(context).read();
      const current = isStrategy(set) ? set : DEFAULT;
      if (set !== undefined && set !== current) {
        context.warn(
          `The store names the strategy ${set}, which is not known: ${DEFAULT} is used`,
        );
      }
      return context.say(`${current}: ${STRATEGY_WORDS[current]}`);
    }
    const name = requireName(wanted, STRATEGIES, `Unknown strategy ${wanted}`);
    await changeStore(context, ({ settings }) => {
      const before = settings.strategy;
      settings.strategy = name;
      return [
        before === name
          ? `The strategy was ${name} already`
          : `The strategy is ${name} now: ${STRATEGY_WORDS[name]}`,
      ];
    });
  },
};

/** What counts where nothing is set, and what may be set. */
const FIELDS = {
  weight: [1, 0, Infinity, "0 or more"],
  priority: [0, -Infinity, Infinity, "for example 1 or -1"],
  reserve: [0, 0, 100, "a percentage"],
} as const;
type Field = keyof typeof FIELDS;
const NAMES = Object.keys(FIELDS) as Field[];

export const set: Command = {
  help: `
Shows or sets what decides between accounts that can serve on the same terms.

  weight=N         its share under the strategy "weighted"; default 1,
                   0: last
  priority=N       accounts with a higher one serve first; default 0
  reserve=PERCENT  what is to be left of its fullest window: below it, others
                   serve first; default 0

Examples:
  codex-rotator set work
  codex-rotator set work priority=1 reserve=20
`,
  words: NAMES.map((name) => `${name}=`),
  operands: [1, Infinity],
  needs: { write: true },
  async run(context) {
    const [alias = "", ...settings] = context.operands;
    const changes = Object.fromEntries(settings.map(readSetting));
    const apply = (state: PoolState) => {
      requireAccounts(state, [alias]);
      const account = Object.assign(state.accounts[alias]!, changes);
      const values = NAMES.map((name) => {
        const value = account[name] ?? FIELDS[name][0];
        return `${name} ${value}${name === "reserve" ? "%" : ""}`;
      });
      return [`${alias}: ${values.join(", ")}`];
    };
    if (settings.length > 0) await changeStore(context, apply);
    else context.say(apply(await openStore(context).read()).join());
  },
};

function readSetting(text: string): [Field, number] {
  const [name = "", value = ""] = text.split(/=(.*)/s);
  const field = NAMES.find((it) => it === name);
  if (field === undefined || !text.includes("=")) {
    const all = NAMES.map((it) => `${it}=N`).join(", ");
    throw usageError(
      `${text} sets nothing${suggestion(name, NAMES)}; give ${all}`,
    );
  }
  const [, least, most, range] = FIELDS[field];
  const digits = field === "reserve" ? value.replace(/%$/, "") : value;
  const number = /^-?\d+(\.\d+)?$/.test(digits) ? Number(digits) : NaN;
  if (number >= least && number <= most) return [field, number];
  throw usageError(`${field} is ${value || "empty"}; give a number, ${range}`);
}

export const credits: Command = {
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
  words: ["all", "none"],
  operands: [0, Infinity],
  needs: { write: true, policy: true },
  async run(context) {
    const { operands, flags } = context;
    const spenders = operands.length > 0 ? readSpenders(operands) : undefined;
    const caps = flags.values("cap").map(readCap);
    if (spenders !== undefined || caps.length > 0) {
      await openStore(context).update((state) => {
        if (Array.isArray(spenders)) requireAccounts(state, spenders);
        if (spenders) state.settings.creditAccountAliases = spenders;
        for (const cap of caps) applyCap(state, cap);
      });
    }
    await showCredits(context);
  },
};

function readSpenders(operands: readonly string[]): "all" | "none" | string[] {
  const word = operands.find((it) => it === "all" || it === "none");
  if (word !== undefined) {
    if (operands.length === 1) return word;
    throw usageError(`${word} stands alone; give either all, none, or aliases`);
  }
  operands.forEach(requireAlias);
  return [...new Set(operands)];
}

/** One `--cap`: an account's, or that of all together, `*`. */
interface Cap {
  readonly alias: string;
  /** Credits by "day" or "month"; absent: no cap. */
  readonly limit?: Record<string, number>;
}

function readCap(text: string): Cap {
  const [, alias = "*", value = ""] = /^(?:(.*)=)?(.*)$/s.exec(text) ?? [];
  const [, credits, period = ""] =
    /^(\d+(?:\.\d+)?)\/(day|month)$/.exec(value) ?? [];
  // what nobody can bear may be listed all the same
  if (alias !== "" && value === "none") return { alias };
  const isKnown = alias === "*" || isAlias(alias);
  if (isKnown && credits !== undefined) {
    return { alias, limit: { [period]: Number(credits) } };
  }
  throw usageError(
    `--cap ${text} is no cap; give a number of credits per day or month, such as 20/day, work=200/month, or none`,
  );
}

function applyCap(state: PoolState, { alias, limit }: Cap): void {
  const stored = state.settings.creditCaps ?? {};
  // those of others would be gone
  if (!isRecord(stored) && alias !== "*") {
    const command = suggestCommand("credits", "--cap", "20/day");
    throw new CliError(
      `The store's creditCaps cannot be read, so nobody may spend; set the one for all together first: ${command}`,
    );
  }
  const { [alias]: before, ...others } = isRecord(stored) ? stored : {};
  const isListed = Object.hasOwn(stored, alias);
  if (alias !== "*" && !isListed) requireAccounts(state, [alias]);
  const kept = Object.entries(isRecord(before) ? before : {})
    .filter(([period]) => period === "day" || period === "month");
  state.settings.creditCaps = limit === undefined
    ? others
    : { ...others, [alias]: { ...Object.fromEntries(kept), ...limit } };
}

async function showCredits(context: Context): Promise<void> {
  const { io, operands, say, warn } = context;
  const report = await statusReader(context)();
  const { accounts, credits } = report;
  say(policyWords(credits));
  for (const it of accounts) {
    say(`  ${it.alias}: ${creditWords(it, io.now())}`);
  }
  capWords(report).forEach(say);
  policyProblems(credits).forEach(warn);
  if (operands.length > 0 && credits.source === "environment") {
    const variable = CREDIT_VARIABLES.find((it) => io.env(it) !== undefined) ??
      "the environment";
    warn(
      `the setting is stored, but does not count until ${variable} is unset`,
    );
  }
}
