import { readFile } from "node:fs/promises";
import { resolve } from "@std/path";
import { type AddedLogin, addLogin } from "../account/import.ts";
import { sourceOf } from "../account/link.ts";
import {
  type FoundLogin,
  LOGIN_FILE_KINDS,
  type LoginFile,
  type LoginFileKind,
  readLoginFile,
  TOOL_NAMES,
} from "../account/login_files.ts";
import { isAlias } from "../pool/credits.ts";
import type { AccountSource, PoolState } from "../types.ts";
import { creditNote, nameOf, renameHint } from "./added.ts";
import type { Command, Context, Grants } from "./options.ts";
import { CliError, EXIT, usageError } from "./exit.ts";
import { applySettings } from "./import_settings.ts";
import { loginPlaces, PLACE_VARIABLES } from "./login_places.ts";
import { suggestion } from "./nearest.ts";
import { notAnAlias } from "./rename.ts";
import { allowed } from "./permissions.ts";
import { openStore } from "./open.ts";
import { sanitize, suggestCommand } from "./format.ts";

/** `import`: adds the accounts that other tools are signed in with. */
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
  cli.ts import
  cli.ts import ~/other/auth.json --alias work
  cli.ts import --from opencode-multi-auth --settings
`,
  booleans: ["copy", "settings"],
  strings: ["alias", "from"],
  operands: [0, 1],
  needs: { write: true },
  grants,
  run,
};

/** A login file, and where it is. */
interface OpenedFile extends LoginFile {
  readonly path: string;
}

/** What became of one login. */
interface Outcome extends AddedLogin {
  readonly file: OpenedFile;
  readonly found: FoundLogin;
  readonly linked: boolean;
}

async function run(context: Context): Promise<number> {
  const { io, flags } = context;
  const kind = kindOf(flags.value("from"));
  const alias = flags.value("alias");
  if (alias !== undefined && !isAlias(alias)) {
    throw usageError(notAnAlias(alias));
  }
  const files = await readFiles(context, kind);
  const count = files.reduce((sum, { logins }) => sum + logins.length, 0);
  if (alias !== undefined && count > 1) {
    throw usageError(
      `--alias names one account, and ${count} were found; name the file that holds just this one, or leave --alias out and use: ${
        suggestCommand("rename")
      }`,
    );
  }
  let outcomes: Outcome[] = [];
  let notes: string[] = [];
  const state = await openStore(context).update((state) => {
    outcomes = files.flatMap((file) => addAll(state, file, context));
    notes = flags.on("settings")
      ? takeSettings(state, files, outcomes)
      : unheeded(state, files);
  });
  for (const outcome of outcomes) {
    io.out(`${confirmation(outcome, alias)}\n${creditNote(state, outcome)}`);
  }
  for (const { path, without } of files) {
    if (without.length === 0) continue;
    io.err(
      `${sanitize(path)} names accounts without a login, which were left out: ${
        without.map(sanitize).join(", ")
      }\n`,
    );
  }
  for (const note of [...copyNotices(outcomes), ...notes]) io.out(`${note}\n`);
  return EXIT.ok;
}

function kindOf(tool: string | undefined): LoginFileKind | undefined {
  const kind = LOGIN_FILE_KINDS.find((it) => it === tool);
  if (tool === undefined || kind !== undefined) return kind;
  throw usageError(
    `Cannot import from ${sanitize(tool)}${
      suggestion(tool, LOGIN_FILE_KINDS)
    }; known are: ${LOGIN_FILE_KINDS.join(", ")}`,
  );
}

function grants({ io, flags, operands: [file] }: Context): Grants {
  if (file !== undefined) return { read: [file] };
  const kind = LOGIN_FILE_KINDS.find((it) => it === flags.value("from"));
  const places = allowed(() => loginPlaces(io.env, kind && [kind]));
  const read = places?.map(({ path }) => path) ?? ["$HOME"];
  return { env: PLACE_VARIABLES, read };
}

/** The file that is named, or all that are found. */
async function readFiles(
  { io, operands: [file] }: Context,
  kind: LoginFileKind | undefined,
): Promise<OpenedFile[]> {
  if (file !== undefined) {
    const text = await readText(file);
    if (text !== undefined) return [open(text, file, kind)];
    throw new CliError(
      `There is no ${
        sanitize(file)
      }; sign in with that tool first, or name another file`,
    );
  }
  const places = loginPlaces(io.env, kind && [kind]);
  const files: OpenedFile[] = [];
  const faults: string[] = [];
  for (const place of places) {
    const text = await readText(place.path);
    if (text === undefined) continue;
    try {
      files.push(open(text, place.path, place.kind));
    } catch (error) {
      faults.push((error as Error).message);
    }
  }
  if (files.length === 0) throw new CliError(nothingFound(places, faults));
  faults.forEach((fault) => io.err(`Skipped: ${sanitize(fault)}\n`));
  return files;
}

function open(
  text: string,
  path: string,
  kind: LoginFileKind | undefined,
): OpenedFile {
  return { ...readLoginFile(text, path, kind), path };
}

/** undefined when there is no such file. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    if (code === undefined) throw error;
    throw new CliError(
      `${sanitize(path)} cannot be read (${code}); name a file that can`,
    );
  }
}

function nothingFound(
  places: readonly { path: string }[],
  faults: readonly string[],
): string {
  if (faults.length > 0) return faults.join("; ");
  const next = `sign in with: ${
    suggestCommand("login")
  }, or name the file to import`;
  return places.length === 0
    ? `No home folder is known in which other tools keep their logins; ${next}`
    : `No login of another tool was found, looked for ${
      places.map(({ path }) => sanitize(path)).join(", ")
    }; ${next}`;
}

/** Adds the logins of one file, to be called inside a store's `update`. */
function addAll(
  state: PoolState,
  file: OpenedFile,
  { flags }: Context,
): Outcome[] {
  return file.logins.map((found) => {
    const source = flags.on("copy") ? undefined : linkTo(file, found);
    const alias = flags.value("alias") ?? freeName(state, found.alias);
    const added = addLogin(state, found.login, { alias, source });
    if (added.added && found.enabled === false) {
      state.accounts[added.alias]!.enabled = false;
    }
    const linked = source !== undefined && added.stored;
    return { ...added, file, found, linked };
  });
}

/** The link to the file; undefined for a tool whose place the rotator takes. */
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
  throw new CliError(
    `${sanitize(path)} cannot be linked, as it ${
      isKnown ? "holds no refresh token" : "does not tell whose login it is"
    }; sign in with that tool again, or take its tokens over with --copy`,
  );
}

/** The other tool's name for a login, where it can be had here. */
function freeName(
  { accounts }: PoolState,
  name: string | undefined,
): string | undefined {
  if (name === undefined || !isAlias(name)) return undefined;
  return Object.hasOwn(accounts, name) ? undefined : name;
}

/** A credit list that is left behind while none is set here lets everyone spend. */
function unheeded(
  { settings }: PoolState,
  files: readonly OpenedFile[],
): string[] {
  const mine = settings.creditAccountAliases;
  if (mine !== undefined && mine !== null) return [];
  return files
    .filter((file) => file.settings.creditAccountAliases !== undefined)
    .map(({ path }) =>
      `${
        sanitize(path)
      } says who may spend purchased credits, which is not taken over: every account may spend here until you import again with --settings, or set it with: ${
        suggestCommand("credits")
      }`
    );
}

function takeSettings(
  state: PoolState,
  files: readonly OpenedFile[],
  outcomes: readonly Outcome[],
): string[] {
  const file = files.find((it) => it.kind === "opencode-multi-auth");
  if (file === undefined) {
    throw new CliError(
      `There are no settings to take over, only ${
        TOOL_NAMES["opencode-multi-auth"]
      } has them; leave --settings out, or name its file`,
    );
  }
  const taken = outcomes.filter((it) => it.file === file);
  return applySettings(state, file.settings, taken);
}

function confirmation(
  { alias, added, stored, linked, file, found }: Outcome,
  wanted: string | undefined,
): string {
  const name = nameOf(alias, found.login);
  const link = linked
    ? `, linked to ${sanitize(resolve(file.path))}: both tools go on working`
    : "";
  if (added) return `${name} is added${link}`;
  const kept = renameHint(alias, wanted);
  return stored
    ? `${name} was known already and has these tokens now${link}${kept}`
    : `${name} was known already, and its tokens are newer than these: nothing is changed${kept}`;
}

function copyNotices(outcomes: readonly Outcome[]): string[] {
  const copied = outcomes.filter((it) => it.stored && !it.linked);
  return [...new Set(copied.map((it) => it.file))].map(({ path }) =>
    `The tokens of ${
      sanitize(path)
    } are in use here now: the other tool must not use them any more, sign in there again before you use it`
  );
}
