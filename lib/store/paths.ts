import { RotatorError } from "../errors.ts";

/** Reads one variable; set but empty counts as unset. */
type Lookup = (name: string) => string | undefined;

/**
 * Where the store is unless told otherwise: `CODEX_ROTATOR_STORE`, else
 * `codex-rotator/accounts.json` in the user's configuration folder.
 *
 * @returns A file path.
 * @throws {RotatorError} `store_unwritable` when no such folder is known.
 */
export function defaultStorePath(): string {
  // Not imported: on Deno that takes a command longer than all else it does.
  const { process } = globalThis as unknown as {
    process: { env: Record<string, string | undefined>; platform: string };
  };
  return storePath((name) => process.env[name], process.platform === "win32");
}

/**
 * As {@linkcode defaultStorePath}, in another environment. Its variables are
 * read one by one and only until the answer is known: a scoped Deno run has to
 * permit every name that is read.
 */
export function storePath(env: Lookup, isWindows: boolean): string {
  const lookup: Lookup = (name) => env(name) || undefined;
  const given = lookup("CODEX_ROTATOR_STORE");
  if (given !== undefined && isDatabase(given)) {
    throw new RotatorError(
      "store_unwritable",
      "CODEX_ROTATOR_STORE names a database, and the environment may name a file only; if it is meant, spell it out: --store postgres://…",
    );
  }
  if (given !== undefined) return given;
  const separator = isWindows ? "\\" : "/";
  const folder = configFolder(lookup, isWindows);
  return [folder, "codex-rotator", "accounts.json"].join(separator);
}

/** Whether a store is named that is in a PostgreSQL database. */
export function isDatabase(store: string): boolean {
  return /^postgres(ql)?:\/\//.test(store);
}

/**
 * A command that a person can type, in quotes; the command line spells it as it
 * was started.
 *
 * @param path The store that it is for, where that was named.
 */
export function quotedCommand(command: string, path?: string): string {
  if (path === undefined) return `"codex-rotator ${command}"`;
  const word = /^[\w@%+=:,./\\-]+$/.test(path) ? path : `'${path}'`;
  return `"codex-rotator ${command} --store ${word}"`;
}

/** The name of a store as it may be shown: without the password of a database. */
export function withoutPassword(store: string): string {
  return store.replace(/^(postgres(?:ql)?:\/\/[^:@/?#]*):.*@/s, "$1@");
}

/** Without the slash at its end. */
function configFolder(lookup: Lookup, isWindows: boolean): string {
  const isAbsolute = isWindows ? /^(?:[A-Za-z]:)?[\\/]/ : /^\//;
  const end = isWindows ? /[\\/]+$/ : /\/+$/;
  const xdg = lookup("XDG_CONFIG_HOME");
  // The XDG specification has relative paths ignored.
  if (xdg !== undefined && isAbsolute.test(xdg)) return xdg.replace(end, "");
  const appData = isWindows ? lookup("APPDATA") : undefined;
  if (appData !== undefined) return appData.replace(end, "");
  const home = lookup("HOME") ?? lookup("USERPROFILE");
  if (home !== undefined) {
    return `${home.replace(end, "")}${isWindows ? "\\" : "/"}.config`;
  }
  throw new RotatorError(
    "store_unwritable",
    "No folder for the store is known, as neither XDG_CONFIG_HOME nor HOME is set; set CODEX_ROTATOR_STORE to a file path or pass one",
  );
}
