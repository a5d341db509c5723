import { isStrategy, STRATEGIES } from "../pool/strategy.ts";
import type { StrategyName } from "../types.ts";
import { printWarning } from "./findings.ts";
import { EXIT, usageError } from "./exit.ts";
import { sanitize } from "./format.ts";
import { suggestion } from "../nearest.ts";
import { openStore } from "./open.ts";
import type { Command, Context } from "./options.ts";

const WORDS: Readonly<Record<StrategyName, string>> = {
  "round-robin": "longest unused first",
  "least-used": "fewest requests first",
  "random": "any",
  "weighted": "in turn, by each account's weight",
  "drain": "first the quota that would be lost soonest",
};
const DEFAULT: StrategyName = "round-robin";

/** `strategy`: the order in which accounts serve. */
export const command: Command = {
  help: `
Orders the accounts that can serve on the same terms; included usage always
comes before credits. Without NAME it shows the strategy in use.

${STRATEGIES.map((name) => `  ${name.padEnd(13)} ${WORDS[name]}`).join("\n")}

Examples:
  codex-rotator strategy
  codex-rotator strategy drain
`,
  words: STRATEGIES,
  operands: [0, 1],
  needs: { write: true },
  run,
};

async function run(context: Context): Promise<number> {
  const [name] = context.operands;
  context.io.out(
    name === undefined ? await show(context) : await set(context, name),
  );
  return EXIT.ok;
}

async function show(context: Context): Promise<string> {
  const { settings: { strategy } } = await openStore(context).read();
  if (strategy !== undefined && !isStrategy(strategy)) {
    printWarning(
      context.io,
      `The store names the strategy ${strategy}, which is not known: ${DEFAULT} is used`,
    );
  }
  const name = isStrategy(strategy) ? strategy : DEFAULT;
  return `${name}: ${WORDS[name]}\n`;
}

async function set(context: Context, name: string): Promise<string> {
  if (!isStrategy(name)) {
    throw usageError(
      `Unknown strategy ${sanitize(name)}${
        suggestion(name, STRATEGIES)
      }; known are: ${STRATEGIES.join(", ")}`,
    );
  }
  let before: unknown;
  await openStore(context).update(({ settings }) => {
    before = settings.strategy;
    settings.strategy = name;
  });
  return before === name
    ? `The strategy was ${name} already\n`
    : `The strategy is ${name} now: ${WORDS[name]}\n`;
}
