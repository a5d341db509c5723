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
  const { flags, operands: [alias] } = context;
  if (flags.on("auto") === (alias !== undefined)) {
    throw usageError("Give either an alias or --auto; for example: use work");
  }
  await (alias === undefined ? unpin(context) : pin(context, alias));
  return EXIT.ok;
}

async function unpin(context: Context): Promise<void> {
  let before: string | null = null;
  await openStore(context).update(({ settings }) => {
    before = settings.pinned ?? null;
    if (before !== null) settings.pinned = null;
  });
  say(
    context.io,
    before === null
      ? "All accounts may serve already: none was pinned"
      : `All accounts may serve again: ${
        sanitize(String(before))
      } is not pinned any more`,
  );
}

async function pin(context: Context, alias: string): Promise<void> {
  const { io } = context;
  let already = false;
  const state = await openStore(context).update((state) => {
    requireAccounts(state, [alias]);
    already = state.settings.pinned === alias;
    state.settings.pinned = alias;
  });
  const name = sanitize(alias);
  say(
    io,
    already
      ? `Only ${name} served already`
      : `From now on only ${name} serves; undo with: ${
        suggestCommand("use --auto")
      }`,
  );
  if (state.accounts[alias]?.enabled === false) {
    printWarning(
      io,
      `${name} is disabled, so nobody serves; enable it with: ${
        suggestCommand("enable", alias)
      }`,
    );
  }
}
