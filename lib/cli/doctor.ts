import { fetchText, systemFetch } from "../account/context.ts";
import { isDenied, messageOf } from "../errors.ts";
import type { PoolState } from "../types.ts";
import { VERSION } from "../version.ts";
import { checkAccounts, checkSettings } from "./doctor_checks.ts";
import { checkStore } from "./doctor_store.ts";
import { count, duration, jsonText } from "./format.ts";
import {
  CliError,
  EXIT,
  type Finding,
  finding,
  sectionText,
} from "./messages.ts";
import {
  BACKEND_VARIABLE,
  backendOf,
  type Command,
  type Context,
  CREDIT_VARIABLES,
  type Grants,
  ISSUER_VARIABLE,
  issuerOf,
  STORE_VARIABLE,
} from "./options.ts";
import { PROXY_VARIABLES } from "./runtime.ts";
import { allowed, permissionAdvice } from "./permissions.ts";

export const command: Command = {
  help: `
Looks at the store (place, file modes, version, backup, lock), the settings and
the environment variables that override them, whether backend and issuer can be
reached and whether this machine's clock is right, and asks each account for its
usage. Every finding that is not fine says what to do. The exit code is 1 when
there is a problem, 4 when there is no account. E-mail addresses are masked, so
that the output can be shown to others.

Options:
  --offline        ask nobody
  --emails         show e-mail addresses as they are
  --json           the findings as JSON

Examples:
  codex-rotator doctor
  codex-rotator doctor --offline
  codex-rotator doctor --json | jq '.sections[].findings[] | select(.advice)'
`,
  operands: [0, 0],
  needs: { write: true, network: true, policy: true },
  grants: (): Grants => ({ env: VARIABLES }),
  run,
};

interface Section {
  readonly title: string;
  readonly findings: readonly Finding[];
}

async function run(context: Context): Promise<number> {
  const { io, flags } = context;
  const { sections, accounts } = await examine(context);
  const levels = sections.flatMap(({ findings }) => findings)
    .map(({ level }): string => level);
  const sum = ["problem", "warning"].filter((it) => levels.includes(it))
    .map((level) => count(levels.filter((it) => it === level).length, level))
    .join(", ");
  const shown = sections.filter((it) => it.findings.length > 0)
    .map((it) => sectionText(it.title, it.findings, io));
  io.out(
    flags.on("json")
      ? `${jsonText({ version: 1, sections })}\n`
      : `${shown.join("")}\n${sum || "Nothing is wrong"}.\n`,
  );
  if (levels.includes("problem")) return EXIT.failed;
  return accounts === 0 ? EXIT.noAccount : EXIT.ok;
}

async function examine(
  context: Context,
): Promise<{ sections: Section[]; accounts: number }> {
  const { io, flags } = context;
  const sections: Section[] = [];
  let refusal: Error | undefined;
  let state: PoolState | undefined;
  let isWritable = false;
  const online = !flags.on("offline");
  await look("Environment", () => checkEnvironment(context));
  await look("Store", async () => {
    const store = await checkStore(context);
    ({ state, isWritable = false } = store);
    return store.findings;
  });
  if (online) await look("Network", () => checkNetwork(context));
  const accounts = Object.keys(state?.accounts ?? {}).length;
  if (accounts > 0) {
    await look("Settings", () => checkSettings(context, state!));
    // a token that is renewed and cannot be kept would be lost
    const ask = online && isWritable;
    await look("Accounts", () => checkAccounts(context, state!, ask));
  }
  if (refusal !== undefined) {
    const advice = permissionAdvice(refusal, command, context);
    await look("Permissions", () => [finding("problem", advice)]);
  }
  return { sections, accounts };

  async function look(
    title: string,
    check: () => readonly Finding[] | Promise<readonly Finding[]>,
  ): Promise<void> {
    let findings: readonly Finding[];
    try {
      findings = await check();
    } catch (error) {
      if (io.signal.aborted) throw error;
      if (isDenied(error)) refusal ??= error;
      const text = isDenied(error)
        ? "Not examined, as Deno refused a permission for it"
        : messageOf(error);
      findings = [finding("problem", text)];
    }
    if (!flags.on("emails")) findings = findings.map(masked);
    sections.push({ title, findings });
  }
}

function masked({ level, text, advice = "" }: Finding): Finding {
  return finding(level, maskEmails(`${text}; ${advice}`));
}

