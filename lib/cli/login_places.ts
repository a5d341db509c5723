/**
 * Where other tools keep their logins on this machine.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { join } from "@std/path";
import {
  LOGIN_FILE_KINDS,
  type LoginFile,
  type LoginFileKind,
  readLoginFile,
} from "../account/login_files.ts";
import { isGranted } from "./granted.ts";
import type { Io } from "./io.ts";

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

/** The places that hold a login, as far as a look at them is permitted without asking. */
export function findLogins(io: Io): (LoginPlace & { file: LoginFile })[] {
  const env = (variable: string) =>
    isGranted({ name: "env", variable }) ? io.env(variable) : undefined;
  return loginPlaces(env).flatMap((place) => {
    const { kind, path } = place;
    if (!isGranted({ name: "read", path })) return [];
    try {
      const text = readFileSync(path, "utf8");
      return [{ ...place, file: readLoginFile(text, path, kind) }];
    } catch {
      return [];
    }
  });
}
