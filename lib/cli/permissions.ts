/**
 * What a command needs of Deno: asked for at once where a person can answer,
 * and named with the flags that grant it where it was refused.
 *
 * @module
 */
import process from "node:process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { isDatabase, withoutPassword } from "../store/paths.ts";
import { isDenied } from "../errors.ts";
import { programName, quote } from "./format.ts";
import { isGranted, refusal, request } from "./granted.ts";
import type { Io } from "./io.ts";
import {
  BACKEND_VARIABLE,
  backendOf,
  type Command,
  type Context,
  CREDIT_VARIABLES,
  type Grants,
  ISSUER_VARIABLE,
  issuerOf,
  localFileOf,
  STORE_VARIABLE,
} from "./options.ts";

type Kind = "env" | "read" | "write" | "net";
type Granted = Record<Kind, Set<string>>;

/** The variables that lead to the store where none names it. */
const HOME_VARIABLES = process.platform === "win32"
  ? ["XDG_CONFIG_HOME", "APPDATA", "HOME", "USERPROFILE"]
  : ["XDG_CONFIG_HOME", "HOME"];
/** Stands for the store's folder where the home folder may not be asked for. */
const UNKNOWN_FOLDER = "$HOME/.config/codex-rotator";
/** What the client of a database reads where its URL is silent. */
const DATABASE_VARIABLES =
  "HOST PORT USER USERNAME PASSWORD DATABASE APPNAME DEBUG KEEP_ALIVE MAX_PIPELINE PREPARE PUBLICATIONS SSL SSLNEGOTIATION TARGET_SESSION_ATTRS TARGETSESSIONATTRS"
    .split(" ").map((name) => `PG${name}`);
const REFUSED = /Requires (\w+) access to "(.+)", run again/;

/** Asks the person for all that a command needs: once for variables, folder and hosts. */
export function requestPermissions(command: Command, context: Context): void {
  const { env } = grantsFor(command, context);
  if ([...env].some((variable) => !isGranted({ name: "env", variable }))) {
    request({ name: "env" });
  }
  // where they are is known by now
  const { read, write, net } = grantsFor(command, context);
  read.delete(UNKNOWN_FOLDER);
  write.delete(UNKNOWN_FOLDER);
  for (const path of read) request({ name: "read", path });
  for (const path of write) request({ name: "write", path });
  for (const host of net) request({ name: "net", host });
}

/**
 * Throws what Deno refused where it was only reported: to each account that
 * cannot be asked it looks like a failure of its own.
 */
export function throwIfRefused(reports: readonly (string | null)[]): void {
  const refused = reports.find((text) => text !== null && REFUSED.test(text));
  if (refused) throw refusal(refused);
}

/** Returns what Deno refused, and the command that grants all that is needed. */
export function permissionAdvice(
  error: Error,
  command: Command,
  context: Context,
): string {
  const granted = grantsFor(command, context);
  const [, kind = "", name = ""] = REFUSED.exec(error.message) ?? [];
  if (Object.hasOwn(granted, kind)) add(granted[kind as Kind], name);
  if (kind === "run") granted.env.clear();
  const flags = Object.entries(granted).filter(([, names]) => names.size > 0)
    .map(([kind, names]) =>
      `--allow-${kind}=${shellWord([...names].join(","))}`
    );
  if (kind === "run") {
    flags.push("--allow-env", `--allow-run=${shellWord(name)}`);
  }
  const call = [
    programName().replace(" -A", ["", ...flags].join(" ")),
    ...context.args.map((it) => shellWord(withoutPassword(it))),
  ];
  const what = kind === ""
    ? error.message
    : `Deno refused ${kind} access to ${name}`;
  return `${what}; run: ${call.join(" ")}`;
}

function grantsFor(command: Command, call: Context): Granted {
  const { needs, onlineSwitch = "" } = command;
  const { flags } = call;
  // reads only what may be read
  const peek = (variable: string) =>
    isGranted({ name: "env", variable }) ? call.io.env(variable) : undefined;
  const io: Io = Object.create(call.io, { env: { value: peek } });
  const context = { ...call, io };
  const granted: Granted = {
    env: new Set(),
    read: new Set(),
    write: new Set(),
    net: new Set(),
  };
  const { env, read, write, net } = granted;
  const online = needs.network || flags.on(onlineSwitch);
  if (needs.store !== false) {
    if (!flags.on("store")) env.add(STORE_VARIABLE);
    if (!flags.on("store") && !io.env(STORE_VARIABLE)) {
      HOME_VARIABLES.forEach((name) => env.add(name));
    }
    const folder = storeFolder(context);
    read.add(folder);
    if (needs.write || online) write.add(folder);
    const store = flags.value("store") ?? "";
    if (isDatabase(store)) {
      const needed = databaseGrants(store);
      needed.env.forEach((name) => env.add(name));
      needed.net.forEach((host) => net.add(host));
      needed.read.forEach((path) => read.add(path));
    }
  }
  if (needs.policy) CREDIT_VARIABLES.forEach((name) => env.add(name));
  if (online) {
    if (!flags.on("backend")) env.add(BACKEND_VARIABLE);
    if (!flags.on("issuer")) env.add(ISSUER_VARIABLE);
    net.add(new URL(backendOf(context)).host);
    net.add(new URL(issuerOf(context)).host);
  }
  const more = Object.entries(command.grants?.(context) ?? {});
  for (const [kind, names] of more) {
    for (const name of names) add(granted[kind as Kind], name);
  }
  return granted;
}

/** What the client of a database needs, which is loaded where one is named. */
export function databaseGrants(
  store: string,
): Required<Pick<Grants, "env" | "net" | "read">> {
  const { hostname, port } = URL.parse(withoutPassword(store)) ?? {};
  const host = `${hostname || "localhost"}:${port || 5432}`;
  // bundled, it has no address
  const library = import.meta.url &&
    fileURLToPath(new URL("..", import.meta.url));
  return {
    env: DATABASE_VARIABLES,
    net: [host],
    read: library ? [library] : [],
  };
}

function storeFolder(context: Context): string {
  try {
    return dirname(localFileOf(context));
  } catch {
    return UNKNOWN_FOLDER;
  }
}

/** Returns what a reading gives, unless Deno refuses it. */
export function allowed<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isDenied(error)) return undefined;
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
  // for the shell to fill in
  return word.includes(UNKNOWN_FOLDER) ? `"${word}"` : quote(word);
}
