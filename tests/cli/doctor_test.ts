import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import {
  chmod,
  readFile,
  rename,
  rm,
  utimes,
  writeFile,
} from "node:fs/promises";
import {
  type FakeCodex,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import type { Finding } from "../../lib/cli/messages.ts";
import type { AccountRecord, Settings } from "../../lib/types.ts";
import { tempFolder, test } from "../test.ts";
import { account, bench, run } from "./run.ts";

/** A store with the stand-in's accounts in it. */
async function online(
  fake: FakeCodex,
  records: Record<string, AccountRecord>,
  settings: Settings = {},
) {
  const accounts = Object.entries(records).map(([name, changes]) => {
    const { access, refresh, id, expiresAt } = fake.tokens(name);
    const tokens = { access, refresh, id, expiresAt };
    return [name, account(name, { tokens, ...changes })];
  });
  const it = await bench(Object.fromEntries(accounts), settings);
  const flags = ["--backend", fake.backend, "--issuer", fake.issuer];
  return {
    it,
    run: (...args: string[]) => it.run("doctor", ...flags, ...args),
    [Symbol.asyncDispose]: () => it[Symbol.asyncDispose](),
  };
}

interface Section {
  title: string;
  findings: Finding[];
}

function findings(json: string, title: string): Finding[] {
  const sections: Section[] = JSON.parse(json).sections;
  return sections.find((it) => it.title === title)?.findings ?? [];
}

function problems(json: string): string[] {
  const sections: Section[] = JSON.parse(json).sections;
  return sections.flatMap((it) => it.findings)
    .filter((it) => it.level === "problem").map((it) => it.text);
}

test("doctor finds nothing wrong where all is well, and masks e-mails", async () => {
  await using fake = await startFakeCodex({ accounts: { me: {} } });
  await using s = await online(fake, { me: {} });
  const { code, out, err } = await s.run();
  assertEquals([code, err], [0, ""]);
  for (
    const text of [
      "No variable overrides a setting",
      `${s.it.path}: version 1, 1 account, mode 0600`,
      "Its backup was written just now",
      "It is not locked",
      `The backend ${fake.backend} answers`,
      `The issuer ${fake.issuer} answers`,
      "The clock agrees with theirs",
      "me (m…@e….com, plus): included",
      "Nothing is wrong.",
    ]
  ) assertStringIncludes(out, text);
  assert(!out.includes(fake.canary) && !out.includes("me@example.com"));
  assertStringIncludes((await s.run("--emails")).out, "me@example.com");
});

test("doctor --offline asks nobody and changes no account", async () => {
  await using fake = await startFakeCodex({ accounts: { me: {} } });
  await using s = await online(fake, { me: {} });
  const before = await readFile(s.it.path, "utf8");
  const { code, out } = await s.run("--offline");
  assertEquals(code, 0);
  assertStringIncludes(out, "unknown, never seen");
  assertEquals(fake.log.length, 0);
  assertEquals(await readFile(s.it.path, "utf8"), before);
});

test("doctor says of each account what keeps it from serving", async () => {
  await using fake = await startFakeCodex({
    accounts: { broken: { usageAlways: { status: 500 } }, off: {}, out: {} },
  });
  await using s = await online(fake, {
    broken: { userId: "u", accountId: "a" },
    off: { enabled: false, tokens: { access: "x" } },
    out: { auth: { invalidAt: 1, reason: "The sign-in was revoked" } },
  });
  const state = s.it.state();
  state.accounts.twin = { ...account("twin"), userId: "u", accountId: "a" };
  state.accounts.twin.enabled = false;
  await writeFile(s.it.path, JSON.stringify(state));
  const { code, out } = await s.run("--json");
  assertEquals(code, 1);
  const found = findings(out, "Accounts");
  const about = (alias: string, level: string) =>
    found.find((it) => it.text.startsWith(alias) && it.level === level);
  assertEquals(
    about("broken", "problem")?.advice,
    `try again with: cli.ts refresh broken --store ${s.it.path}`,
  );
  assertStringIncludes(about("off", "note")?.advice ?? "", "cli.ts enable off");
  assertStringIncludes(about("off", "warning")?.text ?? "", "no refresh token");
  assertStringIncludes(about("out", "problem")?.text ?? "", "was revoked");
  assertStringIncludes(
    about("out", "problem")?.advice ?? "",
    "cli.ts login out",
  );
  assertStringIncludes(
    problems(out).join(),
    "broken and twin are the same person",
  );
  assert(!out.includes(fake.canary) && !out.includes("canary"));
});

test("doctor looks at linked files", async () => {
  await using fake = await startFakeCodex({ accounts: { me: {}, you: {} } });
  const folder = await tempFolder();
  const write = async (name: string, who: string) => {
    const { access, refresh, id, accountId } = fake.tokens(who);
    const tokens = {
      access_token: access,
      refresh_token: refresh,
      id_token: id,
      account_id: accountId,
    };
    await writeFile(join(folder, name), JSON.stringify({ tokens }));
  };
  await write("right.json", "me");
  await write("wrong.json", "you");
  await writeFile(join(folder, "torn.json"), "{");
  const { userId, accountId } = fake.account("me");
  for (
    const [name, level, text] of [
      ["right.json", "ok", "holds the same sign-in"],
      ["wrong.json", "problem", "holds another person or workspace"],
      ["torn.json", "warning", "holds no login that can be read"],
      ["gone.json", "warning", "is gone"],
    ] as const
  ) {
    const source = { kind: "codex", path: join(folder, name) };
    await using s = await online(fake, { me: { source, userId, accountId } });
    const { out } = await s.run("--offline", "--json");
    const found = findings(out, "Accounts").find((it) =>
      it.text.includes(name)
    );
    assertEquals(found?.level, level, name);
    assertStringIncludes(found?.text ?? "", text);
    assert(!out.includes(fake.canary));
  }
  await rm(folder, { recursive: true });
});

test("doctor says what is wrong with the settings", async () => {
  await using it = await bench({ alice: account("alice") }, {
    strategy: "fastest",
    creditAccountAliases: ["bob"],
    pinned: "carol",
  });
  const { code, out } = await it.run("doctor", "--offline");
  assertEquals(code, 1);
  for (
    const text of [
      "strategy fastest, which is not known: round-robin is used",
      "Only bob may spend purchased credits (set in the store)",
      "names accounts that do not exist: bob",
      "cli.ts credits NAMES",
      "Nobody serves, as carol is pinned and does not exist",
      "→ cli.ts use --auto",
      "1 problem, 2 warnings.",
    ]
  ) assertStringIncludes(out, text);
});

test("doctor names the variables that override settings, not their secrets", async () => {
  await using it = await bench({ alice: account("alice") });
  const { out } = await run(
    ["doctor", "--offline"],
    {
      CODEX_ROTATOR_STORE: it.path,
      CODEX_ROTATOR_CREDIT_ACCOUNTS: "alice",
      CODEX_ROTATOR_DEBUG: "1",
      CODEX_ROTATOR_SERVE_KEY: "canary-key",
    },
  );
  assertStringIncludes(out, `CODEX_ROTATOR_STORE names the store: ${it.path}`);
  assertStringIncludes(out, "whatever the store says: alice");
  assertStringIncludes(out, "unset CODEX_ROTATOR_CREDIT_ACCOUNTS");
  assertStringIncludes(out, "CODEX_ROTATOR_SERVE_KEY holds the key of serve");
  assert(!out.includes("canary"));
});

test("doctor says what is wrong with the store", async () => {
  const examine = async (spoil: (path: string, folder: string) => unknown) => {
    await using it = await bench({ alice: account("alice") });
    await spoil(it.path, it.folder);
    const { code, out } = await it.run("doctor", "--offline", "--json");
    const found = findings(out, "Store")
      .map(({ level, text, advice }) => `${level}: ${text}; ${advice ?? ""}`);
    return { code, found: found.join("\n") };
  };
  const torn = await examine((path) => writeFile(path, "{"));
  assertEquals(torn.code, 1);
  assert(torn.found.startsWith("problem: "), torn.found);
  const open = await examine((path) => chmod(path, 0o644));
  assertStringIncludes(open.found, "warning: The store");
  assertStringIncludes(open.found, "was open to other users");
  const folder = await examine((_, folder) => chmod(folder, 0o777));
  assertStringIncludes(folder.found, "chmod go-w ");
  const orphan = await examine(async (path) => {
    await rename(path, `${path}.bak`);
  });
  assertEquals(orphan.code, 1);
  assertStringIncludes(orphan.found, "cli.ts restore");
  const newer = await examine((path) =>
    writeFile(path, `{"version":99,"accounts":{}}`)
  );
  assertStringIncludes(newer.found, "99");
});

test("doctor takes a lock that a dead program left behind for what it is", async () => {
  await using it = await bench({ alice: account("alice") });
  const lock = `${it.path}.lock`;
  await writeFile(lock, "0123456789abcdef01234567 00000001\n");
  await utimes(lock, new Date(), new Date(Date.now() - 60_000));
  const { code, out } = await it.run("doctor", "--offline");
  assertEquals(code, 0);
  assertStringIncludes(out, "its holder has ended");
});

test("doctor without an account ends with 4 and names what adds one", async () => {
  await using it = await bench();
  const { code, out } = await it.run("doctor", "--offline");
  assertEquals(code, 4);
  assertStringIncludes(out, `There is no store yet at ${it.path}`);
  assertStringIncludes(out, "cli.ts login");
});

test("doctor says who cannot be reached, and goes on", async () => {
  await using it = await bench({ alice: account("alice") });
  const nobody = "http://127.0.0.1:9";
  const { code, out } = await it.run(
    ...["doctor", "--json", "--backend", nobody, "--issuer", nobody],
  );
  assertEquals(code, 1);
  assertStringIncludes(
    problems(out).join("\n"),
    `The backend ${nobody} cannot be`,
  );
  assertStringIncludes(
    problems(out).join("\n"),
    `The issuer ${nobody} cannot be`,
  );
  assertStringIncludes(problems(out).join("\n"), "asking for its usage failed");
});

test("doctor refuses a backend from the environment that is not this machine", async () => {
  await using it = await bench({ alice: account("alice") });
  const { code, out } = await run(["doctor", "--json", "--store", it.path], {
    CODEX_ROTATOR_BACKEND_URL: "https://evil.example",
    CODEX_ROTATOR_ISSUER_URL: "http://127.0.0.1:9",
  });
  assertEquals(code, 1);
  assertStringIncludes(
    problems(out).join("\n"),
    "may name loopback hosts only",
  );
  assertStringIncludes(out, "spell it out: --backend");
});

test("doctor compares the clock with the backend's", async () => {
  await using fake = await startFakeCodex({ accounts: { me: {} } });
  await using s = await online(fake, { me: {} });
  const args = ["--store", s.it.path, "--backend", fake.backend];
  for (
    const [ahead, level, words] of [
      [10 * 60_000, "problem", "m ahead"],
      [-10 * 60_000, "problem", "m behind"],
      [20_000, "ok", "s ahead, which does no harm"],
    ] as const
  ) {
    const { out } = await run(
      ["doctor", "--json", ...args, "--issuer", fake.issuer],
      {},
      { now: () => Date.now() + ahead },
    );
    const clock = findings(out, "Network").at(-1);
    assertEquals(clock?.level, level);
    assertStringIncludes(clock?.text ?? "", words);
  }
});
