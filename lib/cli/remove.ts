import { replaceAlias } from "./alias.ts";
import { EXIT } from "./exit.ts";
import { sanitize } from "./format.ts";
import { openStore } from "./open.ts";
import { type Command, type Context, requireAccounts } from "./options.ts";
import { confirm, note, say } from "./say.ts";

/** `remove`: forgets accounts. */
export const command: Command = {
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
  booleans: ["yes"],
  operands: [1, Infinity],
  needs: { write: true },
  run,
};

async function run(context: Context): Promise<number> {
  const { io, flags } = context;
  const aliases = [...new Set(context.operands)];
  const store = openStore(context);
  requireAccounts(await store.read(), aliases);
  const question = `Forget ${aliases.map(sanitize).join(", ")} and the tokens?`;
  if (!flags.on("yes") && await confirm(io, question) === false) {
    note(io, "Nothing is removed");
    return EXIT.failed;
  }
  let lines: string[] = [];
  await store.update((state) => {
    requireAccounts(state, aliases);
    lines = aliases.map((alias) => {
      delete state.accounts[alias];
      const places = replaceAlias(state.settings, alias);
      const also = places.length > 0 ? `, also from ${andList(places)}` : "";
      return `${sanitize(alias)} is removed${also}`;
    });
  });
  for (const line of lines) say(io, line);
  return EXIT.ok;
}

function andList(words: readonly string[]): string {
  const last = words.at(-1)!;
  return words.length === 1
    ? last
    : `${words.slice(0, -1).join(", ")} and ${last}`;
}
