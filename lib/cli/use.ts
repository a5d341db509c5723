import { type Command, type Context, requireAccounts } from "./options.ts";
import { EXIT, usageError } from "./exit.ts";
import { openStore } from "./open.ts";
import { sanitize, suggestCommand } from "./format.ts";

/** `use`: pins one account, or unpins. */
export const command: Command = {
  help: `
The named account alone serves until this is undone with --auto. When it cannot
serve, requests are refused instead of going to another account.

Options:
  --auto           let all accounts serve again

Examples:
  cli.ts use work
  cli.ts use --auto
`,
  booleans: ["auto"],
  operands: [0, 1],
  needs: { write: true },
  run,
};

async function run(context: Context): Promise<number> {
  const { flags, operands } = context;
  const [alias] = operands;
  if (flags.on("auto") === (alias !== undefined)) {
    throw usageError("Give either an alias or --auto, for example: use work");
  }
  return alias === undefined ? await unpin(context) : await pin(context, alias);
}

async function unpin(context: Context): Promise<number> {
  let before: string | null | undefined;
  await openStore(context).update(({ settings }) => {
    before = settings.pinned;
    if (before !== undefined && before !== null) settings.pinned = null;
  });
  context.io.out(
    before === undefined || before === null
      ? "All accounts may serve already: none was pinned\n"
      : `All accounts may serve again: ${
        sanitize(String(before))
      } is not pinned any more\n`,
  );
  return EXIT.ok;
}

async function pin(context: Context, alias: string): Promise<number> {
  let already = false;
  const state = await openStore(context).update((state) => {
    requireAccounts(state, [alias]);
    already = state.settings.pinned === alias;
    state.settings.pinned = alias;
  });
  const { io } = context;
  io.out(
    already
      ? `Only ${sanitize(alias)} served already\n`
      : `From now on only ${sanitize(alias)} serves; undo with: ${
        suggestCommand("use --auto")
      }\n`,
  );
  if (state.accounts[alias]?.enabled === false) {
    io.err(
      `Warning: ${
        sanitize(alias)
      } is disabled, so nobody serves; enable it with: ${
        suggestCommand(`enable ${sanitize(alias)}`)
      }\n`,
    );
  }
  return EXIT.ok;
}
