/**
 * What `doctor` checks outside of accounts and settings: network and store.
 *
 * @module
 */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { fetchText } from "../account/context.ts";
import { realFile, statFile, unlessMissing } from "../store/file.ts";
import { jsonStore } from "../store/json_store.ts";
import { listBackups } from "../store/restore.ts";
import type { PoolState } from "../types.ts";
import { VERSION } from "../version.ts";
import { CliError, type Finding, finding, readMessage } from "./messages.ts";
import { addAccount, duration, timeAgo } from "./format.ts";
import { backendOf, type Context, issuerOf, storeOf } from "./options.ts";
import { isPermissionError } from "./permissions.ts";
import { systemFetch } from "../system_fetch.ts";

/** How long a host may take to answer (ms). */
const HOST_LIMIT = 5_000;
/** How far this clock may be off (ms): facts from further in the future are not believed. */
const MAX_SKEW = 60_000;

/** Checks whether backend and issuer answer, and agree with this clock. */
export async function checkNetwork(context: Context): Promise<Finding[]> {
  const [backend, issuer] = await Promise.all([
    checkHost("backend", () => backendOf(context), context),
    checkHost("issuer", () => issuerOf(context), context),
  ]);
  const clock = clockFinding(backend.skew ?? issuer.skew);
  return [backend.found, issuer.found, clock];
}

/** Asks a host; `skew` is how far this clock is ahead (ms), where the host tells. */
async function checkHost(
  name: string,
  read: () => string,
  { io }: Context,
): Promise<{ found: Finding; skew?: number }> {
  let url: string;
  try {
    url = read();
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return { found: readMessage("problem", error.message) };
  }
  const begun = io.now();
  const answer = await fetchText(
    { fetch: systemFetch },
    {
      url: `${url}/`,
      headers: { "user-agent": `codex-rotator/${VERSION}` },
    },
    { ms: HOST_LIMIT, signal: io.signal },
  );
  if ("error" in answer) {
    const text = `The ${name} ${url} cannot be reached: ${answer.error}`;
    const advice =
      "check the connection, the firewall and the proxy (HTTPS_PROXY), and the address if it is not the usual one";
    return { found: finding("problem", text, advice) };
  }
  const { status, headers } = answer.response;
  const date = Date.parse(headers.get("date") ?? "");
  // the header has whole seconds, and was written while we waited
  const skew = (begun + io.now()) / 2 - date - 500;
  const found = status < 500
    ? finding("ok", `The ${name} ${url} answers`)
    : finding(
      "warning",
      `The ${name} ${url} answers with status ${status}`,
      "it has trouble of its own; try again later",
    );
  return Number.isNaN(date) ? { found } : { found, skew };
}

function clockFinding(skew: number | undefined): Finding {
  if (skew === undefined) {
    return finding(
      "note",
      "Whether the clock is right is not known: nobody told the time",
    );
  }
  const off = `${duration(Math.abs(skew))} ${skew > 0 ? "ahead" : "behind"}`;
  if (Math.abs(skew) > MAX_SKEW) {
    return finding(
      "problem",
      `This machine's clock is ${off}, so resets and token expiry are misjudged`,
      "set the clock, or let the system keep it right (NTP)",
    );
  }
  return finding(
    "ok",
    Math.abs(skew) < 2_000
      ? "The clock agrees with theirs"
      : `The clock is ${off}, which does no harm`,
  );
}

/** Longer than it takes to be sure that a lock's holder is dead (ms). */
const WAIT_LIMIT = 6_000;
/** A lock that is held is written to more often than that (ms). */
const LOCK_IS_OLD = 5_000;

/** Checks the store's file and what belongs to it; `state` is undefined when it cannot be read. */
export async function checkStore(context: Context): Promise<{
  findings: Finding[];
  state?: PoolState;
  isWritable?: boolean;
}> {
  const path = storeOf(context);
  const file = await realFile(path);
  if (!await statFile(file) && !await statFile(`${file}.bak`)) {
    const text = `There is no store yet at ${path}`;
    return { findings: [finding("note", text, addAccount())] };
  }
  const lock = await lockFinding(file, context);
  const warnings: Finding[] = [];
  const store = jsonStore(path, {
    onWarning: (text) => void warnings.push(readMessage("warning", text)),
    waitLimit: WAIT_LIMIT,
  });
  let state: PoolState;
  try {
    state = await store.read();
  } catch (error) {
    return { findings: [problem(error), lock] };
  }
  // changes nothing, but goes all the way: lock, folder, file mode, backup
  const failures = await store.update(() => {})
    .then((): Finding[] => [], (error) => [problem(error)]);
  const findings = [
    await fileFinding(path, file, state),
    ...await folderFindings(file),
    ...warnings,
    ...failures,
    await backupFinding(file, context),
    lock,
  ];
  return { findings, state, isWritable: failures.length === 0 };
}

function problem(error: unknown): Finding {
  if (isPermissionError(error)) throw error;
  return readMessage(
    "problem",
    error instanceof Error ? error.message : String(error),
  );
}

async function fileFinding(
  path: string,
  file: string,
  { version, accounts }: PoolState,
): Promise<Finding> {
  const count = Object.keys(accounts).length;
  const mode = await modeOf(file);
  const text = [
    `${path}${path === file ? "" : `, a link to ${file}`}: version ${version}`,
    `${count} ${count === 1 ? "account" : "accounts"}`,
    ...(mode === undefined ? [] : [`mode ${mode}`]),
  ].join(", ");
  return count === 0
    ? finding("note", text, addAccount())
    : finding("ok", text);
}

async function folderFindings(file: string): Promise<Finding[]> {
  const folder = dirname(file);
  const mode = await modeOf(folder);
  if (mode === undefined || (parseInt(mode, 8) & 0o022) === 0) return [];
  const text =
    `Others may replace the store, as its folder ${folder} has mode ${mode}`;
  return [finding("warning", text, `chmod go-w ${folder}`)];
}

/** Returns the permission bits, "0600"; undefined where the system keeps none. */
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
    const advice = "it is written with the next change of an account";
    return finding("note", `There is no backup ${path}`, advice);
  }
  if (backup.aliases === undefined) {
    const advice = "delete it: it is written anew with the next change";
    return finding("warning", `The backup ${path} cannot be read`, advice);
  }
  const age = timeAgo(backup.writtenAt, io.now());
  return finding("ok", `Its backup was written ${age}`);
}

async function lockFinding(file: string, { io }: Context): Promise<Finding> {
  const path = `${file}.lock`;
  const facts = await statFile(path);
  if (facts === undefined) return finding("ok", "It is not locked");
  const age = timeAgo(facts.mtimeMs, io.now());
  const text = `The lock ${path} was there, last touched ${age}`;
  return io.now() - facts.mtimeMs < LOCK_IS_OLD
    ? finding("note", `${text}: another program is writing`)
    : finding(
      "note",
      `${text}: its holder has ended`,
      "nothing: whoever writes next takes it over",
    );
}
