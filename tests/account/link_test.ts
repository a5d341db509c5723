import {
  chmod,
  copyFile,
  lstat,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { readdirSync } from "node:fs";
import { jsonStore } from "../../mod.ts";
import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { noteSeen } from "../../lib/account/link.ts";
import { fromFileUrl, join } from "@std/path";
import type { RefreshReport } from "../../lib/report_types.ts";
import { test, testOnDeno } from "../test.ts";
import {
  codexFile,
  type LinkedSetUp,
  linkedSetUp,
  MINUTE,
  openCodeFile,
  startWorker,
} from "./linked.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

function only({ accounts }: RefreshReport): RefreshReport["accounts"][number] {
  assertEquals(accounts.length, 1);
  return accounts[0]!;
}

test("a linked account gives renewed tokens back and touches nothing else", async () => {
  await using s = await linkedSetUp();
  const before = await s.signIn();
  await chmod(s.file, 0o640);
  await s.link();
  const began = Date.now();
  assertEquals(only(await s.rotator.refresh()).ok, true);
  const { tokens } = s.state().accounts.me!;
  assert(tokens!.refresh !== before.refresh);
  const text = await s.read();
  const file = JSON.parse(text);
  assertEquals(file.tokens, {
    id_token: tokens!.id,
    access_token: tokens!.access,
    refresh_token: tokens!.refresh,
    account_id: before.accountId,
  });
  assert(Date.parse(file.last_refresh) >= began);
  // all else is byte for byte what it was
  const { last_refresh: at, tokens: written } = file;
  assertEquals(
    text,
    codexFile({
      ...before,
      id: written.id_token,
      access: written.access_token,
      refresh: written.refresh_token,
    }).replace("2026-01-02T03:04:05.678901Z", at),
  );
  assertEquals((await stat(s.file)).mode! & 0o777, 0o640);
  assertEquals(s.shown(), [before.refresh]);
  assertEquals(
    readdirSync(s.folder).sort(),
    ["auth.json", "store"],
  );
});

test("a linked account keeps the style of its file and the link to it", async () => {
  await using s = await linkedSetUp();
  const before = await s.signIn();
  const real = join(s.folder, "real.json");
  const tabs = JSON.stringify(JSON.parse(codexFile(before)), null, "\t");
  await writeFile(
    real,
    `\ufeff${tabs.replaceAll("\n", "\r\n")}\r\n`,
  );
  await rm(s.file);
  await symlink(real, s.file);
  await s.link();
  assertEquals(only(await s.rotator.refresh()).ok, true);
  assert((await lstat(s.file)).isSymbolicLink());
  const text = new TextDecoder("utf-8", { ignoreBOM: true })
    .decode(await readFile(real));
  assert(text.startsWith('\ufeff{\r\n\t"auth_mode"'));
  assert(text.endsWith("}\r\n"));
  assertEquals(/[^\r]\n/.test(text), false);
  const { access } = s.state().accounts.me!.tokens!;
  assertStringIncludes(text, access);
});

test("an account linked to OpenCode's file gives renewed tokens back to it", async () => {
  await using s = await linkedSetUp({ kind: "opencode" });
  const before = await s.signIn();
  await s.link();
  assertEquals(only(await s.rotator.refresh()).ok, true);
  const { tokens } = s.state().accounts.me!;
  assertEquals(
    await s.read(),
    openCodeFile({
      ...before,
      access: tokens!.access,
      refresh: tokens!.refresh!,
      expiresAt: tokens!.expiresAt!,
    }),
  );
  assertEquals(s.shown(), [before.refresh]);
});

test("a linked account takes the other tool's newer tokens over without a token call", async () => {
  await using s = await linkedSetUp();
  await s.signIn();
  await s.link();
  const newer = await s.signIn("me", 60 * MINUTE);
  const text = await s.read();
  assertEquals(only(await s.rotator.refresh()).ok, true);
  assertEquals(s.shown(), []);
  assertEquals(s.state().accounts.me!.tokens!.refresh, newer.refresh);
  assertEquals(await s.read(), text);
});

test("a linked account takes newer tokens over when the backend refuses its own", async () => {
  await using s = await linkedSetUp();
  await s.signIn("me", 60 * MINUTE);
  await s.link();
  s.fake.revoke("me", "access");
  const newer = await s.signIn("me", 60 * MINUTE);
  const report = only(await s.rotator.refresh());
  assertEquals([report.ok, report.tokenRefreshed], [true, true]);
  assertEquals(s.shown(), []);
  assertEquals(s.state().accounts.me!.tokens!.access, newer.access);
});

test("a linked account never takes older tokens over", async () => {
  await using s = await linkedSetUp();
  const current = await s.signIn("me", -MINUTE);
  await s.link();
  await s.signIn("me", -10 * MINUTE);
  assertEquals(only(await s.rotator.refresh()).ok, true);
  assertEquals(s.shown(), [current.refresh]);
  const { tokens } = s.state().accounts.me!;
  assertEquals(
    JSON.parse(await s.read()).tokens.refresh_token,
    tokens!.refresh,
  );
});

test("a linked account never takes another person or workspace over, and says why", async () => {
  const workspace = { userId: "user-me", email: "me@example.com" };
  await using s = await linkedSetUp({
    accounts: { me: {}, other: {}, team: workspace },
  });
  for (const name of ["other", "team"]) {
    await s.signIn();
    await s.link();
    await s.signIn(name, 60 * MINUTE);
    const text = await s.read();
    const report = only(await s.rotator.refresh());
    assertEquals(report.ok, false);
    assertStringIncludes(report.error!, s.file);
    assertStringIncludes(report.error!, "another person or workspace");
    const { auth, tokens, accountId } = s.state().accounts.me!;
    assertEquals(accountId, "account-me");
    assert(auth !== null && tokens!.access !== s.fake.canary);
    assertEquals(await s.read(), text);
    assertEquals(s.shown(), []);
  }
});

test("a linked account whose file is gone, signed out of, broken or another's shows no token: it goes on with its access token, and comes back with the file", async () => {
  const faults = [
    [(s: LinkedSetUp) => rm(s.file), "keyring", "login"],
    [(s: LinkedSetUp) => s.signIn("other"), "another person", "login"],
    [(s: LinkedSetUp) => writeFile(s.file, "null"), "no login", "login"],
    [
      (s: LinkedSetUp) => writeFile(s.file, '{"tokens": null}'),
      "no login",
      "login",
    ],
    [(s: LinkedSetUp) => writeFile(s.file, ""), "half written", "token"],
    [
      (s: LinkedSetUp) => writeFile(s.file, '{"tokens": {"acc'),
      "half written",
      "token",
    ],
  ] as const;
  await Promise.all(faults.map(async ([begin, reason, kind]) => {
    await using s = await linkedSetUp();
    await s.signIn("me", 4 * MINUTE);
    await s.link();
    await begin(s);
    assertEquals(only(await s.rotator.refresh()).ok, true);
    assertEquals(s.state().accounts.me!.auth, undefined);
    s.fake.revoke("me", "access");
    const refused = only(await s.rotator.refresh());
    assertEquals([refused.ok, refused.standing], [false, "blocked"]);
    assertStringIncludes(refused.error!, reason);
    const { auth, cooldowns } = s.state().accounts.me!;
    assertEquals([!!auth, !!cooldowns?.token], [
      kind === "login",
      kind === "token",
    ]);
    assertEquals(s.shown(), []);
    const newer = await s.signIn("me", 60 * MINUTE);
    assertEquals(only(await s.rotator.refresh()).ok, true);
    assertEquals(s.state().accounts.me!.tokens!.refresh, newer.refresh);
  }));
});

test("a linked account waits for a file that is being written", async () => {
  await using s = await linkedSetUp();
  await s.signIn();
  await s.link();
  const newer = s.fake.tokens("me");
  const text = codexFile(newer);
  await writeFile(s.file, text.slice(0, 200));
  const refreshing = s.rotator.refresh();
  await new Promise((resolve) => setTimeout(resolve, 50));
  await writeFile(s.file, text);
  assertEquals(only(await refreshing).ok, true);
  assertEquals(s.shown(), []);
  assertEquals(s.state().accounts.me!.tokens!.refresh, newer.refresh);
});

test("a linked account lets the other tool finish a renewal of its own", async () => {
  await using s = await linkedSetUp();
  const spent = await s.signIn();
  await s.link();
  // as the Codex CLI does: read, renew, write, and no lock
  const renewed = await renew(s.fake.issuer, spent.refresh);
  const refreshing = s.rotator.refresh();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const access = renewed.access_token;
  await writeFile(
    s.file,
    codexFile({
      ...spent,
      access,
      id: renewed.id_token,
      refresh: renewed.refresh_token,
    }),
  );
  assertEquals(only(await refreshing).ok, true);
  assertEquals(s.shown(), [spent.refresh]);
  assertEquals(s.state().accounts.me!.tokens!.access, access);
  assertEquals(s.fake.violations, []);
});

test("a linked account looks again when the issuer says that its token was used", async () => {
  await using s = await linkedSetUp({
    accounts: {
      me: {
        tokenQueue: [{
          status: 401,
          body: JSON.stringify({ error: { code: "refresh_token_reused" } }),
        }],
      },
    },
  });
  const spent = await s.signIn();
  await s.link();
  const refreshing = s.rotator.refresh();
  await s.fake.seen((entry) => entry.kind === "token" && entry.done);
  // the other tool is still about to write
  await new Promise((resolve) => setTimeout(resolve, 300));
  const newer = await s.signIn("me", 60 * MINUTE);
  assertEquals(only(await refreshing).ok, true);
  assertEquals(s.shown(), [spent.refresh]);
  assertEquals(s.state().accounts.me!.tokens!.refresh, newer.refresh);
});

test("a linked account keeps what the other tool wrote during the token call", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using s = await linkedSetUp({
    accounts: { me: { tokenQueue: [{ until: promise }] } },
  });
  await s.signIn();
  await s.link();
  const refreshing = s.rotator.refresh();
  await s.fake.seen((entry) => entry.kind === "token");
  const newer = await s.signIn("me", 90 * MINUTE);
  resolve();
  const text = await s.read();
  assertEquals(only(await refreshing).ok, true);
  assertEquals(await s.read(), text);
  assertEquals(s.state().accounts.me!.tokens!.refresh, newer.refresh);
});

