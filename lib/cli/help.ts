import { commands } from "./commands.ts";
import { programName } from "./format.ts";
import type { Command, CommandEntry } from "./options.ts";
import { wrap } from "./table.ts";

const COMMON = `Options of every command:
  --store FILE     the store; default $CODEX_ROTATOR_STORE, else
                   ~/.config/codex-rotator/accounts.json
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

/** Returns the help that lists all commands. */
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

/** Returns the help of one command. */
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
    if (text.trimStart().startsWith(`${programName()} `)) return [text];
    const [head, rest] = [text.slice(0, indent), text.slice(indent)];
    const lines = wrap(rest, Math.max(20, columns - indent));
    return lines.map((it, i) => (i === 0 ? head : " ".repeat(indent)) + it);
  }).join("\n");
}
