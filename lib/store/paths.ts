import { RotatorError } from "../errors.ts";

/** Reads one variable; set but empty counts as unset. */
type Lookup = (name: string) => string | undefined;

/**
 * Where the store lives unless told otherwise: `CODEX_ROTATOR_STORE`, else
 * `codex-rotator/accounts.json` in the user's configuration folder.
 *
 * @param env The environment. Its variables are read one by one and only until
 * the answer is known: a scoped Deno run has to permit every name that is read.
 * @param isWindows Whether folders are those of Windows.
 * @returns A file path.
 * @throws {RotatorError} `store_unwritable` when no such folder is known.
 */
export function storePath(
  env: (name: string) => string | undefined,
  isWindows: boolean,
): string {
  const lookup: Lookup = (name) => env(name) || undefined;
  return lookup("CODEX_ROTATOR_STORE") ??
    below(configFolder(lookup, isWindows), isWindows)(
      "codex-rotator",
      "accounts.json",
    );
}

function configFolder(lookup: Lookup, isWindows: boolean): string {
  const xdg = lookup("XDG_CONFIG_HOME");
  // The XDG specification has relative paths ignored.
  if (xdg !== undefined && isAbsolute(xdg, isWindows)) return xdg;
  const appData = isWindows ? lookup("APPDATA") : undefined;
  if (appData !== undefined) return appData;
  const home = lookup("HOME") ?? lookup("USERPROFILE");
  if (home !== undefined) return below(home, isWindows)(".config");
  throw new RotatorError(
    "store_unwritable",
    "No folder for the store is known, as neither XDG_CONFIG_HOME nor HOME is set; set CODEX_ROTATOR_STORE to a file path or pass one",
  );
}

// Without node:path, which would take a command longer to load than it runs.

function isAbsolute(path: string, isWindows: boolean): boolean {
  return isWindows ? /^(?:[A-Za-z]:)?[\\/]/.test(path) : path.startsWith("/");
}

/** Makes paths below a folder. */
function below(
  folder: string,
  isWindows: boolean,
): (...names: string[]) => string {
  const trimmed = folder.replace(isWindows ? /[\\/]+$/ : /\/+$/, "");
  return (...names) => [trimmed, ...names].join(isWindows ? "\\" : "/");
}
