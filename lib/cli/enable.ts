import { type Command, type Context, requireAccounts } from "./options.ts";
import { EXIT } from "./exit.ts";
import { openStore } from "./open.ts";
import { sanitize } from "./format.ts";

/** `enable`: lets accounts serve again. */
export const command: Command = {
  help: `
Examples:
  cli.ts enable work
  cli.ts enable work personal
`,
  operands: [1, Infinity],
  needs: { write: true },
  run: (context) => setEnabled(context, true),
};

/** Enables or disables the accounts named, all or none of them. */
export async function setEnabled(
  context: Context,
  enabled: boolean,
): Promise<number> {
  const { io, operands } = context;
  const changed = new Set<string>();
  await openStore(context).update((state) => {
    requireAccounts(state, operands);
    changed.clear();
    for (const alias of operands) {
      const account = state.accounts[alias]!;
      if ((account.enabled ?? true) === enabled) continue;
      account.enabled = enabled;
      changed.add(alias);
    }
  });
  const word = enabled ? "enabled" : "disabled";
  for (const alias of new Set(operands)) {
    io.out(
      changed.has(alias)
        ? `${sanitize(alias)} is ${word} now\n`
        : `${sanitize(alias)} was already ${word}\n`,
    );
  }
  return EXIT.ok;
}
