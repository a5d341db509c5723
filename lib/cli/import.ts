import { readFile } from "node:fs/promises";
import { join } from "@std/path";
import {
  type AddedLogin,
  addLogin,
  type ImportedLogin,
  readCodexLogin,
} from "../account/import.ts";
import { creditPolicy, isAlias, maySpend } from "../pool/credits.ts";
import type { Command, Context, Grants } from "./command.ts";
import { CliError, EXIT, usageError } from "./exit.ts";
import { notAnAlias } from "./rename.ts";
import { allowed } from "./permissions.ts";
import { openStore } from "./setup.ts";
import { suggestion } from "./nearest.ts";
import { clean, PROGRAM } from "./words.ts";

const TOOLS = ["codex"];

/** `import`: adds the account that another tool is signed in with. */
export const command: Command = {
  help: `
Reads the login file of the Codex CLI: FILE, else $CODEX_HOME/auth.json, else
~/.codex/auth.json. An account that is known already gets the newer tokens.

A refresh token serves one holder only: after --copy the other tool must not use
its login any more, and has to sign in again to go on working.

Options:
  --copy           take the tokens over; required
  --alias NAME     the new account's alias; default: from its e-mail
  --from codex     whose file it is

Examples:
  cli.ts import --copy
  cli.ts import ~/other/auth.json --copy --alias work
`,
  booleans: ["copy"],
  strings: ["alias", "from"],
  operands: [0, 1],
  needs: { write: true },
  grants,
  run,
};

async function run(context: Context): Promise<number> {
  const { io, flags } = context;
  const tool = flags.value("from") ?? "codex";
  if (!TOOLS.includes(tool)) {
    throw usageError(
      `Cannot import from ${clean(tool)}${suggestion(tool, TOOLS)}; known is: ${
        TOOLS.join(", ")
      }`,
    );
  }
  const alias = flags.value("alias");
  if (alias !== undefined && !isAlias(alias)) {
    throw usageError(notAnAlias(alias));
  }
  if (!flags.on("copy")) throw usageError(linkingIsMissing(context));
  const path = loginFile(context);
  const login = readCodexLogin(await readLogin(path), path);
  let added: AddedLogin | undefined;
  const state = await openStore(context).update((state) => {
    added = addLogin(state, login, { alias });
  });
  io.out(`${confirmation(added!, login, alias)}\n`);
  if (added!.stored) io.out(`${copyNotice(path)}\n`);
  const policy = creditPolicy({ store: state.settings.creditAccountAliases });
  if (added!.added && policy.source === "store") {
    const may = maySpend(policy, added!.alias) ? "may" : "may not";
    io.out(`${added!.alias} ${may} spend purchased credits\n`);
  }
  return EXIT.ok;
}

/** The file to import. */
function loginFile({ io, operands }: Context): string {
  const [file] = operands;
  if (file !== undefined) return file;
  const folder = io.env("CODEX_HOME");
  if (folder) return join(folder, "auth.json");
  const home = io.env("HOME") || io.env("USERPROFILE");
  if (home) return join(home, ".codex", "auth.json");
  throw new CliError(
    "Neither CODEX_HOME nor a home folder is known; name the file to import",
  );
}

function grants(context: Context): Grants {
  const env = context.operands.length > 0 ? [] : ["CODEX_HOME", "HOME"];
  const file = allowed(() => loginFile(context)) ?? "$HOME/.codex/auth.json";
  return { env, read: [file] };
}

async function readLogin(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === undefined) throw error;
    throw new CliError(
      code === "ENOENT"
        ? `There is no ${path}; sign in with the Codex CLI first, or name the file to import`
        : `${path} cannot be read (${code}); name a file that can`,
    );
  }
}

function linkingIsMissing({ operands, flags }: Context): string {
  const alias = flags.value("alias");
  const call = [
    PROGRAM,
    "import",
    ...operands.map(clean),
    "--copy",
    ...(alias === undefined ? [] : ["--alias", alias]),
  ];
  return `Linking to the other tool's file is not available yet; to take its tokens over, after which that tool must sign in again, run: ${
    call.join(" ")
  }`;
}

function confirmation(
  { alias, added, stored }: AddedLogin,
  { email, plan }: ImportedLogin,
  wanted: string | undefined,
): string {
  const who = clean([email, plan].filter((it) => it !== null).join(", "));
  const name = who === "" ? alias : `${alias} (${who})`;
  if (added) return `${name} is added`;
  const kept = wanted === undefined || wanted === alias
    ? ""
    : `; it keeps its alias, change it with: ${PROGRAM} rename ${alias} ${wanted}`;
  return stored
    ? `${name} was known already and has these tokens now${kept}`
    : `${name} was known already, and its tokens are newer than these: nothing is changed${kept}`;
}

function copyNotice(path: string): string {
  return `The tokens of ${path} are in use here now: the other tool must not use them any more, sign in there again before you use it`;
}
