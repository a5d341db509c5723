import { assert, assertEquals } from "@std/assert";
import * as fc from "fast-check";
import { setCooldown } from "../../lib/pool/cooldowns.ts";
import { mergeCredits, mergeUsage } from "../../lib/pool/facts.ts";
import { PooledAccount } from "../../lib/pool/account_pool.ts";
import { type Pool, poolOf } from "../../lib/pool/pools.ts";
import { order, select } from "../../lib/pool/select.ts";
import { assess } from "../../lib/pool/standing.ts";
import { STRATEGIES } from "../../lib/pool/strategy.ts";
import type { CreditFacts, UsageFacts, UsageWindow } from "../../lib/types.ts";
import type { Standing } from "../../lib/report_types.ts";
import {
  account,
  credits,
  fleet,
  model,
  RUNS,
  time,
  window,
} from "./arbitrary.ts";
import { DAY, HOUR, MINUTE, NOW, query, roster, standing } from "./accounts.ts";

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

const policy = fc.constantFrom("all" as const, "none" as const, [
  "a0",
  "a2",
  "a4",
]);
const strategy = fc.constantFrom(...STRATEGIES);

Deno.test("runner.assess() gives at any later time what a fresh look gives", () => {
  check(
    [account, fc.boolean(), model, time, fc.array(time, { maxLength: 20 })],
    (record, allowed, name, from, later) => {
      const runner = new PooledAccount("a", record);
      runner.creditsAllowed = allowed;
      for (
        const now of [
          from,
          ...later.map((at) => Math.max(from, at)).sort((a, b) => a - b),
        ]
      ) {
        const fresh = assess(record, {
          model: name,
          creditsAllowed: allowed,
          now,
        });
        const { standing, blockedTransiently: held } = runner.assess(name, now);
        assertEquals([standing, held], [
          fresh.standing,
          fresh.blockedTransiently,
        ]);
      }
    },
  );
});

Deno.test("assess() never promises a verdict for longer than it holds", () => {
  check([
    account,
    fc.boolean(),
    model,
    time,
    fc.integer({ min: 0, max: 2 * HOUR }),
  ], (record, creditsAllowed, name, now, more) => {
    const first = assess(record, { model: name, creditsAllowed, now });
    assert(first.validUntil > now);
    const end = Math.min(first.validUntil - 1, now + DAY);
    for (const at of [Math.min(now + more, end), end]) {
      const then = assess(record, { model: name, creditsAllowed, now: at });
      assertEquals([then.standing, then.blockedTransiently], [
        first.standing,
        first.blockedTransiently,
      ]);
    }
  });
});

Deno.test("assess() never spends for who may not, and needs no more than facts to say so", () => {
  check([account, model, time], (record, name, now) => {
    const forbidden = standing(record, {
      model: name,
      creditsAllowed: false,
      now,
    });
    assert(forbidden.kind !== "credits");
    if (forbidden.kind !== "unconfirmed") return;
    // nothing was ever seen of it
    const seen = record.credits;
    assert(!seen || (seen.hasCredits === false && seen.unlimited === false));
    const allowed = standing(record, {
      model: name,
      creditsAllowed: true,
      now,
    });
    assertEquals(
      allowed.kind,
      "unconfirmed",
      "the twin that may spend could serve",
    );
  });
});

Deno.test("select() spends nothing while anyone of an earlier pool can serve", () => {
  check(
    [fleet, policy, strategy, model, time],
    (accounts, allow, name, wanted, now) => {
      const { all: runners } = roster(accounts, allow);
      const about = query({
        strategy: name,
        model: wanted,
        now,
        random: Math.random,
      });
      const { choice } = select(runners, about);
      const pools = new Map<Pool, string[]>();
      for (const runner of runners) {
        const found = standing(runner.record, {
          model: wanted,
          now,
          creditsAllowed: runner.creditsAllowed,
        });
        const pool = poolOf(found);
        if (pool) pools.set(pool, [...pools.get(pool) ?? [], runner.alias]);
      }
      const best = (["first", "credits", "unconfirmed"] as const).find((pool) =>
        pools.has(pool)
      );
      assertEquals(choice?.pool, best);
      if (!choice) return;
      assert(pools.get(choice.pool)!.includes(choice.runner.alias));
      if (choice.pool === "credits") assert(choice.runner.creditsAllowed);
    },
  );
});

