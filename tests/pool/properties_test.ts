import { assert, assertEquals } from "@std/assert";
import * as fc from "fast-check";
import { PooledAccount } from "../../lib/pool/account_pool.ts";
import {
  creditsFromHeaders,
  mergeCredits,
  mergeUsage,
} from "../../lib/pool/facts.ts";
import { order, select } from "../../lib/pool/select.ts";
import {
  assess,
  type Assessment,
  POOLS,
  type StandingQuery,
} from "../../lib/pool/standing.ts";
import { STRATEGIES } from "../../lib/pool/strategy.ts";
import type { NormalCredits, NormalUsage } from "../../lib/normal_types.ts";
import type { UsageWindow } from "../../lib/types.ts";
import { test } from "../test.ts";
import {
  account,
  credits,
  fleet,
  model,
  RUNS,
  time,
  window,
} from "./arbitrary.ts";
import {
  account as read,
  answer,
  assessed,
  DAY,
  headers,
  HOUR,
  inWords,
  MINUTE,
  NOW,
  poolOf,
  query,
  quota,
  SPARK_METER,
} from "./accounts.ts";

function check<T extends unknown[]>(
  arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> },
  holds: (...values: T) => void,
): void {
  const property = fc.property(
    fc.tuple(...arbitraries),
    (values) => holds(...values as T),
  );
  fc.assert(property, { numRuns: RUNS });
}

/** All of a verdict but how long it holds. */
function content({ validUntil: _, ...rest }: Assessment) {
  return rest;
}

const policy = fc.constantFrom("all" as const, "none" as const, [
  "a0",
  "a2",
  "a4",
]);
const strategy = fc.constantFrom(...STRATEGIES);
const later = fc.array(time, { maxLength: 20 });
/** What a source of randomness gives. */
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

test("a pooled account gives at any later time what a fresh look gives", () => {
  check(
    [account, fc.boolean(), model, time, later],
    (record, creditsAllowed, model, from, times) => {
      const pooled = new PooledAccount("a", record);
      pooled.creditsAllowed = creditsAllowed;
      const sorted = times.map((at) => Math.max(from, at)).sort((a, b) =>
        a - b
      );
      for (const now of [from, ...sorted]) {
        const { names } = pooled;
        const fresh = assess(record, { model, creditsAllowed, names, now });
        assertEquals(content(pooled.assess(model, now)), content(fresh));
      }
    },
  );
});

test("assess() never promises a verdict for longer than it holds", () => {
  const more = fc.integer({ min: 0, max: 2 * HOUR });
  check(
    [account, fc.boolean(), model, time, more],
    (record, creditsAllowed, model, now, more) => {
      const at = (now: number) =>
        assess(record, { model, creditsAllowed, now });
      const first = at(now);
      assert(first.validUntil > now);
      const end = Math.min(first.validUntil - 1, now + DAY);
      for (const then of [Math.min(now + more, end), end]) {
        assertEquals(content(at(then)), content(first));
      }
    },
  );
});

test("assess() never spends for who may not, nor on any meter but the main one", () => {
  check([account, model, time], (record, model, now) => {
    const at = (creditsAllowed: boolean) =>
      assess(record, { model, creditsAllowed, now }).standing;
    const forbidden = at(false);
    assert(forbidden.kind !== "credits");
    const isOwn = model !== undefined && /spark|reserve/.test(model);
    if (isOwn) assert(at(true).kind !== "credits");
    if (forbidden.kind !== "unconfirmed") return;
    // nothing was ever seen of its credits, or that there are none
    const { credits } = record;
    const isNone = credits?.hasCredits === false && credits.unlimited === false;
    assert(!credits || isNone);
    assertEquals(at(true).kind, "unconfirmed", "who may spend could serve");
  });
});

test("assess() opens nothing by the clock alone but an account seen without credits", () => {
  check([account, model, time, later], (record, model, now, times) => {
    const at = (now: number) => {
      const query: StandingQuery = { model, creditsAllowed: false, now };
      return inWords(assess(record, query).quota);
    };
    if (at(now) !== "blocked:exhausted") return;
    const { credits } = record;
    const mayHaveCredits = !credits || credits.hasCredits !== false ||
      credits.unlimited !== false;
    if (!mayHaveCredits) return;
    for (const then of times.filter((it) => it > now)) {
      // a fact from the future becomes one of now
      const isAhead = [
        record.usage,
        ...Object.values(record.usage?.meters ?? {}),
      ]
        .some((facts) => (facts?.observedAt ?? 0) > now);
      if (!isAhead) assert(at(then) !== "included");
    }
  });
});

