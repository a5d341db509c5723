/** What `doctor` checks of the store: its file and what belongs to it, or its database. */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { isDenied, messageOf } from "../errors.ts";
import { realFile, statFile, unlessMissing } from "../store/file.ts";
import { jsonStore } from "../store/json_store.ts";
import { isDatabase } from "../store/paths.ts";
import { listBackups } from "../store/restore.ts";
import type { PoolState } from "../types.ts";
import { addAccount, count, quote, texts, timeAgo } from "./format.ts";
import { type Finding, finding } from "./messages.ts";
import { type NamedStore, openWholeStore } from "./open.ts";
import { type Context, storeOf } from "./options.ts";

/** Longer than it takes to be sure that a lock's holder is dead (ms). */
const WAIT_LIMIT = 6_000;
/** A lock that is held is written to more often than that (ms). */
const LOCK_IS_OLD = 5_000;

interface StoreCheck {
  findings: Finding[];
  state?: PoolState;
  isWritable?: boolean;
}

export async function checkStore(context: Context): Promise<StoreCheck> {
  const path = storeOf(context);
  const file = isDatabase(path) ? undefined : await realFile(path);
  if (file && !await statFile(file) && !await statFile(`${file}.bak`)) {
    const text = `There is no store yet at ${path}; ${addAccount()}`;
    return { findings: [finding("note", text)] };
  }
  const lock = file ? [await lockFinding(file, context)] : [];
  const warnings: Finding[] = [];
  const store: NamedStore = file === undefined
    ? await openWholeStore(context)
    : jsonStore(path, {
      onWarning: (text) => void warnings.push(finding("warning", text)),
      waitLimit: WAIT_LIMIT,
    });
  let state: PoolState;
  try {
    state = await store.read();
  } catch (error) {
    return { findings: [problem(error), ...lock] };
  }
  // changes nothing, but goes all the way: lock, folder, file mode, backup
  const touch = () => store.update(() => {});
  const failures = await (file ? touch() : store.exclusive("doctor", touch))
    .then((): Finding[] => [], (error) => [problem(error)]);
  const accounts = Object.keys(state.accounts).length;
  const mode = file && await modeOf(file);
  const link = file === undefined || file === path ? "" : `, a link to ${file}`;
  const text = texts(
    `${store.name ?? path}${link}: version ${state.version}`,
    count(accounts, "account"),
    mode && `mode ${mode}`,
  ).join(", ");
  const findings = [
    accounts === 0
      ? finding("note", `${text}; ${addAccount()}`)
      : finding("ok", text),
    ...(file ? await folderFindings(dirname(file)) : []),
    ...warnings,
    ...failures,
    ...(file ? [await backupFinding(file, context)] : []),
    ...lock,
  ];
  return { findings, state, isWritable: failures.length === 0 };
}

function problem(error: unknown): Finding {
  if (isDenied(error)) throw error;
  return finding("problem", messageOf(error));
}

async function folderFindings(folder: string): Promise<Finding[]> {
  const mode = await modeOf(folder) ?? "0";
  if ((parseInt(mode, 8) & 0o022) === 0) return [];
  const close = `chmod go-w ${quote(folder)}`;
  return [finding(
    "warning",
    `Others may replace the store, as its folder ${folder} has mode ${mode}; ${close}`,
  )];
}

async function modeOf(path: string): Promise<string | undefined> {
  if (process.platform === "win32") return undefined;
  const found = await unlessMissing(stat(path));
  return found && (found.mode & 0o777).toString(8).padStart(4, "0");
}

async function backupFinding(file: string, { io }: Context): Promise<Finding> {
  const path = `${file}.bak`;
  const backups = await listBackups(file);
  const backup = backups.find(({ generation }) => generation === 1);
  if (backup === undefined) {
    return finding(
      "note",
      `There is no backup ${path}; it is written with the next change of an account`,
    );
  }
  if (backup.aliases === undefined) {
    return finding(
      "warning",
      `The backup ${path} cannot be read; delete it: it is written anew with the next change`,
    );
  }
  const age = timeAgo(backup.writtenAt, io.now());
  return finding("ok", `Its backup was written ${age}`);
}

async function lockFinding(file: string, { io }: Context): Promise<Finding> {
  const path = `${file}.lock`;
  const facts = await statFile(path);
  if (facts === undefined) return finding("ok", "It is not locked");
  const age = timeAgo(facts.mtimeMs, io.now());
  const state = io.now() - facts.mtimeMs < LOCK_IS_OLD
    ? "another program is writing"
    : "its holder has ended; nothing: whoever writes next takes it over";
  return finding(
    "note",
    `The lock ${path} was there, last touched ${age}: ${state}`,
  );
}
