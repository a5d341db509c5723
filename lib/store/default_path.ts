import process from "node:process";
import { storePath } from "./paths.ts";

/**
 * Where the store lives unless told otherwise: `CODEX_ROTATOR_STORE`, else
 * `codex-rotator/accounts.json` in the user's configuration folder.
 *
 * @returns A file path.
 * @throws {RotatorError} `store_unwritable` when no such folder is known.
 */
export function defaultStorePath(): string {
  return storePath((name) => process.env[name], process.platform === "win32");
}