test("a linked account that needs a sign-in comes back when the other tool signed in", async () => {
  await using s = await linkedSetUp();
  await s.signIn();
  await s.link();
  s.fake.revoke("me", "all");
  assertEquals(only(await s.rotator.refresh()).ok, false);
  assert(s.state().accounts.me!.auth);
  const ask = () =>
    s.rotator.fetch(`${s.rotator.baseURL}/responses`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "gpt-5.5", input: "Hello" }),
    });
  const calls = s.shown().length;
  const refused = await ask();
  assertEquals(refused.status, 401);
  await refused.body?.cancel();
  assertEquals(s.shown().length, calls);
  await s.signIn("me", 60 * MINUTE);
  let status = 0;
  for (let turn = 0; turn < 40 && status !== 200; turn++) {
    const answer = await ask();
    status = answer.status;
    await answer.body?.cancel();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assertEquals(status, 200);
  assertEquals(s.state().accounts.me!.auth, undefined);
});

test("a linked account that comes back holds nobody up while it renews", async () => {
  await using s = await linkedSetUp();
  await s.signIn();
  await s.link();
  const second = s.fake.tokens("other");
  await jsonStore(s.storePath).update((state) => {
    const { accountId } = s.fake.account("other");
    state.accounts.other = {
      accountId,
      tokens: { access: second.access, expiresAt: second.expiresAt },
    };
    state.accounts.me!.auth = { invalidAt: 1, reason: "signed out" };
  });
  await s.signIn("me", -MINUTE);
  const release = Promise.withResolvers<void>();
  s.fake.account("me").tokenQueue.push({ until: release.promise });
  const response = await s.rotator.fetch(`${s.rotator.baseURL}/responses`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "gpt-5.5", input: "Hello" }),
  });
  assertEquals(s.rotator.accountOf(response), "other");
  await response.body?.cancel();
  const { done, aborted } = await s.fake.seen(({ kind }) => kind === "token");
  assertEquals([done, aborted], [false, false], "it still waits");
  release.resolve();
});

