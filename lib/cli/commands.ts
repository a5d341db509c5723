/**
 * All commands, and the help that tells of them.
 *
 * @module
 */
import { programName } from "./format.ts";
import type { Command, CommandEntry, CommandTable } from "./options.ts";
import { wrap } from "./table.ts";

const accounts =
  (name: "enable" | "disable" | "use" | "remove" | "rename") => async () => ({
    command: (await import("./accounts.ts"))[name],
  });
const settings = (name: "strategy" | "set" | "credits") => async () => ({
  command: (await import("./settings.ts"))[name],
});

/** All commands, in the order in which the help shows them. */
export const commands: CommandTable = new Map([
  ["status", {
    usage: "status [ALIAS…] [OPTIONS]",
    summary: "shows who can serve, on what, and until when",
    load: () => import("./status.ts"),
  }],
  ["refresh", {
    usage: "refresh [ALIAS…] [--json]",
    summary: "asks the backend how much usage is left",
    load: async () => ({ command: (await import("./status.ts")).refresh }),
  }],
  ["login", {
    usage: "login [ALIAS] [--device]",
    summary: "signs in; the way to add several accounts",
    load: () => import("./login.ts"),
  }],
  ["import", {
    usage: "import [FILE] [--alias NAME] [--from TOOL] [--copy] [--settings]",
    summary: "adds the accounts that other tools are signed in with",
    load: () => import("./import.ts"),
  }],
  ["credits", {
    usage: "credits [all | none | ALIAS…] [--cap [ALIAS=]CAP]",
    summary: "shows or sets who may spend purchased credits, and how much",
    load: settings("credits"),
  }],
  ["spend", {
    usage: "spend [--by KEY] [--since TIME] [--json] [--html FILE]",
    summary: "shows what was served and what was paid",
    load: () => import("./spend.ts"),
  }],
  ["set", {
    usage: "set ALIAS [weight=N] [priority=N] [reserve=PERCENT]",
    summary: "shows or sets what decides between equal accounts",
    load: settings("set"),
  }],
  ["strategy", {
    usage: "strategy [NAME]",
    summary: "shows or sets the order in which accounts serve",
    load: settings("strategy"),
  }],
  ["use", {
    usage: "use ALIAS | --auto",
    summary: "lets one account alone serve, or all again",
    load: accounts("use"),
  }],
  ["enable", {
    usage: "enable ALIAS…",
    summary: "lets accounts serve again",
    load: accounts("enable"),
  }],
  ["disable", {
    usage: "disable ALIAS…",
    summary: "keeps accounts from serving",
    load: accounts("disable"),
  }],
  ["rename", {
    usage: "rename OLD NEW",
    summary: "gives an account another alias",
    load: accounts("rename"),
  }],
  ["remove", {
    usage: "remove ALIAS… [--yes]",
    summary: "forgets accounts and their tokens",
    load: accounts("remove"),
  }],
  ["doctor", {
    usage: "doctor [--offline] [--emails] [--json]",
    summary: "looks for what is wrong, and says what to do",
    load: () => import("./doctor.ts"),
  }],
  ["restore", {
    usage: "restore",
    summary: "puts the backup of the store back",
    load: () => import("./restore.ts"),
  }],
  ["copy", {
    usage: "copy FROM TO [--replace]",
    summary: "copies the store, to a file or a database",
    load: () => import("./copy.ts"),
  }],
  ["serve", {
    usage: "serve [--port N] [--host H] [--log] [--no-key] [--show-key]",
    summary: "lets agents that know only a base URL rotate too",
    load: () => import("./serve.ts"),
  }],
  ["demo", {
    usage: "demo",
    summary: "shows the rotation at work; needs no account and no internet",
    load: () => import("./demo.ts"),
  }],
  ["completion", {
    usage: "completion bash | zsh | fish",
    summary: "prints a script that lets a shell complete commands",
    load: () => import("./completion.ts"),
  }],
]);

/** What other tools call a command. */
export const SYNONYMS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    status: "list ls ps show info whoami who accounts usage limits quota",
    login: "add auth signin sign-in connect",
    remove: "logout rm delete del signout unlink",
    use: "switch select pin activate default unpin",
    refresh: "update sync reload check",
    rename: "mv alias",
    credits: "cap budget",
    spend: "spending spent cost costs bill ledger history ccusage",
    strategy: "config settings rotation",
    serve: "server proxy gateway",
    doctor: "diagnose debug verify",
    help: "commands",
  }).flatMap(([command, names]) =>
    names.split(" ").map((name) => [name, command])
  ),
);

const COMMON = `Options of every command:
  --store FILE     the store, or postgres://…; default $CODEX_ROTATOR_STORE,
                   else ~/.config/codex-rotator/accounts.json
  --backend URL    another backend than ChatGPT's
  --issuer URL     another token issuer than OpenAI's
  --no-color       plain text, as with NO_COLOR
  --help, -h       this help, or the help of a command
  --version, -v    the version
`;

const EXAMPLES = [
  ["demo", "see it at work, without an account"],
  ["login", "add an account; once for each"],
  ["import", "add those of Codex CLI and OpenCode"],
  ["status --refresh", "see who can serve now"],
  ["credits none", "never spend purchased credits"],
  ["help status", "options and examples of a command"],
] as const;

export function generalHelp(): string {
  const program = programName();
  return `\
Spreads requests over several ChatGPT/Codex accounts: included usage first,
purchased credits only where their owner allows it.

Usage: ${program} COMMAND [OPTIONS]

Commands:
${columns([...commands].map(([name, { summary }]) => [name, summary]))}

${COMMON}
Examples:
${columns(EXAMPLES.map(([it, words]) => [`${program} ${it}`, words]))}
`;
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([first]) => first.length));
  return rows.map(([first, second]) => `  ${first.padEnd(width)}  ${second}`)
    .join("\n");
}

export function commandHelp(entry: CommandEntry, command: Command): string {
  const { usage, summary } = entry;
  const sentence = `${summary[0]!.toUpperCase()}${summary.slice(1)}.`;
  return asStarted(`\
Usage: codex-rotator ${usage}

${sentence}

${command.help.trim()}

${COMMON}`);
}

/** Spells commands as this process was started. */
function asStarted(help: string): string {
  return help.replaceAll(
    /(?<![\w/])codex-rotator (?=[a-z])/g,
    `${programName()} `,
  );
}

/** Returns the same help for a terminal that is narrower than it was written for. */
export function reflow(help: string, columns: number): string {
  if (help.split("\n").every((it) => it.length <= columns)) return help;
  const blocks: { indent: number; text: string }[] = [];
  for (const text of help.split("\n")) {
    const indent = text.search(/\S|$/);
    const last = blocks.at(-1);
    // goes on where the second column of the line before, or its text, began
    const goesOn = last !== undefined && last.text !== "" && text !== "" &&
      indent === last.indent && (indent === 0 || indent > 4);
    if (goesOn) last.text += ` ${text.trim()}`;
    else {
      const column = /^ *\S.*?\S {2,}(?=\S)/.exec(text)?.[0].length;
      blocks.push({ indent: column ?? indent, text });
    }
  }
  return blocks.flatMap(({ indent, text }) => {
    // what is there to be pasted stays whole
    const isCommand = text.trimStart().startsWith(`${programName()} `);
    if (isCommand && !/\S {2,}\S/.test(text)) return [text];
    const [head, rest] = [text.slice(0, indent), text.slice(indent)];
    const lines = wrap(rest, Math.max(20, columns - indent));
    return lines.map((it, i) => (i === 0 ? head : " ".repeat(indent)) + it);
  }).join("\n");
}