test("select() spends nothing while anyone of an earlier pool can serve", () => {
  check(
    [fleet, policy, strategy, model, time, chance],
    (accounts, allow, strategy, model, now, chance) => {
      const { all } = poolOf(accounts, allow);
      const asked = query({ strategy, model, now, random: () => chance });
      const { choice } = select(all, asked);
      const found = all.map((it) => it.assess(model, now).poolIndex);
      const best = Math.min(4, ...found);
      assertEquals(choice?.pool, POOLS[best]);
      if (!choice) return;
      assertEquals(found[all.indexOf(choice.account)], best);
      if (choice.pool === "credits") assert(choice.account.creditsAllowed);
      const { standing } = choice;
      assertEquals(
        choice.pool === "first",
        standing.kind === "included" || standing.kind === "unknown",
      );
    },
  );
});

test("order() is a permutation of its pool that begins with the choice", () => {
  check(
    [fleet, policy, strategy, model, time],
    (accounts, allow, strategy, model, now) => {
      const { all } = poolOf(accounts, allow);
      const asked = query({ strategy, model, now, random: () => 0.3 });
      const sorted: string[] = [];
      for (const [index, pool] of POOLS.entries()) {
        const members = all.filter((it) =>
          it.assess(model, now).poolIndex === index
        );
        const ordered = order(all, pool, asked).map(({ alias }) => alias);
        assertEquals(
          [...ordered].sort(),
          members.map(({ alias }) => alias).sort(),
        );
        sorted.push(...ordered);
      }
      assertEquals(select(all, asked).choice?.account.alias, sorted[0]);
    },
  );
});

test("order() goes by failing, priority, reserve and plan before any strategy", () => {
  check(
    [fleet, strategy, model, time, fc.nat(7)],
    (accounts, strategy, model, now, mask) => {
      const { all } = poolOf(accounts);
      all.forEach((it, index) => (mask >> index % 3) & 1 && it.fail(now));
      const asked = query({ strategy, model, now });
      const keyOf = (it: PooledAccount) => {
        const { plan = "", priority, reserve } = it.record;
        const isLow = reserve > 0 && 100 - it.fullestPercent(model) < reserve;
        const isPreferred = asked.preferPlans.has(plan);
        return [it.isFailing(now), -priority, isLow, !isPreferred]
          .map((part) => Number(part) + 1).join("");
      };
      for (const pool of POOLS) {
        const keys = order(all, pool, asked).map(keyOf);
        assertEquals(keys, keys.toSorted());
      }
    },
  );
});

test("select() tries everyone once, and the pools in their order", () => {
  check([fleet, policy, strategy, time], (accounts, allow, strategy, now) => {
    const { all } = poolOf(accounts, allow);
    const tried = new Set<string>();
    const pools: number[] = [];
    for (;;) {
      const { choice } = select(all, query({ strategy, now, tried }));
      if (!choice) break;
      assert(!tried.has(choice.account.alias));
      tried.add(choice.account.alias);
      pools.push(POOLS.indexOf(choice.pool));
    }
    assertEquals(pools, pools.toSorted());
    const able = all.filter((it) => it.assess(undefined, now).poolIndex < 4);
    assertEquals(tried.size, able.length);
  });
});

/** What answers, headers and events tell of a meter at times in the last minute. */
const observation = fc.record({
  at: fc.integer({ min: 0, max: 60 }).map((n) => NOW - n * 1000),
  took: fc.constantFrom(0, 1000, 20_000),
  isAnswer: fc.boolean(),
  allowed: fc.boolean(),
  isFlagged: fc.boolean(),
  meter: fc.constantFrom("codex", "codex", SPARK_METER),
  windows: fc.uniqueArray(window, {
    maxLength: 2,
    minLength: 1,
    selector: ({ windowSeconds }) => windowSeconds,
  }),
}).map(({ at, took, isAnswer, isFlagged, allowed, windows, meter }) => {
  const told = isFlagged ? { allowed, limitReached: !allowed } : {};
  const bare = windows.map(({ flags: _, ...it }): UsageWindow => it);
  const facts = isAnswer ? answer : headers;
  return facts(at, bare, { ...told, seenAt: at + took, meter });
});