test("a linked account takes newer tokens over also where its record does not name its workspace", async () => {
  await using s = await linkedSetUp();
  await s.signIn("me", 60 * MINUTE);
  await s.link();
  await jsonStore(s.storePath).update((state) => {
    delete state.accounts.me!.accountId;
  });
  s.fake.revoke("me", "access");
  const newer = await s.signIn("me", 60 * MINUTE);
  assertEquals(only(await s.rotator.refresh()).ok, true);
  assertEquals(s.shown(), []);
  assertEquals(s.state().accounts.me!.tokens!.access, newer.access);
});

test("a linked account gets what a twin that is not linked renewed, and so does its file", async () => {
  await using s = await linkedSetUp();
  await s.signIn();
  await s.link();
  await jsonStore(s.storePath).update((state) => {
    const { source: _, ...twin } = structuredClone(state.accounts.me!);
    state.accounts["a-twin"] = twin;
    state.accounts.me!.enabled = false;
  });
  await s.rotator.refresh({ aliases: ["a-twin"] });
  const { me } = s.state().accounts;
  assertEquals(s.shown().length, 1);
  const { tokens } = JSON.parse(await s.read());
  assertEquals(tokens.refresh_token, me!.tokens!.refresh);
  assertEquals(s.state().accounts["a-twin"]!.tokens, me!.tokens);
});

test("a linked account whose token no header can carry comes back when the other tool signed in", async () => {
  await using s = await linkedSetUp();
  await s.signIn("me", 60 * MINUTE);
  await s.link();
  await jsonStore(s.storePath).update((state) => {
    state.accounts.me!.tokens!.access = "bad\ntoken";
  });
  const ask = async () => {
    const response = await s.rotator.fetch(`${s.rotator.baseURL}/responses`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "gpt-5.5", input: "Hello" }),
    });
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await ask(), 401);
  await s.signIn("me", 90 * MINUTE);
  await new Promise((done) => setTimeout(done, 1100));
  assertEquals(await ask(), 200);
});

