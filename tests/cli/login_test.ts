import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { mkdir, writeFile } from "node:fs/promises";
import process from "node:process";
import { readdirSync } from "node:fs";
import { startFakeCodex } from "../../lib/testing/fake_codex.ts";
import type { AccountRecord, Settings } from "../../lib/types.ts";
import { test, testOnDeno } from "../test.ts";
import { account, bench, run } from "./run.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

/** A store and an issuer, and a person who signs in. */
async function setUp(
  accounts?: Record<string, AccountRecord>,
  settings: Settings = {},
) {
  const fake = await startFakeCodex({
    accounts: {
      me: {},
      other: {},
      team: {
        userId: "user-me",
        email: "me@example.com",
        plan: "business",
      },
    },
    deviceInterval: 0.01,
  });
  const it = await bench(accounts, settings);
  const flags = [
    "--store",
    it.path,
    "--backend",
    fake.backend,
    "--issuer",
    fake.issuer,
  ];
  return {
    fake,
    it,
    flags,
    /** Signs in as `name` by device code. */
    device: (name: string, ...args: string[]) =>
      withScreen((screen) =>
        run(["login", ...args, "--device", ...flags], {}, {
          err(text) {
            screen.text += text;
            const code = /\n {2}([A-Z0-9]+-[A-Z0-9]+)\n/.exec(text)?.[1];
            if (code) fake.approveDevice(code, name);
          },
        })
      ),
    /** Signs in as `name` in a browser: "open" follows the redirect, "paste" pastes it. */
    browser: (name: string, how: "open" | "paste", ...args: string[]) => {
      fake.signInAs = name;
      const address = Promise.withResolvers<string>();
      const pasted = address.promise.then(async (url) => {
        const back = await nextOf(await nextOf(url));
        if (how === "paste") return back;
        await (await fetch(back)).text();
        return "";
      });
      return withScreen((screen) =>
        run(["login", ...args, ...flags], {}, {
          err: (text) => void (screen.text += text),
          openUrl: address.resolve,
          async *lines() {
            yield await pasted;
          },
        })
      );
    },
    async [Symbol.asyncDispose]() {
      await it[Symbol.asyncDispose]();
      await fake.close();
    },
  };
}

/** Where an address leads to. */
async function nextOf(url: string): Promise<string> {
  const { headers, body } = await fetch(url, { redirect: "manual" });
  await body?.cancel();
  return headers.get("location")!;
}

async function withScreen(
  work: (screen: { text: string }) => ReturnType<typeof run>,
) {
  const screen = { text: "" };
  const ran = await work(screen);
  return { ...ran, err: screen.text };
}

test("login adds accounts one after another, in the browser and by device code", async () => {
  await using s = await setUp();
  const one = await s.browser("me", "open");
  assertEquals(one.code, 0, one.err);
  assertStringIncludes(one.out, "me (me@example.com, plus) is signed in");
  assertStringIncludes(one.out, "included");
  assertStringIncludes(one.err, "public client id of OpenAI's Codex CLI");
  assertStringIncludes(one.err, "app_EMoamEEZ73f0CkXaXp7hrann");
  const two = await s.browser("team", "paste");
  assertEquals(two.code, 0, two.err);
  const three = await s.device("other", "work");
  assertEquals(three.code, 0, three.err);
  assertStringIncludes(three.err, `${s.fake.issuer}/codex/device`);
  const setting = three.err.indexOf("device code login for Codex");
  assert(setting >= 0 && setting < three.err.indexOf("enter this code"));
  const { accounts } = s.it.state();
  // one person with two workspaces has two accounts
  assertEquals(Object.keys(accounts), ["me", "me-business", "work"]);
  assertEquals(accounts["me-business"]!.accountId, "account-team");
  assert(accounts.work!.tokens!.refresh && accounts.work!.usage);
  const said = [one, two, three].map(({ out, err }) => out + err).join("");
  assert(!said.includes(s.fake.canary));
});

test("login signs a known account in again, as its own and no longer linked", async () => {
  await using s = await setUp({
    mine: {
      userId: "user-me",
      accountId: "account-me",
      tokens: {
        access: "dead",
        refresh: "dead",
        expiresAt: Date.now() + 90 * 86_400_000,
      },
      auth: { invalidAt: 1, reason: "revoked" },
      source: { kind: "codex", path: "/nowhere/auth.json" },
      weight: 3,
    },
  });
  const { code, out, err } = await s.device("me", "work");
  assertEquals(code, 0, err);
  assertStringIncludes(out, "mine (me@example.com, plus) is signed in again");
  assertStringIncludes(out, "cli.ts rename mine work");
  assertStringIncludes(out, "not linked to /nowhere/auth.json any more");
  const { mine } = s.it.state().accounts;
  assertEquals(Object.keys(s.it.state().accounts), ["mine"]);
  assertEquals([mine!.auth, mine!.source, mine!.weight], [
    undefined,
    undefined,
    3,
  ]);
  assert(mine!.tokens!.access !== "dead");
});

test("login keeps the tokens when the alias is another account's", async () => {
  await using s = await setUp({ work: account("someone") });
  const { code, out } = await s.device("me", "work");
  assertEquals(code, 0);
  assertStringIncludes(out, "work is another account already");
  assertStringIncludes(out, "cli.ts rename me NEW");
  const { me, work } = s.it.state().accounts;
  assertEquals([me!.userId, work!.userId], ["user-me", "user-someone"]);
});

