import { assert, assertEquals, assertThrows } from "@std/assert";
import { setTimeout as delay } from "node:timers/promises";
import {
  createRotator,
  memoryStore,
  type RotatorOptions,
  type Store,
} from "../../mod.ts";
import type { RotatorContext } from "../../lib/context.ts";
import { AccountPool } from "../../lib/pool/account_pool.ts";
import { capVerdict } from "../../lib/pool/caps.ts";
import { dearestOf } from "../../lib/pool/dearest.ts";
import {
  endForgotten,
  endPaid,
  mergeSpending,
  observeBalance,
  startPaid,
  takePaid,
} from "../../lib/pool/spending.ts";
import type { NormalRecord } from "../../lib/normal_types.ts";
import { refusalOf } from "../../lib/refusal.ts";
import type { ReplayableRequest } from "../../lib/request.ts";
import { Tries } from "../../lib/tries.ts";
import { normalState } from "../../lib/store/state.ts";
import { normalRecord } from "../../lib/store/normal_form.ts";
import type { FakeAccountOptions } from "../../lib/testing/fake_codex.ts";
import {
  DAY,
  type Fleet,
  fullWindows,
  requestBody,
  rowOf,
  START,
  startKnown,
} from "../fleet.ts";
import { test } from "../test.ts";

/** An account on credits: 50 of them, 3 for each request. */
function onCredits(): FakeAccountOptions {
  return {
    windows: fullWindows(START),
    credits: {
      hasCredits: true,
      unlimited: false,
      balance: "50",
      costPerRequest: 3,
    },
  };
}

/** A record of 100 credits, of which a request takes some; the dearest was 3. */
function paying() {
  const record = normalRecord({
    spending: {
      balance: "100",
      observedAt: START - 2,
      seenAt: START - 1,
      paid: {},
      dearest: { [START - 1]: "3" },
    },
  });
  startPaid(record, "r1", START);
  return record;
}

/** So many rotators beside the fleet's own, on its store. */
function others(fleet: Fleet, count: number, options: RotatorOptions) {
  return Array.from({ length: count }, () =>
    createRotator({
      store: fleet.store,
      backend: fleet.fake.backend,
      issuer: fleet.fake.issuer,
      now: () => fleet.clock.now,
      ...options,
    }));
}

function storeOf({ store }: Fleet): Store {
  if (typeof store === "string") throw new Error("The store is a file");
  return store;
}

/** Waits until the backend has got two requests for a response. */
async function seenTwo({ fake }: Fleet): Promise<void> {
  await fake.seen(() =>
    fake.log.filter(({ kind }) => kind === "responses").length === 2
  );
}

function charged(fleet: Fleet): number {
  return fleet.fake.book.filter(({ kind }) => kind === "charge")
    .reduce((sum, { amount }) => sum + amount, 0);
}

test("a cap is never passed by requests of several rotators at once", async () => {
  const creditCaps = { "*": { day: 10 } };
  await using fleet = await startKnown({
    creditCaps,
    accounts: { alice: onCredits() },
  });
  const rotators = [fleet.rotator, ...others(fleet, 3, { creditCaps })];
  const answers = await Promise.all(
    rotators.flatMap((rotator) =>
      Array.from({ length: 5 }, () => fleet.ask({}, {}, rotator))
    ),
  );
  const served = answers.filter(({ status }) => status === 200).length;
  assertEquals([served, charged(fleet)], [3, 9]);
  const refused = answers.filter(({ status }) => status !== 200);
  assert(refused.every(({ status, text }) =>
    status === 429 &&
    JSON.parse(text).error.accounts[0].reason === "capped"
  ));
  // a top-up changes nothing, the next day does
  fleet.fake.topUp("alice", 100);
  fleet.clock.now += 60_000;
  await fleet.rotator.refresh();
  assertEquals((await fleet.ask()).status, 429);
  const [why, ms] = await rowOf(fleet, "alice");
  assertEquals(why, "capped");
  assert(ms !== null && ms <= DAY);
  fleet.clock.now += DAY;
  fleet.fake.account("alice").windows = fullWindows(fleet.clock.now);
  assertEquals((await fleet.ask()).status, 200);
  for (const rotator of rotators.slice(1)) await rotator.close();
});

