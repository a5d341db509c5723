import { EXIT } from "./exit.ts";
import { sanitize } from "./format.ts";
import { openStore } from "./open.ts";
import { type Command, type Context, requireAccounts } from "./options.ts";

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
