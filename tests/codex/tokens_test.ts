import { assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  type Claims,
  readClaims,
  readTokenAnswer,
} from "../../lib/codex/tokens.ts";
import { test } from "../test.ts";

const NOTHING: Claims = {
  email: null,
  plan: null,
  userId: null,
  accountId: null,
  fedramp: false,
  expiresAt: null,
  lifetimeMs: null,
};

function jwt(claims: unknown): string {
  const bytes = new TextEncoder().encode(JSON.stringify(claims));
  const payload = btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `e30.${payload}.c2ln`;
}

test("readClaims() reads who a login belongs to", () => {
  const token = jwt({
    email: "jürgen+ÿþ@example.com",
    exp: 1_790_000_000,
    iat: 1_789_136_000,
    "https://api.openai.com/auth": {
      chatgpt_plan_type: "pro",
      chatgpt_user_id: "user-1",
      user_id: "user-2",
      chatgpt_account_id: "acc-1",
      chatgpt_account_is_fedramp: true,
    },
  });
  assertEquals(readClaims(token), {
    email: "jürgen+ÿþ@example.com",
    plan: "pro",
    userId: "user-1",
    accountId: "acc-1",
    fedramp: true,
    expiresAt: 1_790_000_000_000,
    lifetimeMs: 864_000_000,
  });
});

test("readClaims() knows the second place of e-mail and user id", () => {
  const token = jwt({
    "https://api.openai.com/profile": { email: "a@example.com" },
    "https://api.openai.com/auth": { user_id: "user-2" },
  });
  assertEquals(readClaims(token), {
    ...NOTHING,
    email: "a@example.com",
    userId: "user-2",
  });
});

test("readClaims() finds nothing in what is no token", () => {
  const table = [
    undefined,
    "",
    "opaque",
    "a.b",
    "a.b.c.d",
    "a.!!!.c",
    "..",
    jwt(null),
    jwt([1]),
    jwt("text"),
    jwt({
      email: 5,
      exp: "later",
      "https://api.openai.com/auth": "x",
      "https://api.openai.com/profile": null,
    }),
    jwt({ "https://api.openai.com/auth": { chatgpt_account_is_fedramp: 1 } }),
  ];
  for (const token of table) assertEquals(readClaims(token), NOTHING);
});

test("readClaims() and readTokenAnswer() take nothing that no header can carry for an account id or an access token", () => {
  const claims = (chatgpt_account_id: string) =>
    readClaims(jwt({ "https://api.openai.com/auth": { chatgpt_account_id } }));
  assertEquals([claims("acc-1"), claims("acc\n1")], [
    { ...NOTHING, accountId: "acc-1" },
    NOTHING,
  ]);
  const answer = (access_token: string, more = {}) =>
    readTokenAnswer(200, JSON.stringify({ access_token, ...more }));
  const told = { kind: "tokens", refresh: "r", id: undefined } as const;
  assertEquals(answer("good", { refresh_token: "r" }), {
    ...told,
    access: "good",
    lifetimeMs: null,
  });
  // the refresh token is a new one, and must not be lost
  assertEquals(answer("bad\ntoken", { refresh_token: "r" }), {
    ...told,
    access: undefined,
    lifetimeMs: null,
  });
  assertEquals(answer("bad\ntoken").kind, "transient");
});

test("readClaims() survives anything", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    assertEquals(readClaims(text).fedramp, false);
  }));
  fc.assert(fc.property(fc.jsonValue(), (json) => {
    const { expiresAt } = readClaims(jwt(json));
    assertEquals(expiresAt === null || Number.isFinite(expiresAt), true);
  }));
});
