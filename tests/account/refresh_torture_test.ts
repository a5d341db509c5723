/**
 * Single-use refresh tokens with reuse detection, and real processes that all
 * want a new access token at the same moment or die while they get it.
 * TORTURE=1 runs the full counts.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { RefreshReport } from "../../mod.ts";
import { MINUTE, startFleet } from "../fleet.ts";
import { type Place, testStores } from "../store/places.ts";
import {
  EXPIRED,
  freshUsage,
  runtimeOf,
  type Site,
  startSite,
  TORTURE,
  type Worker,
} from "./processes.ts";

const PROCESSES = TORTURE ? 8 : 4;
const REQUESTS = TORTURE ? 50 : 10;
const ROUNDS = TORTURE ? 10 : 1;
const KILLS = TORTURE ? 30 : 1;
/** Kills at the same time, each with a store and a stand-in of its own. */
const LANES = 3;
/** Those who wait for the one who is killed. */
const WAITERS = 3;

/** Tells all of them at once, and gathers what each of their requests got. */
async function askAll(workers: readonly Worker[], count: number) {
  await Promise.all(workers.map((worker) => worker.send(count)));
  const answers = workers.map((worker) => worker.next("answers"));
  return (await Promise.all(answers)).flat();
}

async function endAll(workers: readonly Worker[]) {
  return await Promise.all(workers.map((worker) => worker.end()));
}

function startAll(site: Site, count: number, from = 0): Promise<Worker[]> {
  return Promise.all(
    Array.from(
      { length: count },
      (_, index) => site.start(runtimeOf(from + index)),
    ),
  );
}

async function refreshTogether(place: Place): Promise<void> {
  await using site = await startSite({ alice: EXPIRED, bob: EXPIRED }, place);
  await site.seed();
  const workers = await startAll(site, PROCESSES);
  const answers = await askAll(workers, REQUESTS);
  assertEquals(answers.length, PROCESSES * REQUESTS);
  assertEquals(answers.filter((it) => !/^200 (alice|bob)$/.test(it)), []);
  for (const { accounts } of await endAll(workers)) {
    assertEquals(accounts.map(({ standing }) => standing), [
      "included",
      "included",
    ]);
  }
  assertEquals([site.tokenCalls("alice"), site.tokenCalls("bob")], [1, 1]);
  assertEquals(site.fake.violations, []);
  for (const account of Object.values((await site.state()).accounts)) {
    assertEquals([account.auth, account.cooldowns?.["token"]], [
      undefined,
      undefined,
    ]);
  }
}

testStores(
  `has ${PROCESSES} processes with ${REQUESTS} requests each renew an expired token once`,
  async ({ another }) => {
    for (let round = 0; round < ROUNDS; round++) {
      await refreshTogether(another());
    }
  },
);

/** Runs so many attacks, a few at a time. */
async function inLanes(attack: (index: number) => Promise<void>) {
  let begun = 0;
  const lane = async () => {
    while (begun < KILLS) await attack(begun++);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

/** Kills the one who renews alice's token at that point while others wait for it. */
async function killHolder(
  site: Site,
  stopsAt: "before" | "after",
  index: number,
) {
  await site.seed({ alice: freshUsage(), bob: freshUsage() });
  const [holder, waiters] = await Promise.all([
    site.start(runtimeOf(index), stopsAt),
    startAll(site, WAITERS, index + 1),
  ]);
  // one request each, as a fresh rotator begins with alice
  await holder.send(1);
  await holder.next("stopped");
  const answers = askAll(waiters, REQUESTS);
  await holder.kill();
  return { waiters, answers: await answers };
}

testStores(
  "replaces a holder killed before its token call within 5 s, and loses nothing",
  async ({ another }) => {
    await inLanes(async (index) => {
      await using site = await startSite(
        { alice: EXPIRED, bob: {} },
        another(),
      );
      const { waiters, answers } = await killHolder(site, "before", index);
      assertEquals(answers.filter((it) => !it.startsWith("200 ")), []);
      assert(answers.includes("200 alice"), "those who waited were served");
      await endAll(waiters);
      assertEquals([site.tokenCalls("alice"), site.fake.violations], [1, []]);
      const { alice } = (await site.state()).accounts;
      assertEquals([alice?.auth, alice?.cooldowns?.["token"]], [
        undefined,
        undefined,
      ]);
    });
  },
);

testStores(
  "lets a holder killed with the answer in its hands cost a sign-in of this account, and nothing else",
  async ({ another }) => {
    await inLanes(async (index) => {
      await using site = await startSite(
        { alice: EXPIRED, bob: {} },
        another(),
      );
      const { waiters, answers } = await killHolder(site, "after", index);
      assertEquals(answers.filter((it) => it !== "200 bob"), []);
      const again = await askAll(waiters, 2);
      assertEquals(again.filter((it) => it !== "200 bob"), []);
      for (const { accounts } of await endAll(waiters)) {
        assertEquals(accounts.map(({ alias, reason }) => [alias, reason]), [
          ["alice", "login"],
          ["bob", null],
        ]);
        assertStringIncludes(
          accounts[0]?.detail ?? "",
          "refused the refresh token (refresh_token_reused)",
        );
      }
      // the spent token is shown once, as nobody can know; then never again
      assertEquals(site.tokenCalls("alice"), 2);
      assertEquals(site.fake.violations.length, 1);
      const { bob } = (await site.state()).accounts;
      assertEquals([bob?.auth, bob?.cooldowns?.["token"]], [
        undefined,
        undefined,
      ]);
      assertEquals(site.tokenCalls("bob"), 0);
    });
  },
);

Deno.test("a token spent on an answer that was lost costs a sign-in a minute later, and nothing else", async () => {
  await using fleet = await startFleet({
    fake: { accessLifetimeMs: MINUTE },
    credits: "none",
    accounts: { alice: {}, bob: {} },
  });
  const { fake, clock } = fleet;
  fake.account("alice").tokenQueue.push({ drop: "before-headers" });
  clock.now += 2 * MINUTE;
  const failed: RefreshReport = await fleet.rotator.refresh();
  assertEquals(failed.accounts.map(({ ok }) => ok), [false, true]);
  clock.now += MINUTE;
  for (let count = 0; count < 3; count++) {
    assertEquals((await fleet.ask()).alias, "bob");
  }
  const report = await fleet.rotator.refresh();
  assertEquals(report.accounts.map(({ ok }) => ok), [false, true]);
  assertStringIncludes(report.accounts[0]?.error ?? "", "refresh_token_reused");
  const calls = fake.log.filter((entry) =>
    entry.kind === "token" && entry.account === "alice"
  );
  assertEquals([calls.length, fake.violations.length], [2, 1]);
  const needed = fleet.events.filter((it) => it.type === "login-required");
  assertEquals(needed.map(({ alias }) => alias), ["alice"]);
});
