import type { AccountRecord } from "../types.ts";
import { EXIT, usageError } from "./exit.ts";
import { sanitize } from "./format.ts";
import { suggestion } from "../nearest.ts";
import { openStore } from "./open.ts";
import { type Command, type Context, requireAccounts } from "./options.ts";

const FIELDS = {
  weight: { usual: 1, least: 0, most: Infinity, range: "0 or more" },
  priority: {
    usual: 0,
    least: -Infinity,
    most: Infinity,
    range: "for example 1 or -1",
  },
  reserve: { usual: 0, least: 0, most: 100, range: "a percentage" },
} as const;
type Field = keyof typeof FIELDS;
const NAMES = Object.keys(FIELDS) as Field[];

/** `set`: what decides between accounts that can serve on the same terms. */
export const command: Command = {
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
  run,
};

async function run(context: Context): Promise<number> {
  const [alias = "", ...settings] = context.operands;
  const changes = Object.fromEntries(settings.map(readSetting));
  const store = openStore(context);
  const state = settings.length === 0
    ? await store.read()
    : await store.update((state) => {
      requireAccounts(state, [alias]);
      Object.assign(state.accounts[alias]!, changes);
    });
  requireAccounts(state, [alias]);
  context.io.out(`${sanitize(alias)}: ${describe(state.accounts[alias]!)}\n`);
  return EXIT.ok;
}

function describe(account: AccountRecord): string {
  return NAMES.map((name) => {
    const value = account[name] ?? FIELDS[name].usual;
    return `${name} ${value}${name === "reserve" ? "%" : ""}`;
  }).join(", ");
}

function readSetting(text: string): [Field, number] {
  const [name = "", value = ""] = text.split(/=(.*)/s);
  const field = NAMES.find((it) => it === name);
  if (field === undefined || !text.includes("=")) {
    throw usageError(
      `${sanitize(text)} sets nothing${suggestion(name, NAMES)}; give ${
        NAMES.map((it) => `${it}=N`).join(", ")
      }`,
    );
  }
  const { least, most, range } = FIELDS[field];
  const digits = field === "reserve" ? value.replace(/%$/, "") : value;
  const number = /^-?\d+(\.\d+)?$/.test(digits) ? Number(digits) : NaN;
  if (number >= least && number <= most) return [field, number];
  throw usageError(
    `${field} is ${sanitize(value) || "empty"}; give a number, ${range}`,
  );
}
