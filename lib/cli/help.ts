import type { Command } from "./command.ts";
import { type CommandEntry, commands } from "./commands.ts";
import { wrap } from "./table.ts";
import { PROGRAM } from "./format.ts";

const COMMON = `Options of every command:
  --store FILE     the store; default $CODEX_ROTATOR_STORE, else
                   ~/.config/codex-rotator/accounts.json
  --backend URL    another backend than ChatGPT's
  --issuer URL     another token issuer than OpenAI's
  --no-color       plain text, as with NO_COLOR
  --help, -h       this help, or the help of a command
  --version        the version
`;

/** The help that lists all commands. */
export function generalHelp(): string {
  const width = Math.max(...[...commands.keys()].map((name) => name.length));
  const list = [...commands].map(([name, { summary }]) =>
    `  ${name.padEnd(width)}  ${summary}`
  );
  return `Spreads requests over several ChatGPT/Codex accounts: included usage first,
purchased credits only where their owner allows it.

Usage: ${PROGRAM} COMMAND [OPTIONS]

Commands:
${list.join("\n")}

${COMMON}
Examples:
  ${PROGRAM} demo                     see it work, without an account
  ${PROGRAM} login                    add an account; once for each
  ${PROGRAM} import                   add those of Codex CLI and OpenCode
  ${PROGRAM} status --refresh         who can serve now
  ${PROGRAM} credits none             never spend purchased credits
  ${PROGRAM} help status              options and examples of a command
`;
}

/** The help of one command. */
export function commandHelp(entry: CommandEntry, command: Command): string {
  const { usage, summary } = entry;
  const sentence = `${summary[0]!.toUpperCase()}${summary.slice(1)}.`;
  return `Usage: ${PROGRAM} ${usage}

${sentence}

${command.help.trim()}

${COMMON}`;
}

/** The same help for a terminal that is narrower than it was written for. */
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
    const [head, rest] = [text.slice(0, indent), text.slice(indent)];
    const lines = wrap(rest, Math.max(20, columns - indent), "keep");
    return lines.map((it, i) => (i === 0 ? head : " ".repeat(indent)) + it);
  }).join("\n");
}
