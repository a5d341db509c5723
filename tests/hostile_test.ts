/**
 * Names, texts and settings from outside that mean harm: on their way to the
 * terminal, into file names, and to where tokens are sent.
 */
import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { fromFileUrl, join } from "@std/path";
import {
  type FakeCodex,
  type FakeCodexOptions,
  startFakeCodex,
} from "../lib/testing/fake_codex.ts";
import { writeBundle } from "./bundle.ts";
import { spawn } from "./spawn.ts";
import { type AccountRecord, createRotator, type Settings } from "../mod.ts";
import { bench, type Ran, run } from "./cli/run.ts";
import { HOUR, recordOf, requestBody, startFleet } from "./fleet.ts";
import { commandOf, RUNTIMES } from "./runtimes.ts";
import { KEY, startServing } from "./serve/serving.ts";
import { test, testOnDeno } from "./test.ts";

const ROOT = fromFileUrl(new URL("..", import.meta.url));

/** Clears the screen, sets a title, colours, a C1 sequence, a line of its own, and turns the reading direction. */
const NASTY =
  "\u001b[2J\u001b]0;owned\u0007\u001b[31mred\u009b32mgreen\r\nFORGED line\u0008\u202egnp.exe";

/** Whatever a terminal would act upon, line ends apart. */
const ACTS = /[^\P{Cc}\n]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

function assertHarmless(text: string, where: string): void {
  const found = ACTS.exec(text);
  assert(
    !found,
    `${where}: ${JSON.stringify(text.slice(found?.index, found?.index! + 40))}`,
  );
  // what pretends to be a line of ours stays within another one
  assert(!/^FORGED/m.test(text), `${where}: a forged line`);
}

/** A store whose accounts are signed in at a stand-in. */
async function signedIn(
  accounts: NonNullable<FakeCodexOptions["accounts"]>,
  records: (fake: FakeCodex) => Record<string, AccountRecord>,
  settings: Settings = { creditAccountAliases: "none" },
) {
  const fake = await startFakeCodex({ accounts });
  const it = await bench(records(fake), settings);
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
    run: (...args: string[]) => run([...args, ...flags]),
    async [Symbol.asyncDispose]() {
      await it[Symbol.asyncDispose]();
      await fake.close();
    },
  };
}

const ALIASES = ["__proto__", "constructor", "toString", "hasOwnProperty"];

/** A record of hostile aliases, `__proto__` among them as an own key. */
function recordsFor(fake: FakeCodex): Record<string, AccountRecord> {
  return Object.fromEntries(
    ALIASES.map((alias) => [alias, recordOf(fake, `of-${alias}`)]),
  );
}

const fakeAccounts = Object.fromEntries(
  ALIASES.map((alias) => [`of-${alias}`, {}]),
);

test("the command line prints nothing that a terminal acts upon, whatever the store holds", async () => {
  const records = (fake: FakeCodex) => ({
    [NASTY]: {
      ...recordOf(fake, "a"),
      email: NASTY,
      plan: NASTY,
      source: { kind: NASTY, path: `/nowhere/${NASTY}` },
      usage: {
        observedAt: Date.now(),
        meters: {
          [NASTY]: {
            windows: [{ usedPercent: 3, windowSeconds: 60, resetsAt: null }],
          },
        },
      },
      credits: {
        observedAt: Date.now(),
        hasCredits: true,
        unlimited: false,
        balance: NASTY,
        reachedType: NASTY,
      },
    },
    login: {
      ...recordOf(fake, "b"),
      auth: { invalidAt: 1, reason: NASTY },
    },
    paused: {
      ...recordOf(fake, "b"),
      userId: NASTY,
      cooldowns: {
        throttle: { until: Date.now() + HOUR, setAt: 1, detail: NASTY },
      },
      usageCheck: { askedAt: 1, failedAt: 1, error: NASTY },
    },
  });
  await using s = await signedIn({ a: {}, b: {} }, records, {
    creditAccountAliases: [NASTY],
    pinned: NASTY,
    strategy: NASTY,
  });
  const commands = [
    ["status"],
    ["status", "--check"],
    ["doctor", "--offline"],
    ["doctor", "--emails"],
    ["refresh"],
    ["credits"],
    ["strategy"],
    ["use", "nobody"],
    ["use", "--auto"],
    ["refresh", "nobody"],
    ["import", join(s.it.folder, NASTY)],
    ["restore"],
  ];
  for (const args of commands) {
    const { out, err } = await s.run(...args);
    assert(out + err !== "", args.join(" "));
    assertHarmless(out + err, args.join(" "));
  }
});