test("the lower one of two caps counts, of option and store, of account and all", async () => {
  for (
    const [option, store, served] of [
      [{ alice: { day: 7 } }, undefined, 2],
      [{ alice: { day: 100 } }, { "*": { month: 4 } }, 1],
      [{ bob: { day: 0 } }, undefined, 4],
      [undefined, { alice: { day: 0 } }, 0],
      [undefined, { alice: { day: "much" } }, 0],
      [undefined, "none", 0],
      [undefined, { alice: 20 }, 0],
      [undefined, { "*": true }, 0],
    ] as const
  ) {
    await using fleet = await startKnown({
      ...(option && { creditCaps: option }),
      settings: { creditCaps: store },
      accounts: { alice: onCredits() },
    });
    let count = 0;
    for (let n = 0; n < 4; n++) {
      if ((await fleet.ask()).status === 200) count++;
      fleet.clock.now += 1000;
      await fleet.rotator.refresh();
    }
    assertEquals([option, store, count], [option, store, served]);
  }
});

test("under a cap a balance that cannot be counted is not spent", async () => {
  for (
    const credits of [
      { hasCredits: true, unlimited: true, balance: null },
      { hasCredits: true, unlimited: false, balance: null },
    ]
  ) {
    await using fleet = await startKnown({
      creditCaps: { alice: { day: 10 } },
      accounts: { alice: { windows: fullWindows(START), credits } },
    });
    assertEquals((await fleet.ask()).status, 429);
    assertEquals((await rowOf(fleet, "alice"))[0], "capped");
    assertEquals(fleet.fake.charged, []);
  }
});

test("under a cap an account that tells nothing of its credits is not sent what may be charged", async () => {
  for (const windows of [null, fullWindows(START)]) {
    for (const creditCaps of [{ alice: { day: 10 } }, {}]) {
      await using fleet = await startKnown({
        creditCaps,
        accounts: { alice: { windows, credits: null } },
      });
      const isCapped = "alice" in creditCaps;
      await fleet.ask();
      const sent = fleet.fake.log.filter(({ kind }) => kind === "responses");
      assertEquals(sent.length, isCapped ? 0 : 1);
      const [reason] = await rowOf(fleet, "alice");
      assertEquals(reason === "capped", isCapped);
    }
  }
});

test("a cap takes one request at a time while top-ups hide what each costs", () => {
  const verdictOf = (dearest: Record<string, string>) => {
    const record = normalRecord({
      credits: { observedAt: START, hasCredits: true, balance: "5" },
      spending: { balance: "5", observedAt: 1, seenAt: 1, paid: {}, dearest },
    });
    startPaid(record, "r1", START);
    endPaid(record, "r1", { endedAt: START + 1, tokens: null });
    observeBalance(record, {
      balance: "14",
      observedAt: START + 2,
      seenAt: START + 3,
      isAsked: true,
    }, START + 3);
    const query = { alias: "alice", countsPending: true };
    const caps = { alice: { day: 2 } };
    const at = (now: number) =>
      capVerdict({ alice: record }, { ...query, caps, now });
    const soon = at(START + 4);
    endForgotten(record, START + 15 * 60_000);
    return [soon.kind, at(START + 15 * 60_000).kind, record.spent];
  };
  assertEquals(verdictOf({}), ["wait", "open", { "2027-01-15": "0" }]);
  const known = { [START - 1]: "1" };
  assertEquals(verdictOf(known), ["open", "open", { "2027-01-15": "1" }]);
});

