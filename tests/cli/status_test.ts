import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { dirname } from "@std/path";
import { chmod, writeFile } from "node:fs/promises";
import process from "node:process";
import {
  type FakeCodex,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import type { AccountRecord, Settings } from "../../lib/types.ts";
import type { StatusReport } from "../../lib/report_types.ts";
import { test } from "../test.ts";
import { account, bench, run } from "./run.ts";

/** A window of five hours, observed just now. */
function used(usedPercent: number, changes: AccountRecord = {}): AccountRecord {
  const observedAt = Date.now();
  const windows = [{
    usedPercent,
    windowSeconds: 18_000,
    resetsAt: observedAt + 8_040_000,
  }];
  return {
    usage: { observedAt, meters: { codex: { windows } } },
    credits: {
      observedAt,
      hasCredits: false,
      unlimited: false,
      balance: "0",
    },
    ...changes,
  };
}

function credits(balance: string): AccountRecord {
  return {
    credits: {
      observedAt: Date.now(),
      hasCredits: true,
      unlimited: false,
      balance,
    },
  };
}

const login = { auth: { invalidAt: 1, reason: "The sign-in was revoked" } };

test("status shows a row per account and what they add up to", async () => {
  await using it = await bench({
    alice: account("alice", used(42)),
    bob: account("bob", { ...used(100), ...credits("12.5") }),
    carol: account("carol", login),
  }, { creditAccountAliases: ["bob", "zoe"] });
  const { code, out, err } = await it.run("status");
  assertEquals([code, err], [0, ""]);
  assertStringIncludes(out, "→ alice");
  assertStringIncludes(out, "42% used  2h14m");
  assertMatch(out, /bob +plus +on credits until .* 100% used .* 12\.5 +0/);
  assertStringIncludes(out, "The sign-in was revoked");
  assertStringIncludes(
    out,
    "1 of 3 on included usage, 1 on credits, 1 blocked",
  );
  assertStringIncludes(out, "Only bob, zoe may spend purchased credits");
  assertStringIncludes(out, "accounts that do not exist: zoe");
});

test("status ALIAS shows the accounts named, and refuses a name that nobody bears", async () => {
  await using it = await bench({
    alice: account("alice", used(42)),
    bob: account("bob", used(100)),
  });
  const one = await it.run("status", "bob");
  assertEquals(one.code, 0);
  assertStringIncludes(one.out, "0 of 1 on included usage");
  assertStringIncludes(one.out, "Next: alice\n");
  const { accounts } = JSON.parse(
    (await it.run("status", "bob", "--json")).out,
  );
  assertEquals(accounts.map((it: { alias: string }) => it.alias), ["bob"]);
  assertEquals((await it.run("status", "bob", "--check")).code, 69);
  assertEquals((await it.run("status", "alice", "--check")).code, 0);
  const wrong = await it.run("status", "alcie");
  assertEquals([wrong.code, wrong.out], [2, ""]);
  assertStringIncludes(wrong.err, "(did you mean alice?)");
});

test("status --line is one line, also without an account", async () => {
  await using it = await bench({
    alice: account("alice", used(42)),
    bob: account("bob", used(100)),
  });
  const { code, out, err } = await it.run("status", "--line");
  assertEquals([code, err], [0, ""]);
  assertMatch(out, /^→ alice · 1 of 2 can serve · reset (\w+ )?\d\d:\d\d\n$/);
  assertEquals((await it.run("status", "--line", "--json")).code, 2);
  await using none = await bench();
  const empty = await none.run("status", "--line");
  assertEquals([empty.code, empty.out], [4, "no account\n"]);
});

test("status --json is the report alone, without any token", async () => {
  await using it = await bench({
    bob: account("bob", used(100)),
    alice: account("alice", used(42)),
  });
  const { code, out, err } = await it.run("status", "--json");
  assertEquals([code, err], [0, ""]);
  const report: StatusReport = JSON.parse(out);
  assertEquals(report.version, 1);
  assertEquals(report.store, it.path);
  assertEquals(report.next, "alice");
  assertEquals(report.accounts.map((row) => [row.alias, row.standing]), [
    ["alice", "included"],
    ["bob", "blocked"],
  ]);
  assert(!out.includes("canary"));
});

test("status without an account names the command that adds one", async () => {
  await using it = await bench();
  const plain = await it.run("status");
  assertEquals([plain.code, plain.out], [4, ""]);
  assertStringIncludes(plain.err, "cli.ts login");
  const json = await it.run("status", "--json");
  assertEquals(json.code, 4);
  assertEquals(JSON.parse(json.out).accounts, []);
  assertEquals((await it.run("status", "--check")).code, 4);
});

test("status says why a cap cannot be counted, in the row and in JSON, and only under one", async () => {
  const observedAt = Date.now();
  const { usage } = used(100);
  const told = (balance: string | null, unlimited = false) => ({
    credits: { observedAt, hasCredits: true, unlimited, balance },
  });
  const accounts = {
    known: account("known", { usage: usage!, ...told("12.5") }),
    untold: account("untold", { usage: usage!, ...told(null) }),
    unlimited: account("unlimited", { usage: usage!, ...told("1", true) }),
    silent: account("silent", {
      usage: { ...usage!, answeredAt: observedAt },
    }),
  };
  const why: Record<string, string> = {
    silent: "Nothing is told of its credits, so a cap cannot be counted",
    unlimited: "Its credits are unlimited, so a cap cannot be counted",
    untold: "Its balance is not told, so a cap cannot be counted",
  };
  for (const isCapped of [true, false]) {
    const settings: Settings = { creditAccountAliases: "all" };
    if (isCapped) settings.creditCaps = { "*": { day: 5 } };
    await using it = await bench(accounts, settings);
    const { out } = await it.run("status");
    const report: StatusReport = JSON.parse(
      (await it.run("status", "--json")).out,
    );
    const rows = report.accounts.map(({ alias, reason, detail }) => [
      alias,
      reason === "capped" ? detail : null,
    ]);
    const reasons = isCapped ? why : {};
    for (const [alias, detail] of rows) {
      assertEquals(detail, reasons[alias!] ?? null, `${alias} ${isCapped}`);
    }
    for (const text of Object.values(why)) {
      assertEquals(out.includes(text), isCapped, out);
    }
    assertMatch(out, /→ known .* on credits/);
    assertEquals(out.includes("at its credit cap"), false);
  }
});

test("status --check tells by its exit code who can serve", async () => {
  const cases: [string, number, Record<string, AccountRecord>, Settings?][] = [
    ["included", 0, { a: used(1), b: login }],
    ["on credits", 3, { a: { ...used(100), ...credits("5") } }],
    ["unknown", 3, { a: {}, b: login }],
    ["sign-in", 4, { a: login, b: login }],
    ["sign-in, another disabled", 4, { a: login, b: { enabled: false } }],
    ["used up", 69, { a: used(100), b: login }],
    ["disabled", 69, { a: { ...used(1), enabled: false } }],
    ["pinned elsewhere", 69, { a: used(1), b: used(100) }, { pinned: "b" }],
    ["pinned to nobody", 69, { a: used(1) }, { pinned: "z" }],
  ];
  for (const [what, expected, records, settings] of cases) {
    const accounts = Object.fromEntries(
      Object.entries(records).map(([name, it]) => [name, account(name, it)]),
    );
    await using it = await bench(accounts, settings);
    assertEquals((await it.run("status", "--check")).code, expected, what);
    const json = await it.run("status", "--check", "--json");
    assertEquals(json.code, expected, what);
    JSON.parse(json.out);
  }
});

test("status --model asks for that model's meter", async () => {
  await using it = await bench({ alice: account("alice", used(42)) });
  const { out } = await it.run(
    "status",
    "--json",
    "--model",
    "gpt-5.3-codex-spark",
  );
  // a plus account without that meter
  assertEquals(JSON.parse(out).next, null);
});

/** A store with the stand-in's accounts in it. */
async function online(fake: FakeCodex, names: string[]) {
  const records = names.map((name) => {
    const { access, refresh, id, expiresAt } = fake.tokens(name);
    const tokens = { access, refresh, id, expiresAt };
    return [name, account(name, { tokens })];
  });
  const it = await bench(Object.fromEntries(records));
  const flags = ["--backend", fake.backend, "--issuer", fake.issuer];
  return {
    it,
    run: (...args: string[]) => it.run(...args, ...flags),
    [Symbol.asyncDispose]: () => it[Symbol.asyncDispose](),
  };
}

test("status --refresh asks the backend first", async () => {
  await using fake = await startFakeCodex({
    accounts: { alice: { windows: [{ seconds: 18_000, usedPercent: 37 }] } },
  });
  await using s = await online(fake, ["alice"]);
  const before = await s.run("status");
  assertMatch(before.out, /unknown .* never/);
  assertEquals(fake.log.length, 0);
  const after = await s.run("status", "--refresh");
  assertEquals(after.code, 0);
  assertStringIncludes(after.out, "37%");
  assert(!(after.out + after.err).includes(fake.canary));
});

test("refresh reports each account, and fails in part", async () => {
  await using fake = await startFakeCodex({
    accounts: { alice: {}, bob: { usageAlways: { status: 500 } }, carol: {} },
  });
  await using s = await online(fake, ["alice", "bob", "carol"]);
  const { code, out, err } = await s.run("refresh");
  assertEquals([code, err], [1, ""]);
  assertMatch(
    out,
    /alice .* included .*\n.* bob .* unknown .*\n {4}Not refreshed: .*\n.* carol .* included /,
  );
  const json = await s.run("refresh", "--json");
  assertEquals(json.code, 1);
  const report = JSON.parse(json.out);
  assertEquals(report.accounts.map((it: { ok: boolean }) => it.ok), [
    true,
    false,
    true,
  ]);
  const status = await s.run("status", "--refresh");
  assertEquals(status.code, 1);
  assertStringIncludes(status.out, "    Not refreshed: ");
  const again = await s.run("status", "--refresh", "--json");
  assertEquals(again.code, 1);
  assertStringIncludes(again.err, "bob: ");
  JSON.parse(again.out);
  assert(!(out + json.out + status.err).includes(fake.canary));
});

test({
  name: "refresh fails where what was learned cannot be kept, and says so once",
  ignore: process.platform === "win32" || process.getuid?.() === 0,
  async fn() {
    await using fake = await startFakeCodex({
      accounts: { alice: {}, bob: {} },
    });
    await using s = await online(fake, ["alice", "bob"]);
    const folder = dirname(s.it.path);
    await chmod(folder, 0o500);
    try {
      for (const args of [["refresh"], ["status", "--refresh"]]) {
        const { code, err } = await s.run(...args);
        assertEquals(
          [code, err.split("The store could not be written").length],
          [
            1,
            2,
          ],
        );
      }
    } finally {
      await chmod(folder, 0o700);
    }
    assertEquals((await s.run("refresh")).code, 0);
  },
});

test("refresh tells how to sign in again who has to", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {} } });
  await using s = await online(fake, ["alice"]);
  fake.revoke("alice", "all");
  const { code, out } = await s.run("refresh");
  assertEquals(code, 1);
  assertMatch(
    out,
    /alice .* needs a sign-in .*\n {4}Not refreshed: .*\n {4}Sign in again with: cli\.ts login alice/,
  );
});

