import { EXIT } from "./exit.ts";
import { sanitize } from "./format.ts";
import { openStore } from "./open.ts";
import { type Command, type Context, requireAccounts } from "./options.ts";
import { say } from "./say.ts";

/** `enable`: lets accounts serve again. */
export const enable: Command = {
  help: `
Examples:
  codex-rotator enable work
  codex-rotator enable work personal
`,
  operands: [1, Infinity],
  needs: { write: true },
  run: (context) => setEnabled(context, true),
};

/** `disable`: keeps accounts from serving. */
export const disable: Command = {
  help: `
A disabled account keeps its tokens and settings, but serves no request.

Examples:
  codex-rotator disable work
`,
  operands: [1, Infinity],
  needs: { write: true },
  run: (context) => setEnabled(context, false),
};

/** Enables or disables the accounts named, all or none of them. */
async function setEnabled(
  context: Context,
  enabled: boolean,
): Promise<number> {
  const aliases = [...new Set(context.operands)];
  const word = enabled ? "enabled" : "disabled";
  let lines: string[] = [];
  await openStore(context).update((state) => {
    requireAccounts(state, aliases);
    lines = aliases.map((alias) => {
      const account = state.accounts[alias]!;
      const already = (account.enabled ?? true) === enabled;
      if (!already) account.enabled = enabled;
      const name = sanitize(alias);
      return already ? `${name} was already ${word}` : `${name} is ${word} now`;
    });
  });
  for (const line of lines) say(context.io, line);
  return EXIT.ok;
}
