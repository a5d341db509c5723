import type { RefreshReport, StatusReport } from "../report_types.ts";
import { type Command, type Context, requireAccounts } from "./options.ts";
import { CliError, EXIT } from "./exit.ts";
import { openOnlineRotator, openStore, refreshAccounts } from "./open.ts";
import { noAccount } from "./format.ts";
import { jsonText, quote, sanitize, suggestCommand } from "./format.ts";

/** `refresh`: tokens that need it, then usage. */
export const command: Command = {
  help: `
Renews the tokens that are about to expire, then asks the backend for the usage
of all accounts, or of those named. One account's failure does not keep the
others from being refreshed; the exit code is 1 then.

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
    const status = await rotator.status();
    io.out(
      flags.on("json") ? `${jsonText(report)}\n` : lines(report, status),
    );
  } finally {
    await rotator.close();
  }
  const isDone = report.accounts.every((it) => it.ok) && rotator.isKept();
  return isDone ? EXIT.ok : EXIT.failed;
}

function lines({ accounts }: RefreshReport, status: StatusReport): string {
  const signedOut = new Set(
    status.accounts.filter(({ reason }) => reason === "login")
      .map(({ alias }) => alias),
  );
  return accounts.map(({ alias, ok, standing, tokenRefreshed, error }) => {
    const token = tokenRefreshed ? ", token renewed" : "";
    const outcome = ok
      ? `${standing}${token}`
      : `failed${token}: ${sanitize(error ?? "no reason given")}`;
    const advice = signedOut.has(alias)
      ? `; sign in again with: ${
        suggestCommand(`login ${quote(sanitize(alias))}`)
      }`
      : "";
    return `${sanitize(alias)}: ${outcome}${advice}\n`;
  }).join("");
}
