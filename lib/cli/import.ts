import { resolve } from "node:path";
import { type AddedLogin, addLogin } from "../account/import.ts";
import { sourceOf } from "../account/link.ts";
import { type FoundLogin, LOGIN_FILE_KINDS } from "../account/login_files.ts";
import { creditPolicy, isAlias } from "../pool/credits.ts";
import { isStrategy } from "../pool/strategy.ts";
import type { AccountSource, PoolState } from "../types.ts";
import { creditNote, renameHint, settleAfterImport } from "./added.ts";
import { nameOf, suggestCommand, texts } from "./format.ts";
import { CliError, requireName, usageError } from "./messages.ts";
import {
  loginPlaces,
  type OpenedFile,
  PLACE_VARIABLES,
  readLogins,
} from "./login_places.ts";
import { changeStore } from "./open.ts";
import { type Command, type Context, requireAlias } from "./options.ts";
import { policyWords } from "./status_summary.ts";

export const command: Command = {
  help: `
Reads the login files of the Codex CLI, OpenCode and opencode-multi-auth: FILE,
or all that are found where those tools keep them. An account that is known
already gets the newer tokens.

A refresh token serves one holder only. The files of the Codex CLI and OpenCode
are therefore linked: tokens renewed here are written back to the file, those
renewed there are taken over, and both tools go on working. After --copy, and
always with opencode-multi-auth, the other tool must not use its login any more
and has to sign in again to go on working.

Options:
  --alias NAME     the new account's alias; default: from its e-mail
  --from TOOL      whose file it is: codex, opencode or opencode-multi-auth
  --copy           take the tokens over instead of linking
  --settings       take over opencode-multi-auth's strategy, weights and the
                   list of accounts that may spend credits, too

Examples:
  codex-rotator import
  codex-rotator import ~/other/auth.json --alias work
  codex-rotator import --from opencode-multi-auth --settings
`,
  operands: [0, 1],
  needs: { write: true, network: true, policy: true },
  grants({ io, flags, operands: [file] }) {
    if (file !== undefined) return { read: [file] };
    const kind = LOGIN_FILE_KINDS.find((it) => it === flags.value("from"));
    const places = loginPlaces(io.env, kind && [kind]);
    return { env: PLACE_VARIABLES, read: places.map(({ path }) => path) };
  },
  run,
};

interface Imported extends AddedLogin {
  readonly file: OpenedFile;
  readonly found: FoundLogin;
  readonly linked: boolean;
}

async function run(context: Context): Promise<void> {
  const { flags } = context;
  const alias = flags.value("alias");
  requireAlias(alias);
  const tool = flags.value("from");
  const kind = tool === undefined
    ? undefined
    : requireName(tool, LOGIN_FILE_KINDS, `Cannot import from ${tool}`);
  const files = await readLogins(context, kind);
  const count = files.flatMap(({ logins }) => logins).length;
  if (alias !== undefined && count > 1) {
    const rename = suggestCommand("rename");
    throw usageError(
      `--alias names one account, and ${count} were found; name the file that holds just this one, or leave --alias out and use: ${rename}`,
    );
  }
  let imported: Imported[] = [];
  await changeStore(context, (state) => {
    imported = files.flatMap((file) => addAll(state, file, context));
    const copied = imported.filter((it) => it.stored && !it.linked);
    return [
      ...imported.flatMap((it) =>
        texts(confirmation(it, alias), creditNote(state, it))
      ),
      ...[...new Set(copied.map((it) => it.file.path))].map((path) =>
        `The tokens of ${path} are in use here now: the other tool must not use them any more, sign in there again before you use it`
      ),
      ...(flags.on("settings")
        ? takeSettings(state, imported)
        : files.flatMap((file) => settingsLeft(state, file))),
    ];
  });
  for (const { path, without } of files.filter((it) => it.without.length > 0)) {
    const names = without.join(", ");
    context.note(
      `${path} names accounts without a login, which were left out: ${names}`,
    );
  }
  await settleAfterImport(context, imported);
}

