import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { mkdir, stat, writeFile } from "node:fs/promises";
import {
  type FakeCodex,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import type { Io } from "../../lib/cli/io.ts";
import type { Settings } from "../../lib/types.ts";
import { loginPlaces } from "../../lib/cli/login_places.ts";
import { test } from "../test.ts";
import { account, type Bench, bench, run } from "./run.ts";

/** A Codex CLI home with the login of an account of the stand-in. */
async function signedIn(name = "me", settings?: Settings) {
  const fake = await startFakeCodex({
    accounts: { me: {}, other: {}, third: {} },
  });
  const it = settings ? await bench({}, settings) : await bench();
  const home = join(it.folder, ".codex");
  await mkdir(home);
  const file = join(home, "auth.json");
  async function signIn(as: string) {
    const { access, refresh, id, accountId } = fake.tokens(as);
    const tokens = {
      access_token: access,
      refresh_token: refresh,
      id_token: id,
      account_id: accountId,
    };
    await writeFile(
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

interface Machine {
  readonly it: Bench;
  readonly fake: FakeCodex;
}

function call(
  { it, fake: { backend, issuer } }: Machine,
  args: string[],
  env: Record<string, string> = {},
  changes: Partial<Io> = {},
) {
  const flags = ["--store", it.path, "--backend", backend, "--issuer", issuer];
  return run(["import", ...args, ...flags], env, changes);
}

test("import --copy adds the Codex CLI's account and says what that means", async () => {
  await using s = await signedIn();
  const { code, out, err } = await call(s, ["--copy"], {
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

test("import --copy finds the file in the home folder, or where it is told", async () => {
  await using s = await signedIn();
  const home = await call(s, ["--copy", "--alias", "work"], {
    HOME: s.it.folder,
  });
  assertEquals(home.code, 0);
  assertEquals(Object.keys(s.it.state().accounts), ["work"]);
  await s.signIn("other");
  const file = await call(s, [s.file, "--copy", "--from=codex"]);
  assertEquals(file.code, 0);
  assertEquals(Object.keys(s.it.state().accounts).sort(), ["other", "work"]);
});

test("import --copy updates an account that is known", async () => {
  await using s = await signedIn();
  await call(s, [s.file, "--copy"]);
  const newer = await s.signIn("me");
  const { code, out } = await call(s, [
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

test("import links to the file, so that both tools go on working", async () => {
  await using s = await signedIn();
  const { code, out } = await call(s, [s.file, "--alias", "work"]);
  assertEquals(code, 0);
  assertStringIncludes(out, `is added, linked to ${s.file}: both tools go on`);
  assert(!out.includes("must not use"));
  const { kind, path } = s.it.state().accounts.work!.source!;
  assertEquals([kind, path], ["codex", s.file]);
  const copied = await call(s, [s.file, "--copy"]);
  assertStringIncludes(copied.out, "the other tool must not use them any more");
  assertEquals(s.it.state().accounts.work!.source, undefined);
  await call(s, [s.file]);
  assertEquals(s.it.state().accounts.work!.source!.path, s.file);
});

test("import never replaces newer tokens, nor links to older ones", async () => {
  await using s = await signedIn();
  await call(s, [s.file, "--copy"]);
  const before = s.it.state().accounts.me!;
  const older = s.fake.tokens("me", { lifetimeMs: 1_000 });
  const tokens = {
    access_token: older.access,
    refresh_token: older.refresh,
    account_id: older.accountId,
  };
  await writeFile(s.file, JSON.stringify({ tokens }));
  const { code, out } = await call(s, [s.file]);
  assertEquals(code, 0);
  assertStringIncludes(out, "its tokens are newer than these");
  assertEquals(s.it.state().accounts.me, before);
});

test("import finds the logins of all tools where they keep them", async () => {
  await using s = await signedIn();
  const [openCode, multiAuth] = [
    s.fake.tokens("other"),
    s.fake.tokens("third"),
  ];
  const data = join(s.it.folder, ".local", "share", "opencode");
  const config = join(s.it.folder, ".config", "opencode-multi-auth");
  await mkdir(data, { recursive: true });
  await mkdir(config, { recursive: true });
  const openai = {
    type: "oauth",
    refresh: openCode.refresh,
    access: openCode.access,
    expires: openCode.expiresAt,
  };
  await writeFile(join(data, "auth.json"), JSON.stringify({ openai }));
  const personal = {
    accessToken: multiAuth.access,
    refreshToken: multiAuth.refresh,
    enabled: false,
  };
  await writeFile(
    join(config, "accounts.json"),
    JSON.stringify({ version: 2, accounts: { personal, "dead one": {} } }),
  );
  const home = { HOME: s.it.folder };
  const several = await call(s, ["--alias", "work"], home);
  assertEquals([several.code, several.out], [2, ""]);
  assertStringIncludes(several.err, "3 were found");
  const { code, out, err } = await call(s, [], home);
  assertEquals(code, 0, err);
  const { accounts } = s.it.state();
  assertEquals(
    Object.entries(accounts).map(([alias, it]) => [alias, it.source?.kind]),
    [["me", "codex"], ["other", "opencode"], ["personal", undefined]],
  );
  assertEquals(accounts.personal!.enabled, false);
  assertStringIncludes(err, "left out: dead one");
  const notices = out.match(/The tokens of \S+ are in use here now/g);
  assertEquals(notices?.length, 1);
  assertStringIncludes(notices![0]!, config);
  assert(!(out + err).includes(s.fake.canary));
  const again = await call(s, ["--from=codex"], home);
  assertEquals(again.out.trim().split("\n").length, 1);
});

test("import looks where variables point, and says where it looked", async () => {
  await using s = await signedIn();
  const env = {
    CODEX_HOME: "/nowhere/codex",
    XDG_DATA_HOME: "/nowhere/data",
    XDG_CONFIG_HOME: "/nowhere/config",
    HOME: s.it.folder,
  };
  const { code, err } = await call(s, [], env);
  assertEquals(code, 1);
  for (
    const path of [
      "/nowhere/codex/auth.json",
      "/nowhere/data/opencode/auth.json",
      "/nowhere/config/opencode-multi-auth/accounts.json",
      "cli.ts login",
    ]
  ) {
    assertStringIncludes(err, path);
  }
});

test("loginPlaces() knows the places of Windows as well", () => {
  const env: Record<string, string> = {
    USERPROFILE: "/u",
    APPDATA: "/u/roaming",
    LOCALAPPDATA: "/u/local",
  };
  const places = (platform: string) =>
    loginPlaces((name) => env[name], undefined, platform)
      .map(({ path }) => path);
  assertEquals(places("win32"), [
    "/u/.codex/auth.json",
    "/u/.local/share/opencode/auth.json",
    "/u/local/opencode/auth.json",
    "/u/.config/opencode-multi-auth/accounts.json",
    "/u/roaming/opencode-multi-auth/accounts.json",
  ]);
  assertEquals(places("linux").length, 3);
});

test("import --settings takes over strategy, weights and credit list under the names of here", async () => {
  await using s = await signedIn();
  await using it = await bench({ work: account("someone") });
  const [a, b] = [s.fake.tokens("me"), s.fake.tokens("other")];
  const file = join(s.it.folder, "accounts.json");
  const accounts = {
    work: { accessToken: a.access, refreshToken: a.refresh },
    spare: { accessToken: b.access, refreshToken: b.refresh },
    dead: {},
  };
  const settings = {
    rotationStrategy: "weighted-round-robin",
    accountWeights: { work: 4, dead: 9 },
    creditAccountAliases: ["work", "dead"],
  };
  await writeFile(file, JSON.stringify({ accounts, settings }));
  const plain = await call({ it, fake: s.fake }, [file]);
  assertEquals(plain.code, 0, plain.err);
  assertEquals(it.state().settings, {});
  assertStringIncludes(plain.out, "import again with --settings");
  const { code, out } = await call({ it, fake: s.fake }, [file, "--settings"]);
  assertEquals(code, 0);
  const state = it.state();
  assertEquals(Object.keys(state.accounts), ["work", "me", "spare"]);
  assertEquals(state.settings.strategy, "weighted");
  // the name work is someone else's here, who must not spend by it
  assertEquals(state.settings.creditAccountAliases, ["me"]);
  assertEquals(state.accounts.me!.weight, 4);
  assertEquals(state.accounts.work!.weight, undefined);
  assertStringIncludes(out, "Only me may spend purchased credits");
  const none = await call({ it, fake: s.fake }, [s.file, "--settings"]);
  assertEquals(none.code, 1);
  assertStringIncludes(none.err, "only opencode-multi-auth has them");
});

test("import says what is wrong with the call or the file", async () => {
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
    const { code, out, err } = await call(s, args);
    assertEquals([code, out], [expected, ""], args.join(" "));
    assertStringIncludes(err, message);
  }
  assertEquals(await exists(s.it.path), false);
});

test("import says whether the new account may spend credits under the store's setting", async () => {
  for (const [list, words] of [[["me"], "may"], [["x"], "may not"]] as const) {
    await using s = await signedIn("me", { creditAccountAliases: list });
    const { out } = await call(s, [s.file, "--copy"]);
    assertStringIncludes(out, `me ${words} spend purchased credits`);
  }
});

test("import never prints a token", async () => {
  await using s = await signedIn();
  const said: string[] = [];
  const tokens = await s.signIn("me");
  for (const args of [[s.file], [s.file, "--copy"], [s.file, "--copy"]]) {
    const { out, err } = await call(s, args);
    said.push(out, err);
  }
  await writeFile(s.file, JSON.stringify(tokens).slice(0, -9));
  const { err } = await call(s, [s.file, "--copy"]);
  said.push(err);
  const text = said.join("");
  assert(!text.includes(s.fake.canary));
  for (const token of Object.values(tokens)) {
    if (token !== tokens.account_id) assert(!text.includes(token));
  }
});

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false);
}
