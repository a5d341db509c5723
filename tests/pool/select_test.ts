import { assertEquals } from "@std/assert";
import type { AccountPool } from "../../lib/pool/account_pool.ts";
import { order, select, type SelectQuery } from "../../lib/pool/select.ts";
import { STRATEGIES } from "../../lib/pool/strategy.ts";
import type { AccountRecord } from "../../lib/types.ts";
import { test } from "../test.ts";
import {
  answer,
  credits,
  HOUR,
  MINUTE,
  noCredits,
  NOW,
  poolOf,
  query,
  SPARK,
  SPARK_METER,
  until,
  usage,
  window,
} from "./accounts.ts";

const open: AccountRecord = { usage: usage([window(10)]) };
const full = { usage: usage([window(100)]) };
const paid: AccountRecord = { ...full, credits: credits() };
/** Last seen open, but not fresh, and just asked in vain. */
const likely: AccountRecord = {
  usage: answer(NOW - HOUR, [window(10)]),
  usageCheck: { askedAt: NOW },
};

/** Whom one would send to, and from which pool. */
function chosen(pool: AccountPool, more: Partial<SelectQuery> = {}): string {
  const { choice } = select(pool.all, query(more));
  return choice ? `${choice.account.alias} ${choice.pool}` : "nobody";
}

/** All accounts in the order in which they would be tried, with their pools. */
function tries(pool: AccountPool, more: Partial<SelectQuery> = {}): string[] {
  const tried = new Set<string>();
  const found: string[] = [];
  for (let next; (next = chosen(pool, { ...more, tried })) !== "nobody";) {
    found.push(next);
    tried.add(next.split(" ")[0]!);
  }
  return found;
}

test("select() uses the pools in their order, whatever the strategy prefers", () => {
  const pool = poolOf({
    unsure: { plan: "pro", ...full },
    credited: { plan: "pro", priority: 9, ...paid },
    guessed: { plan: "pro", ...likely },
    included: { ...open, lastUsedAt: NOW, weight: 0, requests: 99 },
    unknown: { lastUsedAt: NOW, weight: 0, requests: 100 },
  });
  pool.get("included")!.fail(NOW);
  for (const strategy of STRATEGIES) {
    const found = tries(pool, { strategy });
    assertEquals(found.slice(0, 2).sort(), ["included first", "unknown first"]);
    assertEquals(found.slice(2), [
      "guessed likely",
      "credited credits",
      "unsure unconfirmed",
    ]);
  }
});

test("select() leaves out who may not spend, and serves the same by who may", () => {
  const accounts = { a: paid };
  assertEquals(chosen(poolOf(accounts, "none")), "nobody");
  assertEquals(chosen(poolOf(accounts, ["b"])), "nobody");
  assertEquals(chosen(poolOf(accounts, ["a"])), "a credits");
});

test("select() pays for nothing that must be included", () => {
  const accounts = { a: paid, b: likely, c: full };
  assertEquals(chosen(poolOf(accounts)), "b likely");
  assertEquals(chosen(poolOf(accounts), { includedOnly: true }), "nobody");
  const pool = poolOf({ ...accounts, d: open });
  assertEquals(chosen(pool, { includedOnly: true }), "d first");
});

test("select() sends what costs nothing to anybody who is signed in, whatever the quota", () => {
  const isFree = true;
  const used = { ...full, credits: noCredits() };
  assertEquals(chosen(poolOf({ a: used })), "nobody");
  assertEquals(chosen(poolOf({ a: used }), { isFree }), "a first");
  const pausing = { ...open, cooldowns: { throttle: until(NOW + 1) } };
  assertEquals(chosen(poolOf({ a: pausing }), { isFree }), "nobody");
});

test("select() takes a tried account again only when its pool has nobody else and no earlier one anybody", () => {
  const tried = { tried: new Set(["a"]), retriable: new Set(["a"]) };
  const again = (accounts: Record<string, AccountRecord>) =>
    chosen(poolOf(accounts), tried);
  assertEquals(again({ a: paid }), "a credits");
  assertEquals(again({ a: paid, b: paid }), "b credits");
  assertEquals(again({ a: paid, b: open }), "b first");
  assertEquals(again({ a: open, b: paid }), "a first");
  assertEquals(
    chosen(poolOf({ a: open }), { tried: new Set(["a"]) }),
    "nobody",
  );
});

