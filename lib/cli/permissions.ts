/**
 * What a command needs of Deno: asked for at once where a person can answer,
 * and named with the flags that grant it where it was refused.
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
const KINDS = ["env", "read", "write", "net"] as const;
type Kind = typeof KINDS[number];
const REFUSED = /Requires (\w+) access to "(.+)", run again/;

export function requestPermissions(command: Command, context: Context): void {
  const { env } = grantsFor(command, context);
  if (env.some((it) => !isGranted("env", it))) request("env");
  // where they are is known by now
  const granted = grantsFor(command, context);
  for (const kind of KINDS.filter((it) => it !== "env")) {
    const names = granted[kind].filter((it) => it !== UNKNOWN_FOLDER);
    for (const it of names) request(kind, it);
  }
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
  const [, kind = "", name = ""] = REFUSED.exec(error.message) ?? [];
  const granted = grantsFor(command, context, { [kind]: [name] });
  const flags = KINDS
    .filter((it) => granted[it].length > 0 && (it !== "env" || kind !== "run"))
    .map((it) => `--allow-${it}=${shellWord(granted[it].join(","))}`);
  // a program gets the whole environment
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

function grantsFor(
  { needs, grants }: Command,
  call: Context,
  refused: Grants = {},
): Record<Kind, string[]> {
  const { flags } = call;
  // reads only what may be read
  const peek = (name: string) =>
    isGranted("env", name) ? call.io.env(name) : undefined;
  const io: Io = Object.create(call.io, { env: { value: peek } });
  const context = { ...call, io };
  const { network, policy, store, write = false } = needs;
  const online = network === true || flags.on(network || "");
  const html = flags.values("html");
  const all: Grants[] = [
    store === false ? {} : storeGrants(context, write || online),
    policy ? { env: CREDIT_VARIABLES } : {},
    online ? networkGrants(context) : {},
    { read: html, write: html },
    grants?.(context) ?? {},
    refused,
  ];
  const merged = KINDS.map((kind) => {
    const names = [...new Set(all.flatMap((it) => it[kind] ?? []))];
    // the folder or host that holds it may be there already
    const isHeld = (name: string) =>
      names.some((it) =>
        name.startsWith(it) && /^[/\\:]/.test(name.slice(it.length))
      );
    return [kind, names.filter((it) => !isHeld(it))] as const;
  });
  return Object.fromEntries(merged) as Record<Kind, string[]>;
}

function storeGrants(context: Context, write: boolean): Grants {
  const { io, flags } = context;
  const given = flags.value("store");
  const variables = io.env(STORE_VARIABLE) ? [] : HOME_VARIABLES;
  const { env = [], net = [], read = [] } = isDatabase(given ?? "")
    ? databaseGrants(given!)
    : {};
  let folder = UNKNOWN_FOLDER;
  try {
    folder = dirname(localFileOf(context));
  } catch {
    // neither it nor the home folder is named
  }
  return {
    env: given === undefined ? [STORE_VARIABLE, ...variables] : env,
    read: [folder, ...read],
    write: write ? [folder] : [],
    net,
  };
}

function networkGrants(context: Context): Grants {
  const { flags } = context;
  const hosts = [backendOf(context), issuerOf(context)];
  return {
    env: [
      ...(flags.on("backend") ? [] : [BACKEND_VARIABLE]),
      ...(flags.on("issuer") ? [] : [ISSUER_VARIABLE]),
    ],
    net: hosts.map((it) => new URL(it).host),
  };
}

/** What the client of a database needs, which is loaded where one is named. */
export function databaseGrants(store: string): Grants {
  const { hostname, port } = URL.parse(withoutPassword(store)) ?? {};
  // bundled, it has no address
  const library = import.meta.url &&
    fileURLToPath(new URL("..", import.meta.url));
  return {
    env: DATABASE_VARIABLES,
    net: [`${hostname || "localhost"}:${port || 5432}`],
    read: library ? [library] : [],
  };
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

function shellWord(word: string): string {
  // for the shell to fill in
  return word.includes(UNKNOWN_FOLDER) ? `"${word}"` : quote(word);
}