/** Verdicts on an account with these facts, now and later. */
function verdicts(usage: NormalUsage): string[] {
  const record = { ...read({ plan: "pro" }), usage };
  return [undefined, "gpt-5.3-codex-spark"].flatMap((model) =>
    [0, MINUTE, 14 * MINUTE, 16 * MINUTE, HOUR, 3 * HOUR].map((later) => {
      const at = { allowed: false, now: NOW + later };
      return inWords(
        assessed(record, model === undefined ? at : { ...at, model }).standing,
      );
    })
  );
}

test("mergeUsage() comes to the same verdicts in whatever order two facts arrive", () => {
  check([observation, observation, fc.boolean()], (a, b, hasNoCredits) => {
    if (a.observedAt === b.observedAt) return;
    const facts = mergeUsage(a, b, hasNoCredits);
    assertEquals(verdicts(mergeUsage(b, a, hasNoCredits)), verdicts(facts));
  });
});

test("mergeUsage() changes nothing when it is told again what it knows", () => {
  const list = fc.array(observation, { minLength: 1, maxLength: 6 });
  check([list, fc.boolean()], (list, hasNoCredits) => {
    const merge = (facts: NormalUsage, it: NormalUsage) =>
      mergeUsage(facts, it, hasNoCredits);
    const once = list.reduce(merge);
    assertEquals(verdicts(merge(once, once)), verdicts(once));
    assertEquals(verdicts(merge(once, list.at(-1)!)), verdicts(once));
  });
});

test("mergeUsage() is opened by nothing asked for within 2 minutes, unless its window began afresh", () => {
  const hours = observation.map((facts) => {
    const { windows } = Object.values(facts.meters)[0]!;
    const meter = {
      ...Object.values(facts.meters)[0]!,
      windows: [windows[0]!],
    };
    windows[0]!.windowSeconds = 18_000;
    return { ...facts, meters: { codex: meter } };
  });
  check([hours, hours], (full, other) => {
    if (quota(full) !== "blocked:exhausted") return;
    const [known] = full.meters["codex"]!.windows;
    const [window] = other.meters["codex"]!.windows;
    // a period that was over when it was told is not the one that runs
    if ((known!.resetsAt ?? Infinity) <= known!.seenAt) return;
    const isAfresh = window!.resetsAt !== null && known!.resetsAt !== null &&
      window!.resetsAt > known!.resetsAt + MINUTE;
    const isOpened = quota(mergeUsage(full, other, false)) === "included";
    assert(!isOpened || (isAfresh && window!.flags === "allowed"));
  });
});

const normal = (it: { observedAt: number }): NormalCredits => ({
  ...read({ credits: it as NormalCredits }).credits!,
  limitsObservedAt: it.observedAt,
});
const creditList = fc.uniqueArray(credits, {
  minLength: 1,
  maxLength: 5,
  selector: (one) => one.observedAt,
}).map((list) => list.map(normal).filter((one) => one.observedAt <= NOW))
  .filter((list) => list.length > 0);

test("mergeCredits() comes to the newest in whatever order facts arrive, and stays there", () => {
  check([creditList], (list) => {
    const merge = (all: readonly NormalCredits[]) =>
      all.reduce((known, it) => mergeCredits(known, it, NOW));
    const newest = list.toSorted((a, b) => b.observedAt - a.observedAt)[0];
    assertEquals(merge(list), newest);
    assertEquals(merge(list.toReversed()), newest);
    assertEquals(merge([...list, ...list]), newest);
  });
});

test("creditsFromHeaders() never makes up a balance or lifts a bound", () => {
  check([creditList, time], (list, at) => {
    const known = list[0]!;
    const seen = { observedAt: at, hasCredits: true, unlimited: false };
    const { balance, ...facts } = creditsFromHeaders(known, seen, NOW);
    assertEquals(balance, known.balance);
    for (
      const bound of [
        "overageLimitReached",
        "spendControlReached",
        "individualLimit",
        "reachedType",
        "malformed",
      ] as const
    ) assertEquals(facts[bound], known[bound]);
  });
});