test("a top-up hides what a request cost that had its share of the charge of another", () => {
  const spentWith = (last: string) => {
    const record = paying();
    startPaid(record, "r2", START);
    for (
      const [at, balance] of [[START + 1, "97"], [START + 4, last]] as const
    ) {
      const times = { observedAt: at, seenAt: at + 1, isAsked: true };
      observeBalance(record, { balance, ...times }, at + 1);
      endPaid(record, "r1", { endedAt: at + 2, tokens: null });
      endPaid(record, "r2", { endedAt: at + 2, tokens: null });
    }
    return record.spent;
  };
  assertEquals(spentWith("97"), { "2027-01-15": "3" });
  assertEquals(spentWith("94"), { "2027-01-15": "6" });
  assertEquals(spentWith("194"), { "2027-01-15": "6" });
});

test("a refusal for the cap tells when the last request whose cost is not known is over", () => {
  const startedAt = START - 60_000;
  const state = normalState({
    version: 1,
    settings: {},
    accounts: {
      alice: {
        tokens: { access: "token" },
        usage: { observedAt: START, meters: {} },
        spending: {
          observedAt: 0,
          seenAt: 0,
          dearest: {},
          paid: { of_one_that_died: { startedAt } },
        },
      },
    },
  });
  const accounts = new AccountPool();
  accounts.load(state, { allow: "all", source: "default" }, START);
  const tries = new Tries();
  tries.cap("alice");
  const context = { accounts, now: () => START } as RotatorContext;
  const { resetsAt, accounts: [alice] } = refusalOf(
    context,
    { model: "gpt-5.5" } as ReplayableRequest,
    tries,
  );
  const end = startedAt + 15 * 60_000;
  assertEquals([resetsAt, alice?.reason], [end, "capped"]);
  assertEquals(alice?.until, new Date(end).toISOString());
});

test("a cap counts every request whose cost is not known, however many there are", () => {
  const verdictOf = (count: number, day: number) => {
    const paid = Object.fromEntries(
      Array.from({ length: count }, (_, n) => [`r${n}`, { startedAt: START }]),
    );
    const dearest = { [START]: "3" };
    const alice = normalRecord({ spending: { paid, dearest } });
    const query = { alias: "alice", now: START, countsPending: true };
    const caps = { alice: { day } };
    return capVerdict({ alice }, { ...query, caps }).kind;
  };
  for (const count of [1, 31, 32, 33, 200]) {
    assertEquals([count, verdictOf(count, 3 * count + 3)], [count, "open"]);
    assertEquals([count, verdictOf(count, 3 * count + 2)], [count, "wait"]);
  }
});

test("what a gateway lost may have been charged, and counts for a cap until that is known, as does a folded response that failed once it had begun", async () => {
  const begun = [{ type: "response.output_item.added", item: {} }, {
    type: "response.failed",
    response: { error: { code: "server_is_overloaded" } },
  }];
  for (
    const [status, next, fields] of [
      [504, 429, { status: 504, body: "no answer" }],
      [503, 429, { events: begun }],
      [400, 200, { status: 400, body: "no answer" }],
    ] as const
  ) {
    await using fleet = await startKnown({
      creditCaps: { alice: { day: 8 } },
      accounts: { alice: onCredits() },
    });
    assertEquals((await fleet.ask()).status, 200);
    fleet.clock.now += 1000;
    await fleet.rotator.refresh();
    const alice = fleet.fake.account("alice");
    const { promise: until, resolve: answer } = Promise.withResolvers<void>();
    alice.queue.push({ ...fields, until });
    const asked = fleet.ask({ stream: false });
    await seenTwo(fleet);
    if (status >= 500) alice.credits!.balance = "44";
    answer();
    assertEquals((await asked).status, status);
    assertEquals([status, (await fleet.ask()).status], [status, next]);
  }
});

for (
  const [when, day, answer] of [
    ["before its answer", 8, { hang: true }],
    ["and whose answer it does not read", 11, { chunkDelayMs: 50 }],
  ] as const
) {
  test(`a request that its caller gives up ${when} keeps others out only until its cost is known`, async () => {
    await using fleet = await startKnown({
      creditCaps: { alice: { day } },
      accounts: { alice: onCredits() },
    });
    assertEquals((await fleet.ask()).status, 200);
    fleet.clock.now += 1000;
    await fleet.rotator.refresh();
    fleet.fake.account("alice").queue.push(answer);
    const abort = new AbortController();
    const { rotator } = fleet;
    const asked = rotator.fetch(`${rotator.baseURL}/responses`, {
      method: "POST",
      body: JSON.stringify(requestBody({})),
      signal: abort.signal,
    });
    await ("hang" in answer ? seenTwo(fleet) : asked);
    abort.abort(new Error("enough"));
    await asked.catch(() => {});
    assertEquals((await fleet.ask()).status, 200);
  });
}

