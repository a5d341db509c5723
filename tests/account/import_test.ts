import { assert, assertEquals, assertThrows } from "@std/assert";
import { isSameLogin } from "../../lib/account/identity.ts";
import { addLogin } from "../../lib/account/import.ts";
import {
  type ImportedLogin,
  type LoginFileKind,
  readLoginFile,
} from "../../lib/account/login_files.ts";
import type { AccountRecord, PoolState } from "../../lib/types.ts";
import { test } from "../test.ts";

const HOUR = 3_600;

function jwt(claims: Record<string, unknown>): string {
  const part = (value: unknown) =>
    btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_")
      .replaceAll("=", "");
  return `${part({ alg: "none" })}.${part(claims)}.signature`;
}

function idToken(changes: Record<string, unknown> = {}): string {
  return jwt({
    email: "me@example.com",
    exp: 2 * HOUR,
    "https://api.openai.com/auth": {
      chatgpt_plan_type: "plus",
      chatgpt_user_id: "user-1",
      chatgpt_account_id: "account-1",
      ...changes,
    },
  });
}

function file(tokens: Record<string, unknown> | undefined): string {
  return JSON.stringify({ auth_mode: "chatgpt", OPENAI_API_KEY: null, tokens });
}

/** The one login of a file. */
function readLogin(text: string, kind?: LoginFileKind): ImportedLogin {
  return readLoginFile(text, "auth.json", kind).logins[0]!.login;
}

function login(changes: Partial<ImportedLogin> = {}): ImportedLogin {
  return {
    tokens: { access: "access-1", refresh: "refresh-1", expiresAt: 5_000 },
    email: "me@example.com",
    plan: "plus",
    userId: "user-1",
    accountId: "account-1",
    fedramp: false,
    ...changes,
  };
}

function pool(accounts: Record<string, AccountRecord> = {}): PoolState {
  return { version: 1, settings: {}, accounts };
}

test("readLoginFile() reads tokens and what their claims say", () => {
  const access = jwt({ exp: HOUR });
  const id = idToken({ chatgpt_account_is_fedramp: true });
  const read = readLogin(
    "\ufeff" + file({
      id_token: id,
      access_token: access,
      refresh_token: "r",
      account_id: "account-2",
    }),
  );
  assertEquals(read, {
    tokens: { access, refresh: "r", id, expiresAt: HOUR * 1000 },
    email: "me@example.com",
    plan: "plus",
    userId: "user-1",
    // the one that the file's owner works with
    accountId: "account-2",
    fedramp: true,
  });
});

test("readLoginFile() finds the claims in the access token when there is no other", () => {
  const read = readLogin(file({ access_token: idToken() }));
  assertEquals(read.userId, "user-1");
  assertEquals(read.accountId, "account-1");
  assertEquals(read.email, "me@example.com");
  assertEquals(Object.keys(read.tokens).sort(), ["access", "expiresAt"]);
});

test("readLoginFile() says what is wrong, and never quotes the file", () => {
  const cases: [string, string][] = [
    ["canary{", "is not a login file"],
    ['["canary"]', "is not a login file"],
    ["", "is not a login file"],
    [JSON.stringify({ OPENAI_API_KEY: "canary" }), "holds an API key only"],
    [file(undefined), "holds no ChatGPT login"],
    [file({ refresh_token: "canary" }), "holds no ChatGPT login"],
    [file({ access_token: 5, id_token: "canary" }), "holds no ChatGPT login"],
    [file({ access_token: "canary\n1" }), "holds no ChatGPT login"],
    [
      JSON.stringify({ personal_access_token: "at-canary" }),
      "holds a personal access token only",
    ],
    [
      file({ access_token: "at-canary" }),
      "holds a personal access token only",
    ],
    [
      JSON.stringify({ agent_identity: { token: "canary" }, tokens: null }),
      "holds an agent identity only",
    ],
    [
      JSON.stringify({
        auth_mode: "chatgptAuthTokens",
        tokens: { access_token: "canary", refresh_token: "" },
      }),
      "holds external tokens only",
    ],
  ];
  for (const [text, message] of cases) {
    const error = assertThrows(
      () => readLogin(text, "codex"),
      Error,
      message,
    );
    assert(error.message.startsWith("auth.json"));
    assert(!error.message.includes("canary"));
  }
});

test("readLoginFile() reads OpenCode's login among those of other providers", () => {
  const access = idToken();
  const text = JSON.stringify({
    anthropic: { type: "oauth", refresh: "x", access: "y", expires: 1 },
    openai: {
      type: "oauth",
      refresh: "r",
      access,
      expires: 9_000_000,
      accountId: "account-1",
    },
  });
  for (const kind of [undefined, "opencode"] as const) {
    assertEquals(readLogin(text, kind), {
      tokens: { access, refresh: "r", expiresAt: 2 * HOUR * 1000 },
      email: "me@example.com",
      plan: "plus",
      userId: "user-1",
      accountId: "account-1",
      fedramp: false,
    });
  }
  const opaque = JSON.stringify({
    openai: { type: "oauth", refresh: "r", access: "a", expires: 9_000 },
  });
  assertEquals(readLogin(opaque).tokens.expiresAt, 9_000);
  const key = JSON.stringify({ openai: { type: "api", key: "canary" } });
  assertThrows(() => readLogin(key), Error, "holds an API key only");
  const none = JSON.stringify({ anthropic: { type: "oauth", access: "x" } });
  assertThrows(() => readLogin(none), Error, "holds no ChatGPT login");
});

