/**
 * Aliases: what they may look like, and where the settings name them.
 *
 * @module
 */
import { isRecord } from "../codex/json.ts";
import { creditPolicy, isAlias } from "../pool/credits.ts";
import type { Settings } from "../types.ts";
import { usageError } from "./exit.ts";
import { sanitize } from "./format.ts";

/** Throws where a text is given that cannot be an alias. */
export function requireAlias(text: string | undefined): void {
  if (text === undefined || isAlias(text)) return;
  const found = sanitize(text) || "Nothing";
  throw usageError(
    `${found} cannot be an alias; use letters, digits, '.', '_' and '-', begin with a letter or digit, at most 64 characters, and neither all nor none`,
  );
}

/** Returns the aliases that the store lets spend credits; undefined when it holds no list that can be read. */
export function storedCreditList(
  settings: Settings,
): readonly string[] | undefined {
  const { allow, warning } = creditPolicy({
    store: settings.creditAccountAliases,
  });
  return typeof allow === "string" || warning !== undefined ? undefined : allow;
}

/** Renames an alias in the settings, or drops it from them. Returns which settings named it, in words. */
export function replaceAlias(
  settings: Settings,
  alias: string,
  replacement?: string,
): string[] {
  const places: string[] = [];
  const list = storedCreditList(settings);
  if (list?.includes(alias)) {
    places.push("the credit list");
    const names = list.map((it) => it === alias ? replacement : it);
    // an emptied list means nobody, while none at all would mean everybody
    settings.creditAccountAliases = [...new Set(names)]
      .filter((it) => it !== undefined);
  }
  const caps = storedCaps(settings);
  const cap = caps && Object.hasOwn(caps, alias) ? caps[alias] : undefined;
  if (caps && cap !== undefined) {
    places.push("the caps");
    const { [alias]: _, ...others } = caps;
    settings.creditCaps = replacement === undefined
      ? others
      : { ...others, [replacement]: cap };
  }
  if (settings.pinned === alias) {
    places.push("the pin");
    settings.pinned = replacement ?? null;
  }
  return places;
}

/** Returns the caps by alias as they are stored; undefined when there is no such object. */
export function storedCaps(
  { creditCaps }: Settings,
): Record<string, unknown> | undefined {
  return isRecord(creditCaps) ? creditCaps : undefined;
}
