/**
 * What follows when accounts were added.
 *
 * @module
 */
import type { AddedLogin } from "../account/import.ts";
import type { ImportedLogin } from "../account/login_files.ts";
import { creditPolicy, maySpend } from "../pool/credits.ts";
import type { PoolState } from "../types.ts";
import { printWarning } from "./findings.ts";
import type { StatusReport } from "../report_types.ts";
import { creditAmount, sanitize, suggestCommand } from "./format.ts";
import { openStore, refreshQuietly } from "./open.ts";
import type { Context } from "./options.ts";
import { confirm, note } from "./say.ts";
import { statusReader } from "./stored_status.ts";

/** Returns the alias, and whose account it is. */
export function nameOf(
  alias: string,
  { email, plan }: Pick<ImportedLogin, "email" | "plan">,
): string {
  const who = sanitize([email, plan].filter((it) => it !== null).join(", "));
  return who === "" ? alias : `${alias} (${who})`;
}

/** Returns how to get the alias that was wanted, where the account has another. */
export function renameHint(alias: string, wanted: string | undefined): string {
  return wanted === undefined || wanted === alias
    ? ""
    : `; it keeps its alias, change it with: ${
      suggestCommand("rename", alias, wanted)
    }`;
}

/** Returns whether a new account may spend credits, where the store says who may. */
export function creditNote(
  { settings }: PoolState,
  { alias, added }: AddedLogin,
): string[] {
  const policy = creditPolicy({ store: settings.creditAccountAliases });
  if (!added || policy.source !== "store") return [];
  const may = maySpend(policy, alias) ? "may" : "may not";
  return [`${alias} ${may} spend purchased credits`];
}

/**
 * Settles who may spend credits when the first account that has some comes in
 * and nothing says it: a person is asked, without one nobody may.
 *
 * @param context The call that added accounts.
 * @param added Their aliases.
 */
export async function settleCredits(
  context: Context,
  added: readonly string[],
): Promise<void> {
  const { io } = context;
  const { accounts, credits } = await statusReader(context)();
  const wealthy = accounts.filter((it) =>
    it.credits?.hasCredits === true || it.credits?.unlimited === true
  );
  const first = wealthy.find(({ alias }) => added.includes(alias));
  const isFirst = wealthy.every(({ alias }) => added.includes(alias));
  if (first === undefined || !isFirst || !isUnset(credits)) return;
  const { alias } = first;
  const allowed = await confirm(
    io,
    `${alias} has purchased credits (${
      creditAmount(first.credits!)
    }). Shall it spend them once its included usage is used up?`,
  ) ?? false;
  let isSettled = false;
  await openStore(context).update(({ settings }) => {
    isSettled = (settings.creditAccountAliases ?? null) === null;
    if (isSettled) settings.creditAccountAliases = allowed ? [alias] : "none";
  });
  if (!isSettled) return;
  note(
    io,
    allowed
      ? `Only ${alias} may spend purchased credits now; change that with: ${
        suggestCommand("credits")
      }`
      : `${alias} has purchased credits, and nobody may spend any now; allow it with: ${
        suggestCommand("credits", alias)
      }`,
  );
}

/** Whether nothing says who may spend, as far as can be seen. */
function isUnset({ source, warning }: StatusReport["credits"]): boolean {
  return source === "default" || source === "environment" && warning !== null;
}

/** Asks for the credits of imported accounts, where nothing says who may spend them. */
export async function settleAfterImport(
  context: Context,
  imported: readonly AddedLogin[],
): Promise<void> {
  const added = imported.filter((it) => it.added).map(({ alias }) => alias);
  if (added.length === 0) return;
  if (!isUnset((await statusReader(context)()).credits)) return;
  for (const { alias, error } of await refreshQuietly(context, added)) {
    printWarning(
      context.io,
      `Whether ${alias} has purchased credits was not told (${
        error ?? "no answer"
      }); while nothing is set it may spend them, forbid that with: ${
        suggestCommand("credits none")
      }`,
    );
  }
  await settleCredits(context, added);
}