test("readLoginFile() reads opencode-multi-auth's accounts and settings", () => {
  const text = JSON.stringify({
    version: 2,
    accounts: {
      work: { accessToken: "a", refreshToken: "r", expiresAt: 7_000 },
      old: {
        accessToken: idToken(),
        idToken: idToken(),
        accountId: "account-9",
        email: "other@example.com",
        enabled: false,
      },
      dead: { email: "dead@example.com" },
    },
    settings: {
      rotationStrategy: "least-used",
      accountWeights: { work: 3, old: -1 },
      creditAccountAliases: ["work"],
    },
  });
  const { kind, logins, without, settings } = readLoginFile(text, "x.json");
  assertEquals(kind, "opencode-multi-auth");
  assertEquals(without, ["dead"]);
  assertEquals(settings, {
    strategy: "least-used",
    creditAccountAliases: ["work"],
  });
  const [work, old] = logins;
  assertEquals([work!.alias, work!.weight, work!.enabled], [
    "work",
    3,
    undefined,
  ]);
  assertEquals(work!.login.tokens, {
    access: "a",
    refresh: "r",
    expiresAt: 7_000,
  });
  assertEquals([old!.weight, old!.enabled], [undefined, false]);
  assertEquals(old!.login.accountId, "account-9");
  assertEquals(old!.login.email, "me@example.com");
});

test("addLogin() links, links anew and unlinks", () => {
  const state = pool();
  const source = { kind: "codex", path: "/x/auth.json" };
  addLogin(state, login(), { source });
  assertEquals(state.accounts.me!.source, source);
  const older = login({ tokens: { access: "old", expiresAt: 1 } });
  addLogin(state, older);
  assertEquals(state.accounts.me!.source, source);
  addLogin(state, login());
  assertEquals(state.accounts.me!.source, undefined);
  addLogin(state, login(), { source });
  assertEquals(state.accounts.me!.source, source);
});

test("addLogin() takes fresh tokens whatever the stored ones say", () => {
  const state = pool();
  addLogin(state, login({ tokens: { access: "a", expiresAt: 9_000 } }));
  state.accounts.me!.auth = { invalidAt: 1, reason: "revoked" };
  const tokens = { access: "b", refresh: "r", expiresAt: 5_000 };
  const added = addLogin(state, login({ tokens }), { fresh: true });
  assertEquals(added, { alias: "me", added: false, stored: true });
  assertEquals(state.accounts.me!.tokens, tokens);
  assertEquals(state.accounts.me!.auth, undefined);
});

test("addLogin() names a new account after its e-mail, then plan, then number", () => {
  const state = pool();
  const aliases = [1, 2, 3, 4].map((n) =>
    addLogin(state, login({ accountId: `account-${n}` })).alias
  );
  assertEquals(aliases, ["me", "me-plus", "me-2", "me-3"]);
  assertEquals(state.accounts["me-plus"], {
    accountId: "account-2",
    userId: "user-1",
    email: "me@example.com",
    plan: "plus",
    tokens: { access: "access-1", refresh: "refresh-1", expiresAt: 5_000 },
  });
});

test("addLogin() makes a valid alias of any e-mail", () => {
  const cases: [string | null, string][] = [
    ["jane.doe+codex@example.com", "jane.doe-codex"],
    ["_x_@example.com", "x_"],
    ["all@example.com", "account"],
    ["天@example.com", "account"],
    ["__proto__@example.com", "proto__"],
    ["constructor@example.com", "constructor"],
    ["x".repeat(100) + "@example.com", "x".repeat(40)],
    [null, "account"],
  ];
  for (const [email, alias] of cases) {
    assertEquals(addLogin(pool(), login({ email })).alias, alias);
  }
});

test("addLogin() takes the alias that is given, unless another has it", () => {
  const state = pool();
  assertEquals(addLogin(state, login(), { alias: "work" }).alias, "work");
  const other = login({ accountId: "account-2" });
  assertThrows(
    () => addLogin(state, other, { alias: "work" }),
    Error,
    "work is another account already",
  );
  assertThrows(
    () => addLogin(state, other, { alias: "none" }),
    Error,
    "none cannot be an alias",
  );
  assertEquals(Object.keys(state.accounts), ["work"]);
});

