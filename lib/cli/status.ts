import type { RefreshReport, StatusReport } from "../report_types.ts";
import { jsonText, localTime, noAccount } from "./format.ts";
import type { StoreWatcher } from "./event_command.ts";
import type { Refreshed } from "./open.ts";
import { CliError, EXIT, usageError, voiceOf } from "./messages.ts";
import { type Command, type Context, requireAccounts } from "./options.ts";
import { candidates, statusLine } from "./status_summary.ts";
import { renderStatus } from "./status_table.ts";
import { statusReader } from "./stored_status.ts";

export const command: Command = {
  help: `
A row per account, or per account named: plan, standing, a bar per usage window
with how much of it is used and the time to its reset, purchased credits, how
often it was used and when last. An arrow marks who serves next. Nothing is sent
anywhere unless --refresh is given.

  included      the plan pays                                   (green)
  unknown       not observed lately; asked before it serves     (dim)
  credits       the plan is used up, purchased credits pay      (magenta)
  unconfirmed   used up, and whether credits pay is not known   (magenta)
  all else      cannot serve now                                (red)

A bar is green, yellow from 80 % and red when the window is used up. Facts that
are older than 15 minutes say when they were seen; "–" is not known.

Options:
  --json       the report as JSON; see lib/cli/status.schema.json
  --line       one line of at most 60 characters, for a prompt or tmux
  --refresh    ask the backend first
  --watch[=S]  show it again every 2 (or S) seconds, until Ctrl-C; with
               --refresh the backend is asked once a minute, with --json
               there is a report per line
  --on-event COMMAND
               with --watch: run it for each event of any account, which is
               a JSON line on its stdin
  --on-event-types T
               default switched, credits-spent, login-required, exhausted
  --check      tell by the exit code: 0 someone is on included usage,
               3 nobody is, but someone may serve, 4 nothing can serve
               until someone signs in, 69 nothing can serve for another
               reason
  --model M    for this model
  --html FILE  a page with charts instead: one file that only you can read

Examples:
  codex-rotator status
  codex-rotator status --watch --refresh --on-event my-notifier
  codex-rotator status --refresh --model gpt-5.3-codex-spark
  codex-rotator status --json | jq -r .next
  codex-rotator status --check || echo "no included usage left"
`,
  operands: [0, Infinity],
  needs: { policy: true, network: "refresh" },
  run,
};

export const refresh: Command = {
  help: `
Renews the tokens that are about to expire, then asks the backend for the usage
of all accounts, or of those named. One account's failure does not keep the
others from being refreshed; the exit code is 1 then. What follows is the table
of status, with the reason under each account that failed.

Options:
  --json           the outcome as JSON

Examples:
  codex-rotator refresh
  codex-rotator refresh personal work
`,
  operands: [0, Infinity],
  needs: { write: true, network: true, policy: true },
  run: (context) => once(context, true),
};

/** With `--watch` the backend is asked so often (ms). */
const REFRESH_INTERVAL = 60_000;
/** Two forms of one thing, and what `--watch` never comes to. */
const EXCLUSIVE = [["json", "line"], ["watch", "html"], [
  "watch",
  "check",
]] as const;

async function run(context: Context): Promise<number> {
  const { flags } = context;
  const watched = flags.on("watch");
  for (const [one, other] of EXCLUSIVE) {
    if (!flags.on(one) || !flags.on(other)) continue;
    throw usageError(
      `--${one} and --${other} do not go together; give one of them`,
    );
  }
  const hasEvents = flags.on("on-event") || flags.on("on-event-types");
  if (hasEvents && !watched) {
    throw usageError("--on-event tells what --watch sees; give --watch too");
  }
  return watched ? await again(context) : await once(context);
}

function reader(context: Context, watcher?: StoreWatcher) {
  const read = statusReader(context);
  return async (): Promise<StatusReport> => {
    const report = await read(context.flags.value("model"));
    watcher?.look(report);
    return named(report, context);
  };
}

async function ask(
  context: Context,
  onEvent?: StoreWatcher["learn"],
): Promise<Refreshed> {
  // what speaks to the backend is the most of it, and takes its time to load
  const { refreshStore } = await import("./open.ts");
  const { flags, operands: aliases } = context;
  const model = flags.value("model");
  return await refreshStore(context, { aliases, model, onEvent });
}

