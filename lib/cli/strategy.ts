import { isStrategy, STRATEGIES } from "../pool/strategy.ts";
import type { StrategyName } from "../types.ts";
import { printWarning } from "./findings.ts";
import { EXIT, usageError } from "./exit.ts";
import { sanitize } from "./format.ts";
import { suggestion } from "../nearest.ts";
import { openStore } from "./open.ts";
import type { Command, Context } from "./options.ts";
import { say } from "./say.ts";

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
  const { io, operands: [name] } = context;
  if (name !== undefined && !isStrategy(name)) {
    const meant = suggestion(name, STRATEGIES);
    throw usageError(
      `Unknown strategy ${sanitize(name)}${meant}; known are: ${
        STRATEGIES.join(", ")
      }`,
    );
  }
  const store = openStore(context);
  const { settings: { strategy: before } } = await store.read();
  if (name === undefined) {
    const isKnown = isStrategy(before);
    if (before !== undefined && !isKnown) {
      printWarning(
        io,
        `The store names the strategy ${before}, which is not known: ${DEFAULT} is used`,
      );
    }
    const current = isKnown ? before : DEFAULT;
    say(io, `${current}: ${WORDS[current]}`);
    return EXIT.ok;
  }
  await store.update(({ settings }) => void (settings.strategy = name));
  say(
    io,
    before === name
      ? `The strategy was ${name} already`
      : `The strategy is ${name} now: ${WORDS[name]}`,
  );
  return EXIT.ok;
}
