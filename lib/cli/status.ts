import type { StatusReport } from "../types.ts";
import type { Command, Context } from "./command.ts";
import { CliError, EXIT } from "./exit.ts";
import { renderStatus } from "./render_status.ts";
import {
  openOnlineRotator,
  openRotator,
  refreshAccounts,
} from "./open_rotator.ts";
import { noAccount } from "./status_footer.ts";
import { clean } from "./words.ts";

/** `status`: who can serve, on what, and until when. */
export const command: Command = {
  help: `
A row per account: alias, plan, standing, a bar per usage window with the time
to its reset, purchased credits. An arrow marks who would serve next. Nothing is
sent anywhere unless --refresh is given.

  included      the plan pays
  unknown       not observed lately; asked before it serves
  credits       the plan is used up, purchased credits pay
  unconfirmed   used up, and whether credits would pay is not known
  all else      cannot serve now

Options:
  --json           the report as JSON
  --refresh        ask the backend first
  --check          tell by the exit code: 0 someone is on included usage,
                   3 nobody is, but someone may serve, 4 nothing can serve until
                   someone signs in, 69 nothing can serve for another reason
  --model M        for this model

Examples:
  cli.ts status
  cli.ts status --refresh --model gpt-5.3-codex-spark
  cli.ts status --json | jq -r .next
  cli.ts status --check || echo "no included usage left"
`,
  booleans: ["json", "refresh", "check"],
  strings: ["model"],
  operands: [0, 0],
  needs: { policy: true },
  onlineSwitch: "refresh",
  run,
};

async function run(context: Context): Promise<number> {
  const { flags, io } = context;
  const { report, failed } = await read(context);
  if (flags.on("json")) io.out(`${JSON.stringify(report, null, 2)}\n`);
  if (report.accounts.length === 0) {
    throw new CliError(noAccount(), EXIT.noAccount);
  }
  if (!flags.on("json")) {
    const { columns, color } = io;
    io.out(renderStatus(report, { columns, color, now: io.now() }));
  }
  if (flags.on("check")) return checkCode(report);
  return failed ? EXIT.failed : EXIT.ok;
}

async function read(
  context: Context,
): Promise<{ report: StatusReport; failed: boolean }> {
  const { flags, io } = context;
  const model = flags.value("model");
  const refresh = flags.on("refresh");
  const rotator = refresh ? openOnlineRotator(context) : openRotator(context);
  try {
    const refreshed = refresh
      ? (await refreshAccounts(rotator, context, [])).accounts
      : [];
    const failures = refreshed.filter((it) => !it.ok);
    for (const { alias, error } of failures) {
      io.err(`${clean(alias)}: ${clean(error ?? "not refreshed")}\n`);
    }
    const report = await rotator.status(model === undefined ? {} : { model });
    return { report, failed: failures.length > 0 };
  } finally {
    await rotator.close();
  }
}

/** What `--check` says by its exit code, of those who are candidates at all. */
function checkCode({ accounts, pinned }: StatusReport): number {
  const candidates = accounts.filter((it) =>
    it.enabled && (pinned === null || it.alias === pinned)
  );
  if (candidates.some((it) => it.standing === "included")) return EXIT.ok;
  if (candidates.some((it) => it.standing !== "blocked")) return EXIT.uncertain;
  const signIn = candidates.length > 0 &&
    candidates.every((it) => it.reason === "login");
  return signIn ? EXIT.noAccount : EXIT.unavailable;
}
