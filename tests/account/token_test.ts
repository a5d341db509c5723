import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import {
  createRotator,
  jsonStore,
  memoryStore,
  type PoolState,
  RotatorError,
  type Store,
  type Tokens,
} from "../../mod.ts";
import type { FakeAnswer } from "../../lib/testing/fake_codex.ts";
import {
  DAY,
  type Fleet,
  HOUR,
  kindsOf,
  MINUTE,
  rowOf,
  START,
  startFleet,
  startKnown,
} from "../fleet.ts";
import { test } from "../test.ts";

function tokenCalls(fleet: Fleet): number {
  return fleet.fake.log.filter((entry) => entry.kind === "token").length;
}

async function tokensOf(fleet: Fleet): Promise<Tokens> {
  return (await (fleet.store as Store).read()).accounts["alice"]!.tokens!;
}

/** A fleet of one whose access token expires in so many ms. */
async function expiringIn(
  ms: number,
  more: { store?: (initial: Partial<PoolState>) => Store } = {},
): Promise<Fleet> {
  const fleet = await startFleet({
    fake: { accessLifetimeMs: ms },
    credits: "none",
    accounts: { alice: {} },
    ...more,
  });
  fleet.fake.account("alice").accessLifetimeMs = DAY;
  return fleet;
}

test("a token is renewed when it expires within five minutes, not before", async () => {
  for (
    const [ms, calls] of [[-HOUR, 1], [MINUTE, 1], [5 * MINUTE, 1], [
      5 * MINUTE + 1000,
      0,
    ], [DAY, 0]] as const
  ) {
    await using fleet = await expiringIn(ms);
    assertEquals((await fleet.ask()).status, 200);
    assertEquals([ms, tokenCalls(fleet)], [ms, calls]);
    assertEquals(fleet.fake.violations, []);
  }
});

test("a token is renewed once for 100 requests at a time", async () => {
  await using fleet = await expiringIn(MINUTE);
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => fleet.ask()),
  );
  assertEquals(answers.filter(({ status }) => status === 200).length, 100);
  assertEquals(tokenCalls(fleet), 1);
});

test("a token is renewed once for many requests that it is refused to", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  fleet.fake.revoke("alice", "access");
  const answers = await Promise.all(
    Array.from({ length: 30 }, () => fleet.ask()),
  );
  assertEquals(answers.filter(({ status }) => status === 200).length, 30);
  assertEquals([tokenCalls(fleet), fleet.fake.violations], [1, []]);
});

