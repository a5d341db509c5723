import { assert, assertEquals } from "@std/assert";
import { MINUTE, startFleet, startKnown } from "../fleet.ts";
import { test } from "../test.ts";

const CROWD = 100;
/** Of them, when the account runs out. */
const UNDER_WAY = 20;

test("rotator.fetch() wastes no more calls on an account that runs out than were under way", async () => {
  const known = Promise.withResolvers<void>();
  await using fleet = await startKnown({
    accounts: { alice: { plan: "pro" }, bob: {} },
    onEvent: ({ type }) => type === "cooldown" && known.resolve(),
  });
  const alice = fleet.fake.account("alice");
  const body = { error: { type: "usage_limit_reached" } };
  alice.always = { status: 429, body };
  // the first refusal comes while the others are still on their way
  const gate = Promise.withResolvers<void>();
  const held = { ...alice.always, until: gate.promise };
  alice.queue.push(alice.always, ...Array(UNDER_WAY - 1).fill(held));
  const first = Array.from({ length: UNDER_WAY }, () => fleet.ask());
  await known.promise;
  const rest = Array.from(
    { length: CROWD - UNDER_WAY },
    () => fleet.ask(),
  );
  assertEquals((await Promise.all(rest)).length, CROWD - UNDER_WAY);
  gate.resolve();
  const answers = await Promise.all([...first, ...rest]);
  assertEquals(new Set(answers.map(({ status }) => status)), new Set([200]));
  assertEquals(fleet.served(), Array(CROWD).fill("bob"));
  const wasted = fleet.fake.log.filter(({ status }) => status === 429).length;
  assert(wasted <= UNDER_WAY + 1, `${wasted} calls were wasted`);
  assertEquals(fleet.usageCalls(), 0, "they were all asked a moment ago");
  assertEquals(fleet.fake.violations, []);
});

test("rotator.fetch() asks and refreshes once per account, however many requests wait", async () => {
  await using fleet = await startFleet({
    accounts: {
      alice: { plan: "pro", costPercent: 2 },
      bob: {},
      carol: {},
    },
    fake: { accessLifetimeMs: MINUTE },
  });
  for (const name of ["alice", "bob", "carol"]) {
    fleet.fake.account(name).accessLifetimeMs = 60 * MINUTE;
  }
  const answers = await Promise.all(
    Array.from({ length: CROWD }, () => fleet.ask()),
  );
  assertEquals(new Set(answers.map(({ status }) => status)), new Set([200]));
  const calls = (kind: string) =>
    fleet.fake.log.filter((entry) => entry.kind === kind)
      .map(({ account }) => account ?? "");
  assertEquals(calls("token").length, 3);
  assertEquals(calls("usage").sort(), ["alice", "bob", "carol"]);
  assertEquals(fleet.served().filter((name) => name === "alice").length, 50);
  assertEquals(fleet.served().length, CROWD);
  assertEquals(fleet.fake.violations, []);
});

test("rotator.fetch() renews a token once, however many requests are refused", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  fleet.fake.revoke("alice", "access");
  const answers = await Promise.all(
    Array.from({ length: CROWD }, () => fleet.ask()),
  );
  assertEquals(new Set(answers.map(({ status }) => status)), new Set([200]));
  const kinds = fleet.fake.log.map(({ kind }) => kind);
  assertEquals(kinds.filter((kind) => kind === "token").length, 1);
  assertEquals(kinds.filter((kind) => kind === "usage").length, 0);
});