test("no answer of backend or issuer reaches the terminal as it came", async () => {
  const message = NASTY;
  const answers = [
    { status: 400, body: { error: { code: NASTY, message } } },
    { status: 500, body: NASTY },
    { status: 403, body: { detail: NASTY } },
    { status: 401, body: { error: NASTY, error_description: NASTY } },
  ];
  for (const answer of answers) {
    await using s = await signedIn(
      { a: { accessLifetimeMs: -HOUR }, b: {} },
      (fake) => ({ a: recordOf(fake, "a"), b: recordOf(fake, "b") }),
    );
    s.fake.account("a").tokenAlways = answer;
    s.fake.account("b").usageAlways = answer;
    s.fake.account("b").tokenAlways = answer;
    for (const args of [["refresh"], ["status"], ["doctor"]]) {
      const { out, err } = await s.run(...args);
      assertHarmless(out + err, `${args} after ${answer.status}`);
    }
  }
  await using s = await signedIn(
    {
      a: { plan: NASTY, email: `${NASTY}@example.com`, fedramp: false },
    },
    (fake) => ({ a: recordOf(fake, "a") }),
  );
  s.fake.account("a").usageOverride = (payload) => ({
    ...payload,
    rate_limit_reached_type: { type: NASTY },
    additional_rate_limits: [{
      limit_name: NASTY,
      metered_feature: NASTY,
      rate_limit: {
        allowed: true,
        limit_reached: false,
        primary_window: { used_percent: 1, limit_window_seconds: 60 },
      },
    }],
    model_usage: { __proto__: null, [NASTY]: { available: true } },
  });
  for (const args of [["refresh"], ["status"], ["doctor", "--emails"]]) {
    const { out, err } = await s.run(...args);
    assertHarmless(out + err, args.join(" "));
  }
});

test("events tell what backend and issuer say in one harmless line", async () => {
  await using fleet = await startFleet({
    fake: { accessLifetimeMs: HOUR },
    credits: "none",
    accounts: { a: {}, b: {}, c: {} },
  });
  const { fake } = fleet;
  const error = { code: NASTY, message: `slow down ${NASTY}` };
  fake.account("a").always = { status: 429, body: { error } };
  fake.account("b").always = { status: 402, body: { detail: error } };
  fake.account("b").usageAlways = { status: 500, body: NASTY };
  fake.account("c").tokenAlways = { status: 400, body: { error } };
  fake.revoke("c", "access");
  await fleet.rotator.refresh();
  for (let count = 0; count < 4; count++) await fleet.ask();
  const reasons = fleet.events.map(({ reason }) => reason);
  assert(
    reasons.some((reason) => reason.includes("FORGED line")),
    "it is told",
  );
  for (const reason of reasons) assertHarmless(reason, "an event");
  const { accounts } = await fleet.rotator.status();
  for (const { detail } of accounts) assertHarmless(detail ?? "", "a detail");
});

testOnDeno("serve logs hostile names in one harmless line", async () => {
  await using it = await startServing({
    accounts: {
      [NASTY]: {
        accountId: "account-1",
        userId: "user-1",
        supportedModels: [NASTY],
        // the stand-in would put the name into one
        headers: ({ "x-codex-turn-state": _, ...rest }) => rest,
      },
    },
    settings: { creditAccountAliases: "none" },
    args: ["--log"],
    env: { CODEX_ROTATOR_SERVE_KEY: KEY },
  });
  const headers = {
    "authorization": `Bearer ${KEY}`,
    "content-type": "application/json",
  };
  const answer = await fetch(`${it.baseURL}/responses`, {
    method: "POST",
    headers,
    body: JSON.stringify(
      requestBody({ model: NASTY, prompt_cache_key: NASTY }),
    ),
  });
  await answer.text();
  assertEquals(await it.stop(), 0);
  assertStringIncludes(it.err(), "status=200");
  assertHarmless(it.err(), "the log");
});