/** Makes e-mail addresses in a text hard to recognise: "m…@e….com"; who signs in to a URL's host is none. */
function maskEmails(text: string): string {
  return text.replace(
    /(?<!:\/\/[^\s@/]*|:\/|:(?=\/\/))([^\s@,;:()<>"'])[^\s@,;:()<>"']*@([^\s@.])[^\s@]*?(\.[\p{L}\d-]+)(?![\p{L}\d.-])/gu,
    "$1…@$2…$3",
  );
}

const [CREDITS, OLD_CREDITS] = CREDIT_VARIABLES;

/** What each variable does when it is set; behind a space at the end its value is shown. */
const EFFECTS: Readonly<Record<string, string>> = {
  [STORE_VARIABLE]: "names the store: ",
  [CREDITS]: "says who may spend credits, whatever the store says: ",
  [OLD_CREDITS]: `says who may spend credits, unless ${CREDITS} is set: `,
  [BACKEND_VARIABLE]: "names the backend: ",
  [ISSUER_VARIABLE]: "names the token issuer: ",
  CODEX_ROTATOR_DEBUG: "explains every selection on stderr",
  OPENCODE_MULTI_AUTH_DEBUG:
    "explains every selection, unless CODEX_ROTATOR_DEBUG is set",
  CODEX_ROTATOR_SERVE_KEY: "holds the key of serve",
  ...Object.fromEntries(
    PROXY_VARIABLES.map((it) => [it, "sends requests through the proxy "]),
  ),
  NO_PROXY: "keeps requests to these from a proxy: ",
  no_proxy: "keeps requests to these from a proxy: ",
};

const VARIABLES: readonly string[] = Object.keys(EFFECTS);

/** The address of a proxy may hold a password. */
function proxyHost(value: string): string {
  const url = URL.parse(value.includes("://") ? value : `http://${value}`);
  return url?.host ?? "?";
}

function checkEnvironment({ io }: Context): Finding[] {
  const refused: string[] = [];
  const findings = VARIABLES.flatMap((name) => {
    const read = allowed(() => ({ value: io.env(name) }));
    if (read === undefined) refused.push(name);
    if (read?.value === undefined) return [];
    const effect = EFFECTS[name]!;
    const value = PROXY_VARIABLES.includes(name)
      ? proxyHost(read.value)
      : read.value;
    const text = `${name} ${effect}${effect.endsWith(" ") ? value : ""}`;
    return [finding(
      "note",
      `${text.trimEnd()}; if that is not meant: unset ${name}`,
    )];
  });
  if (refused.length > 0) {
    const grant = `give --allow-env=${refused.join(",")}`;
    const money = refused.includes(CREDITS)
      ? "nobody may spend credits while that is so; "
      : "";
    const names = refused.join(", ");
    findings.push(finding(
      "warning",
      `Deno refused to let these be read: ${names}; ${money}${grant}`,
    ));
  }
  return findings.length > 0
    ? findings
    : [finding("ok", "No variable overrides a setting")];
}

const HOST_LIMIT = 5_000;
/** How far this clock may be off (ms): facts from further in the future are not believed. */
const MAX_SKEW = 60_000;

async function checkNetwork(context: Context): Promise<Finding[]> {
  const [backend, issuer] = await Promise.all([
    checkHost("backend", () => backendOf(context), context),
    checkHost("issuer", () => issuerOf(context), context),
  ]);
  const clock = clockFinding(backend.skew ?? issuer.skew);
  return [backend.found, issuer.found, clock];
}

/** Asks a host; `skew` is how far this clock is ahead (ms), where the host tells. */
async function checkHost(
  name: string,
  read: () => string,
  { io }: Context,
): Promise<{ found: Finding; skew?: number }> {
  let url: string;
  try {
    url = read();
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return { found: finding("problem", error.message) };
  }
  const begun = io.now();
  const headers = { "user-agent": `codex-rotator/${VERSION}` };
  const answer = await fetchText(
    { fetch: systemFetch },
    { url: `${url}/`, headers },
    { ms: HOST_LIMIT, signal: io.signal },
  );
  if ("error" in answer) {
    const text =
      `The ${name} ${url} cannot be reached: ${answer.error}; check the connection, the firewall and the proxy (HTTPS_PROXY), and the address if it is not the usual one`;
    return { found: finding("problem", text) };
  }
  const { status, headers: told } = answer.response;
  const date = Date.parse(told.get("date") ?? "");
  // the header has whole seconds, and was written while we waited
  const skew = (begun + io.now()) / 2 - date - 500;
  const text = `The ${name} ${url} answers`;
  const found = status < 500 ? finding("ok", text) : finding(
    "warning",
    `${text} with status ${status}; it has trouble of its own; try again later`,
  );
  return Number.isNaN(date) ? { found } : { found, skew };
}

function clockFinding(skew: number | undefined): Finding {
  if (skew === undefined) {
    const text =
      "Whether the clock is right is not known: nobody told the time";
    return finding("note", text);
  }
  const off = `${duration(Math.abs(skew))} ${skew > 0 ? "ahead" : "behind"}`;
  if (Math.abs(skew) < 2_000) {
    return finding("ok", "The clock agrees with theirs");
  }
  if (Math.abs(skew) <= MAX_SKEW) {
    return finding("ok", `The clock is ${off}, which does no harm`);
  }
  return finding(
    "problem",
    `This machine's clock is ${off}, so resets and token expiry are misjudged; set the clock, or let the system keep it right (NTP)`,
  );
}
