import { restoreBackup } from "../store/backup.ts";
import { type Command, type Context, storeOf } from "./options.ts";
import { EXIT } from "./exit.ts";
import { timeAgo } from "./format.ts";

/** `restore`: puts the backup back. */
export const command: Command = {
  help: `
Every change of accounts, tokens or settings is mirrored in FILE.bak beside the
store. When the store itself is damaged or gone, this puts the backup in its
place; a damaged store is kept beside it.

Examples:
  cli.ts restore
`,
  operands: [0, 0],
  needs: { write: true },
  run,
};

async function run(context: Context): Promise<number> {
  const { io } = context;
  const path = storeOf(context);
  const { writtenAt, kept } = await restoreBackup(path);
  const date = new Date(writtenAt).toISOString();
  io.out(
    `${path} is restored from the backup of ${date} (${
      timeAgo(writtenAt, io.now())
    })\n`,
  );
  if (kept !== null) io.out(`What was there before is kept as ${kept}\n`);
  return EXIT.ok;
}
