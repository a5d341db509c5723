import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { LedgerFile } from "../ledger/ledger.ts";
import { currentSessions } from "../pool/sessions.ts";
import { sessionStoreOf } from "../session_file.ts";
import type { LedgerEntry } from "../spending_types.ts";
import { realFile, statFile } from "../store/file.ts";
import { isDatabase, withoutPassword } from "../store/paths.ts";
import type { PoolState } from "../types.ts";
import { count, programName, quote } from "./format.ts";
import { CliError, usageError } from "./messages.ts";
import { type NamedStore, openNamed, readLedgerOf } from "./open.ts";
import type { Command, Context } from "./options.ts";
import { databaseGrants } from "./permissions.ts";

const LINES = 1_000;

export const command: Command = {
  help: `
Copies a whole store to another one: accounts with their tokens, settings, what
was spent, the ledger, and which account served which session. FROM and TO are
each a file or the URL of a database, postgres://USER@HOST/DATABASE; a password
is best given in PGPASSWORD. End what uses FROM first: a refresh token serves
once, so that only one of the two stores may be used afterwards.

Options:
  --replace        take the place of all that is in TO

Examples:
  codex-rotator copy ~/accounts.json postgres://me@db/team
  codex-rotator copy postgres://me@db/team accounts.json
`,
  operands: [2, 2],
  needs: { store: false },
  grants({ operands }) {
    const files = operands.filter((it) => !isDatabase(it)).map(dirname);
    const all = operands.filter(isDatabase).map(databaseGrants);
    return {
      read: [...files, ...all.flatMap(({ read = [] }) => read)],
      write: files,
      env: all.flatMap(({ env = [] }) => env),
      net: all.flatMap(({ net = [] }) => net),
    };
  },
  run,
};

async function run(context: Context): Promise<void> {
  const { io, operands: [from = "", to = ""] } = context;
  if (from === to) {
    throw usageError("FROM and TO are the same; give two stores");
  }
  if (!isDatabase(from) && !await statFile(await realFile(from))) {
    throw new CliError(`There is no store at ${from}; give one that is there`);
  }
  const source = await openNamed(from, context);
  const target = await openNamed(to, context);
  const state = await source.read();
  const accounts = Object.keys(state.accounts).length;
  if (accounts === 0) {
    throw new CliError(
      `No account is in ${nameOf(source)}; there is nothing to copy`,
    );
  }
  const check = (found: PoolState) => {
    if (!context.flags.on("replace")) checkFree(found, state, target, context);
  };
  check(await target.read());
  // accounts come last: what is cut off before can be done again
  const lines = await copyLedger(source, target, context);
  const sessions = await copySessions(source, target, io.now);
  await target.update((draft) => {
    check(draft);
    for (const name of Object.keys(draft)) {
      delete (draft as Partial<PoolState>)[name as keyof PoolState];
    }
    Object.assign(draft, JSON.parse(JSON.stringify(state)));
  });
  const [old, anew] = [nameOf(source), nameOf(target)];
  context.say(
    `${anew} has ${count(accounts, "account")} of ${old} now, with ${
      count(lines, "line")
    } of its ledger and ${count(sessions, "session")}`,
  );
  context.warn(
    `Both hold the same tokens now, and a refresh token serves once: use ${anew} only, everywhere, and nothing of ${old} any more`,
  );
  if (!target.remote) return;
  for (const [alias, { source: link }] of Object.entries(state.accounts)) {
    if (!link) continue;
    const login = `${programName()} login ${alias} --store ${quote(anew)}`;
    context.warn(
      `${alias} is linked to ${link.path}, which other machines lack: sign in there anew with ${login}`,
    );
  }
}

function nameOf({ name, path }: NamedStore): string {
  return name ?? path ?? "the store";
}

function checkFree(
  { accounts, settings }: PoolState,
  source: PoolState,
  target: NamedStore,
  { operands }: Context,
): void {
  const number = Object.keys(accounts).length;
  const own = JSON.stringify(settings ?? {});
  const isSame = own === "{}" || own === JSON.stringify(source.settings);
  if (number === 0 && isSame) return;
  const found = number > 0 ? count(number, "account") : "settings";
  const words = operands.map((it) => quote(withoutPassword(it))).join(" ");
  const command = `${programName()} copy ${words} --replace`;
  throw new CliError(
    `${
      nameOf(target)
    } has ${found} already; to put those of the other store in their place: ${command}`,
  );
}

/** Copies the lines that are not there yet, and returns how many there are. */
async function copyLedger(
  source: NamedStore,
  target: NamedStore,
  { warn }: Context,
): Promise<number> {
  const { entries, skippedLines } = await readLedgerOf(source, 0);
  if (skippedLines > 0) {
    const lines = count(skippedLines, "line");
    warn(`${lines} of the ledger cannot be read and stay behind`);
  }
  const { entries: copied } = await readLedgerOf(target, 0);
  // lines may be alike: each that is there stands for one
  const there = Map.groupBy(copied, (it) => JSON.stringify(it));
  const missing = entries.filter((it) => !there.get(JSON.stringify(it))?.pop());
  const folder = dirname(target.path ?? "");
  if (!target.ledger) await mkdir(folder, { recursive: true, mode: 0o700 });
  const sink = target.ledger ?? new LedgerFile(folder);
  for (let start = 0; start < missing.length; start += LINES) {
    await sink.append(missing.slice(start, start + LINES) as LedgerEntry[]);
  }
  return entries.length;
}

async function copySessions(
  source: NamedStore,
  target: NamedStore,
  now: () => number,
): Promise<number> {
  const remembered = await sessionStoreOf(source, now)?.read() ?? {};
  // others are forgotten anyway, or cannot be read
  const sessions = currentSessions(remembered, now());
  const number = Object.keys(sessions).length;
  if (number > 0) await sessionStoreOf(target, now)?.write(sessions);
  return number;
}