test("refresh asks for the named accounts only, and renews their tokens", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {}, bob: {} } });
  await using s = await online(fake, ["alice", "bob"]);
  const state = s.it.state();
  state.accounts.bob!.tokens!.expiresAt = Date.now() - 1;
  await writeFile(s.it.path, JSON.stringify(state));
  const { code, out } = await s.run("refresh", "bob");
  assertEquals(code, 0);
  assertMatch(out, /bob .* included .*\n {4}Token renewed\n/);
  assertEquals(out.match(/alice .*included/), null);
  assertEquals(fake.log.map((it) => it.kind), ["token", "usage"]);
  const wrong = await s.run("refresh", "bbo");
  assertEquals(wrong.code, 2);
  assertStringIncludes(wrong.err, "(did you mean bob?)");
});

test("refresh shows progress to a person only", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {}, bob: {} } });
  await using s = await online(fake, ["alice", "bob"]);
  const flags = ["--backend", fake.backend, "--issuer", fake.issuer];
  const { out, err } = await run(
    ["refresh", "--json", "--store", s.it.path, ...flags],
    {},
    { errIsTerminal: true },
  );
  assertStringIncludes(err, "Refreshed 1 of 2");
  JSON.parse(out);
});

test("refresh without an account is valid JSON all the same", async () => {
  await using it = await bench();
  const { code, out, err } = await it.run("refresh", "--json");
  assertEquals(code, 4);
  assertEquals(JSON.parse(out), { version: 1, accounts: [] });
  assertStringIncludes(err, "cli.ts login");
});