function named(report: StatusReport, { operands }: Context): StatusReport {
  if (operands.length === 0 || report.accounts.length === 0) return report;
  requireAccounts(report.accounts.map((it) => it.alias), operands);
  const accounts = report.accounts.filter((it) => operands.includes(it.alias));
  return { ...report, accounts };
}

async function once(context: Context, isRefresh = false): Promise<number> {
  const { flags, io } = context;
  // a wrong name is told before anyone is asked
  const before = await reader(context)();
  const isEmpty = before.accounts.length === 0;
  const refreshed = isRefresh || flags.on("refresh")
    ? await ask(context)
    : undefined;
  const report = refreshed ? named(refreshed.status, context) : before;
  const html = flags.value("html");
  if (html !== undefined) {
    const { writeSpendPage } = await import("./spend.ts");
    await writeSpendPage(context, html);
  }
  if (isRefresh && flags.on("json")) {
    const { version, accounts } = refreshed!;
    io.out(`${jsonText({ version, accounts })}\n`);
  } else {
    noteFailures(refreshed, context);
    const isShown = html === undefined && !isEmpty || !isTable(context);
    if (isShown) io.out(text(report, context, refreshed));
  }
  if (isEmpty) throw new CliError(noAccount(), EXIT.noAccount);
  if (flags.on("check")) return checkCode(report);
  return refreshed?.isOk === false ? EXIT.failed : EXIT.ok;
}

async function again(outer: Context): Promise<number> {
  const { flags } = outer;
  const { screen, sequence, watch, watchInterval } = await import("./watch.ts");
  const interval = watchInterval(flags.value("watch")!);
  const inPlace = outer.io.outIsTerminal && isTable(outer);
  const display = (inPlace ? screen : sequence)(outer.io);
  const { io } = display;
  const context = { ...outer, io, ...voiceOf(io) };
  let watcher: StoreWatcher | undefined;
  if (flags.on("on-event") || flags.on("on-event-types")) {
    const { eventCommand, storeWatcher } = await import("./event_command.ts");
    watcher = storeWatcher(eventCommand(context) ?? (() => {}));
  }
  const read = reader(context, watcher);
  let askedAt = -Infinity;
  let refreshed: Refreshed | undefined;
  const next = async () => {
    const now = io.now();
    if (flags.on("refresh") && now - askedAt >= REFRESH_INTERVAL) {
      askedAt = now;
      refreshed = await ask(context, watcher?.learn);
      noteFailures(refreshed, context);
    }
    const shown = text(await read(), context, refreshed);
    return inPlace || !isTable(context)
      ? shown
      : `${localTime(now)}\n${shown}\n`;
  };
  // what the first check changes is an event as well
  if (watcher !== undefined) await read();
  await watch(display, interval, next);
  return EXIT.interrupted;
}

/** Notes which accounts could not be asked, unless a table has room for it. */
function noteFailures(
  refreshed: RefreshReport | undefined,
  context: Context,
): void {
  if (isTable(context)) return;
  for (const { alias, ok, error } of refreshed?.accounts ?? []) {
    if (!ok) context.note(`${alias}: ${error ?? "not refreshed"}`);
  }
}

function isTable({ flags }: Context): boolean {
  return !flags.on("json") && !flags.on("line");
}

function text(
  report: StatusReport,
  { flags, io }: Context,
  refreshed: RefreshReport | undefined,
): string {
  if (flags.on("json")) {
    return `${jsonText(report, flags.on("watch") ? 0 : 2)}\n`;
  }
  if (flags.on("line")) return `${statusLine(report, io.now())}\n`;
  const { columns, color } = io;
  return renderStatus(report, { columns, color, now: io.now(), refreshed });
}

function checkCode(report: StatusReport): number {
  const found = candidates(report);
  if (found.some((it) => it.standing === "included")) return EXIT.ok;
  if (found.some((it) => it.standing !== "blocked")) return EXIT.uncertain;
  return found.length > 0 && found.every((it) => it.reason === "login")
    ? EXIT.noAccount
    : EXIT.unavailable;
}