testOnDeno(
  "the lines of CODEX_ROTATOR_DEBUG are harmless, whatever the aliases",
  async () => {
    const fake = await startFakeCodex({ accounts: { a: {} } });
    await using it = await bench(
      { [NASTY]: recordOf(fake, "a") },
      { creditAccountAliases: "none" },
    );
    const script = `
    import { createRotator } from ${JSON.stringify(`${ROOT}mod.ts`)};
    const [store, backend, issuer, body] = process.argv.slice(2);
    const rotator = createRotator({ store, backend, issuer });
    const init = { method: "POST", body };
    const answer = await rotator.fetch(rotator.baseURL + "/responses", init);
    await answer.text();
    await rotator.close();
    console.log(answer.status);
  `;
    const file = join(it.folder, "ask.mjs");
    await writeFile(file, script);
    const body = JSON.stringify(requestBody());
    const ran = await spawn(
      [...commandOf("deno"), file, it.path, fake.backend, fake.issuer, body],
      { cwd: it.folder, env: { CODEX_ROTATOR_DEBUG: "1" } },
    );
    await fake.close();
    assertEquals([ran.code, ran.out], [0, "200\n"], ran.err);
    assertStringIncludes(ran.err, "chosen=yes");
    assertHarmless(ran.err, "debug lines");
  },
);

test("accounts named like parts of objects serve as any other", async () => {
  await using s = await signedIn(fakeAccounts, recordsFor);
  await using rotator = createRotator({
    store: s.it.path,
    backend: s.fake.backend,
    issuer: s.fake.issuer,
  });
  const served = new Set<string | undefined>();
  for (const _ of ALIASES) {
    const answer = await rotator.fetch(`${rotator.baseURL}/responses`, {
      method: "POST",
      body: JSON.stringify(requestBody()),
    });
    assertEquals(answer.status, 200);
    await answer.text();
    served.add(rotator.accountOf(answer));
  }
  assertEquals([...served].sort(), [...ALIASES].sort());
  const report = await rotator.refresh();
  assertEquals(report.accounts.filter(({ ok }) => !ok), []);
  const status = await rotator.status();
  assertEquals(
    status.accounts.map(({ alias, requests }) => [alias, requests]),
    [...ALIASES].sort().map((alias) => [alias, 1]),
  );
  assertEquals(({} as { tokens?: unknown }).tokens, undefined);
});

test("accounts named like parts of objects are pinned, renamed and removed as any other", async () => {
  await using s = await signedIn(fakeAccounts, recordsFor);
  const said = async (...args: string[]): Promise<Ran> => {
    const ran = await s.run(...args);
    assertEquals(ran.code, 0, `${args}: ${ran.err}`);
    return ran;
  };
  for (const alias of ALIASES) {
    await said("use", alias);
    const { out } = await said("status", "--json");
    assertEquals([JSON.parse(out).pinned, JSON.parse(out).next], [
      alias,
      alias,
    ]);
    await said("refresh", alias);
    await said("disable", alias);
    await said("enable", alias);
    await said("rename", alias, "plain");
    assertEquals(s.it.state().settings.pinned, "plain");
    await said("remove", "plain");
  }
  assertEquals(Object.keys(s.it.state().accounts), []);
  // none of these is an account now, although every object has such parts
  for (const alias of ALIASES) {
    assertEquals((await s.run("use", alias)).code, 4);
  }
  await using left = await signedIn({ a: {} }, (fake) => ({
    a: recordOf(fake, "a"),
  }));
  for (const alias of ALIASES) {
    for (
      const args of [["use", alias], ["remove", alias], ["disable", alias]]
    ) {
      assertEquals((await left.run(...args)).code, 2, args.join(" "));
    }
  }
  assertEquals((await left.run("rename", "a", "constructor")).code, 0);
  assertEquals(Object.keys(left.it.state().accounts), ["constructor"]);
});

