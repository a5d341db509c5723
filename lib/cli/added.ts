import type { AddedLogin } from "../account/import.ts";
import { creditPolicy, maySpend } from "../pool/credits.ts";
import type { PoolState } from "../types.ts";
import type { StatusReport } from "../report_types.ts";
import { creditAmount, suggestCommand } from "./format.ts";
import { confirm } from "./messages.ts";
import { openStore, refreshQuietly } from "./open.ts";
import type { Context } from "./options.ts";
import { statusReader } from "./stored_status.ts";

export function renameHint(alias: string, wanted: string | undefined): string {
  if (wanted === undefined || wanted === alias) return "";
  const change = suggestCommand("rename", alias, wanted);
  return `; it keeps its alias, change it with: ${change}`;
}

export function creditNote(
  { settings }: PoolState,
  { alias, added }: AddedLogin,
): string | undefined {
  const policy = creditPolicy({ store: settings.creditAccountAliases });
  if (!added || policy.source !== "store") return undefined;
  const may = maySpend(policy, alias) ? "may" : "may not";
  return `${alias} ${may} spend purchased credits`;
}

/**
 * Settles who may spend credits when the first account that has some comes in
 * and nothing says it: a person is asked, without one nobody may.
 */
export async function settleCredits(
  context: Context,
  added: readonly string[],
): Promise<void> {
  const { accounts, credits } = await statusReader(context)();
  const wealthy = accounts.filter((it) =>
    it.credits?.hasCredits === true || it.credits?.unlimited === true
  );
  const isFirst = wealthy.every(({ alias }) => added.includes(alias));
  const [first] = wealthy;
  if (first === undefined || !isFirst || !isUnset(credits)) return;
  const { alias } = first;
  const amount = creditAmount(first.credits!);
  const allowed = await confirm(
    context.io,
    `${alias} has purchased credits (${amount}). Shall it spend them once its included usage is used up?`,
  ) ?? false;
  let isSettled = false;
  await openStore(context).update(({ settings }) => {
    isSettled = (settings.creditAccountAliases ?? null) === null;
    if (isSettled) settings.creditAccountAliases = allowed ? [alias] : "none";
  });
  if (!isSettled) return;
  const change = suggestCommand("credits", ...(allowed ? [] : [alias]));
  context.note(
    allowed
      ? `Only ${alias} may spend purchased credits now; change that with: ${change}`
      : `${alias} has purchased credits, and nobody may spend any now; allow it with: ${change}`,
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
  const forbid = suggestCommand("credits none");
  for (const { alias, error } of await refreshQuietly(context, added)) {
    context.warn(
      `Whether ${alias} has purchased credits was not told (${error}); while nothing is set it may spend them, forbid that with: ${forbid}`,
    );
  }
  await settleCredits(context, added);
}
