import type { Command } from "./command.ts";
import { type CommandEntry, commands } from "./commands.ts";
import { PROGRAM } from "./words.ts";

const COMMON = `Options of every command:
  --store FILE     the store; default $CODEX_ROTATOR_STORE, else
                   ~/.config/codex-rotator/accounts.json
  --backend URL    another backend than ChatGPT's
  --issuer URL     another token issuer than OpenAI's
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
  ${PROGRAM} import --copy            add the account of the Codex CLI
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
