import { requireName } from "./messages.ts";
import { type Command, type CommandTable, optionsOf } from "./options.ts";

export const command: Command = {
  help: `
Prints a script that lets your shell complete the commands and options of
codex-rotator, where that is installed as a command.

Examples:
  codex-rotator completion bash >> ~/.bashrc
  codex-rotator completion zsh >> ~/.zshrc
  codex-rotator completion fish > ~/.config/fish/completions/codex-rotator.fish
`,
  words: ["bash", "zsh", "fish"],
  operands: [1, 1],
  needs: { store: false },
  async run({ io, operands: [given = ""] }, commands) {
    const problem = `${given} is no shell that is known`;
    const shell = requireName(given, Object.keys(SCRIPTS), problem);
    io.out(SCRIPTS[shell]!(await entriesOf(commands)));
  },
};

interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly words: readonly string[];
  readonly options: readonly string[];
}

async function entriesOf(commands: CommandTable): Promise<Entry[]> {
  return await Promise.all(
    Array.from(commands, async ([name, { summary, load }]) => {
      const { help, words = [] } = await load();
      return { name, summary, words, options: [...optionsOf(help).keys()] };
    }),
  );
}

const SCRIPTS: Readonly<Record<string, (all: readonly Entry[]) => string>> = {
  bash: (all) =>
    `\
_codex_rotator() {
  local words="${all.map(({ name }) => name).join(" ")}"
  if [ "$COMP_CWORD" -gt 1 ]; then
    case "\${COMP_WORDS[1]}" in
${cases(all, (words) => `words="${words}"`)}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _codex_rotator codex-rotator
`,
  zsh: (all) =>
    `\
#compdef codex-rotator
_codex_rotator() {
  if ((CURRENT == 2)); then
    local -a commands=(
${all.map((it) => `      '${it.name}:${it.summary}'`).join("\n")}
    )
    _describe command commands
  else
    case "$words[2]" in
${cases(all, (words) => `compadd -- ${words}`)}
    esac
    _files
  fi
}
compdef _codex_rotator codex-rotator
`,
  fish: (all) =>
    all.map(({ name, summary, options, words }) => {
      const after = `-n '__fish_seen_subcommand_from ${name}'`;
      return [
        `-n __fish_use_subcommand -f -a ${name} -d '${summary}'`,
        ...(words.length > 0 ? [`${after} -a '${words.join(" ")}'`] : []),
        ...options.map((it) => `${after} -l ${it.slice(2)}`),
      ].map((it) => `complete -c codex-rotator ${it}\n`).join("");
    }).join(""),
};

function cases(
  all: readonly Entry[],
  line: (words: string) => string,
): string {
  return all.map(({ name, words, options }) => {
    return `      ${name}) ${line([...words, ...options].join(" "))} ;;`;
  }).join("\n");
}
