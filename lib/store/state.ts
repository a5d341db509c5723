/**
 * The state: as it is stored, and as it is worked with.
 *
 * What a store holds is public. A person or a newer version may have written
 * it, so it may lack fields, have more of them, or have some in another form.
 * All work is done on its normal form, {@linkcode NormalState}: every default is
 * filled, every fact is dated, tokens and sign-ins are there only if they count.
 * A field of a wrong form becomes one that tells less, and never one that lets
 * an account spend or serve. There are at most 32 meters and 8 windows in each,
 * and names have at most 64 characters.
 *
 * Unknown fields and unreadable values are not in it. They stay in the store,
 * as {@linkcode editState} writes only what a change made different.
 */
import { RotatorError } from "../errors.ts";
import type { AccountRecord, PoolState } from "../types.ts";
import type { NormalRecord, NormalState } from "../normal_types.ts";
import { normalRecord, readSettings } from "./normal_form.ts";
import { quotedCommand } from "./paths.ts";
import { dictionary, type JsonObject, lazily } from "./shape.ts";
import { isRecord } from "../values.ts";

/** The newest layout of the file that this version reads. */
const VERSION = 1;

/** Account fields that come back by themselves when they are lost. */
const VOLATILE_FIELDS: ReadonlySet<string> = new Set([
  "usage",
  "credits",
  "cooldowns",
  "usageCheck",
  "requests",
  "lastUsedAt",
]);

export function emptyState(): PoolState {
  return { version: VERSION, settings: {}, accounts: dictionary({}) };
}

/**
 * Reads all that is in a store's text.
 *
 * @param path The file it came from, for messages.
 * @returns A state that belongs to the caller; its `accounts` have no prototype.
 * @throws {RotatorError} `store_corrupt` or `store_version`.
 */
export function parseState(text: string, path: string): PoolState {
  const state = parseObject(text, path);
  checkVersion(state["version"], path);
  const { settings = {}, accounts } = state;
  if (!isRecord(settings)) {
    throw corrupt(path, `its "settings" are not an object`);
  }
  if (!isRecord(accounts) || !Object.values(accounts).every(isRecord)) {
    throw corrupt(path, `its "accounts" are not an object of objects`);
  }
  const read = { ...state, settings, accounts: dictionary(accounts) };
  return read as unknown as PoolState;
}

/** A frozen state, and the text it is written as. */
export interface Snapshot {
  readonly state: PoolState;
  readonly text: string;
}

/** @param state Becomes part of the snapshot and is frozen. */
export function snapshotOf(state: PoolState): Snapshot {
  // in this order, as frozen objects are slow to format
  const text = formatState(state);
  return { state: deepFreeze(state), text };
}

type Change = (state: PoolState) => void;

/**
 * What `change` makes of a copy; `before` itself when that is the same.
 *
 * @throws What `change` throws; {TypeError} when it left something that is no
 * state, or is not done yet.
 */
export function applyChange(before: Snapshot, change: Change): Snapshot {
  const draft = parseState(before.text, "copy");
  makeChange(draft, change);
  const text = formatState(draft);
  if (text === before.text) return before;
  return { state: deepFreeze(parseChanged(text)), text };
}

/** Lets a change do its work. @throws What it throws; {TypeError} when it is not done yet. */
export function makeChange(draft: PoolState, change: Change): void {
  const result: unknown = change(draft);
  if (result instanceof Promise) {
    throw new TypeError(
      "The change given to update() returned a promise; make it synchronous, as what it does later would be lost",
    );
  }
}

/** Reads the text of what a change left. @throws {TypeError} When that is no state. */
export function parseChanged(text: string): PoolState {
  try {
    return parseState(text, "copy");
  } catch (cause) {
    throw new TypeError(
      "The change given to update() left something that is not a state, so nothing was kept of it; let it only add to or edit what it is given",
      { cause },
    );
  }
}

export function lastingPart(state: PoolState): unknown {
  const accounts = Object.entries(state.accounts).map(([alias, account]) => [
    alias,
    Object.entries(account).filter(([name]) => !VOLATILE_FIELDS.has(name)),
  ]);
  return { ...state, accounts };
}

/** Whether nothing that is known tells the logins of two records apart. */
export function mayBeSameLogin(a: Whose, b: Whose): boolean {
  return (["accountId", "userId"] as const)
    .every((name) => !a[name] || !b[name] || a[name] === b[name]);
}

type Whose = { accountId?: string | null; userId?: string | null };

/**
 * Takes over the tokens that are in a later state of the same store, unless
 * they expire earlier.
 *
 * @param state Changed in place.
 */
