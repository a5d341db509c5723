import { isStrategy, STRATEGIES } from "../pool/strategy.ts";
import type { StrategyName } from "../types.ts";
import type { Command, Context } from "./options.ts";
import { EXIT, usageError } from "./exit.ts";
import { suggestion } from "./nearest.ts";
import { openStore } from "./open.ts";
import { sanitize } from "./format.ts";

const WORDS: Readonly<Record<StrategyName, string>> = {
  "round-robin": "longest unused first",
  "least-used": "fewest requests first",
  "random": "any",
  "weighted": "in turn, by each account's weight",
  "drain": "first the one whose longest window resets soonest",
};
const DEFAULT: StrategyName = "round-robin";

/** `strategy`: the order in which accounts serve. */
export const command: Command = {
  help: `
Orders the accounts that can serve on the same terms; included usage always
comes before credits. Without NAME it shows the strategy in use.

${
    STRATEGIES
      .map((name) => `  ${name.padEnd(13)} ${WORDS[name]}`).join("\n")
  }

Examples:
  cli.ts strategy
  cli.ts strategy drain
`,
  operands: [0, 1],
  needs: { write: true },
  run,
};

async function run(context: Context): Promise<number> {
  const [name] = context.operands;
  return name === undefined ? await show(context) : await set(context, name);
}

async function show(context: Context): Promise<number> {
  const { settings } = await openStore(context).read();
  const stored = settings.strategy;
  const { io } = context;
  if (stored !== undefined && !isStrategy(stored)) {
    io.err(
      `Warning: the store names the strategy ${
        sanitize(String(stored))
      }, which is not known; ${DEFAULT} is used\n`,
    );
  }
  const name = isStrategy(stored) ? stored : DEFAULT;
  io.out(`${name}: ${WORDS[name]}\n`);
  return EXIT.ok;
}

async function set(context: Context, name: string): Promise<number> {
  if (!isStrategy(name)) throw unknownStrategy(name);
  let before: unknown;
  await openStore(context).update(({ settings }) => {
    before = settings.strategy;
    settings.strategy = name;
  });
  context.io.out(
    before === name
      ? `The strategy was ${name} already\n`
      : `The strategy is ${name} now: ${WORDS[name]}\n`,
  );
  return EXIT.ok;
}

function unknownStrategy(name: string) {
  return usageError(
    `Unknown strategy ${sanitize(name)}${
      suggestion(name, STRATEGIES)
    }; known are: ${STRATEGIES.join(", ")}`,
  );
}
