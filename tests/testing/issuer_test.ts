import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import type { FakeCodex } from "../../lib/testing/fake_codex.ts";
import { test } from "../test.ts";
import {
  type Answer,
  authorized,
  CLIENT_ID,
  NOON,
  read,
  startAlice,
} from "./client.ts";

const VERIFIER = "v".repeat(43);
const CHALLENGE = createHash("sha256").update(VERIFIER).digest("base64url");
const REDIRECT = "http://localhost:1455/auth/callback";

async function postJson(url: string, body: unknown): Promise<Answer> {
  const headers = { "content-type": "application/json" };
  // A stream, as Deno may send any other body twice when a connection is cut.
  const stream = new Blob([JSON.stringify(body)]).stream();
  const init = { method: "POST", headers, body: stream, duplex: "half" };
  return read(await fetch(url, init));
}

function refresh(
  fake: FakeCodex,
  refresh_token: string,
  changes: Record<string, string> = {},
): Promise<Answer> {
  return postJson(`${fake.issuer}/oauth/token`, {
    client_id: CLIENT_ID,
    grant_type: "refresh_token",
    refresh_token,
    ...changes,
  });
}

async function exchange(
  fake: FakeCodex,
  code: string,
  changes: Record<string, string> = {},
): Promise<Answer> {
  const body = new URLSearchParams({
    grant_type: "authorization_code",
    client_id: CLIENT_ID,
    code,
    redirect_uri: REDIRECT,
    code_verifier: VERIFIER,
    ...changes,
  });
  const url = `${fake.issuer}/oauth/token`;
  return read(await fetch(url, { method: "POST", body }));
}

async function authorize(
  fake: FakeCodex,
  changes: Record<string, string> = {},
): Promise<Answer> {
  const query = new URLSearchParams({
    response_type: "code",
    client_id: CLIENT_ID,
    redirect_uri: REDIRECT,
    scope: "openid profile email offline_access",
    code_challenge: CHALLENGE,
    code_challenge_method: "S256",
    state: "s&t",
    id_token_add_organizations: "true",
    codex_cli_simplified_flow: "true",
    ...changes,
  });
  const url = `${fake.issuer}/oauth/authorize?${query}`;
  return read(await fetch(url, { redirect: "manual" }));
}

/** The code that a sign-in at once ends in. */
async function codeOf(fake: FakeCodex): Promise<string> {
  const { headers } = await authorize(fake);
  const url = new URL(headers.get("location") ?? "");
  assertEquals(url.origin + url.pathname, REDIRECT);
  assertEquals(url.searchParams.get("state"), "s&t");
  return url.searchParams.get("code") ?? "";
}

async function accepts(fake: FakeCodex, access: string, account = "alice") {
  const headers = authorized({ ...fake.tokens(account), access });
  const answer = await fetch(`${fake.backend}/wham/usage`, { headers });
  await answer.body?.cancel();
  return answer.ok;
}

// deno-lint-ignore no-explicit-any
function claims(jwt: string): any {
  const [header, payload, ...rest] = jwt.split(".").map((part) =>
    part.replaceAll("-", "+").replaceAll("_", "/")
  );
  assertEquals(rest.length, 1);
  assertEquals(JSON.parse(atob(header!)).typ, "JWT");
  return JSON.parse(atob(payload!));
}

test("tokens() mints what the issuer would", async () => {
  const alice = { plan: "pro", fedramp: true, accessLifetimeMs: 5000 };
  await using site = await startAlice(alice);
  const { fake } = site;
  const tokens = fake.tokens("alice");
  assertEquals(tokens.accountId, "account-alice");
  assertEquals(tokens.expiresAt, NOON + 5000);
  const access = claims(tokens.access);
  assertEquals(access.exp, NOON / 1000 + 5);
  const id = claims(tokens.id);
  assertEquals(id.email, "alice@example.com");
  assertEquals(id["https://api.openai.com/profile"].email, id.email);
  for (const { ["https://api.openai.com/auth"]: auth } of [access, id]) {
    assertEquals(auth, {
      chatgpt_plan_type: "pro",
      chatgpt_user_id: "user-alice",
      user_id: "user-alice",
      chatgpt_account_id: "account-alice",
      chatgpt_account_is_fedramp: true,
    });
  }
  assert(fake.canary.length > 10);
  for (const token of [tokens.access, tokens.id, tokens.refresh]) {
    assert(token.includes(fake.canary));
  }
  assert(!JSON.stringify(access).includes(fake.canary));
});