test("a token is renewed once by two rotators on one file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "rotator-token-"));
  try {
    const path = join(folder, "accounts.json");
    await using fleet = await startFleet({
      fake: { accessLifetimeMs: MINUTE },
      accounts: { alice: {} },
    });
    fleet.fake.account("alice").accessLifetimeMs = DAY;
    const initial = await (fleet.store as Store).read();
    await jsonStore(path).update((state) => {
      Object.assign(state.accounts, structuredClone(initial.accounts));
    });
    const { backend, issuer } = fleet.fake;
    const now = () => fleet.clock.now;
    await using first = createRotator({ store: path, backend, issuer, now });
    await using second = createRotator({
      store: jsonStore(path),
      backend,
      issuer,
      now,
    });
    const reports = await Promise.all([
      first.refresh(),
      second.refresh(),
      first.refresh(),
    ]);
    assertEquals(reports.map(({ accounts }) => accounts[0]?.ok), [
      true,
      true,
      true,
    ]);
    assertEquals([tokenCalls(fleet), fleet.fake.violations], [1, []]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("new tokens are saved before they are used", async () => {
  let inner: Store | undefined;
  const seen: boolean[] = [];
  await using fleet = await startFleet({
    fake: { accessLifetimeMs: -MINUTE },
    accounts: { alice: {} },
    store: (initial) => inner = memoryStore(initial),
    fetch: async (input, init) => {
      const shown = new Headers(init?.headers).get("authorization");
      const state = await inner!.read();
      if (shown !== null) {
        seen.push(
          shown === `Bearer ${state.accounts["alice"]?.tokens?.access}`,
        );
      }
      return await fetch(input, init);
    },
  });
  fleet.fake.account("alice").accessLifetimeMs = DAY;
  const before = (await inner!.read()).accounts["alice"]?.tokens;
  assertEquals((await fleet.ask()).status, 200);
  const after = (await inner!.read()).accounts["alice"]?.tokens;
  assert(before?.refresh !== after?.refresh);
  assertEquals(seen, [true, true], "usage, then the request");
  assertEquals(after?.expiresAt, START + DAY);
});

test("a renewal takes over what the issuer gives and keeps the rest", async () => {
  await using fleet = await expiringIn(MINUTE);
  const store = fleet.store as Store;
  const before = (await store.read()).accounts["alice"]!.tokens!;
  const alice = fleet.fake.account("alice");
  alice.tokenFields = ["access_token"];
  await fleet.ask();
  const after = (await store.read()).accounts["alice"]!.tokens!;
  assert(after.access !== before.access);
  assertEquals([after.refresh, after.id], [before.refresh, before.id]);
});

const TRANSIENT: [string, FakeAnswer][] = [
  ["500", { status: 500, body: "oops" }],
  ["429", { status: 429, body: {} }],
  ["403 HTML", { status: 403, body: "<html>Just a moment</html>" }],
  ["400 of another kind", {
    status: 400,
    body: { error: "temporarily_unavailable" },
  }],
  ["not JSON", { status: 200, body: "fine" }],
  ["nothing in it", { status: 200, body: {} }],
  ["cut off", { drop: "before-headers" }],
  ["a redirect", { redirect: "http://127.0.0.1:1/elsewhere" }],
];

test("a failed renewal of an expired token pauses the account for a minute, nothing more", async () => {
  for (const [why, answer] of TRANSIENT) {
    await using fleet = await expiringIn(-HOUR);
    const alice = fleet.fake.account("alice");
    if (!answer.drop) alice.tokenQueue.push(answer);
    else alice.tokenQueue.push({ ...answer, status: 500 });
    assertEquals([why, (await fleet.ask()).status], [why, 429]);
    assertEquals([why, ...await rowOf(fleet, "alice")], [
      why,
      "cooldown",
      MINUTE,
    ]);
    fleet.clock.now += MINUTE - 1;
    assertEquals((await fleet.ask()).status, 429);
    assertEquals(tokenCalls(fleet), 1);
    fleet.clock.now += 1;
    assertEquals([why, (await fleet.ask()).status, tokenCalls(fleet)], [
      why,
      200,
      2,
    ]);
  }
});

test("a failed early renewal sets no cooldown: the valid token goes on being used", async () => {
  await using fleet = await expiringIn(4 * MINUTE);
  fleet.fake.account("alice").tokenAlways = { status: 503, body: "" };
  for (const wait of [0, 1_000, 58_000]) {
    fleet.clock.now += wait;
    assertEquals((await fleet.ask()).status, 200);
  }
  assertEquals((await rowOf(fleet, "alice"))[0], "included");
  assertEquals(tokenCalls(fleet), 1, "and is tried again a minute later");
  fleet.clock.now += 1_000;
  assertEquals((await fleet.ask()).status, 200);
  // the answer does not wait for it
  await fleet.fake.seen(() => tokenCalls(fleet) === 2);
  fleet.clock.now += 3 * MINUTE;
  assertEquals((await fleet.ask()).status, 429, "until it has expired");
  assertEquals((await rowOf(fleet, "alice"))[0], "cooldown");
});

test("an issuer that hangs holds up nobody whose token is still valid", async () => {
  for (const ms of [4 * MINUTE, 20_000]) {
    const release = Promise.withResolvers<void>();
    await using fleet = await expiringIn(ms);
    const { fake } = fleet;
    fake.account("alice").tokenQueue.push({ until: release.promise });
    const { access: before } = await tokensOf(fleet);
    const answers = await Promise.all([fleet.ask(), fleet.ask()]);
    assertEquals(answers.map(({ status }) => status), [200, 200]);
    const call = fake.log.find(({ kind }) => kind === "token");
    assertEquals([ms, call?.done], [ms, false], "it was not waited for");
    release.resolve();
    assertEquals((await fleet.rotator.refresh()).accounts[0]?.ok, true);
    assertEquals([tokenCalls(fleet), fake.violations], [1, []]);
    assert((await tokensOf(fleet)).access !== before);
  }
});

test("a request waits for the new token when its own has expired or is about to", async () => {
  for (const ms of [-HOUR, 20_000]) {
    await using fleet = await startKnown({ accounts: { alice: {} } });
    const { access: before } = await tokensOf(fleet);
    await (fleet.store as Store).update((state) => {
      state.accounts["alice"]!.tokens!.expiresAt = START + ms;
    });
    await fleet.rotator.status();
    assertEquals((await fleet.ask()).status, 200);
    const { headers } = fleet.fake.log.find(({ kind }) =>
      kind === "responses"
    )!;
    assert(!headers["authorization"]!.includes(before), `${ms}`);
  }
});

test("refresh() waits for a renewal that is due, and says that there was one", async () => {
  await using fleet = await expiringIn(4 * MINUTE);
  const { accounts: [alice] } = await fleet.rotator.refresh();
  assertEquals([alice?.ok, alice?.tokenRefreshed], [true, true]);
});

test("a clock that is ahead does not renew on every request, and a refused token is renewed all the same", async () => {
  await using fleet = await expiringIn(-HOUR);
  const { fake, store, clock } = fleet;
  await using ahead = createRotator({
    store,
    backend: fake.backend,
    issuer: fake.issuer,
    credits: "none",
    now: () => clock.now + 30 * DAY,
  });
  const ask = async () => (await fleet.ask({}, {}, ahead)).status;
  assertEquals([await ask(), await ask(), await ask()], [200, 200, 200]);
  assertEquals(tokenCalls(fleet), 1);
  fake.revoke("alice", "access");
  assertEquals([await ask(), tokenCalls(fleet)], [200, 2]);
});

test("a renewal changes no plan that is known, as what it claims is outdated", async () => {
  for (const known of ["pro", undefined]) {
    await using fleet = await expiringIn(MINUTE);
    const { fake, store } = fleet;
    await (store as Store).update(({ accounts: { alice } }) => {
      if (known === undefined) delete alice!.plan;
      else alice!.plan = known;
    });
    Object.assign(fake.account("alice"), {
      plan: "free",
      usageAlways: { status: 500 },
    });
    await fleet.rotator.refresh();
    assertEquals(tokenCalls(fleet), 1);
    const { accounts: [alice] } = await fleet.rotator.status();
    assertEquals(alice?.plan, known ?? "free");
  }
});

const FINAL: [string, FakeAnswer][] = [
  ["401", { status: 401, body: {} }],
  ["expired", {
    status: 400,
    body: { error: { code: "refresh_token_expired" } },
  }],
  ["reused", {
    status: 400,
    body: { error: { code: "refresh_token_reused" } },
  }],
  ["invalidated", { status: 403, body: { code: "refresh_token_invalidated" } }],
  ["invalid_grant", { status: 400, body: { error: "invalid_grant" } }],
  ["invalid", { status: 400, body: { error: "invalid_refresh_token" } }],
  ["token expired", { status: 401, body: { error: "token_expired" } }],
  ["session over", { status: 400, body: { error: "app_session_expired" } }],
  ["session ended", {
    status: 403,
    body: { error: { code: "app_session_terminated" } },
  }],
  ["deactivated", {
    status: 403,
    body: { error: { code: "account_deactivated" } },
  }],
];

test("a refusal for good needs a sign-in, and no token call is made until new tokens arrive", async () => {
  for (const [why, answer] of FINAL) {
    await using fleet = await expiringIn(-HOUR);
    const { fake, clock } = fleet;
    fake.account("alice").tokenQueue.push(answer);
    assertEquals([why, (await fleet.ask()).status], [why, 401]);
    clock.now += 10 * DAY;
    assertEquals([why, (await fleet.ask()).status], [why, 401]);
    await fleet.rotator.refresh();
    assertEquals([why, tokenCalls(fleet)], [why, 1]);
    assertEquals(
      fleet.events.filter(({ type }) => type === "login-required").length,
      1,
    );

    const { access, refresh, expiresAt } = fake.tokens("alice");
    await (fleet.store as Store).update((state) => {
      const alice = state.accounts["alice"]!;
      alice.tokens = { access, refresh, expiresAt };
      delete alice.auth;
    });
    clock.now += 1_000;
    assertEquals([why, (await fleet.ask()).status], [why, 200]);
  }
});

test("a reused refresh token is no matter where the store has a newer one", async () => {
  await using fleet = await expiringIn(-HOUR);
  const { fake } = fleet;
  const release = Promise.withResolvers<void>();
  fake.account("alice").tokenQueue.push({
    status: 400,
    body: { error: { code: "refresh_token_reused" } },
    until: release.promise,
  });
  const answer = fleet.ask();
  await fake.seen((entry) => entry.kind === "token");
  const { access, refresh, expiresAt } = fake.tokens("alice");
  await (fleet.store as Store).update((state) => {
    state.accounts["alice"]!.tokens = { access, refresh, expiresAt };
  });
  release.resolve();
  assertEquals((await answer).status, 200);
  assertEquals([(await rowOf(fleet, "alice"))[0], tokenCalls(fleet)], [
    "included",
    1,
  ]);
});

test("a token that another process renewed is taken over without a call", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const { fake } = fleet;
  fake.revoke("alice", "access");
  const { access, refresh, expiresAt } = fake.tokens("alice");
  await (fleet.store as Store).update((state) => {
    state.accounts["alice"]!.tokens = { access, refresh, expiresAt };
  });
  assertEquals((await fleet.ask()).status, 200);
  assertEquals(kindsOf(fleet), ["responses:alice", "responses:alice"]);
});

test("a login that stands in the store twice is renewed once, for both names", async () => {
  await using fleet = await expiringIn(MINUTE);
  await (fleet.store as Store).update((state) => {
    state.accounts.twin = structuredClone(state.accounts.alice!);
  });
  const { accounts } = await fleet.rotator.refresh();
  assertEquals(accounts.map(({ ok }) => ok), [true, true]);
  assertEquals([tokenCalls(fleet), fleet.fake.violations], [1, []]);
  const { alice, twin } = (await (fleet.store as Store).read()).accounts;
  assertEquals(alice!.tokens, twin!.tokens);
});

test("an account without a refresh token signs out no other that has none", async () => {
  for (const refresh of [undefined, ""]) {
    await using fleet = await startKnown({ accounts: { alice: {}, bob: {} } });
    await (fleet.store as Store).update((state) => {
      for (const { tokens } of Object.values(state.accounts)) {
        if (refresh === undefined) delete tokens!.refresh;
        else tokens!.refresh = refresh;
      }
      state.accounts.alice!.tokens!.expiresAt = START - 1000;
    });
    fleet.clock.now += 2000;
    const { status, alias } = await fleet.ask();
    assertEquals([status, alias], [200, "bob"]);
    assertEquals((await rowOf(fleet, "alice"))[0], "login");
    assertEquals((await rowOf(fleet, "bob"))[0], "included");
  }
});

test("a token call shows the refresh token to the issuer only, once", async () => {
  await using fleet = await expiringIn(MINUTE);
  const { refresh } = (await (fleet.store as Store).read()).accounts["alice"]!
    .tokens!;
  await fleet.ask();
  const holding = fleet.fake.log.filter((entry) =>
    entry.text.includes(refresh!) ||
    JSON.stringify(entry.headers).includes(refresh!)
  );
  assertEquals(holding.map(({ kind, method, path }) => [kind, method, path]), [[
    "token",
    "POST",
    "/issuer/oauth/token",
  ]]);
  assertEquals(holding[0]?.json, {
    client_id: "app_EMoamEEZ73f0CkXaXp7hrann",
    grant_type: "refresh_token",
    refresh_token: refresh,
  });
  assertEquals(holding[0]?.headers["authorization"], undefined);
});

test("an access token without a refresh token is used until it expires", async () => {
  for (const [ms, status] of [[4 * MINUTE, 200], [-MINUTE, 401]] as const) {
    await using fleet = await expiringIn(ms);
    const store = fleet.store as Store;
    await store.update((state) => {
      delete state.accounts["alice"]!.tokens!.refresh;
    });
    assertEquals((await fleet.ask()).status, status);
    assertEquals(tokenCalls(fleet), 0);
    const { auth } = (await store.read()).accounts["alice"]!;
    assertEquals(Boolean(auth), status === 401);
  }
});

test("a refusal for good is recognized wherever its code stands", async () => {
  for (
    const body of [
      { error: { code: "refresh_token_expired" } },
      { error: "refresh_token_expired" },
      { code: "refresh_token_expired" },
      { error: { message: "No" }, code: "refresh_token_expired" },
      { error: "It has expired", code: "refresh_token_expired" },
    ]
  ) {
    await using fleet = await expiringIn(-MINUTE);
    fleet.fake.account("alice").tokenQueue.push({ status: 400, body });
    assertEquals([body, (await fleet.ask()).status], [body, 401]);
    assertEquals((await rowOf(fleet, "alice"))[0], "login");
  }
});

test("a process that waited for the lock in vain goes on with the tokens that another one has got, and sets no cooldown", async () => {
  for (const isRenewed of [true, false]) {
    await using fleet = await startFleet({
      accounts: { alice: {} },
      fake: { accessLifetimeMs: DAY },
    });
    const { fake, clock, rotator } = fleet;
    const inner = fleet.store as Store;
    await using late = createRotator({
      backend: fake.backend,
      issuer: fake.issuer,
      now: () => clock.now,
      store: {
        read: () => inner.read(),
        update: (change) => inner.update(change),
        async exclusive() {
          if (isRenewed) await rotator.refresh();
          throw new RotatorError("store_locked", "Others held it all the time");
        },
      },
    });
    clock.now += 2 * DAY;
    const { status } = await fleet.ask({}, {}, late);
    const { cooldowns = {} } = (await inner.read()).accounts["alice"]!;
    assertEquals(
      [status, Object.keys(cooldowns), tokenCalls(fleet)],
      isRenewed ? [200, [], 1] : [429, ["token"], 0],
    );
  }
});
