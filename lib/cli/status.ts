import type { RefreshReport, StatusReport } from "../report_types.ts";
import type { Command, Context } from "./options.ts";
import { CliError, EXIT, usageError } from "./exit.ts";
import { renderStatus } from "./render_status.ts";
import { noAccount } from "./format.ts";
import { statusReader } from "./stored_status.ts";
import { jsonText, sanitize } from "./format.ts";

/** `status`: who can serve, on what, and until when. */
export const command: Command = {
  help: `
A row per account: alias, plan, standing, purchased credits, and a bar per usage
window with the time of its reset. An arrow marks who would serve next. Nothing
is sent anywhere unless --refresh is given.

  included      the plan pays
  unknown       not observed lately; asked before it serves
  credits       the plan is used up, purchased credits pay
  unconfirmed   used up, and whether credits would pay is not known
  all else      cannot serve now

Options:
  --json       the report as JSON; see lib/cli/status.schema.json
  --refresh    ask the backend first
  --watch[=S]  show it again every 2 (or S) seconds, until Ctrl-C; with
               --refresh the backend is asked once a minute, with --json
               there is a report per line
  --check      tell by the exit code: 0 someone is on included usage,
               3 nobody is, but someone may serve, 4 nothing can serve
               until someone signs in, 69 nothing can serve for another
               reason
  --model M    for this model

Examples:
  cli.ts status
  cli.ts status --watch --refresh
  cli.ts status --refresh --model gpt-5.3-codex-spark
  cli.ts status --json | jq -r .next
  cli.ts status --check || echo "no included usage left"
`,
  booleans: ["json", "refresh", "check"],
  strings: ["model"],
  optional: ["watch"],
  operands: [0, 0],
  needs: { policy: true },
  onlineSwitch: "refresh",
  run,
};

/** With `--watch` the backend is asked so often, ms. */
const REFRESH_INTERVAL = 60_000;

async function run(context: Context): Promise<number> {
  const { flags } = context;
  const interval = flags.value("watch");
  if (interval !== undefined && flags.on("check")) {
    throw usageError(
      "--check ends with an exit code, which --watch never comes to; give one of them",
    );
  }
  if (interval !== undefined) return await again(context, interval);
  await using source = await open(context);
  return await once(source, context);
}

/** Where the reports come from. */
interface Source extends AsyncDisposable {
  read(): Promise<StatusReport>;
  /** Absent: the backend is not to be asked. */
  refresh?(): Promise<RefreshReport>;
  /** Absent: nothing is learned. */
  isKept?(): boolean;
}

async function open(context: Context): Promise<Source> {
  const model = context.flags.value("model");
  if (!context.flags.on("refresh")) {
    const read = statusReader(context);
    return { read: () => read(model), [Symbol.asyncDispose]: async () => {} };
  }
  // what speaks to the backend is the most of it, and takes its time to load
  const { openOnlineRotator, refreshAccounts } = await import(
    "./open.ts"
  );
  const rotator = openOnlineRotator(context);
  return {
    read: () => rotator.status(model === undefined ? {} : { model }),
    refresh: () => refreshAccounts(rotator, context, []),
    isKept: () => rotator.isKept(),
    [Symbol.asyncDispose]: () => rotator.close(),
  };
}

async function once(source: Source, context: Context): Promise<number> {
  const { flags, io } = context;
  const failed = await refresh(source, context);
  const report = await source.read();
  if (flags.on("json")) io.out(`${jsonText(report)}\n`);
  if (report.accounts.length === 0) {
    throw new CliError(noAccount(), EXIT.noAccount);
  }
  if (!flags.on("json")) io.out(render(report, context));
  if (flags.on("check")) return checkCode(report);
  return failed || source.isKept?.() === false ? EXIT.failed : EXIT.ok;
}

async function again(outer: Context, seconds: string): Promise<number> {
  const { aside, watch, watchInterval } = await import("./watch.ts");
  const interval = watchInterval(seconds);
  const inPlace = outer.io.outIsTerminal && !outer.flags.on("json");
  const beside = aside(outer.io);
  const context = { ...outer, io: beside.io };
  await using source = await open(context);
  let askedAt = -Infinity;
  await watch(outer.io, interval, inPlace, async () => {
    const now = outer.io.now();
    if (now - askedAt >= REFRESH_INTERVAL) {
      askedAt = now;
      await refresh(source, context);
    }
    const text = snapshot(await source.read(), context);
    if (inPlace) beside.keep();
    return text + beside.kept();
  });
  return EXIT.interrupted;
}

/** One of many, to be told from the one before. */
function snapshot(report: StatusReport, context: Context): string {
  if (context.flags.on("json")) return `${jsonText(report, 0)}\n`;
  const text = render(report, context);
  return context.io.outIsTerminal ? text : `${report.now}\n${text}\n`;
}

function render(report: StatusReport, { io }: Context): string {
  const { columns, color } = io;
  return renderStatus(report, { columns, color, now: io.now() });
}

/** Asks the backend where that is wanted. @returns Whether it failed for someone. */
async function refresh(source: Source, context: Context): Promise<boolean> {
  const report = await source.refresh?.();
  const failures = report?.accounts.filter((it) => !it.ok) ?? [];
  for (const { alias, error } of failures) {
    context.io.err(
      `${sanitize(alias)}: ${sanitize(error ?? "not refreshed")}\n`,
    );
  }
  return failures.length > 0;
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
