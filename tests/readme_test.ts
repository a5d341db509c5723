/** What the README says is tried here. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { commands } from "../lib/cli/commands.ts";
import { startFakeCodex } from "../lib/testing/fake_codex.ts";
import { VERSION } from "../lib/version.ts";
import { run } from "./cli/run.ts";
import { recordOf } from "./fleet.ts";

const ROOT = new URL("..", import.meta.url);
const readme = await Deno.readTextFile(new URL("README.md", ROOT));

/** The text below a heading, up to the next one of its kind. */
function section(heading: string): string {
  const [, text] = readme.split(new RegExp(`^## ${heading}$`, "m"));
  if (text === undefined) throw new Error(`README.md has no "${heading}"`);
  return text.split(/^## /m)[0]!;
}

function firstBlock(text: string, language: string): string {
  const block = text.split("```" + language + "\n")[1]?.split("```")[0];
  if (block === undefined) throw new Error(`No block of ${language}`);
  return block;
}

/** Replaces what has to be there. */
function swap(text: string, from: string, to: string): string {
  assertStringIncludes(text, from);
  return text.replaceAll(from, to);
}

Deno.test("README.md has a program that runs with the permissions it names", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {} } });
  const { backend, issuer } = fake;
  const folder = await Deno.makeTempDir({ prefix: "codex-rotator-readme-" });
  const store = join(folder, "accounts.json");
  const accounts = { alice: recordOf(fake, "alice") };
  await Deno.writeTextFile(store, JSON.stringify({ version: 1, accounts }));

  const options = `{ backend: "${backend}", issuer: "${issuer}", `;
  let code = firstBlock(section("As a library"), "ts");
  code = swap(code, "@codex-rotator/core", new URL("mod.ts", ROOT).href);
  code = swap(code, "createRotator({ ", `createRotator(${options}`);
  const program = join(folder, "agent.ts");
  await Deno.writeTextFile(program, code);

  const page = await Deno.readTextFile(new URL("docs/store.md", ROOT));
  const named = /`--allow-env` for `([A-Z_,]+)`/.exec(page);
  const { code: exit, stdout, stderr } = await new Deno.Command(
    Deno.execPath(),
    {
      args: [
        "run",
        "--no-prompt",
        "--no-config",
        `--allow-net=${new URL(backend).host}`,
        `--allow-read=${folder}`,
        `--allow-write=${folder}`,
        `--allow-env=${named?.[1]}`,
        program,
      ],
      env: { CODEX_ROTATOR_STORE: store, NO_COLOR: "1" },
    },
  ).output();
  const said = new TextDecoder().decode(stdout);
  assertEquals(exit, 0, new TextDecoder().decode(stderr));
  assertStringIncludes(said, "alice [");
  assertStringIncludes(said, "Hello from alice");
  await Deno.remove(folder, { recursive: true });
});

Deno.test("docs/command-line.md lists the commands that there are", async () => {
  const page = await Deno.readTextFile(new URL("docs/command-line.md", ROOT));
  const cells = [...page.matchAll(/^\| (`.*?) \|(?! )?/gm)]
    .map(([, cell]) => cell!.replaceAll("\\|", ""));
  for (const name of commands.keys()) {
    assert(
      cells.some((cell) => new RegExp(`\`${name}\\b`).test(cell)),
      `${name} is missing`,
    );
  }
});

Deno.test("docs/money.md shows commands that work", async () => {
  const page = await Deno.readTextFile(new URL("docs/money.md", ROOT));
  const lines = [...page.matchAll(/^deno run -A cli\.ts ([^#\n]+)/gm)]
    .map(([, line]) => line!.trim().split(/\s+/));
  assert(lines.length >= 10);
  const folder = await Deno.makeTempDir();
  const store = join(folder, "accounts.json");
  const accounts = { personal: {}, work: {} };
  await Deno.writeTextFile(store, JSON.stringify({ version: 1, accounts }));
  for (const line of lines) {
    const args = line.map((it) => it === "spend.html" ? join(folder, it) : it);
    const now = () => Date.parse("2026-11-30T12:00:00Z");
    const { code, err } = await run([...args, "--store", store], {}, { now });
    assertEquals([line, code], [line, 0], err);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("README.md and the packages tell one version and one name", async () => {
  const json = async (file: string) =>
    JSON.parse(await Deno.readTextFile(new URL(file, ROOT)));
  const [deno, npm] = [await json("deno.json"), await json("package.json")];
  assertEquals([deno.version, npm.version], [VERSION, VERSION]);
  assertEquals(deno.name, npm.name);
  assertStringIncludes(readme, `from "${deno.name}"`);
  const changes = await Deno.readTextFile(new URL("CHANGELOG.md", ROOT));
  assertStringIncludes(changes, `## ${VERSION}`);
});

Deno.test("README.md is short, and what it links to is there", async () => {
  const words = readme.split(/\s+/).length;
  assert(words <= 1500, `${words} words`);
  for (const [, target] of readme.matchAll(/\]\(([^)#]+)\)/g)) {
    if (!target!.startsWith("http")) await Deno.stat(new URL(target!, ROOT));
  }
});