test("a request that is over counts at what the dearest one of the last 24 hours cost", () => {
  const record = normalRecord({});
  const times = { observedAt: START, seenAt: START };
  observeBalance(record, { balance: "9", ...times, isAsked: true }, START);
  startPaid(record, "r", START);
  endPaid(record, "r", { endedAt: START + 1, tokens: null });
  // one that somebody else has forgotten is none
  endPaid(record, "gone", { endedAt: START + 1, tokens: null });
  const later = { observedAt: START + 2, seenAt: START + 3, isAsked: true };
  observeBalance(record, { balance: "5", ...later }, START + 3);
  assertEquals(Object.keys(record.spending!.paid), ["r"]);
  assertEquals(dearestOf(record, START + 3 + DAY), "4");
  assertEquals(dearestOf(record, START + 4 + DAY), undefined);
});

test("what a request cost is kept for who asks about it, for 30 minutes", () => {
  const record = normalRecord({});
  const tell = (balance: string, at: number) => {
    const times = { observedAt: at, seenAt: at, isAsked: true };
    observeBalance(record, { balance, ...times }, at);
  };
  for (const [minutes, cost] of [[30, "4"], [31, undefined]] as const) {
    tell("9", START);
    startPaid(record, "r", START);
    endPaid(record, "r", { endedAt: START + 1, tokens: null });
    tell("5", START + 2);
    tell("5", START + minutes * 60_000);
    assertEquals(takePaid(record, "r")?.credits, cost);
    assertEquals(takePaid(record, "r"), undefined);
    record.spending!.observedAt = 0;
    record.spending!.balance = "9";
  }
});

test("a balance that falls while only a request runs is what that one costs; one that is told no more ends none", () => {
  const record = normalRecord({});
  const tell = (balance: string | null, at: number) =>
    observeBalance(
      record,
      { balance, observedAt: at, seenAt: at, isAsked: true },
      at,
    );
  endForgotten(record, START);
  tell("9", START);
  startPaid(record, "r", START);
  assertEquals(tell("5", START + 1), { topUp: null, unexpected: null });
  endPaid(record, "r", { endedAt: START + 2, tokens: null });
  tell(null, START + 3);
  assertEquals(takePaid(record, "r"), undefined);
  tell("5", START + 4);
  assertEquals(takePaid(record, "r")?.credits, "4");
  assertEquals(tell("4", START + 5).unexpected, "1");
  // of one that tells none, nothing can be known
  const silent = normalRecord({});
  startPaid(silent, "r", START);
  endPaid(silent, "r", { endedAt: START + 1, tokens: null });
  const times = { observedAt: START + 2, seenAt: START + 2, isAsked: true };
  observeBalance(silent, { balance: null, ...times }, START + 2);
  assertEquals(takePaid(silent, "r")?.credits, undefined);
  assertEquals(Object.keys(silent.spending!.paid), []);
});

test("a cap of all counts at the dearest request of any account, and of those that ended together", () => {
  const charged = (before: string, after: string) => {
    const record = normalRecord({});
    const tell = (balance: string, at: number) => {
      const times = { observedAt: at, seenAt: at, isAsked: true };
      observeBalance(record, { balance, ...times }, at);
    };
    tell(before, START);
    for (const [id, tokens] of [["r1", 30], ["r2", 10]] as const) {
      startPaid(record, id, START);
      endPaid(record, id, { endedAt: START + 1, tokens });
    }
    tell(after, START + 2);
    return record;
  };
  const [dear, cheap] = [charged("9", "5"), charged("9", "8.6")];
  assertEquals([dear, cheap].map((it) => dearestOf(it, START)), ["3", "0.3"]);
  for (const [first, second] of [[dear, cheap], [cheap, dear]] as const) {
    const accounts = { first, second, unused: normalRecord({}) };
    const verdictOf = (day: number) =>
      capVerdict(accounts, {
        alias: "unused",
        caps: { "*": { day } },
        now: START + 3,
        countsPending: true,
      }).kind;
    assertEquals([7.3, 7.5].map(verdictOf), ["capped", "open"]);
  }
});

