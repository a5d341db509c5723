import { dirname } from "node:path";
import { stat } from "node:fs/promises";
import process from "node:process";
import { readStoreFile } from "../store/backup.ts";
import { realFile, statFile, unlessMissing } from "../store/file.ts";
import { jsonStore } from "../store/json_store.ts";
import type { PoolState } from "../types.ts";
import { type Context, storeOf } from "./options.ts";
import type { Finding } from "./findings.ts";
import { isPermissionError } from "./permissions.ts";
import { noAccount } from "./format.ts";
import { timeAgo } from "./format.ts";

/** What became of the store. */
export interface StoreFound {
  readonly findings: readonly Finding[];
  /** Undefined when it cannot be read. */
  readonly state?: PoolState;
  readonly isWritable?: boolean;
}

/** Longer than it takes to be sure that a lock's holder is dead, ms. */
const WAIT_LIMIT = 6_000;
/** A lock that is held is written to more often than that, ms. */
const LOCK_IS_OLD = 5_000;

/** Looks at the store's file and what belongs to it. */
export async function examineStore(context: Context): Promise<StoreFound> {
  const path = storeOf(context);
  const file = await realFile(path);
  const facts = await statFile(file);
  if (facts === undefined && await statFile(`${file}.bak`) === undefined) {
    const text = `There is no store yet at ${path}`;
    return { findings: [{ level: "note", text, advice: noAccount() }] };
  }
  const lock = await lockFindings(file, context);
  const warnings: string[] = [];
  const onWarning = (text: string) => void warnings.push(text);
  const store = jsonStore(path, { onWarning, waitLimit: WAIT_LIMIT });
  let state: PoolState;
  try {
    state = await store.read();
  } catch (error) {
    return { findings: [problem(error), ...lock] };
  }
  // changes nothing, but goes all the way: lock, folder, file mode, backup
  const failure = await store.update(() => {}).then(() => null, (error) => {
    if (isPermissionError(error)) throw error;
    return problem(error);
  });
  const findings = [
    await fileFinding(path, file, state),
    ...await folderFindings(file),
    ...warnings.map((text): Finding => ({ level: "warning", text })),
    ...(failure === null ? [] : [failure]),
    await backupFinding(file, context),
    ...lock,
  ];
  return { findings, state, isWritable: failure === null };
}

function problem(error: unknown): Finding {
  if (isPermissionError(error)) throw error;
  const message = error instanceof Error ? error.message : String(error);
  // errors of the store say what to do behind a semicolon
  const [text = "", ...advice] = message.split("; ");
  return {
    level: "problem",
    text,
    ...(advice.length > 0 ? { advice: advice.join("; ") } : {}),
  };
}

async function fileFinding(
  path: string,
  file: string,
  { version, accounts }: PoolState,
): Promise<Finding> {
  const count = Object.keys(accounts).length;
  const link = path === file ? "" : `, a link to ${file}`;
  const mode = await modeOf(file);
  const text = `${path}${link}: version ${version}, ${count} ${
    count === 1 ? "account" : "accounts"
  }${mode === undefined ? "" : `, mode ${octal(mode)}`}`;
  return count === 0
    ? { level: "note", text, advice: noAccount() }
    : { level: "ok", text };
}

async function folderFindings(file: string): Promise<Finding[]> {
  const folder = dirname(file);
  const mode = await modeOf(folder);
  if (mode === undefined || (mode & 0o022) === 0) return [];
  return [{
    level: "warning",
    text: `Others may replace the store, as its folder ${folder} has mode ${
      octal(mode)
    }`,
    advice: `chmod go-w ${folder}`,
  }];
}

/** The permission bits; undefined where the system keeps none. */
async function modeOf(path: string): Promise<number | undefined> {
  if (process.platform === "win32") return undefined;
  const found = await unlessMissing(stat(path));
  return found === undefined ? undefined : found.mode & 0o777;
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

async function backupFinding(
  file: string,
  { io }: Context,
): Promise<Finding> {
  const path = `${file}.bak`;
  const facts = await statFile(path);
  if (facts === undefined) {
    const text = `There is no backup ${path}`;
    const advice = "it is written with the next change of an account";
    return { level: "note", text, advice };
  }
  try {
    await readStoreFile(path);
  } catch (error) {
    if (isPermissionError(error)) throw error;
    const text = `The backup ${path} cannot be read`;
    const advice = "delete it; it is written anew with the next change";
    return { level: "warning", text, advice };
  }
  const age = timeAgo(facts.mtimeMs, io.now());
  return { level: "ok", text: `Its backup was written ${age}` };
}

async function lockFindings(
  file: string,
  { io }: Context,
): Promise<Finding[]> {
  const path = `${file}.lock`;
  const facts = await statFile(path);
  if (facts === undefined) {
    return [{ level: "ok", text: "It is not locked" }];
  }
  const text = `The lock ${path} was there, last touched ${
    timeAgo(facts.mtimeMs, io.now())
  }`;
  return io.now() - facts.mtimeMs < LOCK_IS_OLD
    ? [{ level: "note", text: `${text}: another program is writing` }]
    : [{
      level: "note",
      text: `${text}: its holder has ended`,
      advice: "nothing; whoever writes next takes it over",
    }];
}
