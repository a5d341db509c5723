import { isDatabase } from "../store/paths.ts";
import { listBackups, restoreBackup } from "../store/restore.ts";
import { sanitize, timeAgo } from "./format.ts";
import { usageError } from "./messages.ts";
import { type Command, storeOf } from "./options.ts";

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
  operands: [0, 1],
  needs: { write: true },
  async run(context) {
    const { io, flags, operands: [wanted = "1"] } = context;
    const path = storeOf(context);
    if (isDatabase(path)) {
      throw usageError(
        "A database has no backups beside it; put one of its dumps back with pg_restore",
      );
    }
    const when = (time: number) =>
      `${new Date(time).toISOString()} (${timeAgo(time, io.now())})`;
    if (flags.on("list")) {
      const lines = (await listBackups(path)).map((it) => {
        const names = it.aliases?.map(sanitize).join(", ") || "no account";
        const content = it.aliases === undefined ? "damaged" : names;
        return `${it.generation}  ${when(it.writtenAt)}: ${content}\n`;
      });
      return io.out(lines.join("") || `There is no backup of ${path}\n`);
    }
    if (!/^[123]$/.test(wanted)) {
      throw usageError(
        `There is no backup ${wanted}; give 1, 2 or 3, or see --list`,
      );
    }
    const options = { generation: Number(wanted) };
    const { writtenAt, kept } = await restoreBackup(path, options);
    io.out(`${path} is restored from the backup of ${when(writtenAt)}\n`);
    if (kept !== null) io.out(`What was there before is kept as ${kept}\n`);
  },
};