export function adoptTokens(state: PoolState, later: PoolState): void {
  for (const [alias, account] of Object.entries(state.accounts)) {
    const found = later.accounts[alias];
    const { tokens } = normalRecord(found);
    if (!found || !tokens || !mayBeSameLogin(account, found)) continue;
    const before = normalRecord(account).tokens?.expiresAt ?? -Infinity;
    if ((tokens.expiresAt ?? Infinity) < before) continue;
    account.tokens = structuredClone(found.tokens!);
    if (found.auth) account.auth = { ...found.auth };
    else delete account.auth;
  }
}

/** The error for a store that cannot be understood; the file stays as it is. */
export function corrupt(path: string, found: string): RotatorError {
  const message = `The store ${path} cannot be used: ${found}`;
  const advice = `it was left as it is, ${repair(path)}`;
  return new RotatorError("store_corrupt", `${message}; ${advice}`);
}

/** The same error where there is no backup to put back. */
export function withoutBackup(error: RotatorError, path: string): RotatorError {
  const [login, take] = ["login", "import"].map((it) =>
    quotedCommand(it, path)
  );
  const way =
    `repair it, or move it away and add the accounts again with ${login} or ${take}: there is no backup ${path}.bak`;
  return new RotatorError(error.code, error.message.replace(repair(path), way));
}

function repair(path: string): string {
  const restore = quotedCommand("restore", path);
  return `repair it or put its backup ${path}.bak back with ${restore}`;
}

function formatState(state: PoolState): string {
  return JSON.stringify(state, null, 2) + "\n";
}

function parseObject(text: string, path: string): JsonObject {
  const json = text.startsWith("\uFEFF") ? text.slice(1) : text;
  if (json.trim() === "") throw corrupt(path, "it is empty");
  if (json.startsWith("\0")) throw corrupt(path, "it is filled with zeros");
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    // The parser's own message quotes the text, which may hold tokens.
    throw corrupt(path, "it is cut off or not JSON");
  }
  if (!isRecord(value)) throw corrupt(path, "it is not a JSON object");
  return value;
}

function checkVersion(version: unknown, path: string): void {
  if (typeof version !== "number" || version < VERSION) {
    throw corrupt(path, `its "version" is not ${VERSION}`);
  }
  if (Math.floor(version) > VERSION) {
    throw new RotatorError(
      "store_version",
      `The store ${path} has version ${version} and this codex-rotator reads version ${VERSION}; update codex-rotator or choose another store`,
    );
  }
}

/** Freezes a value and all that is in it, unless that is frozen already. */
export function deepFreeze<T>(root: T): T {
  const pending: unknown[] = [root];
  // A list instead of recursion: unknown fields may be nested deeply.
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value !== "object" || Object.isFrozen(value)) continue;
    Object.freeze(value);
    for (const child of Object.values(value!)) pending.push(child);
  }
  return root;
}

/** The normal form of what a store holds; shares nothing with it. */
export function normalState(stored: PoolState): NormalState {
  const { version, settings = {}, accounts = {} } = stored;
  const normal: NormalState = {
    version,
    settings: readSettings(settings, NaN),
    accounts: dictionary({}),
  };
  for (const [alias, account] of Object.entries(accounts)) {
    normal.accounts[alias] = normalRecord(account);
  }
  return normal;
}

/**
 * Makes a change to the normal form of a state, and brings into the state what
 * that made different: all else in it stays, whatever it is.
 *
 * @param stored Changed in place.
 */
export function editState(
  stored: PoolState,
  change: (state: NormalState) => void,
): void {
  const { version, settings = {} } = stored;
  const accounts = stored.accounts ??= {};
  const origins = new Map<NormalRecord, AccountRecord>();
  // of a thousand accounts a change looks at one
  const { entries, touched } = lazily(Object.keys(accounts), (alias) => {
    const record = normalRecord(accounts[alias]);
    origins.set(record, accounts[alias]!);
    return record;
  });
  const read = () => readSettings(settings, NaN);
  const after = { version, settings: read(), accounts: entries };
  change(after);
  stored.settings = carry(settings, read(), after.settings);
  for (const alias of Object.keys(accounts)) {
    if (!Object.hasOwn(after.accounts, alias)) delete accounts[alias];
  }
  for (const [alias, record] of touched(after.accounts)) {
    // a renamed account takes along what is unknown of it
    const origin = origins.get(record);
    accounts[alias] = origin === undefined
      ? record
      : carry<AccountRecord>(origin, normalRecord(origin), record);
  }
}

/** Brings into `stored` what differs between two normal forms of it. */
function carry<T>(stored: T, before: unknown, after: T): T {
  if (!isRecord(stored) || !isRecord(before) || !isRecord(after)) {
    return JSON.stringify(before) === JSON.stringify(after) ? stored : after;
  }
  const target: JsonObject = stored;
  for (const name of Object.keys(before)) {
    if (after[name] === undefined) delete target[name];
  }
  for (const [name, value] of Object.entries(after)) {
    if (value === undefined) continue;
    const next = carry(target[name], before[name], value);
    if (next !== target[name]) target[name] = next;
  }
  return stored;
}