test("login says whether the new account may spend credits", async () => {
  await using s = await setUp({}, { creditAccountAliases: ["x"] });
  const { out } = await s.device("me");
  assertStringIncludes(out, "me may not spend purchased credits");
});

test("login settles that the first account with credits may not spend them where nobody can be asked", async () => {
  await using s = await setUp();
  s.fake.account("me").credits = {
    hasCredits: true,
    unlimited: false,
    balance: "12.5",
  };
  const { code, out, err } = await s.device("me");
  assertEquals(code, 0, err);
  assertEquals(s.it.state().settings.creditAccountAliases, "none");
  assertStringIncludes(err, "me has purchased credits, and nobody may spend");
  // before the table says who may
  assertStringIncludes(out, "Nobody may spend purchased credits");
  await using without = await setUp();
  assertEquals((await without.device("me")).code, 0);
  assertEquals(without.it.state().settings, {});
});

test("login is no failure when only the usage is not told", async () => {
  await using s = await setUp();
  s.fake.account("me").usageAlways = { status: 503 };
  const { code, err } = await s.device("me");
  assertEquals(code, 0);
  assertStringIncludes(err, "ask again with: cli.ts refresh me");
  assert(s.it.state().accounts.me!.tokens);
});

test("login refuses what cannot be an alias and a broken store before anyone signs in", async () => {
  await using s = await setUp();
  const wrong = await s.device("me", "all");
  assertEquals([wrong.code, wrong.out], [2, ""]);
  await writeFile(s.it.path, "{");
  const broken = await s.device("me");
  assertEquals(broken.code, 1);
  assertEquals(s.fake.log.length, 0);
});

test({
  name:
    "login finds out before anyone signs in that the store cannot be written",
  ignore: process.platform !== "linux",
  async fn() {
    await using s = await setUp();
    const path = "/proc/codex-rotator-test.json";
    const { issuer, backend, log } = s.fake;
    const { code, err } = await run(
      [
        "login",
        "--device",
        "--store",
        path,
        "--issuer",
        issuer,
        "--backend",
        backend,
      ],
    );
    assertEquals([code, log], [1, []]);
    assertStringIncludes(err, `${path} cannot be written`);
  },
});

test("login leaves nothing behind when it is denied or interrupted", async () => {
  await using s = await setUp();
  const interrupted = new AbortController();
  const stopped = await run(["login", "--device", ...s.flags], {}, {
    signal: interrupted.signal,
    err: () => interrupted.abort(new Error("Interrupted")),
  });
  assertEquals(stopped, { code: 130, out: "", err: "" });
  const denied = await run(["login", "--device", ...s.flags], {}, {
    err(text) {
      const code = /\n {2}([A-Z0-9]+-[A-Z0-9]+)\n/.exec(text)?.[1];
      if (code) s.fake.denyDevice(code);
    },
  });
  assertEquals([denied.code, denied.out], [1, ""]);
  assertEquals(readdirSync(s.it.folder).length, 0);
});

testOnDeno(
  "login as a process ends by itself while its input stays open",
  async () => {
    await using s = await setUp();
    s.fake.signInAs = "me";
    const hosts = [
      new URL(s.fake.issuer).host,
      "127.0.0.1:1455",
      "127.0.0.1:1457",
    ];
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--import-map=tests/npm_imports.json",
        `--allow-read=${s.it.folder}`,
        `--allow-write=${s.it.folder}`,
        `--allow-net=${hosts.join(",")}`,
        "cli.ts",
        "login",
        ...s.flags,
      ],
      cwd: ROOT,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const err = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let said = "";
    let url = "";
    while (url === "") {
      const { done, value } = await err.read();
      if (done) break;
      said += value;
      url = /^http\S+(?=\n)/m.exec(said)?.[0] ?? "";
    }
    assert(url !== "", said);
    const page = await fetch(url);
    assertStringIncludes(await page.text(), "Signed in");
    const out = await new Response(child.stdout).text();
    const { code } = await child.status;
    for (;;) {
      const { done, value } = await err.read();
      if (done) break;
      said += value;
    }
    assertEquals(code, 0, said);
    assertStringIncludes(out, "me (me@example.com, plus) is signed in");
    assert(!(out + said).includes(s.fake.canary));
    assertEquals(Object.keys(s.it.state().accounts), ["me"]);
    await child.stdin.close().catch(() => {});
  },
);

test("the first run names the command that adds what other tools are signed in with", async () => {
  await using s = await setUp();
  const home = { HOME: s.it.folder };
  const none = await run(["status", ...s.flags], home);
  assertEquals(none.code, 4);
  assertStringIncludes(none.err, "sign in with: cli.ts login");
  const { access, refresh, id, accountId } = s.fake.tokens("me");
  const folder = join(s.it.folder, ".codex");
  await mkdir(folder);
  await writeFile(
    join(folder, "auth.json"),
    JSON.stringify({
      tokens: {
        access_token: access,
        refresh_token: refresh,
        id_token: id,
        account_id: accountId,
      },
    }),
  );
  for (const command of [["status"], ["refresh"], ["use", "me"]]) {
    const { code, err } = await run([...command, ...s.flags], home);
    assertEquals(code, 4);
    assertStringIncludes(err, `the Codex CLI (${join(folder, "auth.json")})`);
    assertStringIncludes(err, `with: cli.ts import --store ${s.it.path}\n`);
    assert(!err.includes(s.fake.canary));
  }
  const imported = await run(["import", "--store", s.it.path], home);
  assertEquals(imported.code, 0, imported.err);
  assertEquals((await run(["status", ...s.flags], home)).code, 0);
});
