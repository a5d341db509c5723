/** All commands, and the help that tells of them. */
import { programName } from "./format.ts";
import {
  type Command,
  type CommandEntry,
  type CommandTable,
  COMMON_HELP,
} from "./options.ts";
import { wrap } from "./table.ts";

const LOADERS: Readonly<Record<string, CommandEntry["load"]>> = {
  status: async () => (await import("./status.ts")).command,
  refresh: async () => (await import("./status.ts")).refresh,
  login: async () => (await import("./login.ts")).command,
  import: async () => (await import("./import.ts")).command,
  credits: async () => (await import("./settings.ts")).credits,
  spend: async () => (await import("./spend.ts")).command,
  set: async () => (await import("./settings.ts")).set,
  strategy: async () => (await import("./settings.ts")).strategy,
  use: async () => (await import("./accounts.ts")).use,
  enable: async () => (await import("./accounts.ts")).enable,
  disable: async () => (await import("./accounts.ts")).disable,
  rename: async () => (await import("./accounts.ts")).rename,
  remove: async () => (await import("./accounts.ts")).remove,
  doctor: async () => (await import("./doctor.ts")).command,
  restore: async () => (await import("./restore.ts")).command,
  copy: async () => (await import("./copy.ts")).command,
  serve: async () => (await import("./serve.ts")).command,
  demo: async () => (await import("./demo.ts")).command,
  completion: async () => (await import("./completion.ts")).command,
};

/** How each is called, and what it does, in the order in which the help shows them. */
const USAGES = `
status [ALIAS…] [OPTIONS]
  shows who can serve, on what, and until when
refresh [ALIAS…] [--json]
  asks the backend how much usage is left
login [ALIAS] [--device]
  signs in; the way to add several accounts
import [FILE] [--alias NAME] [--from TOOL] [--copy] [--settings]
  adds the accounts that other tools are signed in with
credits [all | none | ALIAS…] [--cap [ALIAS=]CAP]
  shows or sets who may spend purchased credits, and how much
spend [--by KEY] [--since TIME] [--json] [--html FILE]
  shows what was served and what was paid
set ALIAS [weight=N] [priority=N] [reserve=PERCENT]
  shows or sets what decides between equal accounts
strategy [NAME]
  shows or sets the order in which accounts serve
use ALIAS | --auto
  lets one account alone serve, or all again
enable ALIAS…
  lets accounts serve again
disable ALIAS…
  keeps accounts from serving
rename OLD NEW
  gives an account another alias
remove ALIAS… [--yes]
  forgets accounts and their tokens
doctor [--offline] [--emails] [--json]
  looks for what is wrong, and says what to do
restore
  puts the backup of the store back
copy FROM TO [--replace]
  copies the store, to a file or a database
serve [--port N] [--host H] [--log] [--no-key] [--show-key]
  lets agents that know only a base URL rotate too
demo
  shows the rotation at work; needs no account and no internet
completion bash | zsh | fish
  prints a script that lets a shell complete commands
`;

export const commands: CommandTable = new Map(
  Array.from(
    USAGES.matchAll(/^((\w+).*)\n {2}(.*)$/gm),
    ([, usage = "", name = "", summary = ""]) => {
      return [name, { usage, summary, load: LOADERS[name]! }];
    },
  ),
);

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

export function generalHelp(): string {
  const lines = Array.from(commands, ([name, { summary }]) => {
    return `  ${name.padEnd(10)}  ${summary}\n`;
  });
  return asStarted(`\
Spreads requests over several ChatGPT/Codex accounts: included usage first,
purchased credits only where their owner allows it.

Usage: codex-rotator COMMAND [OPTIONS]

Commands:
${lines.join("")}
${COMMON_HELP}
Examples:
  codex-rotator demo              see it at work, without an account
  codex-rotator login             add an account; once for each
  codex-rotator import            add those of Codex CLI and OpenCode
  codex-rotator status --refresh  see who can serve now
  codex-rotator credits none      never spend purchased credits
  codex-rotator help status       options and examples of a command
`);
}

export function commandHelp(entry: CommandEntry, command: Command): string {
  const { usage, summary } = entry;
  const sentence = `${summary[0]!.toUpperCase()}${summary.slice(1)}.`;
  return asStarted(`\
Usage: codex-rotator ${usage}

${sentence}

${command.help.trim()}

${COMMON_HELP}`);
}

/** Spells commands as this process was started. */
function asStarted(help: string): string {
  return help.replaceAll(
    /(?<![\w/])codex-rotator (?=[a-z]|COMMAND)/g,
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
