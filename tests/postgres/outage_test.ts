/** Rotators on a database that is there, is gone, and comes back. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { createRotator, type PoolState, RotatorError } from "../../mod.ts";
import {
  CREDITED,
  DAY,
  type Fleet,
  type FleetOptions,
  startFleet,
} from "../fleet.ts";
import {
  type Place,
  serverOfTests,
  testDatabase,
  testInTorture,
} from "../store/places.ts";
import { TORTURE } from "../store/processes.ts";
import { count } from "../store/stores.ts";
import { type AddTest, test, testOnDeno } from "../test.ts";
import { type Proxy, startProxy } from "./proxy.ts";
import { PASSWORD } from "./server.ts";

/** As these take their time, the other runtimes try them under TORTURE=1 only. */
function testOutage(
  name: string,
  job: (place: Place) => Promise<void>,
  add: AddTest = TORTURE ? test : testOnDeno,
): void {
  testDatabase(name, job, add);
}

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** A fleet on a database, which knows the usage of its accounts. */
async function startOn(
  { open }: Place,
  options: Omit<FleetOptions, "store">,
  where?: string,
): Promise<Fleet> {
  const store = open({ where });
  let initial: Partial<PoolState> = {};
  const fleet = await startFleet({
    ...options,
    store: (seeded) => {
      initial = seeded;
      return store;
    },
  });
  await open().update((state) => void Object.assign(state, initial));
  await fleet.rotator.refresh();
  fleet.fake.clearLog();
  return fleet;
}

