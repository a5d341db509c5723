import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import { startFakeCodex } from "../../lib/testing/fake_codex.ts";
import type { FakeCodex } from "../../lib/testing/fake_codex.ts";
import {
  type Answer,
  authorized,
  CLIENT_ID,
  NOON,
  read,
  startAt,
} from "./fake_client.ts";

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

function refresh(fake: FakeCodex, token: string): Promise<Answer> {
  return postJson(`${fake.issuer}/oauth/token`, {
    client_id: CLIENT_ID,
    grant_type: "refresh_token",
    refresh_token: token,
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

async function accepts(
  fake: FakeCodex,
  access: string,
  account: string,
): Promise<boolean> {
  const tokens = { ...fake.tokens(account), access };
  const url = `${fake.backend}/wham/usage`;
  const answer = await read(await fetch(url, { headers: authorized(tokens) }));
  return answer.status === 200;
}

// deno-lint-ignore no-explicit-any
function claims(jwt: string): any {
  const [header, payload, ...rest] = jwt.split(".");
  assertEquals(rest.length, 1);
  assertEquals(JSON.parse(unpack(header)).typ, "JWT");
  return JSON.parse(unpack(payload));
}

function unpack(part: string | undefined): string {
  return atob((part ?? "").replaceAll("-", "+").replaceAll("_", "/"));
}

Deno.test("tokens() mints what the issuer would", async () => {
  const { fake } = await startAt(NOON, {
    accounts: { alice: { plan: "pro", fedramp: true, accessLifetimeMs: 5000 } },
  });
  const tokens = fake.tokens("alice");
  assertEquals(tokens.accountId, "account-alice");
  assertEquals(tokens.expiresAt, NOON + 5000);
  const access = claims(tokens.access);
  assertEquals(access.exp, NOON / 1000 + 5);
  const id = claims(tokens.id);
  assertEquals(id.email, "alice@example.com");
  assertEquals(id["https://api.openai.com/profile"].email, id.email);
  for (const { ["https://api.openai.com/auth"]: auth } of [access, id]) {
    assertEquals(auth.chatgpt_plan_type, "pro");
    assertEquals(auth.chatgpt_user_id, "user-alice");
    assertEquals(auth.chatgpt_account_id, "account-alice");
    assertEquals(auth.chatgpt_account_is_fedramp, true);
  }
  assert(fake.canary.length > 10);
  for (const token of [tokens.access, tokens.id, tokens.refresh]) {
    assert(token.includes(fake.canary));
  }
  assert(!JSON.stringify(access).includes(fake.canary));
  await fake.close();
});

Deno.test("token() rotates refresh tokens that serve once", async () => {
  const { fake, clock } = await startAt(NOON, {
    accounts: { alice: {} },
    accessLifetimeMs: 60_000,
  });
  const first = fake.tokens("alice");
  clock.now += 10_000;
  const second = await refresh(fake, first.refresh);
  assertEquals(second.status, 200);
  assertEquals(Object.keys(second.json), [
    "id_token",
    "access_token",
    "refresh_token",
  ]);
  assertEquals(claims(second.json.access_token).exp, NOON / 1000 + 70);
  assert(await accepts(fake, second.json.access_token, "alice"));
  assert(await accepts(fake, first.access, "alice"));
  const third = await refresh(fake, second.json.refresh_token);
  assertEquals(third.status, 200);
  const kinds = fake.log.filter((entry) => entry.kind === "token");
  assertEquals(kinds.map((entry) => entry.account), ["alice", "alice"]);
  assertEquals(fake.violations, []);
  await fake.close();
});

Deno.test("token() revokes the family when a spent token is shown", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {} } });
  const other = fake.tokens("alice");
  const { refresh: spent } = fake.tokens("alice");
  const { refresh_token: newest } = (await refresh(fake, spent)).json;
  const reused = await refresh(fake, spent);
  assertEquals(reused.status, 401);
  assertEquals(reused.json.error.code, "refresh_token_reused");
  assertEquals(fake.violations, [
    "Request 2 showed a spent refresh token of alice",
  ]);
  const dead = await refresh(fake, newest);
  assertEquals(dead.status, 401);
  assertEquals(dead.json.error.code, "refresh_token_invalidated");
  assertEquals((await refresh(fake, other.refresh)).status, 200);
  await using mild = await startFakeCodex({
    accounts: { alice: {} },
    revokeFamilyOnReuse: false,
  });
  const { refresh: old } = mild.tokens("alice");
  const { refresh_token: next } = (await refresh(mild, old)).json;
  assertEquals((await refresh(mild, old)).status, 401);
  assertEquals((await refresh(mild, next)).status, 200);
});

Deno.test("token() refuses what it does not know", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {} } });
  const unknown = await refresh(fake, "rt_made_up");
  assertEquals([unknown.status, unknown.json.error], [400, "invalid_grant"]);
  const url = `${fake.issuer}/oauth/token`;
  const { refresh: token } = fake.tokens("alice");
  const fields = { grant_type: "refresh_token", refresh_token: token };
  const client = await postJson(url, { ...fields, client_id: "other" });
  assertEquals(client.json.error.code, "invalid_client");
  const grant = await postJson(url, {
    client_id: CLIENT_ID,
    grant_type: "password",
  });
  assertEquals(grant.json.error, "unsupported_grant_type");
  fake.revoke("alice", "all");
  assertEquals(
    (await refresh(fake, token)).json.error.code,
    "refresh_token_invalidated",
  );
  assertEquals(
    (await refresh(fake, fake.tokens("alice").refresh)).status,
    200,
  );
});

