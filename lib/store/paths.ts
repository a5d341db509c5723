import { posix, win32 } from "node:path";
import process from "node:process";
import { RotatorError } from "../errors.ts";

/** Reads one variable; set but empty counts as unset. */
type Lookup = (name: string) => string | undefined;

/**
 * Where the store lives unless told otherwise: `CODEX_ROTATOR_STORE`, else
 * `codex-rotator/accounts.json` in the user's configuration folder.
 *
 * @param env The environment; by default the one of this process.
 * @param platform As `process.platform` names it.
 * @returns A file path.
 * @throws {RotatorError} `store_unwritable` when no such folder is known.
 */
export function defaultStorePath(
  env?: Record<string, string | undefined>,
  platform: string = process.platform,
): string {
  // Asked for one by one and only until the answer is known: a scoped Deno
  // run has to permit every name that is read.
  const variables = env ?? process.env;
  const lookup: Lookup = (name) => variables[name] || undefined;
  const { join } = platform === "win32" ? win32 : posix;
  return lookup("CODEX_ROTATOR_STORE") ??
    join(configFolder(lookup, platform), "codex-rotator", "accounts.json");
}

function configFolder(lookup: Lookup, platform: string): string {
  const { isAbsolute, join } = platform === "win32" ? win32 : posix;
  const xdg = lookup("XDG_CONFIG_HOME");
  // The XDG specification has relative paths ignored.
  if (xdg !== undefined && isAbsolute(xdg)) return xdg;
  const appData = platform === "win32" ? lookup("APPDATA") : undefined;
  if (appData !== undefined) return appData;
  const home = lookup("HOME") ?? lookup("USERPROFILE");
  if (home !== undefined) return join(home, ".config");
  throw new RotatorError(
    "store_unwritable",
    "No folder for the store is known, as neither XDG_CONFIG_HOME nor HOME is set; set CODEX_ROTATOR_STORE to a file path or pass one",
  );
}