/** The same behind a network that can fail. */
async function startBehind(
  place: Place,
  options: Omit<FleetOptions, "store">,
): Promise<{ proxy: Proxy; fleet: Fleet } & AsyncDisposable> {
  const { port } = await serverOfTests();
  const proxy = await startProxy(port);
  const fleet = await startOn(place, options, proxy.through(place.where));
  return {
    proxy,
    fleet,
    async [Symbol.asyncDispose]() {
      await fleet[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

/** Waits until something is so. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let turn = 0; !await isSo(); turn++) {
    if (turn > 200) throw new Error("It has not become so within 10 s");
    await sleep(50);
  }
}

const warnings = ({ events }: Fleet) =>
  events.filter(({ type }) => type === "warning").map(({ reason }) => reason);

testOutage(
  "has a rotator go on with valid tokens while its server is stopped, loudly, and writes all once it is back",
  async (place) => {
    const server = await serverOfTests();
    await using fleet = await startOn(place, {
      accounts: { alice: {}, bob: {} },
    });
    for (let count = 0; count < 4; count++) await fleet.ask();
    await server.stop();
    try {
      fleet.fake.account("alice").queue.push({
        status: 429,
        body: { error: { message: "slow down" } },
      });
      for (let count = 0; count < 8; count++) {
        const { status } = await fleet.ask();
        assertEquals(status, 200);
        await sleep(150);
      }
      const told = warnings(fleet);
      assertStringIncludes(told.join("\n"), "out of reach");
      assertStringIncludes(told.join("\n"), "connection refused");
      // each once, not every second
      assertEquals(told.length, 2, told.join("\n"));
      assertStringIncludes(told.join("\n"), "could not be written");
      for (const secret of [PASSWORD, encodeURIComponent(PASSWORD)]) {
        assert(!JSON.stringify(fleet.events).includes(secret));
      }
      const { accounts } = await fleet.rotator.status();
      assertEquals(accounts.map(({ alias }) => alias), ["alice", "bob"]);
    } finally {
      await server.start();
    }
    await until(async () =>
      (await place.content()).accounts["alice"]?.cooldowns?.["throttle"] !==
        undefined
    );
    await fleet.rotator.close();
    const { accounts } = await place.content();
    const sent = Object.values(accounts).map(({ requests = 0 }) => requests);
    assertEquals(
      sent.reduce((a, b) => a + b),
      fleet.fake.log.filter(({ kind }) => kind === "responses").length,
    );
  },
);

testOutage(
  "spends nothing that could not be booked while its server is stopped, and goes on once it is back",
  async (place) => {
    const server = await serverOfTests();
    await using fleet = await startOn(place, {
      accounts: { alice: CREDITED },
      credits: "all",
      creditCaps: { "*": { day: 100 } },
    });
    assertEquals((await fleet.ask()).status, 200);
    await server.stop();
    let refused: Awaited<ReturnType<Fleet["ask"]>>;
    try {
      refused = await fleet.ask();
    } finally {
      await server.start();
    }
    assertEquals(refused.status, 429);
    assertStringIncludes(refused.text, "capped");
    assertEquals(fleet.served(), ["alice$"]);
    await until(async () => (await fleet.ask()).status === 200);
    assertEquals(fleet.served(), ["alice$", "alice$"]);
  },
);

testOutage(
  "has no refresh token shown while its server is stopped, and one once it is back",
  async (place) => {
    const server = await serverOfTests();
    await using fleet = await startOn(place, {
      accounts: { alice: {}, bob: {} },
      fake: { accessLifetimeMs: DAY },
    });
    await fleet.ask();
    fleet.clock.now += 2 * DAY;
    const tokenCalls = () =>
      fleet.fake.log.filter(({ kind }) => kind === "token").length;
    await server.stop();
    try {
      assertEquals((await fleet.ask()).status >= 400, true);
      assertEquals(tokenCalls(), 0);
    } finally {
      await server.start();
    }
    fleet.clock.now += 2 * 60_000;
    await until(async () => (await fleet.ask()).status === 200);
    assert(tokenCalls() > 0 && tokenCalls() <= 2);
    assertEquals(fleet.fake.violations, []);
  },
);

testOutage(
  "saves tokens that were issued while its server was stopped before anybody else asks for new ones",
  async (place) => {
    const server = await serverOfTests();
    await using fleet = await startOn(place, {
      accounts: { alice: {} },
      fake: { accessLifetimeMs: DAY },
    });
    const { fake, clock } = fleet;
    await fleet.ask();
    clock.now += 2 * DAY;
    const { promise: answered, resolve: answer } = Promise.withResolvers<
      void
    >();
    fake.account("alice").tokenQueue.push({ until: answered });
    const asked = fleet.ask();
    await fake.seen(({ kind }) => kind === "token");
    await server.stop("immediate");
    answer();
    await using other = createRotator({
      store: place.open(),
      backend: fake.backend,
      issuer: fake.issuer,
      now: () => clock.now,
    });
    // longer than a lock lives
    await sleep(4_000);
    await server.start();
    const both = await Promise.all([asked, fleet.ask({}, {}, other)]);
    assertEquals(both.map(({ status }) => status), [200, 200]);
    const calls = fake.log.filter(({ kind }) => kind === "token");
    assertEquals([calls.length, fake.violations], [1, []]);
    const { alice } = (await place.content()).accounts;
    assertEquals(alice?.auth, undefined);
    assert(alice!.tokens!.expiresAt! > clock.now);
  },
);

testOutage(
  "says of a change that it may have been made, and makes it once when it is given the same again",
  async ({ another }) => {
    const { port } = await serverOfTests();
    const tryOut = async (when: "before" | "answer", isLater: boolean) => {
      const { open, where } = another();
      await using proxy = await startProxy(port);
      const mine = open({ where: proxy.through(where) });
      const other = open();
      await other.update(count);
      await mine.read();
      const change = (state: PoolState) => count(state);
      // its parameters tell what it makes of the account
      const ended = proxy.endAt("requests", when);
      const written = mine.update(change);
      await ended;
      const error = await assertRejects(
        () => written,
        RotatorError,
        "not known",
      );
      assertEquals(error.code, "store_unwritable");
      const again = await assertRejects(
        () => mine.update(change),
        RotatorError,
      );
      assertStringIncludes(again.message, "not known");
      const made = when === "answer" ? 2 : 1;
      assertEquals((await other.read()).accounts["a"]!.requests, made);
      await other.update((state) => state.accounts["b"] = { requests: 7 });
      proxy.heal();
      if (isLater) {
        await mine.update((state) => state.settings.strategy = "drain");
        assertEquals((await mine.read()).accounts["a"]!.requests, made);
      }
      const { accounts } = await mine.update(change);
      assertEquals(accounts, { a: { requests: 2 }, b: { requests: 7 } });
      assertEquals((await other.read()).accounts, accounts);
      // one that was told of is made anew
      await mine.update(change);
      assertEquals((await other.read()).accounts["a"]!.requests, 3);
    };
    await Promise.all([
      tryOut("before", false),
      tryOut("before", true),
      tryOut("answer", false),
      tryOut("answer", true),
    ]);
  },
);

testOutage(
  "takes nothing of a change that comes to its server after it was made by another way",
  async ({ where, open }) => {
    const { port, sql } = await serverOfTests();
    await using proxy = await startProxy(port);
    const mine = open({ where: proxy.through(where) });
    await open().update((state) => {
      state.accounts["a"] = { tokens: { access: "old" }, requests: 1 };
    });
    await mine.read();
    const held = proxy.holdFrom("requests");
    const written = mine.update((state) => {
      count(state);
      state.accounts["a"]!.tokens!.access = "mine";
    });
    const pass = await held;
    assertEquals((await written).accounts["a"]!.requests, 2);
    await open().update((state) => {
      state.accounts["a"]!.tokens!.access = "newer";
    });
    const expected = await open().read();
    pass();
    // what is passed has been carried out when nobody is busy any more
    const busy = "select pid from pg_stat_activity where state = 'active'" +
      " and application_name = 'codex-rotator'";
    await until(async () => (await sql(busy)).length === 0);
    assertEquals(await open().read(), expected);
    assertEquals(expected.accounts, {
      a: { tokens: { access: "newer" }, requests: 2 },
    });
  },
);

testOutage(
  "has a rotator count each request once whose writing was not told for longer than a write is looked for",
  async (place) => {
    await using behind = await startBehind(place, { accounts: { alice: {} } });
    const { proxy, fleet } = behind;
    for (let count = 0; count < 3; count++) await fleet.ask();
    const ended = proxy.endAt("lastUsedAt", "answer");
    fleet.fake.account("alice").queue.push({
      status: 429,
      body: { error: { message: "slow down" } },
    });
    await fleet.ask();
    await ended;
    const inStore = async () => (await place.content()).accounts["alice"]!;
    assertEquals((await inStore()).requests, 4);
    await until(() => warnings(fleet).join().includes("not be written"));
    proxy.heal();
    fleet.clock.now += 2 * 60_000;
    assertEquals((await fleet.ask()).status, 200);
    await fleet.rotator.close();
    assertEquals((await inStore()).requests, 5);
  },
);

testOutage(
  "keeps the newer facts of others when a rotator comes back that was cut off",
  async (place) => {
    await using behind = await startBehind(place, {
      accounts: { alice: {} },
      strategy: "drain",
    });
    const { proxy, fleet } = behind;
    const { fake, clock } = fleet;
    const alice = fake.account("alice");
    await using other = createRotator({
      store: place.open(),
      backend: fake.backend,
      issuer: fake.issuer,
      now: () => clock.now,
    });
    const inStore = async () => (await place.content()).accounts["alice"]!;
    const { plan: planBefore } = await inStore();
    proxy.cut();
    // it hears of another plan and of a limit, and can tell nobody
    alice.plan = "team";
    await fleet.ask();
    alice.queue.push({
      status: 429,
      body: {
        error: { type: "usage_limit_reached", resets_in_seconds: 18_000 },
      },
    });
    assertEquals((await fleet.ask()).status, 429);
    assertEquals((await inStore()).plan, planBefore);
    // later another one hears that neither is so any more
    clock.now += 5 * 60_000;
    alice.plan = "pro";
    await other.refresh();
    assertEquals((await fleet.ask({}, {}, other)).status, 200);
    await other.close();
    proxy.heal();
    await until(async () => (await inStore()).requests === 3);
    const { plan, cooldowns = {} } = await inStore();
    assertEquals([plan, Object.keys(cooldowns)], ["pro", []]);
    await fleet.rotator.close();
    assertEquals((await fleet.ask({}, {}, other)).status, 200);
  },
);

testOutage(
  "has a rotator go on while the network passes nothing and tells nobody",
  async (place) => {
    await using behind = await startBehind(place, { accounts: { alice: {} } });
    const { proxy, fleet } = behind;
    await fleet.ask();
    await sleep(1_100);
    proxy.cut();
    const waits: number[] = [];
    for (let count = 0; count < 9; count++) {
      const start = performance.now();
      assertEquals((await fleet.ask()).status, 200);
      waits.push(performance.now() - start);
      await sleep(250);
    }
    // nobody waits for it but who finds out
    assert(waits.filter((ms) => ms > 900).length <= 1, waits.join());
    assertStringIncludes(warnings(fleet).join("\n"), "out of reach");
    proxy.heal();
    const other = place.open();
    await other.update((state) => state.settings.pinned = "nobody");
    await until(async () => (await fleet.ask()).status !== 200);
  },
  testInTorture,
);

testOutage(
  "tells a rotator within a second what others changed, and is not asked in between",
  async (place) => {
    await using behind = await startBehind(place, {
      accounts: { alice: {}, bob: {} },
    });
    const { proxy, fleet } = behind;
    // it begins to listen, then reads what it may have missed until then
    for (let count = 0; count < 2; count++) {
      await fleet.ask();
      await sleep(1_100);
    }
    await fleet.ask();
    const sent = proxy.sentBy(0);
    for (let count = 0; count < 12; count++) {
      assertEquals((await fleet.ask()).status, 200);
      await sleep(100);
    }
    // the connection that listens keeps itself alive; the other one rests
    assertEquals(proxy.sentBy(0), sent);
    assertEquals(proxy.most, 2);
    await place.open().update((state) => {
      state.accounts["alice"]!.enabled = false;
    });
    await sleep(1_000);
    fleet.fake.clearLog();
    for (let count = 0; count < 4; count++) await fleet.ask();
    assertEquals(fleet.served(), ["bob", "bob", "bob", "bob"]);
  },
);

testOutage(
  "remembers sessions for the rotators of all machines",
  async (place) => {
    const accounts = { alice: {}, bob: {}, carol: {} };
    await using fleet = await startOn(place, { accounts });
    const turn = { prompt_cache_key: "one" };
    await fleet.ask();
    const { alias } = await fleet.ask(turn);
    await fleet.rotator.close();
    const { fake, clock } = fleet;
    await using other = createRotator({
      store: place.open(),
      backend: fake.backend,
      issuer: fake.issuer,
      now: () => clock.now,
    });
    for (let count = 0; count < 3; count++) {
      await fleet.ask({}, {}, other);
      assertEquals((await fleet.ask(turn, {}, other)).alias, alias);
    }
  },
);
