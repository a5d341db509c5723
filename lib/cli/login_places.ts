/** Where other tools keep their logins on this machine. */
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
import { suggestCommand } from "./format.ts";
import { isGranted } from "./granted.ts";
import type { Io } from "./io.ts";
import { CliError } from "./messages.ts";
import type { Context } from "./options.ts";
import { isDatabase } from "../store/paths.ts";
import { messageOf } from "../errors.ts";

export interface LoginPlace {
  readonly kind: LoginFileKind;
  readonly path: string;
}

/**
 * The variable that names the folder, else where that is in the home folder; the
 * file in it; and the variable that names another folder on Windows.
 */
const PLACES: Readonly<Record<LoginFileKind, readonly string[]>> = {
  "codex": ["CODEX_HOME", ".codex", "auth.json"],
  "opencode": [
    "XDG_DATA_HOME",
    ".local/share",
    "opencode/auth.json",
    "LOCALAPPDATA",
  ],
  "opencode-multi-auth": [
    "XDG_CONFIG_HOME",
    ".config",
    "opencode-multi-auth/accounts.json",
    "APPDATA",
  ],
};

export function loginPlaces(
  env: Io["env"],
  kinds: readonly LoginFileKind[] = LOGIN_FILE_KINDS,
  platform: string = process.platform,
): LoginPlace[] {
  return kinds.flatMap((kind) => {
    const [variable = "", inHome = "", file = "", onWindows] = PLACES[kind];
    const named = env(variable);
    const home = named ? "" : env("HOME") || env("USERPROFILE");
    return [
      named || (home && join(home, inHome)),
      platform === "win32" && onWindows && env(onWindows),
    ].flatMap((it) => it ? [{ kind, path: join(it, file) }] : []);
  });
}

export const PLACE_VARIABLES: readonly string[] = [
  "HOME",
  ...Object.values(PLACES).map(([variable = ""]) => variable),
];

export interface OpenedFile extends LoginFile {
  readonly path: string;
}

export async function readLogins(
  { io, note, operands: [file] }: Context,
  kind: LoginFileKind | undefined,
): Promise<OpenedFile[]> {
  if (file !== undefined) {
    const text = await readText(file);
    if (text !== undefined) {
      return [{ ...readLoginFile(text, file, kind), path: file }];
    }
    throw new CliError(
      `There is no ${file}; sign in with that tool first, or name another file (${KEYRING_ADVICE})`,
    );
  }
  const places = loginPlaces(io.env, kind && [kind]);
  const files: OpenedFile[] = [];
  const faults: string[] = [];
  for (const { path, kind } of places) {
    const text = await readText(path);
    try {
      if (text === undefined) continue;
      files.push({ ...readLoginFile(text, path, kind), path });
    } catch (error) {
      faults.push(messageOf(error));
    }
  }
  if (files.length === 0) {
    throw new CliError(faults.join("; ") || nothingFound(places));
  }
  for (const fault of faults) note(`Skipped: ${fault}`);
  return files;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    if (code === undefined) throw error;
    throw new CliError(
      `${path} cannot be read (${code}); name a file that can`,
    );
  }
}

function nothingFound(places: readonly LoginPlace[]): string {
  const paths = places.map(({ path }) => path).join(", ");
  const what = paths === ""
    ? "No home folder is known in which other tools keep their logins"
    : `No login of another tool was found in ${paths}`;
  const login = suggestCommand("login");
  return `${what}; sign in with: ${login}; or name the file to import (${KEYRING_ADVICE})`;
}

/** Says that there is no account, and how to add one: above all those of other tools on this machine. */
export function firstRun({ io, flags }: Context): string {
  const store = flags.value("store");
  const isThere = store === undefined || isDatabase(store) || existsSync(store);
  const nothing = isThere
    ? "No account is in the store"
    : `There is no ${store}`;
  const login = `sign in with: ${suggestCommand("login")}`;
  const names = findLogins(io)
    .map(({ kind, path }) => `${TOOL_NAMES[kind]} (${path})`);
  if (names.length === 0) return `${nothing}; ${login}`;
  const [are, them] = names.length === 1 ? ["is", "that"] : ["are", "them"];
  const found = `${names.join(" and ")} ${are} signed in on this machine`;
  const take = `add ${them} with: ${suggestCommand("import")}`;
  return `${nothing}; ${found}, ${take}; or ${login}`;
}

/** Returns the places that hold a login, as far as a look at them needs no question. */
function findLogins(io: Io): LoginPlace[] {
  const env = (name: string) =>
    isGranted("env", name) ? io.env(name) : undefined;
  return loginPlaces(env).filter(({ kind, path }) => {
    try {
      return isGranted("read", path) &&
        readLoginFile(readFileSync(path, "utf8"), path, kind).logins.length > 0;
    } catch {
      return false;
    }
  });
}
