import { isDatabase } from "../store/paths.ts";
import { listBackups, restoreBackup } from "../store/restore.ts";
import { sanitize, timeAgo } from "./format.ts";
import { usageError } from "./messages.ts";
import { type Command, type Context, storeOf } from "./options.ts";

export const command: Command = {
  help: `
Every change of accounts, tokens or settings is mirrored in FILE.bak beside the
store. When the store itself is damaged or gone, this puts the backup in its
place. Backups 2 and 3 are the store as it was before the last two changes of
accounts or settings, so that those can be undone; accounts that are still there
keep their newer tokens. What is replaced is kept beside the store.

Options:
  --list           show the backups

Examples:
  codex-rotator restore
  codex-rotator restore --list
  codex-rotator restore 2
`,
  booleans: ["list"],
  operands: [0, 1],
  needs: { write: true },
  run,
};

async function run(context: Context): Promise<void> {
  const { io, flags, operands: [wanted] } = context;
  const path = storeOf(context);
  if (isDatabase(path)) {
    throw usageError(
      "A database has no backups beside it; put one of its dumps back with pg_restore",
    );
  }
  if (flags.on("list")) return io.out(await listing(context, path));
  const generation = Number(wanted ?? 1);
  if (![1, 2, 3].includes(generation)) {
    throw usageError(
      `There is no backup ${wanted}; give 1, 2 or 3, or see --list`,
    );
  }
  const { writtenAt, kept } = await restoreBackup(path, { generation });
  io.out(
    `${path} is restored from the backup of ${when(context, writtenAt)}\n`,
  );
  if (kept !== null) io.out(`What was there before is kept as ${kept}\n`);
}

async function listing(context: Context, path: string): Promise<string> {
  const backups = await listBackups(path);
  if (backups.length === 0) return `There is no backup of ${path}\n`;
  return backups.map(({ generation, writtenAt, aliases }) => {
    const names = aliases?.map(sanitize).join(", ") || "no account";
    const content = aliases === undefined ? "damaged" : names;
    return `${generation}  ${when(context, writtenAt)}: ${content}\n`;
  }).join("");
}

function when({ io }: Context, time: number): string {
  return `${new Date(time).toISOString()} (${timeAgo(time, io.now())})`;
}
