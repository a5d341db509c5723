import { EXIT, usageError } from "./exit.ts";
import { printWarning } from "./findings.ts";
import { sanitize, suggestCommand } from "./format.ts";
import { openStore } from "./open.ts";
import { type Command, type Context, requireAccounts } from "./options.ts";
import { say } from "./say.ts";

/** `use`: pins one account, or unpins. */
export const command: Command = {
  help: `
The named account alone serves until this is undone with --auto. When it cannot
serve, requests are refused instead of going to another account.

Options:
  --auto           let all accounts serve again

Examples:
  codex-rotator use work
  codex-rotator use --auto
`,
  booleans: ["auto"],
  operands: [0, 1],
  needs: { write: true },
  run,
};

async function run(context: Context): Promise<number> {
  const { io, flags, operands: [alias] } = context;
  if (flags.on("auto") === (alias !== undefined)) {
    throw usageError("Give either an alias or --auto; for example: use work");
  }
  let before: string | null = null;
  const { accounts } = await openStore(context).update((state) => {
    if (alias !== undefined) requireAccounts(state, [alias]);
    before = state.settings.pinned ?? null;
    state.settings.pinned = alias ?? null;
  });
  if (alias === undefined) {
    const name = sanitize(String(before));
    say(
      io,
      before === null
        ? "All accounts may serve already: none was pinned"
        : `All accounts may serve again: ${name} is not pinned any more`,
    );
    return EXIT.ok;
  }
  const [name, undo] = [sanitize(alias), suggestCommand("use --auto")];
  say(
    io,
    before === alias
      ? `Only ${name} served already`
      : `From now on only ${name} serves; undo with: ${undo}`,
  );
  if (accounts[alias]?.enabled === false) {
    const enable = suggestCommand("enable", alias);
    printWarning(
      io,
      `${name} is disabled, so nobody serves; enable it with: ${enable}`,
    );
  }
  return EXIT.ok;
}
