import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { startFakeCodex } from "../../lib/testing/fake_codex.ts";
import type { Settings } from "../../lib/types.ts";
import { type Bench, bench, run } from "./run.ts";

/** A Codex CLI home with the login of an account of the stand-in. */
async function signedIn(name = "me", settings?: Settings) {
  const fake = await startFakeCodex({ accounts: { me: {}, other: {} } });
  const it = settings ? await bench({}, settings) : await bench();
  const home = join(it.folder, ".codex");
  await Deno.mkdir(home);
  const file = join(home, "auth.json");
  async function signIn(as: string) {
    const { access, refresh, id, accountId } = fake.tokens(as);
    const tokens = {
      access_token: access,
      refresh_token: refresh,
      id_token: id,
      account_id: accountId,
    };
    await Deno.writeTextFile(
      file,
      JSON.stringify({ OPENAI_API_KEY: null, tokens }),
    );
    return tokens;
  }
  return {
    it,
    fake,
    file,
    home,
    signIn,
    tokens: await signIn(name),
    async [Symbol.asyncDispose]() {
      await it[Symbol.asyncDispose]();
      await fake.close();
    },
  };
}

function call(it: Bench, args: string[], env: Record<string, string> = {}) {
  return run(["import", ...args, "--store", it.path], env);
}

Deno.test("import --copy adds the Codex CLI's account and says what that means", async () => {
  await using s = await signedIn();
  const { code, out, err } = await call(s.it, ["--copy"], {
    CODEX_HOME: s.home,
  });
  assertEquals([code, err], [0, ""]);
  assertStringIncludes(out, "me (me@example.com, plus) is added");
  assertStringIncludes(out, "the other tool must not use them any more");
  const { me } = s.it.state().accounts;
  assertEquals(me!.tokens!.access, s.tokens.access_token);
  assertEquals(me!.tokens!.refresh, s.tokens.refresh_token);
  assertEquals(me!.accountId, "account-me");
  assertEquals(me!.source, undefined);
});

Deno.test("import --copy finds the file in the home folder, or where it is told", async () => {
  await using s = await signedIn();
  const home = await call(s.it, ["--copy", "--alias", "work"], {
    HOME: s.it.folder,
  });
  assertEquals(home.code, 0);
  assertEquals(Object.keys(s.it.state().accounts), ["work"]);
  await s.signIn("other");
  const file = await call(s.it, [s.file, "--copy", "--from=codex"]);
  assertEquals(file.code, 0);
  assertEquals(Object.keys(s.it.state().accounts).sort(), ["other", "work"]);
});

Deno.test("import --copy updates an account that is known", async () => {
  await using s = await signedIn();
  await call(s.it, [s.file, "--copy"]);
  const newer = await s.signIn("me");
  const { code, out } = await call(s.it, [
    s.file,
    "--copy",
    "--alias",
    "work",
  ]);
  assertEquals(code, 0);
  assertStringIncludes(out, "known already and has these tokens now");
  assertStringIncludes(out, "cli.ts rename me work");
  assertEquals(
    s.it.state().accounts.me!.tokens!.access,
    newer.access_token,
  );
});

Deno.test("import without --copy names the exact command, and changes nothing", async () => {
  await using s = await signedIn();
  const { code, out, err } = await call(s.it, [s.file, "--alias", "work"]);
  assertEquals([code, out], [2, ""]);
  assertStringIncludes(
    err,
    `run: cli.ts import ${s.file} --copy --alias work`,
  );
  assertEquals(await exists(s.it.path), false);
});

Deno.test("import says what is wrong with the call or the file", async () => {
  await using s = await signedIn();
  const missing = join(s.it.folder, "missing.json");
  const cases: [string[], number, string][] = [
    [["--copy", missing], 1, `There is no ${missing}`],
    [["--copy", s.it.folder], 1, "cannot be read (EISDIR)"],
    [["--copy"], 1, "name the file to import"],
    [["--copy", "--from", "codx", s.file], 2, "(did you mean codex?)"],
    [["--copy", "--alias", "all", s.file], 2, "cannot be an alias"],
  ];
  for (const [args, expected, message] of cases) {
    const { code, out, err } = await call(s.it, args);
    assertEquals([code, out], [expected, ""], args.join(" "));
    assertStringIncludes(err, message);
  }
  assertEquals(await exists(s.it.path), false);
});

Deno.test("import says whether the new account may spend credits under the store's setting", async () => {
  for (const [list, words] of [[["me"], "may"], [["x"], "may not"]] as const) {
    await using s = await signedIn("me", { creditAccountAliases: list });
    const { out } = await call(s.it, [s.file, "--copy"]);
    assertStringIncludes(out, `me ${words} spend purchased credits`);
  }
});

Deno.test("import never prints a token", async () => {
  await using s = await signedIn();
  const said: string[] = [];
  const tokens = await s.signIn("me");
  for (const args of [[s.file], [s.file, "--copy"], [s.file, "--copy"]]) {
    const { out, err } = await call(s.it, args);
    said.push(out, err);
  }
  await Deno.writeTextFile(s.file, JSON.stringify(tokens).slice(0, -9));
  const { err } = await call(s.it, [s.file, "--copy"]);
  said.push(err);
  const text = said.join("");
  assert(!text.includes(s.fake.canary));
  for (const token of Object.values(tokens)) {
    if (token !== tokens.account_id) assert(!text.includes(token));
  }
});

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