testOnDeno(
  "a linked account spends no token that it could not give back",
  async () => {
    await using s = await linkedSetUp();
    const store = join(s.folder, "store");
    const host = new URL(s.fake.issuer).host;
    const env = "--allow-env=CODEX_ROTATOR_CREDIT_ACCOUNTS," +
      "OPENCODE_MULTI_AUTH_CREDIT_ACCOUNT_ALIASES,CODEX_ROTATOR_DEBUG," +
      "OPENCODE_MULTI_AUTH_DEBUG";
    for (const read of [store, `${store},${s.file}`]) {
      const before = await s.signIn();
      await s.link();
      const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--no-prompt",
          "--import-map=tests/npm_imports.json",
          `--allow-read=${read}`,
          `--allow-write=${store}`,
          `--allow-net=${host}`,
          env,
          "cli.ts",
          "refresh",
          "--store",
          s.storePath,
          "--backend",
          s.fake.backend,
          "--issuer",
          s.fake.issuer,
        ],
        cwd: ROOT,
        stdout: "piped",
        stderr: "piped",
      }).output();
      const said = [stdout, stderr].map((it) => new TextDecoder().decode(it))
        .join("");
      assertStringIncludes(said, `--allow-read=${s.folder}`);
      assertStringIncludes(said, `--allow-write=${s.folder}`);
      assert(!said.includes(s.fake.canary));
      assertEquals(await s.read(), codexFile(before));
      assert(!s.state().accounts.me!.auth);
    }
    assertEquals(s.shown(), []);
  },
);

testOnDeno(
  "two processes and the file's other owner renew at the same time, and nobody is locked out",
  async () => {
    const ROUNDS = 3;
    await using s = await linkedSetUp({
      accounts: { me: { windows: [{ seconds: 18_000, usedPercent: 1 }] } },
    });
    await s.signIn("me", 60 * MINUTE);
    await s.link();
    const workers = ["rotator", "rotator", "codex"].map((role) =>
      startWorker(role, { setUp: s })
    );
    try {
      for (let round = 0; round <= ROUNDS; round++) {
        // the first round only waits until all of them run
        if (round > 0) s.fake.revoke("me", "access");
        const told = await Promise.all(
          workers.map(async (worker) => {
            await worker.say("go");
            return await worker.line();
          }),
        );
        assertEquals(told, ["ok", "ok", "ok"]);
      }
    } finally {
      await Promise.all(workers.map((worker) => worker.end()));
    }
    assertEquals(s.fake.violations, []);
    const shown = s.shown();
    assertEquals(new Set(shown).size, shown.length);
    assert(shown.length >= ROUNDS);
    assertEquals(
      JSON.parse(await s.read()).tokens.refresh_token,
      s.state().accounts.me!.tokens!.refresh,
    );
    assertEquals(s.state().accounts.me!.auth, undefined);
  },
);

testOnDeno(
  "two stores linked to one file renew one after the other",
  async () => {
    await using s = await linkedSetUp();
    const before = await s.signIn();
    await s.link();
    const copy = join(s.folder, "store", "second.json");
    await copyFile(s.storePath, copy);
    const workers = [s.storePath, copy].map((storePath) =>
      startWorker("rotator", { setUp: { ...s, storePath } })
    );
    try {
      const told = await Promise.all(
        workers.map(async (worker) => {
          await worker.say("go");
          return await worker.line();
        }),
      );
      assertEquals(told, ["ok", "ok"]);
    } finally {
      await Promise.all(workers.map((worker) => worker.end()));
    }
    assertEquals(s.shown(), [before.refresh]);
    assertEquals(s.fake.violations, []);
  },
);

async function renew(
  issuer: string,
  refreshToken: string,
): Promise<Record<"access_token" | "refresh_token" | "id_token", string>> {
  const response = await fetch(`${issuer}/oauth/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      client_id: "app_EMoamEEZ73f0CkXaXp7hrann",
      grant_type: "refresh_token",
      refresh_token: refreshToken,
    }),
  });
  return await response.json();
}

test("noteSeen() notes what a linked file holds, also behind a twin that is not linked", () => {
  const tokens = { access: "a", refresh: "r" };
  const source = { kind: "codex", path: "/auth.json", seen: "before" };
  const state = {
    version: 1 as const,
    settings: {},
    accounts: { "a-twin": { tokens }, me: { tokens, source } },
  };
  noteSeen(state, { ...tokens });
  assertNotEquals(state.accounts.me.source.seen, "before");
});
