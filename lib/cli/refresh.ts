import type { Rotator } from "../rotator.ts";
import type { RefreshReport } from "../report_types.ts";
import { type Command, type Context, requireAccounts } from "./options.ts";
import { CliError, EXIT } from "./exit.ts";
import { openOnlineRotator, openStore, refreshAccounts } from "./open.ts";
import { jsonText, noAccount } from "./format.ts";
import { refreshRemarks } from "./status_row.ts";
import { renderStatus } from "./status_table.ts";

/** `refresh`: tokens that need it, then usage. */
export const command: Command = {
  help: `
Renews the tokens that are about to expire, then asks the backend for the usage
of all accounts, or of those named. One account's failure does not keep the
others from being refreshed; the exit code is 1 then. What follows is the table
of status, with the reason under each account that failed.

Options:
  --json           the outcome as JSON

Examples:
  cli.ts refresh
  cli.ts refresh personal work
`,
  booleans: ["json"],
  operands: [0, Infinity],
  needs: { write: true, network: true, policy: true },
  run,
};

async function run(context: Context): Promise<number> {
  const { io, flags, operands } = context;
  const state = await openStore(context).read();
  if (Object.keys(state.accounts).length === 0) {
    const none: RefreshReport = { version: 1, accounts: [] };
    if (flags.on("json")) io.out(`${jsonText(none)}\n`);
    throw new CliError(noAccount(), EXIT.noAccount);
  }
  requireAccounts(state, operands);
  const rotator = openOnlineRotator(context);
  let report: RefreshReport;
  try {
    report = await refreshAccounts(rotator, context, operands);
    io.out(
      flags.on("json")
        ? `${jsonText(report)}\n`
        : await table(rotator, report, context),
    );
  } finally {
    await rotator.close();
  }
  const isDone = report.accounts.every((it) => it.ok) && rotator.isKept();
  return isDone ? EXIT.ok : EXIT.failed;
}

/** Returns the status of the accounts that were asked for. */
async function table(
  rotator: Rotator,
  report: RefreshReport,
  { io }: Context,
): Promise<string> {
  const status = await rotator.status();
  const aliases = report.accounts.map((it) => it.alias);
  const accounts = status.accounts.filter((it) => aliases.includes(it.alias));
  const { columns, color } = io;
  const refreshed = refreshRemarks(report);
  const options = { columns, color, now: io.now(), refreshed };
  return renderStatus({ ...status, accounts }, options);
}