Deno.test("order() is a permutation of its pool that begins with the choice", () => {
  check(
    [fleet, policy, strategy, model, time],
    (accounts, allow, name, wanted, now) => {
      const { all: runners } = roster(accounts, allow);
      const seed = 0.3;
      const about = query({
        strategy: name,
        model: wanted,
        now,
        random: () => seed,
      });
      const sorted: string[] = [];
      for (const pool of ["first", "credits", "unconfirmed"] as const) {
        const members = runners.filter((runner) =>
          poolOf(runner.assess(wanted, now).standing) === pool
        );
        const inOrder = order(runners, pool, about);
        assertEquals(
          inOrder.map((one) => one.alias).sort(),
          members.map((one) => one.alias).sort(),
        );
        const preferred = inOrder.map((one) => one.record.plan === "pro");
        assert(
          preferred.lastIndexOf(true) <
            (preferred.indexOf(false) + 1 || Infinity),
        );
        sorted.push(...inOrder.map((one) => one.alias));
      }
      assertEquals(select(runners, about).choice?.runner.alias, sorted[0]);
    },
  );
});

Deno.test("select() tries everyone once, and the pools in their order", () => {
  check([fleet, policy, strategy, time], (accounts, allow, name, now) => {
    const { all: runners } = roster(accounts, allow);
    const tried = new Set<string>();
    const pools: number[] = [];
    for (;;) {
      const { choice } = select(runners, query({ strategy: name, now, tried }));
      if (!choice) break;
      assert(!tried.has(choice.runner.alias));
      tried.add(choice.runner.alias);
      pools.push(["first", "credits", "unconfirmed"].indexOf(choice.pool));
    }
    assertEquals(pools, [...pools].sort());
    assertEquals(
      tried.size,
      runners.filter((one) => poolOf(one.assess(undefined, now).standing))
        .length,
    );
  });
});

/** Observations at different times, as answers and headers bring them. */
const observations = fc.uniqueArray(
  fc.record({
    at: fc.integer({ min: 0, max: 60 }).map((n) => NOW - n * 1000),
    isAnswer: fc.boolean(),
    limit: fc.boolean(),
    meter: fc.constantFrom("codex", "codex_bengalfox"),
    // what has reset is forgotten, and with it when it was seen
    windows: fc.uniqueArray(
      window(false).filter(({ resetsAt }) =>
        resetsAt === null || resetsAt > NOW
      ),
      {
        maxLength: 2,
        selector: (one) => one.windowSeconds,
      },
    ),
  }),
  { minLength: 1, maxLength: 6, selector: (one) => one.at },
).map((list) =>
  // headers without a window are none
  list.filter((one) => one.isAnswer || one.windows.length > 0).map(factsOf)
).filter((list) => list.length > 0);

function factsOf({ at, isAnswer, limit, meter, windows }: {
  at: number;
  isAnswer: boolean;
  limit: boolean;
  meter: string;
  windows: UsageWindow[];
}): UsageFacts {
  const dated = windows.map((one) => ({ ...one, observedAt: at }));
  const facts = {
    windows: dated,
    observedAt: at,
    limitReached: limit,
    limit: limit ? { observedAt: at, windows: dated } : null,
  };
  return {
    observedAt: at,
    answeredAt: isAnswer ? at : null,
    meters: { [meter]: facts },
  };
}

function merged(list: readonly UsageFacts[]): UsageFacts | undefined {
  let facts: UsageFacts | undefined;
  for (const one of list) facts = mergeUsage(facts, one, NOW);
  return facts;
}

