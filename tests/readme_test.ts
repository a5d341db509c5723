/** What the README says is tried here. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { commands } from "../lib/cli/commands.ts";
import { startFakeCodex } from "../lib/testing/fake_codex.ts";
import { VERSION } from "../lib/version.ts";
import { run } from "./cli/run.ts";
import config from "../deno.json" with { type: "json" };
import { recordOf } from "./fleet.ts";
import { PICTURE, statusPicture } from "./picture.ts";
import { spawn } from "./spawn.ts";

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

/** What the pages have people type that is quickly done, and needs nobody. */
const SAFE = /^(status|spend|credits|set|strategy)\b(?!.*--watch|.*postgres)/;

for (const page of ["README.md", ...pages()]) {
  const text = Deno.readTextFileSync(new URL(page, ROOT));
  const lines = [...text.matchAll(/^codex-rotator ([^#\n]+)/gm)]
    .map(([, line]) => line!.trim());
  const known = lines.filter((line) => !commands.has(line.split(" ")[0]!));
  Deno.test(`${page} names commands that there are`, () => {
    assertEquals(known, []);
  });
  const safe = lines.filter((line) => SAFE.test(line));
  if (safe.length === 0) continue;
  Deno.test(`${page} shows commands that work`, async () => {
    await using fake = await startFakeCodex({
      accounts: { personal: {}, work: {} },
    });
    const folder = await Deno.makeTempDir();
    const store = join(folder, "accounts.json");
    const accounts = {
      personal: recordOf(fake, "personal"),
      work: recordOf(fake, "work"),
    };
    await Deno.writeTextFile(store, JSON.stringify({ version: 1, accounts }));
    const where = ["--backend", fake.backend, "--issuer", fake.issuer];
    for (const line of safe) {
      const args = line.split(/\s+/)
        .map((it) => it === "spend.html" ? join(folder, it) : it);
      const { code, err } = await run([...args, "--store", store, ...where]);
      assertEquals([line, code], [line, 0], err);
    }
    await Deno.remove(folder, { recursive: true });
  });
}

function pages(): string[] {
  return [...Deno.readDirSync(new URL("docs", ROOT))]
    .map(({ name }) => `docs/${name}`)
    .filter((it) => it.endsWith(".md")).sort();
}

/** Snippets of the pages that run by themselves, and what they print. */
const SNIPPETS = [
  ["docs/money.md", ""],
  ["docs/several-machines.md", ""],
  [
    "docs/testing.md",
    "200 alice\n200 bob\n200 bob\ncharged: 0\n",
  ],
] as const;

for (const [page, printed] of SNIPPETS) {
  Deno.test(`${page} has a program that runs`, async () => {
    const text = await Deno.readTextFile(new URL(page, ROOT));
    const { code, out, err } = await runProgram("run", firstBlock(text, "ts"));
    assertEquals([code, out], [0, printed], err);
  });
}

Deno.test("docs/serve.md has a program that is right by its types", async () => {
  const text = await Deno.readTextFile(new URL("docs/serve.md", ROOT));
  const { code, err } = await runProgram("check", firstBlock(text, "ts"));
  assertEquals(code, 0, err);
});

/** Runs or checks a program, with the modules of this clone, and a folder of its own as home. */
async function runProgram(command: "run" | "check", code: string) {
  const folder = await Deno.makeTempDir({ prefix: "codex-rotator-readme-" });
  const program = join(folder, "program.ts");
  const map = join(folder, "imports.json");
  const { imports, exports, name } = config;
  const entries = Object.entries(exports).map(([entry, path]) =>
    [name + entry.slice(1), new URL(path, ROOT).href] as const
  );
  await Deno.writeTextFile(program, code);
  await Deno.writeTextFile(
    map,
    JSON.stringify({ imports: { ...imports, ...Object.fromEntries(entries) } }),
  );
  try {
    const flags = command === "run" ? ["-A"] : [];
    return await spawn([
      ...[Deno.execPath(), command, ...flags, "--quiet", "--no-config"],
      ...["--import-map", map, program],
    ], { env: { XDG_CONFIG_HOME: folder, NO_COLOR: "1" } });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("docs/status.svg shows what status prints", async () => {
  const drawn = await Deno.readTextFile(PICTURE) === statusPicture();
  assert(drawn, "draw it again with: deno run -A tests/picture.ts");
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

Deno.test("README.md is short, and what it and the pages link to is there", async () => {
  const words = readme.split(/\s+/).length;
  assert(words <= 1500, `${words} words`);
  for (const page of ["README.md", ...pages()]) {
    const url = new URL(page, ROOT);
    const text = await Deno.readTextFile(url);
    for (const [, target] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (!target!.startsWith("http")) await Deno.stat(new URL(target!, url));
    }
  }
});
