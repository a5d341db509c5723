import {
  BACKEND_VARIABLE,
  type Context,
  CREDIT_VARIABLES,
  ISSUER_VARIABLE,
  STORE_VARIABLE,
} from "./options.ts";
import type { Finding } from "./findings.ts";
import { allowed } from "./permissions.ts";
import { sanitize } from "./format.ts";

const [CREDITS, OLD_CREDITS] = CREDIT_VARIABLES;
const DEBUG = "CODEX_ROTATOR_DEBUG";
const OLD_DEBUG = "OPENCODE_MULTI_AUTH_DEBUG";
const SERVE_KEY = "CODEX_ROTATOR_SERVE_KEY";

/** What each variable does when it is set. */
const EFFECTS: Readonly<Record<string, (value: string) => string>> = {
  [STORE_VARIABLE]: (value) => `names the store: ${value}`,
  [CREDITS]: (value) =>
    `says who may spend credits, whatever the store says: ${value}`,
  [OLD_CREDITS]: (value) =>
    `says who may spend credits, unless ${CREDITS} is set: ${value}`,
  [BACKEND_VARIABLE]: (value) => `names the backend: ${value}`,
  [ISSUER_VARIABLE]: (value) => `names the token issuer: ${value}`,
  [DEBUG]: () => "explains every selection on stderr",
  [OLD_DEBUG]: () => `explains every selection, unless ${DEBUG} is set`,
  [SERVE_KEY]: () => "holds the key of serve",
};

/** All variables that are looked at. */
export const VARIABLES: readonly string[] = Object.keys(EFFECTS);

/** Which environment variables override what is set elsewhere. */
export function environmentFindings({ io }: Context): Finding[] {
  const refused: string[] = [];
  const findings = VARIABLES.flatMap((name): Finding[] => {
    const read = allowed(() => ({ value: io.env(name) }));
    if (read === undefined) refused.push(name);
    const value = read?.value;
    if (value === undefined) return [];
    return [{
      level: "note",
      text: `${name} ${EFFECTS[name]!(sanitize(value))}`.trimEnd(),
      advice: `if that is not meant: unset ${name}`,
    }];
  });
  if (refused.length > 0) {
    findings.push({
      level: "warning",
      text: `Deno refused to let these be read: ${refused.join(", ")}`,
      advice: refused.includes(CREDITS)
        ? `nobody may spend credits while that is so; give --allow-env=${
          refused.join(",")
        }`
        : `give --allow-env=${refused.join(",")}`,
    });
  }
  if (findings.length > 0) return findings;
  return [{ level: "ok", text: "No variable overrides a setting" }];
}
