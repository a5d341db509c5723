import { TOOL_NAMES } from "../account/login_files.ts";
import type { Context } from "./options.ts";
import { findLogins } from "./login_places.ts";
import { noAccount } from "./format.ts";
import { sanitize, suggestCommand } from "./format.ts";

/**
 * That there is no account, and the command that adds those which other tools
 * on this machine are signed in with, without a full stop.
 */
export function firstRun({ io }: Context): string {
  const found = findLogins(io);
  if (found.length === 0) return noAccount();
  const tools = found.map(({ kind, path }) =>
    `${TOOL_NAMES[kind]} (${sanitize(path)})`
  );
  const [signedIn, them] = tools.length === 1
    ? ["is signed in", "that"]
    : ["are signed in", "them"];
  return `No account is in the store; ${
    tools.join(" and ")
  } ${signedIn} on this machine, add ${them} with: ${
    suggestCommand("import")
  }; or sign in with: ${suggestCommand("login")}`;
}
