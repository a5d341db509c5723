import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { readFile, writeFile } from "node:fs/promises";
import { VERSION } from "../../lib/version.ts";
import { commands } from "../../lib/cli/commands.ts";
import { test } from "../test.ts";
import { account, bench, run } from "./run.ts";

test("main() prints the help that lists every command", async () => {
  for (const args of [["--help"], ["-h"], ["help"]]) {
    const { code, out, err } = await run(args);
    assertEquals([code, err], [0, ""]);
    for (const [name, { summary }] of commands) {
      assert(out.includes(`  ${name}`) && out.includes(summary), name);
    }
    assertStringIncludes(out, "Examples:");
  }
});

test("main() prints each command's own help, with options and examples", async () => {
  for (const [name, { usage }] of commands) {
    for (const args of [[name, "--help"], ["help", name], ["--help", name]]) {
      const { code, out, err } = await run(args);
      assertEquals([code, err], [0, ""]);
      assertStringIncludes(out, `Usage: cli.ts ${usage}`);
      assertStringIncludes(out, `Examples:\n  cli.ts ${name}`);
      assertStringIncludes(out, "\nOptions of every command:\n  --store FILE");
    }
  }
});

test("main() names only commands that exist in its help", async () => {
  const texts = await Promise.all(
    [...commands.keys()].map(async (name) => (await run(["help", name])).out),
  );
  texts.push((await run(["--help"])).out);
  const named = texts.join("\n").matchAll(/cli\.ts ([a-z]+)/g);
  for (const [, name] of named) {
    assert(name === "help" || commands.has(name!), name);
  }
});

test("main() keeps its help within 80 columns", async () => {
  for (const name of [undefined, ...commands.keys()]) {
    const { out } = await run(name === undefined ? ["--help"] : ["help", name]);
    for (const line of out.split("\n")) assert(line.length <= 80, line);
  }
});

test("main() prints the version alone", async () => {
  for (const args of [["--version"], ["-v"], ["status", "--version"]]) {
    assertEquals(await run(args), {
      code: 0,
      out: `${VERSION}\n`,
      err: "",
    });
  }
});

test("main() without a command shows the help on stderr and fails", async () => {
  const { code, out, err } = await run([]);
  assertEquals([code, out], [2, ""]);
  assertStringIncludes(err, "Usage: cli.ts COMMAND");
});

test("main() refuses unknown names and suggests the nearest", async () => {
  const cases: [string[], string][] = [
    [["stauts"], "Unknown command stauts (did you mean status?)"],
    [["teleport"], "Unknown command teleport\n  → known are: status, "],
    [["list"], "Unknown command list (did you mean status?)"],
    [["ls"], "(did you mean status?)"],
    [["whoami"], "(did you mean status?)"],
    [["usage"], "(did you mean status?)"],
    [["limits"], "(did you mean status?)"],
    [["add"], "(did you mean login?)"],
    [["logout"], "(did you mean remove?)"],
    [["rm"], "(did you mean remove?)"],
    [["switch"], "(did you mean use?)"],
    [["swich"], "(did you mean use?)"],
    [["stat"], "(did you mean status?)"],
    [["login", "--device-auth"], "(did you mean --device?)"],
    [["help", "renmae"], "(did you mean rename?)"],
    [["constructor"], "Unknown command constructor"],
    [["__proto__"], "Unknown command __proto__"],
    [["status", "--jsn"], "Unknown option --jsn (did you mean --json?)"],
    [["status", "--jsn=secret"], "Unknown option --jsn (did"],
    [["status", "--no-json"], "Unknown option --no-json"],
    [["status", "-x"], "Unknown option -x"],
    [["refresh", "--all"], "known are: --backend, --"],
    [["status", "--constructor"], "Unknown option --constructor"],
    [["status", "--__proto__=1"], "Unknown option --__proto__"],
    [["--json", "status"], "Unknown option --json"],
    [["doctor", "extra"], "Too many arguments: 1\n  → usage: doctor"],
    [["rename", "only"], "Too few arguments: 1\n  → usage: rename OLD NEW"],
    [["status", "--model"], "--model was given without a value"],
    [["status", "--model", "--json"], "--model was given without a value"],
    [["status", "--store="], "--store was given without a value"],
    [
      ["import", "--copy=no"],
      "--copy takes no value\n  → give --copy or leave",
    ],
    [["\u001b[2Jx"], "Unknown command x"],
  ];
  for (const [args, message] of cases) {
    const { code, out, err } = await run(args);
    assertEquals([code, out], [2, ""], args.join(" "));
    assertStringIncludes(err, `Error: ${message}`.slice(0, 7));
    assertStringIncludes(err, message);
  }
});

test("main() takes the environment's backend for loopback hosts only", async () => {
  const call = (url: string, ...args: string[]) =>
    run(["status", "--refresh", "--store", "none.json", ...args], {
      CODEX_ROTATOR_BACKEND_URL: url,
    });
  for (
    const url of [
      "https://evil.example/backend-api",
      "http://evil.example",
      "http://127.0.0.1.evil.example",
      "http://127.0.0.1@evil.example/",
    ]
  ) {
    const { code, out, err } = await call(url);
    assertEquals([code, out], [2, ""], url);
    assertStringIncludes(err, "spell it out: --backend");
  }
  assertEquals((await call("not a url")).code, 2);
  for (
    const url of [
      "http://127.0.0.1:1/x",
      "http://localhost:1",
      "http://[::1]:1",
    ]
  ) {
    assertEquals((await call(url)).code, 4, url);
  }
  const spelled = await call(
    "https://evil.example",
    "--backend",
    "https://mine.example/backend-api",
  );
  assertEquals(spelled.code, 4);
});

test("advice is about the store that the command line names", async () => {
  await using it = await bench({ alice: account("alice") });
  const { out } = await it.run("status");
  assertStringIncludes(
    out.replaceAll(/\s+/g, " "),
    `cli.ts credits none --store ${it.path}`,
  );
  await writeFile(it.path, "");
  await writeFile(`${it.path}.bak`, "");
  const { err } = await it.run("status");
  assertStringIncludes(err, `with "cli.ts restore --store ${it.path}"\n`);
  const other = await run(["status", "--store", `${it.folder}/it's new.json`]);
  assertStringIncludes(
    other.err,
    `login --store '${it.folder}/it'\\''s new.json'`,
  );
  // what was named before does not stay
  const none = await run(["status"], {
    CODEX_ROTATOR_STORE: `${it.folder}/new.json`,
  });
  assertStringIncludes(none.err, "→ sign in with: cli.ts login\n");
});

test("a damaged store without a backup leads to a way out, not in a circle", async () => {
  await using it = await bench({ alice: account("alice") });
  for (const text of ["", "null", "{"]) {
    await writeFile(it.path, text);
    const { code, err } = await it.run("status");
    assertEquals(code, 1);
    assertStringIncludes(err, "move it away and add the accounts again");
    assertStringIncludes(err, `there is no backup ${it.path}.bak`);
    const restored = await it.run("restore");
    assertStringIncludes(
      restored.err,
      "move the store away, and add the accounts again",
    );
    assertEquals(await readFile(it.path, "utf8"), text);
  }
});

test("serve says what to give where it cannot listen", async () => {
  await using it = await bench({ alice: account("alice") });
  for (const host of ["192.0.2.1", "no-such-host.invalid"]) {
    const { code, out, err } = await it.run("serve", "--host", host);
    assertEquals([code, out], [1, ""]);
    assertStringIncludes(err, `--host ${host} is no address of this machine`);
  }
});
