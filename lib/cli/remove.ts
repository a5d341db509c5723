import { type Command, type Context, requireAccounts } from "./options.ts";
import { replaceInCreditList } from "./credit_list.ts";
import { EXIT } from "./exit.ts";
import { openStore } from "./open.ts";
import { sanitize } from "./format.ts";

/** `remove`: forgets accounts. */
export const command: Command = {
  help: `
Forgets the accounts named and their tokens, in the store and its backup. The
names leave the credit list and the pin as well; a credit list that is empty
then means that nobody may spend credits.

Examples:
  cli.ts remove work
`,
  operands: [1, Infinity],
  needs: { write: true },
  run,
};

async function run(context: Context): Promise<number> {
  const { io, operands } = context;
  const lines = new Map<string, string>();
  await openStore(context).update((state) => {
    requireAccounts(state, operands);
    for (const alias of new Set(operands)) {
      delete state.accounts[alias];
      const listed = replaceInCreditList(state.settings, alias, []);
      const pinned = state.settings.pinned === alias;
      if (pinned) state.settings.pinned = null;
      lines.set(alias, confirmation(alias, listed, pinned));
    }
  });
  for (const text of lines.values()) io.out(text);
  return EXIT.ok;
}

function confirmation(alias: string, listed: boolean, pinned: boolean): string {
  const places = [
    ...(listed ? ["the credit list"] : []),
    ...(pinned ? ["the pin"] : []),
  ];
  const also = places.length > 0 ? `, also from ${places.join(" and ")}` : "";
  return `${sanitize(alias)} is removed${also}\n`;
}
