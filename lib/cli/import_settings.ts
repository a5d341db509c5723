import type { ForeignSettings, FoundLogin } from "../account/login_files.ts";
import { isStrategy } from "../pool/strategy.ts";
import type { PoolState } from "../types.ts";
import { sanitize, suggestCommand } from "./format.ts";

/** What opencode-multi-auth calls otherwise. */
const STRATEGIES: Readonly<Record<string, string>> = {
  "weighted-round-robin": "weighted",
};

/** A login that was imported, under which alias. */
interface Named {
  readonly alias: string;
  readonly found: FoundLogin;
}

/**
 * Takes over what the owner of opencode-multi-auth had set, to be called
 * inside a store's `update`.
 *
 * @param imported All logins of its file.
 * @returns What was set, a sentence each, without a full stop.
 */
export function applySettings(
  { settings, accounts }: PoolState,
  foreign: ForeignSettings,
  imported: readonly Named[],
): string[] {
  const notes: string[] = [];
  if (foreign.strategy !== undefined) {
    const name = STRATEGIES[foreign.strategy] ?? foreign.strategy;
    if (isStrategy(name)) settings.strategy = name;
    notes.push(
      isStrategy(name)
        ? `The strategy is ${name} now`
        : `The strategy ${sanitize(foreign.strategy)} does not exist here; ${
          settings.strategy ?? "round-robin"
        } stays`,
    );
  }
  for (const { alias, found: { weight } } of imported) {
    if (weight === undefined) continue;
    accounts[alias]!.weight = weight;
    notes.push(`${alias} has the weight ${weight} now`);
  }
  if (foreign.creditAccountAliases !== undefined) {
    const list = renamed(foreign.creditAccountAliases, imported);
    settings.creditAccountAliases = list;
    notes.push(
      Array.isArray(list) && list.length > 0
        ? `Only ${
          list.map(String).map(sanitize).join(", ")
        } may spend purchased credits now`
        : Array.isArray(list)
        ? "Nobody may spend purchased credits now"
        : `The list of accounts that may spend credits is taken over as it is; see: ${
          suggestCommand("credits")
        }`,
    );
  }
  return notes;
}

/**
 * The list with the names that the accounts have here. A name whose account did
 * not come along is dropped: another that gets it later must not spend by it.
 */
function renamed(list: unknown, imported: readonly Named[]): unknown {
  if (!Array.isArray(list)) return list;
  return imported.filter(({ found }) => list.includes(found.alias))
    .map(({ alias }) => alias);
}