test("keys of an answer that are parts of objects change nothing else", async () => {
  const models = ["gpt-5.5", ...ALIASES];
  await using fleet = await startFleet({
    accounts: { a: { supportedModels: models } },
  });
  const rate_limit = {
    allowed: true,
    limit_reached: false,
    primary_window: { used_percent: 1, limit_window_seconds: 60 },
  };
  fleet.fake.account("a").usageOverride = (payload) =>
    JSON.stringify({
      ...payload,
      additional_rate_limits: ALIASES.map((it) => ({
        metered_feature: it,
        rate_limit,
      })),
    }).replace(
      /\}$/,
      `,"__proto__":{"allowed":false,"polluted":1},"model_usage":{"__proto__":{"available":true},"constructor":{"available":true}}}`,
    );
  const report = await fleet.rotator.refresh();
  assertEquals(report.accounts[0]?.ok, true);
  for (const model of models) {
    assertEquals((await fleet.ask({ model })).status, 200);
  }
  assertEquals(({} as { polluted?: unknown }).polluted, undefined);
});

test("an alias that looks like a path leaves nothing outside the store's folder", async () => {
  const aliases = [
    "../../outside",
    "/tmp/codex-rotator-outside",
    "a/b",
    "..",
    "..\\..\\outside",
    "file\0name",
  ];
  const outer = await mkdtemp(join(tmpdir(), "codex-rotator-hostile-"));
  const folder = join(outer, "one", "two");
  await mkdir(folder, { recursive: true });
  const fake = await startFakeCodex({ accounts: { a: {} } });
  try {
    const path = join(folder, "accounts.json");
    const accounts = Object.fromEntries(aliases.map((alias) => {
      const { access, refresh } = fake.tokens("a", { lifetimeMs: -HOUR });
      // no identity, so that the alias is all that a lock could be named by
      return [alias, { tokens: { access, refresh } }];
    }));
    await writeFile(path, JSON.stringify({ version: 1, accounts }));
    const { backend, issuer } = fake;
    await using rotator = createRotator({ store: path, backend, issuer });
    const report = await rotator.refresh();
    assertEquals(
      report.accounts.map(({ tokenRefreshed }) => tokenRefreshed),
      aliases.map(() => true),
    );
    const flags = ["--store", path, "--backend", backend, "--issuer", issuer];
    for (const alias of aliases) {
      assertEquals((await run(["rename", "x", alias, ...flags])).code, 2);
      await run(["use", alias, ...flags]);
      assertEquals((await run(["remove", alias, ...flags])).code, 0);
    }
    assertEquals(
      (await readdir(outer, { recursive: true })).sort(),
      [
        "one",
        "one/two",
        "one/two/accounts.json",
        "one/two/accounts.json.bak",
        "one/two/accounts.json.bak.2",
        "one/two/accounts.json.bak.3",
      ].map((it) => join(".", ...it.split("/"))),
    );
    const strays = (await readdir("/tmp").catch(() => []))
      .filter((name) => name.startsWith("codex-rotator-outside"));
    assertEquals(strays, []);
  } finally {
    await fake.close();
    await rm(outer, { recursive: true });
  }
});

const UNSAFE = [
  "http://evil.example/backend-api",
  "http://127.0.0.1.evil.example",
  "http://localhost.evil.example",
  "http://127.0.0.1@evil.example",
  "http://0.0.0.0:8080",
  "http://192.168.1.5",
  "http://[::ffff:10.0.0.1]/",
  "ftp://127.0.0.1/",
  "https://user:secret@chatgpt.com/backend-api",
  "javascript:alert(1)",
];