test("token() rotates refresh tokens that serve once", async () => {
  await using site = await startAlice({}, { accessLifetimeMs: 60_000 });
  const { fake, clock } = site;
  const first = fake.tokens("alice");
  clock.now += 10_000;
  const second = await refresh(fake, first.refresh);
  assertEquals(Object.keys(second.json), [
    "id_token",
    "access_token",
    "refresh_token",
  ]);
  assertEquals(claims(second.json.access_token).exp, NOON / 1000 + 70);
  assert(await accepts(fake, second.json.access_token));
  assert(await accepts(fake, first.access));
  assertEquals((await refresh(fake, second.json.refresh_token)).status, 200);
  const kinds = fake.log.filter((entry) => entry.kind === "token");
  assertEquals(kinds.map((entry) => entry.account), ["alice", "alice"]);
  assertEquals(fake.violations, []);
});

test("token() revokes the family when a spent token is shown", async () => {
  await using site = await startAlice();
  const { fake } = site;
  const other = fake.tokens("alice");
  const { refresh: spent } = fake.tokens("alice");
  const { refresh_token: newest } = (await refresh(fake, spent)).json;
  const reused = await refresh(fake, spent);
  assertEquals([reused.status, reused.json.error.code], [
    401,
    "refresh_token_reused",
  ]);
  assertEquals(fake.violations, [
    "Request 2 showed a spent refresh token of alice",
  ]);
  const { status, json } = await refresh(fake, newest);
  assertEquals([status, json.error.code], [401, "refresh_token_invalidated"]);
  assertEquals((await refresh(fake, other.refresh)).status, 200);
});

test("token() refuses what it does not know and what was revoked", async () => {
  await using site = await startAlice();
  const { fake } = site;
  const { refresh: token } = fake.tokens("alice");
  const outcome = async (shown: string, changes?: Record<string, string>) => {
    const { status, json } = await refresh(fake, shown, changes);
    return [status, json.error?.code ?? json.error];
  };
  assertEquals(await outcome("rt_made_up"), [400, "invalid_grant"]);
  assertEquals(await outcome(token, { client_id: "other" }), [
    401,
    "invalid_client",
  ]);
  assertEquals(await outcome(token, { grant_type: "password" }), [
    400,
    "unsupported_grant_type",
  ]);
  fake.revoke("alice", "all");
  assertEquals(await outcome(token), [401, "refresh_token_invalidated"]);
  const again = fake.tokens("alice").refresh;
  assertEquals(await outcome(again), [200, undefined]);
  assertEquals(fake.violations, []);
});

test("token() answers as scripted, may hang, and may lose what it spent", async () => {
  await using site = await startAlice();
  const { fake } = site;
  const { refresh: token } = fake.tokens("alice");
  fake.account("alice").tokenQueue.push(
    { status: 500 },
    { status: 400, body: { error: "invalid_grant" } },
    { hang: true },
    { drop: "before-headers" },
  );
  assertEquals((await refresh(fake, token)).status, 500);
  assertEquals((await refresh(fake, token)).json.error, "invalid_grant");
  const hanging = refresh(fake, token).catch(() => {});
  await fake.seen((entry) => entry.n === 3);
  await assertRejects(() => refresh(fake, token), TypeError);
  const { json } = await refresh(fake, token);
  assertEquals(json.error.code, "refresh_token_reused");
  assertEquals(fake.log.map((entry) => entry.done), [
    true,
    true,
    false,
    true,
    true,
  ]);
  await fake.close();
  await hanging;
});

test("token() answers with the fields that the account says", async () => {
  await using site = await startAlice({ tokenFields: ["access_token"] });
  const { refresh: token } = site.fake.tokens("alice");
  for (let n = 0; n < 2; n++) {
    const { json } = await refresh(site.fake, token);
    assertEquals(Object.keys(json), ["access_token"]);
    assert(await accepts(site.fake, json.access_token));
  }
});

