import { RotatorError } from "../errors.ts";
import type { PoolState } from "../types.ts";
import {
  dictionary,
  isObject,
  type JsonObject,
  normalizeAccount,
} from "./normalize.ts";
import { putBack, takeOut } from "./odd.ts";

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

/** A state with nothing in it. */
export function emptyState(): PoolState {
  return { version: VERSION, settings: {}, accounts: dictionary({}) };
}

/**
 * Reads a store's text. Of a key that stands there twice the last one counts.
 *
 * @param text The whole text, with or without a byte order mark.
 * @param path The file it came from, for messages.
 * @returns A state that belongs to the caller. Its `accounts`, and the
 * records inside them, have no prototype.
 * @throws {RotatorError} `store_corrupt`, or `store_version` when a newer
 * version wrote it.
 */
export function parseState(text: string, path: string): PoolState {
  const state = parseObject(text, path);
  checkVersion(state["version"], path);
  const settings = state["settings"] === undefined ? {} : state["settings"];
  if (!isObject(settings)) {
    throw corrupt(path, `its "settings" are not an object`);
  }
  const accounts = state["accounts"];
  if (!isObject(accounts) || !Object.values(accounts).every(isObject)) {
    throw corrupt(path, `its "accounts" are not an object of objects`);
  }
  for (const account of Object.values(accounts)) {
    normalizeAccount(account as JsonObject);
  }
  normalizeSettings(settings);
  return {
    ...state,
    settings,
    accounts: dictionary(accounts),
  } as unknown as PoolState;
}

/** The text that {@linkcode parseState} reads back. */
function formatState(state: PoolState): string {
  return JSON.stringify(wholeState(state), null, 2) + "\n";
}

/** A state with what was taken out of it because it could not be read. */
function wholeState(state: PoolState): PoolState {
  const settings = putBack(state.settings);
  let accounts: PoolState["accounts"] | undefined;
  for (const alias of Object.keys(state.accounts)) {
    const account = state.accounts[alias]!;
    const whole = putBack(account);
    if (whole === account) continue;
    accounts ??= dictionary(state.accounts);
    accounts[alias] = whole;
  }
  if (!accounts && settings === state.settings) return state;
  return { ...state, settings, accounts: accounts ?? state.accounts };
}

/** A deep copy that may be changed. */
export function cloneState(state: PoolState): PoolState {
  return parseState(formatState(state), "copy");
}

/** A frozen state, and the text it is written as. */
export interface Snapshot {
  readonly state: PoolState;
  readonly text: string;
}

/** @param state Becomes part of the snapshot and is frozen. */
export function snapshotOf(state: PoolState): Snapshot {
  return { state: freezeState(state), text: formatState(state) };
}

/**
 * What `change` makes of a copy; `before` itself when that is the same.
 *
 * @throws What `change` throws; {TypeError} when it left something that is no
 * state, or is not done yet.
 */
export function applyChange(
  before: Snapshot,
  change: (state: PoolState) => void,
): Snapshot {
  const draft = parseState(before.text, "copy");
  const result: unknown = change(draft);
  if (result instanceof Promise) {
    throw new TypeError(
      "The change given to update() returned a promise; make it synchronous, as what it does later would be lost",
    );
  }
  const text = formatState(draft);
  return text === before.text ? before : reread(text);
}

function reread(text: string): Snapshot {
  try {
    return snapshotOf(parseState(text, "copy"));
  } catch (cause) {
    throw new TypeError(
      "The change given to update() left something that is not a state, so nothing was kept of it; let it only add to or edit what it is given",
      { cause },
    );
  }
}

/** Freezes a state and all that is in it. */
function freezeState(state: PoolState): PoolState {
  const pending: unknown[] = [state];
  // A list instead of recursion: unknown fields may be nested deeply.
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value !== "object" || value === null) continue;
    Object.freeze(value);
    for (const child of Object.values(value)) pending.push(child);
  }
  return state;
}

/** What of a state the backup must mirror, as text to compare by. */
export function lastingPart(state: PoolState): string {
  const accounts = Object.entries(state.accounts).map(([alias, account]) => [
    alias,
    Object.entries(account).filter(([name]) => !VOLATILE_FIELDS.has(name)),
  ]);
  return JSON.stringify([{ ...state, accounts: null }, accounts]);
}

/** The error for a store that cannot be understood; the file stays as it is. */
export function corrupt(path: string, found: string): RotatorError {
  return new RotatorError(
    "store_corrupt",
    `The store ${path} cannot be used: ${found}; it was left as it is, ${
      repair(path)
    }`,
  );
}

function repair(path: string): string {
  return `repair it or put its backup ${path}.bak back with "cli.ts restore"`;
}

/** The same error where there is no backup to put back. */
export function withoutBackup(error: RotatorError, path: string): RotatorError {
  const way =
    `repair it, or move it away and add the accounts again with "cli.ts login" or "cli.ts import": there is no backup ${path}.bak`;
  return new RotatorError(error.code, error.message.replace(repair(path), way));
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
  if (!isObject(value)) throw corrupt(path, "it is not a JSON object");
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

function normalizeSettings(settings: JsonObject): void {
  const { strategy } = settings;
  if (strategy !== undefined && typeof strategy !== "string") {
    takeOut(settings, settings, "strategy");
  }
  const pinned = settings["pinned"] ?? null;
  // A pin that cannot be read still pins: nobody bears such a name.
  if (pinned !== null && typeof pinned !== "string") {
    takeOut(settings, settings, "pinned", JSON.stringify(pinned));
  }
  // A credit list of a wrong type stays as it is: with it, money fails closed.
}
