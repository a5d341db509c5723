/**
 * What to do when Deno refuses: the one line that names every flag the command
 * needs, with the real names and paths.
 *
 * @module
 */
import { dirname } from "@std/path";
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
import { PROGRAM } from "./words.ts";

/** Which permissions, by the names Deno gives them. */
type Grants = Record<"env" | "read" | "write" | "net" | "sys", Set<string>>;

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
  const grants = grantsFor(command, context);
  const refused = REFUSED.exec(error.message);
  const kind = refused?.[1] ?? "";
  if (refused !== null && Object.hasOwn(grants, kind)) {
    add(grants[kind as keyof Grants], refused[2]!);
  }
  const flags = Object.entries(grants).filter(([, names]) => names.size > 0)
    .map(([name, names]) => `--allow-${name}=${quote([...names].join(","))}`);
  const call = ["deno run", ...flags, PROGRAM, ...args.map(quote)];
  const what = refused === null
    ? error.message
    : `Deno refused ${kind} access to ${refused[2]}`;
  return `${what}; run: ${call.join(" ")}`;
}

function grantsFor(
  { needs, onlineSwitch, readsFile }: Command,
  context: Context,
): Grants {
  const online = needs.network ||
    (onlineSwitch !== undefined && context.flags.on(onlineSwitch));
  const grants: Grants = {
    env: new Set(),
    read: new Set(),
    write: new Set(),
    net: new Set(),
    sys: new Set(),
  };
  if (context.flags.value("store") === undefined) {
    grants.env.add(STORE_VARIABLE);
  }
  if (needs.policy) CREDIT_VARIABLES.forEach((name) => grants.env.add(name));
  const store = allowed(() => storeOf(context));
  if (store !== undefined) {
    grants.read.add(dirname(store));
    if (needs.write || online) grants.write.add(dirname(store));
  }
  const file = readsFile && allowed(() => readsFile(context));
  if (file !== undefined) add(grants.read, file);
  if (online) addNetwork(grants, context);
  return grants;
}

function addNetwork(grants: Grants, context: Context): void {
  for (
    const [flag, variable, read] of [
      ["backend", BACKEND_VARIABLE, backendOf],
      ["issuer", ISSUER_VARIABLE, issuerOf],
    ] as const
  ) {
    if (context.flags.value(flag) === undefined) grants.env.add(variable);
    const url = allowed(() => read(context));
    if (url !== undefined) grants.net.add(new URL(url).host);
  }
}

/** What a reading gives, unless it is refused as well. */
function allowed<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isPermissionError(error)) return undefined;
    throw error;
  }
}

/** Adds a path or name unless a folder that holds it is there already. */
function add(names: Set<string>, name: string): void {
  const covered = [...names].some((it) =>
    name.startsWith(`${it}/`) || name.startsWith(`${it}\\`)
  );
  if (!covered) names.add(name);
}

function quote(word: string): string {
  return /^[\w@%+=:,./\\-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", "'\\''")}'`;
}