test("select() moves no request to a later pool for an account that failed transiently", () => {
  const retriable = new Set(["a"]);
  const tried = new Set(["a", "b"]);
  const pool = poolOf({ a: open, b: open, c: paid });
  assertEquals(chosen(pool, { tried: new Set(["a"]), retriable }), "b first");
  assertEquals(chosen(pool, { tried, retriable }), "a first");
  assertEquals(chosen(pool, { tried }), "c credits", "it turned out used up");
  // even while its pause keeps it from serving
  const paused = { ...open, cooldowns: { throttle: until(NOW + HOUR) } };
  const held = poolOf({ a: paused, c: paid });
  assertEquals(chosen(held, { tried: new Set(["a"]), retriable }), "nobody");
});

test("select() tells when a throttle or token trouble alone keeps included usage away", () => {
  const throttle = { cooldowns: { throttle: until(NOW + MINUTE) } };
  const isHeld = (accounts: Record<string, AccountRecord>, more = {}) =>
    select(poolOf(accounts).all, query(more)).isHeld;
  assertEquals(isHeld({ a: { ...open, ...throttle } }), true);
  assertEquals(isHeld({ a: { ...open, ...throttle }, b: paid }), true);
  assertEquals(isHeld({ a: { ...open, ...throttle }, b: open }), false);
  assertEquals(isHeld({ a: { ...full, ...throttle }, b: paid }), false);
  assertEquals(
    isHeld({ a: { ...open, ...throttle } }, { isFree: true }),
    false,
  );
});

test("select() keeps a session where it was, but not at a price and not where it fails", () => {
  const pool = poolOf({
    a: { ...open, lastUsedAt: NOW - 9 },
    b: { ...open, lastUsedAt: NOW - 1, plan: "free" },
    c: paid,
  });
  const of = (sticky: string) => chosen(pool, { sticky });
  assertEquals(["b", "a", "c", "gone"].map(of), [
    "b first",
    "a first",
    "a first",
    "a first",
  ]);
  pool.get("b")!.fail(NOW);
  assertEquals(of("b"), "a first");
  assertEquals(chosen(pool, { sticky: "b", now: NOW + MINUTE }), "b first");
});

test("order() puts those that fail last, then goes by priority, reserve, plan and strategy", () => {
  const used = (percent: number) => ({ usage: usage([window(percent)]) });
  const pool = poolOf({
    fails: { ...used(10), priority: 9, plan: "pro" },
    high: { ...used(10), priority: 1, reserve: 91 },
    keeps: { ...used(81), reserve: 20, plan: "pro" },
    spare: { ...used(80), reserve: 20 },
    plain: { ...used(99), lastUsedAt: NOW - 1 },
    pro: { ...used(99), plan: "pro", lastUsedAt: NOW },
    low: { ...used(10), priority: -1, plan: "pro" },
  });
  pool.get("fails")!.fail(NOW);
  const names = (more: Partial<SelectQuery> = {}) =>
    order(pool.all, "first", query(more)).map(({ alias }) => alias).join(" ");
  assertEquals(names(), "high pro spare plain keeps low fails");
  assertEquals(
    names({ preferPlans: new Set() }),
    "high spare plain pro keeps low fails",
  );
  assertEquals(
    names({ preferPlans: new Set(["plus", "pro"]) }),
    "high spare plain pro keeps low fails",
    "several plans are one group",
  );
});

test("order() counts a reserve on the fullest window of the model's own meter", () => {
  const meters = (main: number, spark: number): AccountRecord => ({
    plan: "pro",
    reserve: 30,
    usage: usage([], {
      meters: {
        codex: { windows: [window(1), window(main, { windowSeconds: 9 })] },
        [SPARK_METER]: { windows: [window(spark)] },
      },
    }),
  });
  const pool = poolOf({ a: meters(71, 70), b: meters(70, 71) });
  const first = (model?: string) => chosen(pool, { model });
  assertEquals([first(), first(SPARK)], ["b first", "a first"]);
  const { all } = pool;
  assertEquals(
    order(all, "first", query()).length,
    2,
    "it serves all the same",
  );
});

test("select() follows facts that have changed once they are told", () => {
  const pool = poolOf({ a: open, b: open });
  assertEquals(chosen(pool), "a first");
  pool.get("b")!.record.plan = "pro";
  pool.invalidate();
  assertEquals(chosen(pool), "b first");
  pool.get("b")!.record.usage = answer(NOW, [window(100)]);
  pool.get("b")!.invalidate();
  assertEquals(chosen(pool), "a first");
});
