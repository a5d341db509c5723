import { TOOL_NAMES } from "../account/login_files.ts";
import type { Context } from "./command.ts";
import { findLogins } from "./login_places.ts";
import { noAccount } from "./status_footer.ts";
import { clean, PROGRAM } from "./words.ts";

/**
 * That there is no account, and the command that adds those which other tools
 * on this machine are signed in with, without a full stop.
 */
export function firstRun({ io, flags }: Context): string {
  const found = findLogins(io);
  if (found.length === 0) return noAccount();
  const store = flags.value("store");
  const rest = store === undefined ? "" : ` --store ${clean(store)}`;
  const tools = found.map(({ kind, path }) =>
    `${TOOL_NAMES[kind]} (${clean(path)})`
  );
  const signedIn = tools.length === 1 ? "is signed in" : "are signed in";
  return `No account is in the store; ${
    tools.join(" and ")
  } ${signedIn} on this machine, add that with: ${PROGRAM} import${rest}; or sign in with: ${PROGRAM} login${rest}`;
}
