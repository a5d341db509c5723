/**
 * What to do when Deno refuses: the one line that names every flag the command
 * needs, with the real names and paths.
 *
 * @module
 */
import process from "node:process";
import { dirname } from "node:path";
import { DEFAULT_BACKEND, DEFAULT_ISSUER } from "../codex/endpoints.ts";
import type { Command, Context } from "./command.ts";
import {
  BACKEND_VARIABLE,
  backendOf,
  CREDIT_VARIABLES,
  ISSUER_VARIABLE,
  issuerOf,
  STORE_VARIABLE,
  storeOf,
} from "./setup.ts";
import { PROGRAM, quote } from "./format.ts";

/** Which permissions, by the names Deno gives them. */
type Granted = Record<"env" | "read" | "write" | "net" | "sys", Set<string>>;

/** The variables that lead to the store where none names it. */
const HOME_VARIABLES = process.platform === "win32"
  ? ["XDG_CONFIG_HOME", "APPDATA", "HOME", "USERPROFILE"]
  : ["XDG_CONFIG_HOME", "HOME"];

const REFUSED = /Requires (\w+) access to "(.+)", run again/;

/** Whether Deno refused a permission. */
export function isPermissionError(error: unknown): error is Error {
  return error instanceof Error && error.name === "NotCapable";
}

/**
 * Throws what Deno refused where it was only reported: to each account that
 * cannot be asked it looks like a failure of its own.
 */
export function throwIfRefused(reports: readonly (string | null)[]): void {
  const refusal = reports.find((text) => text !== null && REFUSED.test(text));
  if (!refusal) return;
  throw Object.assign(new Error(refusal), { name: "NotCapable" });
}

/**
 * @param error What Deno threw.
 * @param command What was run.
 * @param context The call that failed.
 * @param args Its arguments, to be repeated.
 * @returns What was refused, and the command that grants it.
 */
export function permissionAdvice(
  error: Error,
  command: Command,
  context: Context,
  args: readonly string[],
): string {
  const granted = grantsFor(command, context);
  const refused = REFUSED.exec(error.message);
  const kind = refused?.[1] ?? "";
  if (refused !== null && Object.hasOwn(granted, kind)) {
    add(granted[kind as keyof Granted], refused[2]!);
  }
  const flags = Object.entries(granted).filter(([, names]) => names.size > 0)
    .map(([name, names]) =>
      `--allow-${name}=${shellWord([...names].join(","))}`
    );
  const call = ["deno run", ...flags, PROGRAM, ...args.map(shellWord)];
  const what = refused === null
    ? error.message
    : `Deno refused ${kind} access to ${refused[2]}`;
  return `${what}; run: ${call.join(" ")}`;
}

function grantsFor(command: Command, context: Context): Granted {
  const { needs, onlineSwitch } = command;
  const granted: Granted = {
    env: new Set(),
    read: new Set(),
    write: new Set(),
    net: new Set(),
    sys: new Set(),
  };
  const online = needs.network ||
    (onlineSwitch !== undefined && context.flags.on(onlineSwitch));
  if (needs.store !== false) {
    const folder = storeFolder(granted, context);
    granted.read.add(folder);
    if (needs.write || online) granted.write.add(folder);
  }
  if (needs.policy) CREDIT_VARIABLES.forEach((name) => granted.env.add(name));
  if (online) addNetwork(granted, context);
  const more = command.grants?.(context) ?? {};
  for (const [kind, names] of Object.entries(more)) {
    for (const name of names) add(granted[kind as keyof Granted], name);
  }
  return granted;
}

/** The store's folder, and the variables that tell it where it was not given. */
function storeFolder(granted: Granted, context: Context): string {
  const { flags, io } = context;
  if (flags.value("store") === undefined) {
    granted.env.add(STORE_VARIABLE);
    if (!allowed(() => io.env(STORE_VARIABLE))) {
      HOME_VARIABLES.forEach((name) => granted.env.add(name));
    }
  }
  const store = allowed(() => storeOf(context));
  return store === undefined ? "$HOME/.config/codex-rotator" : dirname(store);
}

function addNetwork(granted: Granted, context: Context): void {
  for (
    const [flag, variable, read, usual] of [
      ["backend", BACKEND_VARIABLE, backendOf, DEFAULT_BACKEND],
      ["issuer", ISSUER_VARIABLE, issuerOf, DEFAULT_ISSUER],
    ] as const
  ) {
    if (context.flags.value(flag) === undefined) granted.env.add(variable);
    const url = allowed(() => read(context)) ?? usual;
    granted.net.add(new URL(url).host);
  }
}

/** What a reading gives, unless it is refused as well. */
export function allowed<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isPermissionError(error)) return undefined;
    throw error;
  }
}

/** Adds a path or host unless the folder or host that holds it is there already. */
function add(names: Set<string>, name: string): void {
  const covered = [...names].some((it) =>
    ["/", "\\", ":"].some((end) => name.startsWith(it + end))
  );
  if (!covered) names.add(name);
}

function shellWord(word: string): string {
  // for the shell to fill in, where the folder could not be asked for
  return /^[\w@%+=:,./\\-]*\$HOME\/[\w@%+=:,./\\$-]*$/.test(word)
    ? `"${word}"`
    : quote(word);
}