test("tokens are sent unencrypted to no other machine, by option or by flag", async () => {
  for (const url of UNSAFE) {
    assertThrows(() => createRotator({ backend: url }), TypeError, "backend");
    assertThrows(() => createRotator({ issuer: url }), TypeError, "issuer");
    for (const flag of ["--backend", "--issuer"]) {
      await using it = await bench({ a: { tokens: { access: "x" } } });
      const { code, out, err } = await it.run("refresh", flag, url);
      assertEquals([code, out], [2, ""], `${flag} ${url}`);
      assert(!err.includes("secret"), err);
    }
  }
});

test("no redirect is followed with a token", async () => {
  await using elsewhere = await startFakeCodex();
  const redirect = `${elsewhere.issuer}/oauth/token`;
  for (const status of [301, 302, 303, 307, 308]) {
    await using fleet = await startFleet({
      fake: { accessLifetimeMs: -HOUR },
      credits: "none",
      accounts: { a: {}, b: { accessLifetimeMs: HOUR } },
    });
    fleet.fake.account("a").tokenAlways = { redirect, status };
    fleet.fake.account("b").usageAlways = { redirect, status };
    await fleet.rotator.refresh();
    await fleet.ask();
    assert(fleet.fake.log.some(({ kind }) => kind === "token"));
    assert(fleet.fake.log.some(({ kind }) => kind === "usage"));
  }
  assertEquals(elsewhere.log, []);
});

/** How each runtime takes a file of variables; Bun does without being asked. */
const ENV_FILE = {
  deno: ["--env-file=.env"],
  node: ["--env-file=.env"],
  bun: [],
};

/** A folder with such a file in it, as somebody else's project may have. */
async function withProject(test: (folder: string) => Promise<void>) {
  const folder = await mkdtemp(join(tmpdir(), "codex-rotator-project-"));
  try {
    const lines = ["BACKEND", "ISSUER"].map((it) =>
      `CODEX_ROTATOR_${it}_URL=https://evil.example/${it.toLowerCase()}\n`
    );
    await writeFile(join(folder, ".env"), lines.join(""));
    await test(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

testOnDeno(
  "a project's .env does not change where the library sends tokens",
  () =>
    withProject(async (folder) => {
      const script = `
      import { createRotator, memoryStore } from ${
        JSON.stringify(`${ROOT}mod.ts`)
      };
      import process from "node:process";
      const urls = [process.env.CODEX_ROTATOR_BACKEND_URL];
      const rotator = createRotator({
        store: memoryStore({ accounts: {
          a: { tokens: { access: "", refresh: "r" } },
          b: { tokens: { access: "x" } },
        } }),
        fetch: (url) => {
          urls.push(new URL(url).host);
          return Promise.resolve(new Response("{}", { status: 500 }));
        },
      });
      await rotator.refresh();
      await rotator.close();
      console.log(urls.sort().join(" "));
    `;
      await writeFile(join(folder, "use.mjs"), script);
      for (const runtime of RUNTIMES) {
        const [program, ...flags] = commandOf(runtime);
        const ran = await spawn(
          [program!, ...flags, ...ENV_FILE[runtime], "use.mjs"],
          { cwd: folder },
        );
        assertEquals(
          [ran.code, ran.out],
          [
            0,
            "auth.openai.com chatgpt.com https://evil.example/backend\n",
          ],
          `${runtime}: ${ran.err}`,
        );
      }
    }),
);

testOnDeno(
  "the command line refuses to send tokens where a project's .env says",
  () =>
    withProject(async (folder) => {
      const bundled = join(folder, "cli.mjs");
      await writeBundle(bundled);
      const store = join(folder, "accounts.json");
      const accounts = { a: { tokens: { access: "x", refresh: "r" } } };
      await writeFile(store, JSON.stringify({ version: 1, accounts }));
      for (const runtime of RUNTIMES) {
        const flags = ENV_FILE[runtime];
        const start = [...commandOf(runtime), ...flags, bundled];
        for (const args of [["refresh"], ["login", "--device"], ["serve"]]) {
          const ran = await spawn([...start, ...args, "--store", store], {
            cwd: folder,
          });
          assertEquals([ran.code, ran.out], [2, ""], `${runtime} ${args}`);
          assertStringIncludes(
            ran.err,
            "evil.example, and the environment may",
          );
        }
      }
    }),
);