Deno.test("token() answers as scripted, and may lose what it spent", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {} } });
  const { refresh: token } = fake.tokens("alice");
  fake.account("alice").tokenQueue.push(
    { status: 500 },
    { status: 400, body: { error: "invalid_grant" } },
    { drop: "before-headers" },
  );
  assertEquals((await refresh(fake, token)).status, 500);
  assertEquals((await refresh(fake, token)).json.error, "invalid_grant");
  await assertRejects(() => refresh(fake, token), TypeError);
  assertEquals(
    (await refresh(fake, token)).json.error.code,
    "refresh_token_reused",
  );
  fake.account("alice").tokenAlways = { status: 503 };
  const { refresh: again } = fake.tokens("alice");
  assertEquals((await refresh(fake, again)).status, 503);
  assertEquals((await refresh(fake, again)).status, 503);
});

Deno.test("token() answers with the fields that the account says", async () => {
  await using fake = await startFakeCodex({
    accounts: { alice: { tokenFields: ["access_token"] } },
  });
  const { refresh: token } = fake.tokens("alice");
  for (let n = 0; n < 2; n++) {
    const answer = await refresh(fake, token);
    assertEquals(Object.keys(answer.json), ["access_token"]);
    assert(await accepts(fake, answer.json.access_token, "alice"));
  }
});

Deno.test("authorize() signs in at once and the code is exchanged once", async () => {
  const { fake, clock } = await startAt(NOON, { accounts: { alice: {} } });
  fake.signInAs = "alice";
  const back = await authorize(fake);
  assertEquals(back.status, 302);
  const location = new URL(back.headers.get("location") ?? "");
  assertEquals(location.origin + location.pathname, REDIRECT);
  assertEquals(location.searchParams.get("state"), "s&t");
  const code = location.searchParams.get("code") ?? "";
  const answer = await exchange(fake, code);
  assertEquals(answer.status, 200);
  assert(await accepts(fake, answer.json.access_token, "alice"));
  assertEquals((await refresh(fake, answer.json.refresh_token)).status, 200);
  assertEquals((await exchange(fake, code)).json.error, "invalid_grant");

  const mint = async () => {
    const { headers } = await authorize(fake);
    const url = new URL(headers.get("location") ?? "");
    return url.searchParams.get("code") ?? "";
  };
  const faults: Record<string, string>[] = [
    { code_verifier: "w".repeat(43) },
    { redirect_uri: REDIRECT.replace("1455", "1457") },
  ];
  for (const fault of faults) {
    const refused = await exchange(fake, await mint(), fault);
    assertEquals([refused.status, refused.json.error], [400, "invalid_grant"]);
  }
  const jsonCode = await postJson(`${fake.issuer}/oauth/token`, {
    grant_type: "authorization_code",
    client_id: CLIENT_ID,
    code: await mint(),
    redirect_uri: REDIRECT,
    code_verifier: VERIFIER,
  });
  assertEquals(jsonCode.json.error, "invalid_request");
  const late = await mint();
  clock.now += 5 * 60_000;
  assertEquals((await exchange(fake, late)).json.error, "invalid_grant");
  await fake.close();
});

Deno.test("authorize() names the parameter that is unfit", async () => {
  await using fake = await startFakeCodex({ accounts: { alice: {} } });
  fake.signInAs = "alice";
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
    const answer = await authorize(fake, { [name]: value });
    assertEquals([answer.status, answer.json.error_description], [
      400,
      `Unfit parameter: ${name}`,
    ]);
  }
  const second = REDIRECT.replace("1455", "1457");
  assertEquals((await authorize(fake, { redirect_uri: second })).status, 302);
});

Deno.test("authorize() asks who it is when nobody is signed in", async () => {
  await using fake = await startFakeCodex({
    accounts: { alice: {}, bob: {} },
  });
  const page = await authorize(fake);
  assertEquals(page.status, 200);
  const link = /href="([^"]+)">bob</.exec(page.text)?.[1] ?? "";
  const url = new URL(link.replaceAll("&amp;", "&"));
  assertEquals(url.searchParams.get("state"), "s&t");
  const code = url.searchParams.get("code") ?? "";
  const answer = await exchange(fake, code);
  assert(await accepts(fake, answer.json.access_token, "bob"));
});

Deno.test("device login waits for approval and hands out a code", async () => {
  const { fake, clock } = await startAt(NOON, {
    accounts: { alice: {} },
    deviceInterval: 2,
  });
  const base = `${fake.issuer}/api/accounts/deviceauth`;
  const begin = async () => {
    const { json } = await postJson(`${base}/usercode`, {
      client_id: CLIENT_ID,
    });
    const { device_auth_id, user_code } = json;
    assertEquals(json.interval, "2");
    return { device_auth_id, user_code };
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
  assertEquals(answer.status, 200);
  assert(await accepts(fake, answer.json.access_token, "alice"));
  assertEquals((await poll(device)).status, 404);

  const denied = await begin();
  fake.denyDevice(denied.user_code);
  assertEquals((await poll(denied)).json.error, "access_denied");
  const expired = await begin();
  clock.now += 15 * 60_000;
  assertEquals((await poll(expired)).json.error, "expired_token");

  const refused = await postJson(`${base}/usercode`, { client_id: "other" });
  assertEquals(refused.status, 401);
  fake.deviceLogin = false;
  const off = await postJson(`${base}/usercode`, { client_id: CLIENT_ID });
  assertEquals(off.status, 404);
  assert(fake.log.some((entry) => entry.kind === "device"));
  await fake.close();
});
