import { assertEquals } from "@std/assert";
import type { PooledAccount } from "../../lib/pool/account_pool.ts";
import {
  order,
  rivalsOf,
  select,
  type SelectQuery,
} from "../../lib/pool/select.ts";
import {
  isStrategy,
  settleWeights,
  STRATEGIES,
} from "../../lib/pool/strategy.ts";
import type { AccountRecord } from "../../lib/types.ts";
import {
  account,
  credits,
  DAY,
  HOUR,
  NOW,
  query,
  roster,
  usage,
  window,
} from "./accounts.ts";

const open = (more: Partial<AccountRecord> = {}) =>
  account({ usage: usage([window(1)]), ...more });

function names(runners: readonly PooledAccount[]): string {
  return runners.map((runner) => runner.alias).join("");
}

function ordered(
  accounts: Record<string, AccountRecord>,
  more: Partial<SelectQuery> = {},
): string {
  return names(order(roster(accounts).all, "first", query(more)));
}

Deno.test("order() by round-robin puts the longest unused first, ties by alias", () => {
  const accounts = {
    d: open({ lastUsedAt: NOW - 5 }),
    c: open({ lastUsedAt: NOW - 9 }),
    b: open({ lastUsedAt: null }),
    a: open({ lastUsedAt: NOW - 5 }),
    e: open(),
  };
  assertEquals(ordered(accounts), "becad");
});

Deno.test("order() does not starve an account that another clock used in the future", () => {
  const accounts = {
    a: open({ lastUsedAt: NOW - 5 }),
    b: open({ lastUsedAt: NOW + HOUR }),
  };
  assertEquals(ordered(accounts), "ba");
});

Deno.test("order() by least-used puts a new account first, then the longest unused", () => {
  const accounts = {
    a: open({ requests: 2, lastUsedAt: NOW - 1 }),
    b: open({ requests: 2, lastUsedAt: NOW - 2 }),
    c: open({ requests: 1, lastUsedAt: NOW }),
    d: open(),
  };
  assertEquals(ordered(accounts, { strategy: "least-used" }), "dcba");
});

Deno.test("order() by drain goes by the reset of the longest window, unknown ones last", () => {
  const week = (resetsAt: number | null) =>
    open({
      usage: usage([
        window(1),
        window(1, { windowSeconds: 604_800, resetsAt }),
      ]),
    });
  const accounts = {
    a: week(NOW + 2 * DAY),
    b: week(NOW + DAY),
    c: week(null),
    d: open({ usage: { observedAt: NOW, meters: {} } }),
    e: open(),
  };
  assertEquals(ordered(accounts, { strategy: "drain" }), "ebacd");
});

Deno.test("order() by random goes by the dice", () => {
  const dice = [0.9, 0.1, 0.5];
  const accounts = { a: open(), b: open(), c: open() };
  const random = () => dice.shift()!;
  assertEquals(ordered(accounts, { strategy: "random", random }), "bca");
});

Deno.test("order() by weight is smooth, and weight 0 comes last", () => {
  const { all: runners } = roster({
    a: open({ weight: 5 }),
    b: open(),
    c: open({ weight: 0 }),
    d: open({ weight: 1 }),
  });
  let served = "";
  for (let n = 0; n < 14; n++) {
    const sorted = order(runners, "first", query({ strategy: "weighted" }));
    assertEquals(sorted.at(-1)?.alias, "c");
    const picked = sorted[0]!;
    settleWeights(rivalsOf(runners, picked, query()), picked);
    served += picked.alias;
  }
  assertEquals(served.split("").sort().join(""), "aaaaaaaaaabbdd");
  assertEquals(served.slice(0, 7), served.slice(7));
  assertEquals(
    /aaaaa/.test(served.slice(0, 7)),
    false,
    "five in a row are not smooth",
  );
});

Deno.test("order() puts preferred plans first, and the strategy orders each part", () => {
  const accounts = {
    a: open({ lastUsedAt: NOW - 9 }),
    b: open({ lastUsedAt: NOW - 1, plan: "pro" }),
    c: open({ lastUsedAt: NOW - 2, plan: "pro" }),
    d: open({ lastUsedAt: NOW - 10 }),
  };
  assertEquals(ordered(accounts), "cbda");
  assertEquals(ordered(accounts, { preferPlans: new Set() }), "dacb");
  assertEquals(ordered(accounts, { preferPlans: new Set(["plus"]) }), "dacb");
});

const full = usage([window(100)]);

Deno.test("select() uses the pools in their order, preferred plans or not", () => {
  const accounts = {
    credited: account({ plan: "pro", usage: full, credits: credits() }),
    unsure: account({ plan: "pro", usage: full }),
    included: open({ lastUsedAt: NOW, weight: 0 }),
  };
  for (const strategy of STRATEGIES) {
    const { all: runners } = roster(accounts);
    const tried = new Set<string>();
    const chosen: string[] = [];
    for (;;) {
      const { choice } = select(runners, query({ strategy, tried }));
      if (!choice) break;
      tried.add(choice.runner.alias);
      chosen.push(`${choice.runner.alias}:${choice.pool}`);
    }
    assertEquals(chosen, [
      "included:first",
      "credited:credits",
      "unsure:unconfirmed",
    ]);
  }
});

Deno.test("select() leaves out who may not spend, the same set-up with leave serves", () => {
  const accounts = { a: account({ usage: full, credits: credits() }) };
  assertEquals(
    select(roster(accounts, "none").all, query()).choice,
    undefined,
  );
  assertEquals(
    select(roster(accounts, ["b"]).all, query()).choice,
    undefined,
  );
  assertEquals(
    select(roster(accounts, ["a"]).all, query()).choice?.pool,
    "credits",
  );
});

Deno.test("select() keeps a session where it was, but not at a price", () => {
  const accounts = {
    a: open({ lastUsedAt: NOW - 9 }),
    b: open({ lastUsedAt: NOW - 1 }),
    c: account({ usage: full, credits: credits() }),
  };
  const chosen = (sticky: string) =>
    select(roster(accounts).all, query({ sticky })).choice?.runner.alias;
  assertEquals([chosen("b"), chosen("a"), chosen("c"), chosen("gone")], [
    "b",
    "a",
    "a",
    "a",
  ]);
});

Deno.test("select() tells when a hiccup alone keeps included usage away", () => {
  const paused = (cooldowns: AccountRecord["cooldowns"], more = {}) =>
    open({ ...more, cooldowns: cooldowns! });
  const at = (ms: number) => ({ until: NOW + ms, setAt: NOW });
  const rows: [string, boolean, AccountRecord][] = [
    ["throttle of 10 s", true, paused({ throttle: at(10_000) })],
    ["a longer one", false, paused({ throttle: at(10_001) })],
    ["token", true, paused({ token: at(300_000) })],
    [
      "a long throttle and token",
      false,
      paused({ throttle: at(10_001), token: at(1) }),
    ],
    ["exhausted as well", false, paused({ throttle: at(1) }, { usage: full })],
    ["nothing known", true, account({ cooldowns: { throttle: at(1) } })],
    ["disabled", false, paused({ throttle: at(1) }, { enabled: false })],
  ];
  for (const [why, held, record] of rows) {
    const { all: runners } = roster({ a: record });
    assertEquals([why, select(runners, query()).held], [why, held]);
  }
});

Deno.test("isStrategy() knows the five, and nothing else", () => {
  assertEquals(STRATEGIES.filter(isStrategy).length, 5);
  assertEquals(["", "Drain", "toString", null].filter(isStrategy), []);
});