test("authorize() signs in at once and the code is exchanged once", async () => {
  await using site = await startAlice();
  const { fake, clock } = site;
  fake.signInAs = "alice";
  const code = await codeOf(fake);
  const answer = await exchange(fake, code);
  assertEquals(answer.status, 200);
  assert(await accepts(fake, answer.json.access_token));
  assertEquals((await refresh(fake, answer.json.refresh_token)).status, 200);
  assertEquals((await exchange(fake, code)).json.error, "invalid_grant");
  const faults: Record<string, string>[] = [
    { code_verifier: "w".repeat(43) },
    { redirect_uri: REDIRECT.replace("1455", "1457") },
  ];
  for (const fault of faults) {
    const refused = await exchange(fake, await codeOf(fake), fault);
    assertEquals([refused.status, refused.json.error], [400, "invalid_grant"]);
  }
  const asJson = await postJson(`${fake.issuer}/oauth/token`, {
    grant_type: "authorization_code",
    client_id: CLIENT_ID,
    code: await codeOf(fake),
    redirect_uri: REDIRECT,
    code_verifier: VERIFIER,
  });
  assertEquals(asJson.json.error, "invalid_request");
  const late = await codeOf(fake);
  clock.now += 5 * 60_000;
  assertEquals((await exchange(fake, late)).json.error, "invalid_grant");
});

test("authorize() names the parameter that is unfit", async () => {
  await using site = await startAlice();
  site.fake.signInAs = "alice";
  const faults: Record<string, string> = {
    response_type: "token",
    client_id: "other",
    redirect_uri: "http://localhost:1456/auth/callback",
    scope: "openid profile email",
    code_challenge_method: "plain",
    code_challenge: "short",
    state: "",
    id_token_add_organizations: "",
    codex_cli_simplified_flow: "false",
  };
  for (const [name, value] of Object.entries(faults)) {
    const answer = await authorize(site.fake, { [name]: value });
    assertEquals([answer.status, answer.json.error_description], [
      400,
      `Unfit parameter: ${name}`,
    ]);
  }
  const redirect_uri = REDIRECT.replace("1455", "1457");
  assertEquals((await authorize(site.fake, { redirect_uri })).status, 302);
});

test("authorize() denies a sign-in where nobody signs in", async () => {
  await using site = await startAlice();
  const { status, json } = await authorize(site.fake);
  assertEquals([status, json.error], [400, "access_denied"]);
});

test("device login waits for approval and hands out a code", async () => {
  await using site = await startAlice({}, { deviceInterval: 2 });
  const { fake } = site;
  const base = `${fake.issuer}/api/accounts/deviceauth`;
  const begin = async () => {
    const { json } = await postJson(`${base}/usercode`, {
      client_id: CLIENT_ID,
    });
    const { interval, ...device } = json;
    assertEquals(interval, "2");
    return device;
  };
  const poll = (device: unknown) => postJson(`${base}/token`, device);

  const device = await begin();
  assertEquals((await poll(device)).status, 403);
  assertEquals((await poll({ ...device, user_code: "no" })).status, 404);
  fake.approveDevice(device.user_code, "alice");
  const { json } = await poll(device);
  const answer = await exchange(fake, json.authorization_code, {
    redirect_uri: `${fake.issuer}/deviceauth/callback`,
    code_verifier: json.code_verifier,
  });
  assert(await accepts(fake, answer.json.access_token));
  assertEquals((await poll(device)).status, 404);

  const denied = await begin();
  fake.denyDevice(denied.user_code);
  assertEquals((await poll(denied)).json.error, "access_denied");
  const expired = await begin();
  site.clock.now += 15 * 60_000;
  assertEquals((await poll(expired)).json.error, "expired_token");

  const refused = await postJson(`${base}/usercode`, { client_id: "other" });
  assertEquals(refused.status, 401);
  fake.deviceLogin = false;
  const off = await postJson(`${base}/usercode`, { client_id: CLIENT_ID });
  assertEquals(off.status, 404);
  assert(fake.log.some((entry) => entry.kind === "device"));
});
