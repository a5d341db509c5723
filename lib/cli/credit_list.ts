import { creditPolicy } from "../pool/credits.ts";
import type { Settings } from "../types.ts";

/** The aliases that the store lets spend credits; undefined when it holds no list that can be read. */
export function storedCreditList(
  settings: Settings,
): readonly string[] | undefined {
  const { allow, warning } = creditPolicy({
    store: settings.creditAccountAliases,
  });
  return typeof allow === "string" || warning !== undefined ? undefined : allow;
}

/**
 * Replaces or drops a name in the store's credit list. An emptied list stays a
 * list: it means nobody, while none at all would mean everybody.
 *
 * @returns Whether the name was listed.
 */
export function replaceInCreditList(
  settings: Settings,
  alias: string,
  replacement: readonly string[],
): boolean {
  const list = storedCreditList(settings);
  if (list === undefined || !list.includes(alias)) return false;
  settings.creditAccountAliases = [
    ...new Set(list.flatMap((it) => it === alias ? replacement : [it])),
  ];
  return true;
}