function addAll(
  state: PoolState,
  file: OpenedFile,
  { flags }: Context,
): Imported[] {
  const { accounts } = state;
  // the other tool's name, where it can be had here
  const freeName = (name = "") =>
    isAlias(name) && !Object.hasOwn(accounts, name) ? name : undefined;
  return file.logins.map((found) => {
    const source = flags.on("copy") ? undefined : linkTo(file, found);
    const alias = flags.value("alias") ?? freeName(found.alias);
    const added = addLogin(state, found.login, { alias, source });
    if (added.added && found.enabled === false) {
      accounts[added.alias]!.enabled = false;
    }
    const linked = source !== undefined && added.stored;
    return { ...added, file, found, linked };
  });
}

/** Returns the link to the file; undefined for a tool whose place the rotator takes. */
function linkTo(
  { kind, path }: OpenedFile,
  { login }: FoundLogin,
): AccountSource | undefined {
  if (kind === "opencode-multi-auth") return undefined;
  const { accountId, userId, email, tokens } = login;
  const isKnown = accountId !== null && (userId !== null || email !== null);
  if (isKnown && tokens.refresh !== undefined) {
    return sourceOf(kind, resolve(path), login);
  }
  const why = isKnown
    ? "holds no refresh token"
    : "does not tell whose login it is";
  throw new CliError(
    `${path} cannot be linked, as it ${why}; sign in with that tool again, or take its tokens over with --copy`,
  );
}

function confirmation(
  { alias, added, stored, linked, file, found }: Imported,
  wanted: string | undefined,
): string {
  const name = nameOf(alias, found.login);
  const link = linked
    ? `, linked to ${resolve(file.path)}: both tools go on working`
    : "";
  if (added) return `${name} is added${link}`;
  const kept = renameHint(alias, wanted);
  return stored
    ? `${name} was known already and has these tokens now${link}${kept}`
    : `${name} was known already, and its tokens are newer than these, or it cannot be told: nothing is changed${kept}`;
}

/** A credit list that is left behind while none is set here lets everyone spend. */
function settingsLeft(
  { settings }: PoolState,
  { path, settings: foreign }: OpenedFile,
): string[] {
  if ((settings.creditAccountAliases ?? null) !== null) return [];
  if (foreign.creditAccountAliases === undefined) return [];
  const set = suggestCommand("credits");
  return [
    `${path} says who may spend purchased credits, which is not taken over: import again with --settings, or set it with: ${set}`,
  ];
}

function takeSettings(
  { accounts, settings }: PoolState,
  imported: readonly Imported[],
): string[] {
  const own = imported.filter(({ file }) =>
    file.kind === "opencode-multi-auth"
  );
  if (own.length === 0) {
    throw new CliError(
      "There are no settings to take over, only opencode-multi-auth has them; leave --settings out, or name its file",
    );
  }
  const { strategy, creditAccountAliases: list } = own[0]!.file.settings;
  const said: string[] = [];
  if (strategy !== undefined) {
    const name = strategy.replace(/^weighted-round-robin$/, "weighted");
    const kept = settings.strategy ?? "round-robin";
    if (isStrategy(name)) settings.strategy = name;
    said.push(
      isStrategy(name)
        ? `The strategy is ${name} now`
        : `The strategy ${strategy} does not exist here; ${kept} stays`,
    );
  }
  for (const { alias, found: { weight } } of own) {
    if (weight === undefined) continue;
    accounts[alias]!.weight = weight;
    said.push(`${alias} has the weight ${weight} now`);
  }
  if (list === undefined) return said;
  // a name whose account did not come along is dropped: another that gets it later must not spend by it
  const spenders = Array.isArray(list)
    ? own.filter(({ found }) => list.includes(found.alias))
      .map(({ alias }) => alias)
    : list;
  settings.creditAccountAliases = spenders;
  return [...said, policyWords(creditPolicy({ store: spenders }))];
}