test("usage out of a cache ends no request whose own header told the balance that is known", () => {
  const costs = () => {
    const record = normalRecord({});
    const tell = (balance: string, at: number, isAsked: boolean) =>
      observeBalance(
        record,
        { balance, observedAt: at, seenAt: at, isAsked },
        at,
      );
    tell("50", START, true);
    startPaid(record, "first", START);
    endPaid(record, "first", { endedAt: START + 1_000, tokens: null });
    startPaid(record, "last", START + 16_000);
    tell("47", START + 16_000, false);
    endPaid(record, "last", { endedAt: START + 16_000, tokens: null });
    tell("50", START + 24_000, true);
    return ["first", "last"].map((id) => {
      const cost = takePaid(record, id);
      return cost && (cost.credits ?? "0");
    });
  };
  assertEquals(costs(), ["3", undefined]);
});

test("a balance that was asked for earlier does not make a stored one older", () => {
  const at = (observedAt: number, balance: string) =>
    normalRecord({
      spending: {
        balance,
        observedAt,
        seenAt: observedAt + 1,
        paid: {},
        dearest: {},
      },
    });
  const mergedWith = (mine: NormalRecord) => {
    const stored = at(20, "5");
    mergeSpending(stored, mine);
    return [stored.spending!.observedAt, stored.spending!.seenAt];
  };
  assertEquals(mergedWith(at(10, "5")), [20, 21]);
  assertEquals(mergedWith(at(30, "5")), [30, 31]);
  assertEquals(mergedWith(at(30, "4")), [20, 21]);
});

test("createRotator() refuses caps that cannot be read", () => {
  for (
    const creditCaps of [
      { "*": { day: -1 } },
      { "*": { week: 1 } },
      { "*": 20 },
      5,
    ]
  ) {
    const options = { store: memoryStore(), creditCaps } as RotatorOptions;
    assertThrows(
      () => createRotator(options),
      TypeError,
      "creditCaps is",
    );
  }
});

test("a cap holds for one request after the other where charges count at their end and usage is answered out of a cache", async () => {
  for (const usageCacheSeconds of [0, 30]) {
    await using fleet = await startKnown({
      creditCaps: { "*": { day: 10 } },
      accounts: {
        alice: { ...onCredits(), chargesAtEnd: true, usageCacheSeconds },
      },
    });
    // a request may wait until the cache is too old
    const ticking = setInterval(() => fleet.clock.now += 1_000, 20);
    for (let n = 0; n < 8; n++) {
      await fleet.ask();
      fleet.clock.now += 8_000;
      await fleet.rotator.refresh();
    }
    clearInterval(ticking);
    const spent = charged(fleet);
    assert(spent > 0 && spent <= 10, `${spent} with ${usageCacheSeconds} s`);
  }
});

test("a header of another machine, whose clock is a little ahead, tells of no top-up that an asked balance does not tell of", () => {
  const told = (isAsked: boolean) => {
    const record = paying();
    const observe = (balance: string, observedAt: number, isAsked: boolean) =>
      observeBalance(
        record,
        { balance, observedAt, seenAt: observedAt + 1, isAsked },
        observedAt + 1,
      ).topUp;
    observe("97", START + 1, false);
    const topUp = observe("98", START + 2_000, isAsked);
    return [topUp, record.spent];
  };
  assertEquals(told(false), [null, { "2027-01-15": "3" }]);
  assertEquals(told(true), ["1", { "2027-01-15": "3" }]);
});