test("credits shows who may spend, and sets it", async () => {
  await using it = await bench({
    alice: account("alice", credits("12.5")),
    bob: account("bob"),
  });
  const unset = await it.run("credits");
  assertEquals(unset.code, 0);
  assertStringIncludes(unset.out, "Everyone may spend");
  assertStringIncludes(unset.out, "nothing set");
  const one = await it.run("credits", "bob");
  assertStringIncludes(one.out, "Only bob may spend purchased credits");
  assertStringIncludes(one.out, "alice: 12.5, forbidden");
  assertEquals(it.state().settings.creditAccountAliases, ["bob"]);
  assertStringIncludes((await it.run("credits", "none")).out, "Nobody may");
  assertEquals(it.state().settings.creditAccountAliases, "none");
  assertStringIncludes((await it.run("credits", "all")).out, "Everyone may");
  assertEquals(it.state().settings.creditAccountAliases, "all");
});

test("credits changes nothing when a name is wrong", async () => {
  await using it = await bench({ alice: account("alice") }, {
    creditAccountAliases: "none",
  });
  const cases: [string[], string][] = [
    [["alcie"], "(did you mean alice?)"],
    [["alice", "none"], "none stands alone"],
    [["all", "alice"], "all stands alone"],
    [["a,b"], "cannot be an alias"],
  ];
  for (const [names, message] of cases) {
    const { code, out, err } = await it.run("credits", ...names);
    assertEquals([code, out], [2, ""], names.join(" "));
    assertStringIncludes(err, message);
  }
  assertEquals(it.state().settings.creditAccountAliases, "none");
});