test("addLogin() updates a known person and workspace instead of adding it again", () => {
  const state = pool();
  addLogin(state, login(), { alias: "work" });
  Object.assign(state.accounts.work!, {
    auth: { invalidAt: 1, reason: "gone" },
    cooldowns: {
      token: { until: 9, setAt: 1 },
      throttle: { until: 9, setAt: 1 },
    },
    requests: 7,
    weight: 3,
  });
  const tokens = { access: "access-2", refresh: "refresh-2", expiresAt: 9_000 };
  const added = addLogin(state, login({ tokens, plan: "pro" }), {
    alias: "other",
  });
  assertEquals(added, { alias: "work", added: false, stored: true });
  assertEquals(state.accounts, {
    work: {
      accountId: "account-1",
      userId: "user-1",
      email: "me@example.com",
      plan: "pro",
      tokens,
      cooldowns: { throttle: { until: 9, setAt: 1 } },
      requests: 7,
      weight: 3,
    },
  });
});

test("addLogin() never replaces newer tokens by older ones", () => {
  const newer = { access: "newer", expiresAt: 9_000 };
  const older = { access: "older", expiresAt: 8_999 };
  const state = pool();
  addLogin(state, login({ tokens: newer }));
  const again = addLogin(state, login({ tokens: older }));
  assertEquals(again, { alias: "me", added: false, stored: false });
  assertEquals(state.accounts.me!.tokens, newer);
});

test("addLogin() never replaces tokens by ones whose age cannot be told", () => {
  const known = { access: "known", expiresAt: 9_000 };
  const opaque = { access: "opaque", refresh: "r" };
  for (const stored of [known, { access: "opaque too" }]) {
    const state = pool();
    addLogin(state, login({ tokens: stored }));
    const again = addLogin(state, login({ tokens: opaque }));
    assertEquals(again, { alias: "me", added: false, stored: false });
    assertEquals(state.accounts.me!.tokens, stored);
  }
  const state = pool({ me: { userId: "user-1", accountId: "account-1" } });
  assertEquals(addLogin(state, login({ tokens: opaque })).stored, true);
  const signIn = { fresh: true };
  const fresh = login({ tokens: { access: "new", refresh: "r2" } });
  assertEquals(addLogin(state, fresh, signIn).stored, true);
});

test("addLogin() tells the age of tokens by their claims when nothing else does", () => {
  const at = (exp: number) => ({ access: "x" + exp, id: jwt({ exp }) });
  const state = pool({
    me: { userId: "user-1", accountId: "account-1", tokens: at(200) },
  });
  assertEquals(addLogin(state, login({ tokens: at(100) })).stored, false);
  assertEquals(addLogin(state, login({ tokens: at(300) })).stored, true);
  assertEquals(state.accounts.me!.tokens!.access, "x300");
});

test("addLogin() keeps a needed sign-in when the same dead tokens come again", () => {
  const state = pool();
  addLogin(state, login());
  state.accounts.me!.auth = { invalidAt: 1, reason: "revoked" };
  addLogin(state, login());
  assertEquals(state.accounts.me!.auth, { invalidAt: 1, reason: "revoked" });
});

test("addLogin() tells people of one workspace and workspaces of one person apart", () => {
  const state = pool();
  const logins = [
    login(),
    login({ userId: "user-2", email: "you@example.com" }),
    login({ accountId: "account-2" }),
    login({ userId: null, email: "third@example.com" }),
  ];
  for (const it of logins) assert(addLogin(state, it).added);
  // the e-mail tells, where the user id is not known
  assertEquals(
    addLogin(state, login({ userId: null, email: "you@example.com" })).alias,
    "you",
  );
  assertEquals(Object.keys(state.accounts).length, 4);
});

test("addLogin() forgets that an account is the government's only where a login says so", () => {
  const known = { accountId: "account-1", userId: "user-1", fedramp: true };
  const state = pool({ gov: { ...known, tokens: { access: "old" } } });
  addLogin(state, login());
  assertEquals(state.accounts.gov!.fedramp, true);
  const tokens = { access: "access-2", refresh: "refresh-2", id: idToken() };
  addLogin(state, login({ tokens }), { fresh: true });
  assertEquals(state.accounts.gov!.fedramp, undefined);
});

test("isSameLogin() knows a file that names no workspace, also where the account's tokens do", () => {
  const { tokens } = login();
  const account = { tokens: { ...tokens, id: idToken() } };
  assertEquals(isSameLogin(account, login({ accountId: null })), true);
  assertEquals(isSameLogin(account, login()), true);
  assertEquals(isSameLogin(account, login({ accountId: "other" })), false);
});

test("addLogin() takes back what held against the old tokens, and that they were asked with", () => {
  const known = { accountId: "account-1", userId: "user-1" };
  const state = pool({
    me: {
      ...known,
      tokens: { access: "old" },
      auth: { invalidAt: 1, reason: "signed out" },
      usageCheck: { askedAt: 1, failedAt: 1, error: "refused" },
      cooldowns: {
        token: { until: 2, setAt: 1 },
        throttle: { until: 2, setAt: 1 },
      },
    },
  });
  addLogin(state, login(), { fresh: true });
  const { auth, usageCheck, cooldowns } = state.accounts.me!;
  assertEquals([auth, usageCheck], [undefined, undefined]);
  assertEquals(Object.keys(cooldowns!), ["throttle"]);
});