test("usage out of a cache is no top-up, books nothing twice and takes nothing of a cap", async () => {
  const play = async (usageCacheSeconds: number, topUp: number) => {
    await using fleet = await startKnown({
      creditCaps: { alice: { day: 30 } },
      accounts: { alice: { ...onCredits(), usageCacheSeconds } },
    });
    const statuses: number[] = [];
    for (let n = 0; n < 4; n++) {
      statuses.push((await fleet.ask()).status);
      if (n === 1) {
        // a check that still runs would tell of an earlier time
        await fleet.rotator.refresh();
        fleet.fake.topUp("alice", topUp);
      }
      // what the first one costs is known before the others
      fleet.clock.now += n === 0 ? 61_000 : 10_000;
      await fleet.rotator.refresh();
    }
    const { accounts: [alice] } = await fleet.rotator.status();
    const rises = fleet.events.filter(({ type }) => type === "warning")
      .map(({ reason }) => /rose by (\d+)/.exec(reason ?? "")?.[1] ?? "");
    const toldRises = rises.filter((amount) => amount !== "");
    return [...statuses, alice!.spentToday, charged(fleet), ...toldRises];
  };
  const cached = await play(60, 0);
  assertEquals(cached, [200, 200, 200, 200, "12", 12]);
  const toppedUp = await play(0, 100);
  assertEquals(toppedUp, [200, 200, 200, 200, "12", 12, "100"]);
});

test("a request that waited for the cost of another one is paid for only where nothing better came up meanwhile", async () => {
  const owner = { creditCaps: { "*": { day: 10 } } };
  for (
    const [what, change, served, spent] of [
      ["nothing", () => {}, 200, 6],
      [
        "the owner forbids it",
        async (fleet: Fleet) => {
          await storeOf(fleet).update((state) => {
            state.settings.creditAccountAliases = [];
          });
        },
        429,
        3,
      ],
      [
        "bob has included usage again",
        async (fleet: Fleet) => {
          fleet.clock.now += 60_000;
          fleet.fake.account("bob").windows = [
            { seconds: 18_000, usedPercent: 1, resetAt: START + DAY / 4 },
            { seconds: 604_800, usedPercent: 1, resetAt: START + 7 * DAY },
          ];
          await fleet.rotator.refresh({ aliases: ["bob"] });
        },
        200,
        3,
      ],
    ] as const
  ) {
    await using fleet = await startKnown({
      settings: { ...owner, creditAccountAliases: ["alice"] },
      accounts: { alice: onCredits(), bob: { windows: fullWindows(START) } },
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    fleet.fake.account("alice").queue = [{ until: promise }];
    const first = fleet.ask();
    await fleet.fake.seen(({ kind }) => kind === "responses");
    const second = fleet.ask();
    await delay(100);
    await change(fleet);
    resolve();
    assertEquals((await first).status, 200);
    fleet.clock.now += 6_000;
    assertEquals([what, (await second).status], [what, served]);
    assertEquals([what, charged(fleet)], [what, spent]);
  }
});

test("what a request cost is booked on its login, also when that is renamed meanwhile", async () => {
  for (const creditCaps of [{ "*": { day: 10 } }, undefined]) {
    await using fleet = await startKnown({
      settings: { ...(creditCaps && { creditCaps }) },
      accounts: { alice: onCredits(), bob: { windows: fullWindows(START) } },
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    fleet.fake.account("alice").queue = [{ until: promise }];
    const asked = fleet.ask();
    await fleet.fake.seen(({ kind }) => kind === "responses");
    const store = storeOf(fleet);
    await store.update(({ accounts }) => {
      accounts["work"] = accounts["alice"]!;
      // another login has the name now
      accounts["alice"] = accounts["bob"]!;
      delete accounts["bob"];
    });
    resolve();
    assertEquals((await asked).status, 200);
    await fleet.rotator.close();
    const { accounts } = await store.read();
    const spent = Object.entries(accounts).map(([name, it]) =>
      [name, Object.values(it.spent ?? {})] as const
    );
    assertEquals(Object.fromEntries(spent), { work: ["3"], alice: [] });
  }
});
