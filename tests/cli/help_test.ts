import { assert, assertEquals } from "@std/assert";
import { commands, reflow } from "../../lib/cli/commands.ts";
import { test } from "../test.ts";
import { run } from "./run.ts";

const COMMON = `
Options of every command:
  --store FILE     the store, or postgres://…; default $CODEX_ROTATOR_STORE,
                   else ~/.config/codex-rotator/accounts.json
  --backend URL    another backend than ChatGPT's
  --issuer URL     another token issuer than OpenAI's
  --no-color       plain text, as with NO_COLOR
  --help, -h       this help, or the help of a command
  --version, -v    the version
`;

test("help of a command is the same from 80 columns on", async () => {
  for (const columns of [80, 120]) {
    const { out } = await run(["use", "--help"], {}, { columns });
    assertEquals(
      out,
      `\
Usage: cli.ts use ALIAS | --auto

Lets one account alone serve, or all again.

The named account alone serves until this is undone with --auto. When it cannot
serve, requests are refused instead of going to another account.

Options:
  --auto           let all accounts serve again

Examples:
  cli.ts use work
  cli.ts use --auto
${COMMON}`,
    );
  }
});

test("help of a command is broken anew for 60 columns", async () => {
  const { out } = await run(["use", "--help"], {}, { columns: 60 });
  assertEquals(
    out,
    `\
Usage: cli.ts use ALIAS | --auto

Lets one account alone serve, or all again.

The named account alone serves until this is undone with
--auto. When it cannot serve, requests are refused instead
of going to another account.

Options:
  --auto           let all accounts serve again

Examples:
  cli.ts use work
  cli.ts use --auto

Options of every command:
  --store FILE     the store, or postgres://…; default
                   $CODEX_ROTATOR_STORE, else
                   ~/.config/codex-rotator/accounts.json
  --backend URL    another backend than ChatGPT's
  --issuer URL     another token issuer than OpenAI's
  --no-color       plain text, as with NO_COLOR
  --help, -h       this help, or the help of a command
  --version, -v    the version
`,
  );
});

test("help keeps to 60 columns and loses no word", async () => {
  const words = (text: string) => text.split(/\s+/);
  for (const args of [[], ...[...commands.keys()].map((name) => [name])]) {
    const wide = await run(["help", ...args], {}, { columns: 80 });
    const narrow = await run(["help", ...args], {}, { columns: 60 });
    assertEquals(words(narrow.out), words(wide.out));
    for (const line of narrow.out.split("\n")) {
      // an example that is longer stays in one piece where it can
      assert(line.length <= 60 || line.startsWith("  cli.ts"), line);
    }
  }
});

test("reflow() keeps a word that is too long whole", () => {
  assertEquals(reflow(`a ${"x".repeat(30)} b`, 20), `a\n${"x".repeat(30)}\nb`);
});
