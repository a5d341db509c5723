/**
 * Where a command finds the store, the backend and the issuer.
 *
 * @module
 */
import {
  checkedBase,
  DEFAULT_BACKEND,
  DEFAULT_ISSUER,
  isLoopback,
} from "../codex/endpoints.ts";
import { storePath } from "../store/paths.ts";
import type { PoolState } from "../types.ts";
import type { Context } from "./command.ts";
import { CliError, EXIT, usageError } from "./exit.ts";
import { suggestion } from "./nearest.ts";
import { noAccount } from "./format.ts";
import { sanitize } from "./format.ts";

/** Names the store. */
export const STORE_VARIABLE = "CODEX_ROTATOR_STORE";
/** Names the backend, on a loopback host. */
export const BACKEND_VARIABLE = "CODEX_ROTATOR_BACKEND_URL";
/** Names the issuer, on a loopback host. */
export const ISSUER_VARIABLE = "CODEX_ROTATOR_ISSUER_URL";
/** Who may spend credits; the first that is set counts. */
export const CREDIT_VARIABLES = [
  "CODEX_ROTATOR_CREDIT_ACCOUNTS",
  "OPENCODE_MULTI_AUTH_CREDIT_ACCOUNT_ALIASES",
] as const;

/** The path of the store. */
export function storeOf({ flags, io }: Context): string {
  return flags.value("store") ?? storePath(io.env, io.isWindows);
}

/** The backend's URL. */
export function backendOf(context: Context): string {
  return baseOf(context, "backend", BACKEND_VARIABLE) ?? DEFAULT_BACKEND;
}

/** The token issuer's URL. */
export function issuerOf(context: Context): string {
  return baseOf(context, "issuer", ISSUER_VARIABLE) ?? DEFAULT_ISSUER;
}

/**
 * Sees to it that accounts exist.
 *
 * @throws {CliError} Exit code 4 when there is none at all, 2 when one of
 *   `aliases` does not exist.
 */
export function requireAccounts(
  { accounts }: PoolState,
  aliases: readonly string[],
): void {
  const known = Object.keys(accounts);
  if (known.length === 0) throw new CliError(noAccount(), EXIT.noAccount);
  for (const alias of aliases) {
    if (Object.hasOwn(accounts, alias)) continue;
    throw usageError(
      `No account is named ${sanitize(alias)}${
        suggestion(alias, known)
      }; there are: ${known.sort().map(sanitize).join(", ")}`,
    );
  }
}

function baseOf(
  { flags, io }: Context,
  flag: string,
  variable: string,
): string | undefined {
  const spelled = flags.value(flag);
  if (spelled !== undefined) return checked(spelled, flag, `--${flag}`);
  const found = io.env(variable);
  if (found === undefined || found === "") return undefined;
  const url = URL.parse(found);
  // A cloned project's .env must not be able to send tokens elsewhere.
  if (url === null || isLoopback(url.hostname)) {
    return checked(found, flag, variable);
  }
  throw usageError(
    `${variable} names the host ${url.host}, and the environment may name loopback hosts only; if it is meant, spell it out: --${flag} ${url.origin}${url.pathname}`,
  );
}

function checked(value: string, name: string, source: string): string {
  try {
    return checkedBase(value, name);
  } catch (error) {
    throw usageError(`${source}: ${(error as Error).message}`);
  }
}
