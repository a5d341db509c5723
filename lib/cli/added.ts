import type { AddedLogin } from "../account/import.ts";
import type { ImportedLogin } from "../account/login_files.ts";
import { creditPolicy, maySpend } from "../pool/credits.ts";
import type { PoolState } from "../types.ts";
import { sanitize, suggestCommand } from "./format.ts";

/** Alias, and whose account that is. */
export function nameOf(
  alias: string,
  { email, plan }: Pick<ImportedLogin, "email" | "plan">,
): string {
  const who = sanitize([email, plan].filter((it) => it !== null).join(", "));
  return who === "" ? alias : `${alias} (${who})`;
}

/** How to get the alias that was wanted, where the account has another. */
export function renameHint(alias: string, wanted: string | undefined): string {
  return wanted === undefined || wanted === alias
    ? ""
    : `; it keeps its alias, change it with: ${
      suggestCommand(`rename ${alias} ${wanted}`)
    }`;
}

/** Whether a new account may spend credits, where the store's owner has set who may. */
export function creditNote(
  { settings }: PoolState,
  { alias, added }: AddedLogin,
): string {
  const policy = creditPolicy({ store: settings.creditAccountAliases });
  if (!added || policy.source !== "store") return "";
  const may = maySpend(policy, alias) ? "may" : "may not";
  return `${alias} ${may} spend purchased credits\n`;
}
