/**
 * Where other tools keep their logins on this machine.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { join } from "node:path";
import {
  KEYRING_ADVICE,
  LOGIN_FILE_KINDS,
  type LoginFile,
  type LoginFileKind,
  readLoginFile,
  TOOL_NAMES,
} from "../account/login_files.ts";
import { CliError } from "./exit.ts";
import { sanitize, suggestCommand } from "./format.ts";
import { isGranted } from "./granted.ts";
import type { Io } from "./io.ts";
import type { Context } from "./options.ts";
import { note } from "./say.ts";

/** A place where a tool may keep its logins. */
export interface LoginPlace {
  readonly kind: LoginFileKind;
  readonly path: string;
}

/**
 * The places to look at, whether anything is there or not.
 *
 * @param env Reads one variable; only those are read that matter.
 * @param kinds Whose.
 * @param platform As `process.platform` names it.
 */
export function loginPlaces(
  env: Io["env"],
  kinds: readonly LoginFileKind[] = LOGIN_FILE_KINDS,
  platform: string = process.platform,
): LoginPlace[] {
  const home = () => env("HOME") || env("USERPROFILE");
  const folder = (variable: string, ...parts: string[]) => {
    const named = env(variable);
    if (named) return [named];
    const base = home();
    return base ? [join(base, ...parts)] : [];
  };
  const onWindows = (variable: string) =>
    (platform === "win32" && env(variable)) || [];
  const foldersOf: Record<LoginFileKind, () => string[]> = {
    "codex": () => folder("CODEX_HOME", ".codex"),
    "opencode": () =>
      folder("XDG_DATA_HOME", ".local", "share")
        .concat(onWindows("LOCALAPPDATA")).map((it) => join(it, "opencode")),
    "opencode-multi-auth": () =>
      folder("XDG_CONFIG_HOME", ".config").concat(onWindows("APPDATA"))
        .map((it) => join(it, "opencode-multi-auth")),
  };
  const fileOf = (kind: LoginFileKind) =>
    kind === "opencode-multi-auth" ? "accounts.json" : "auth.json";
  return kinds.flatMap((kind) =>
    foldersOf[kind]().map((it) => ({ kind, path: join(it, fileOf(kind)) }))
  );
}

/** The variables that name those places. */
export const PLACE_VARIABLES: readonly string[] = [
  "CODEX_HOME",
  "HOME",
  "XDG_DATA_HOME",
  "XDG_CONFIG_HOME",
];

/** A login file, and where it is. */
export interface OpenedFile extends LoginFile {
  readonly path: string;
}

/** Reads the login file that is named, or all that are found. */
export async function readLogins(
  { io, operands: [file] }: Context,
  kind: LoginFileKind | undefined,
): Promise<OpenedFile[]> {
  if (file !== undefined) {
    const text = await readText(file);
    if (text !== undefined) return [open(text, file, kind)];
    throw new CliError(
      `There is no ${
        sanitize(file)
      }; sign in with that tool first, or name another file (${KEYRING_ADVICE})`,
    );
  }
  const places = loginPlaces(io.env, kind && [kind]);
  const files: OpenedFile[] = [];
  const faults: string[] = [];
  for (const place of places) {
    const text = await readText(place.path);
    if (text === undefined) continue;
    try {
      files.push(open(text, place.path, place.kind));
    } catch (error) {
      faults.push((error as Error).message);
    }
  }
  if (files.length === 0) throw new CliError(nothingFound(places, faults));
  for (const fault of faults) note(io, `Skipped: ${sanitize(fault)}`);
  return files;
}

function open(
  text: string,
  path: string,
  kind: LoginFileKind | undefined,
): OpenedFile {
  return { ...readLoginFile(text, path, kind), path };
}

/** Reads a file; undefined when there is none. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    if (code === undefined) throw error;
    throw new CliError(
      `${sanitize(path)} cannot be read (${code}); name a file that can`,
    );
  }
}

function nothingFound(
  places: readonly { path: string }[],
  faults: readonly string[],
): string {
  if (faults.length > 0) return faults.join("; ");
  const what = places.length === 0
    ? "No home folder is known in which other tools keep their logins"
    : `No login of another tool was found in ${
      places.map(({ path }) => sanitize(path)).join(", ")
    }`;
  return `${what}; sign in with: ${
    suggestCommand("login")
  }; or name the file to import (${KEYRING_ADVICE})`;
}

/**
 * Returns that there is no account, and how to add one: above all those which
 * other tools on this machine are signed in with.
 */
export function firstRun({ io, flags }: Context): string {
  const store = flags.value("store");
  const found = findLogins(io).map(({ kind, path }) =>
    `${TOOL_NAMES[kind]} (${sanitize(path)})`
  );
  const login = suggestCommand("login");
  return [
    store === undefined || store.includes("://") || existsSync(store)
      ? "No account is in the store"
      : `There is no ${sanitize(store)}`,
    ...(found.length === 0 ? [`sign in with: ${login}`] : [
      `${found.join(" and ")} ${
        found.length === 1 ? "is" : "are"
      } signed in on this machine, add ${
        found.length === 1 ? "that" : "them"
      } with: ${suggestCommand("import")}`,
      `or sign in with: ${login}`,
    ]),
  ].join("; ");
}

/** Returns the places that hold a login, as far as a look at them needs no question. */
function findLogins(io: Io): LoginPlace[] {
  const env = (variable: string) =>
    isGranted({ name: "env", variable }) ? io.env(variable) : undefined;
  return loginPlaces(env).filter(({ kind, path }) => {
    if (!isGranted({ name: "read", path })) return false;
    try {
      readLoginFile(readFileSync(path, "utf8"), path, kind);
      return true;
    } catch {
      return false;
    }
  });
}