function verdicts(usage: UsageFacts | undefined): Standing[] {
  const record = {
    tokens: { access: "a" },
    plan: "pro",
    ...(usage && { usage }),
  };
  return [undefined, "gpt-5.3-codex-spark"].flatMap((model) =>
    [0, MINUTE, 14 * MINUTE, 16 * MINUTE, HOUR, 3 * HOUR].map((later) =>
      standing(record, { model, creditsAllowed: false, now: NOW + later })
    )
  );
}

Deno.test("mergeUsage() comes to the same verdicts in whatever order facts arrive", () => {
  check([observations, fc.infiniteStream(fc.nat())], (list, dice) => {
    const shuffled = [...list];
    for (let n = shuffled.length - 1; n > 0; n--) {
      const other = dice.next().value % (n + 1);
      [shuffled[n], shuffled[other]] = [shuffled[other]!, shuffled[n]!];
    }
    const inOrder = [...list].sort((a, b) => a.observedAt - b.observedAt);
    assertEquals(verdicts(merged(shuffled)), verdicts(merged(inOrder)));
  });
});

Deno.test("mergeUsage() changes nothing when it is told again what it knows", () => {
  check([observations], (list) => {
    const once = merged(list)!;
    assertEquals(verdicts(mergeUsage(once, once, NOW)), verdicts(once));
    const again = list.reduce(
      (facts, one) => mergeUsage(facts, one, NOW),
      once,
    );
    assertEquals(verdicts(again), verdicts(once));
  });
});

Deno.test("mergeUsage() never forgets a running limit but by an answer or by newer facts of the same window", () => {
  check([observations], (list) => {
    for (const full of list) {
      const meter = full.meters["codex"];
      const window = meter?.windows.find((one) =>
        one.usedPercent >= 100 && (one.resetsAt ?? 0) > NOW
      );
      if (!window) continue;
      const isOutdone = list.some((one) =>
        one.observedAt > full.observedAt &&
        (one.answeredAt !== null || one.meters["codex"]?.windows.some((other) =>
          other.windowSeconds === window.windowSeconds
        ))
      );
      if (isOutdone) continue;
      const [now] = verdicts(merged(list));
      assertEquals(now?.kind === "blocked" && now.reason, "exhausted");
    }
  });
});

const creditList = fc.uniqueArray(credits, {
  minLength: 1,
  maxLength: 5,
  selector: (one) => one.observedAt,
})
  .map((list) =>
    list.map(({ limitsObservedAt: _, ...one }) => one).filter((one) =>
      one.observedAt <= NOW
    )
  );

Deno.test("mergeCredits() comes to the newest in whatever order facts arrive, and stays there", () => {
  check([creditList], (list) => {
    const merge = (all: readonly CreditFacts[]) =>
      all.reduce<CreditFacts | undefined>(
        (known, one) => mergeCredits(known, one, NOW),
        undefined,
      );
    const newest = list.toSorted((a, b) => b.observedAt - a.observedAt)[0];
    assertEquals(merge(list), newest);
    assertEquals(merge(list.toReversed()), newest);
    assertEquals(merge([...list, ...list]), newest);
  });
});

Deno.test("setCooldown() never shortens a cooldown that runs", () => {
  const entry = fc.record({
    setAt: fc.integer({ min: 0, max: 100 }),
    length: fc.integer({ min: 1, max: 100 }),
  });
  check([fc.array(entry, { minLength: 1, maxLength: 10 })], (entries) => {
    const record = {};
    let longest = 0;
    for (
      const { setAt, length } of entries.toSorted((a, b) => a.setAt - b.setAt)
    ) {
      const until = NOW + setAt + length;
      longest = Math.max(longest, until);
      const set = setCooldown(record, "throttle", {
        until,
        setAt: NOW + setAt,
      });
      assertEquals(set.until, longest > NOW + setAt ? longest : until);
    }
  });
});
