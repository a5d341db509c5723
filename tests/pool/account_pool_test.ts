import { assertEquals } from "@std/assert";
import { AccountPool } from "../../lib/pool/account_pool.ts";
import type { NormalState } from "../../lib/normal_types.ts";
import { test } from "../test.ts";
import {
  account,
  answer,
  HOUR,
  MINUTE,
  NOW,
  poolOf,
  RESERVE,
  SPARK,
  SPARK_METER,
  usage,
  window,
} from "./accounts.ts";

const POLICY = { allow: ["a"], source: "option" } as const;

function state(accounts: NormalState["accounts"]): NormalState {
  return { version: 1, settings: { pinned: null }, accounts };
}

test("fail() puts an account last for a minute, doubling to 15, until it serves", () => {
  const a = poolOf({ a: {} }).get("a")!;
  let now = NOW;
  const pauses = Array.from({ length: 6 }, () => {
    const from = now;
    a.fail(from);
    while (a.isFailing(now)) now += MINUTE;
    return (now - from) / MINUTE;
  });
  assertEquals(pauses, [1, 2, 4, 8, 15, 15]);
  a.fail(now);
  a.serve();
  assertEquals(a.isFailing(now), false);
  a.fail(now);
  assertEquals(a.isFailing(now + MINUTE - 1), true);
  assertEquals(a.isFailing(now + MINUTE), false, "it begins afresh");
});

test("fail() counts requests that fail side by side once", () => {
  const a = poolOf({ a: {} }).get("a")!;
  for (let n = 0; n < 5; n++) a.fail(NOW + n);
  assertEquals(a.isFailing(NOW + MINUTE), false);
  a.fail(NOW + MINUTE);
  assertEquals(a.isFailing(NOW + 3 * MINUTE - 1), true);
});

test("use() counts a request at once, and takes back what was not sent", () => {
  const pool = poolOf({ a: { requests: 3, lastUsedAt: NOW - HOUR } });
  const a = pool.get("a")!;
  const uses = () => [a.record.requests, a.record.lastUsedAt];
  const takeBack = pool.use(a, NOW);
  assertEquals(uses(), [4, NOW]);
  takeBack();
  assertEquals(uses(), [3, NOW - HOUR]);
  const earlier = pool.use(a, NOW);
  pool.use(a, NOW + 1);
  earlier();
  assertEquals(uses(), [4, NOW + 1], "a later use stays");
});

test("load() keeps what is remembered of a login, not of its name", () => {
  const pool = new AccountPool();
  const login = (accountId: string) => account({ accountId });
  pool.load(state({ a: login("1"), b: login("2") }), POLICY, NOW);
  const before = pool.get("a")!;
  before.fail(NOW);
  pool.load(state({ a: login("1"), b: login("3") }), POLICY, NOW);
  assertEquals(pool.get("a") === before, true);
  pool.load(state({ a: login("2"), b: login("1") }), POLICY, NOW);
  assertEquals(pool.get("a")!.isFailing(NOW), false);
  assertEquals(pool.all.map((it) => it.creditsAllowed), [true, false]);
});

test("load() is not held up by what another clock wrote", () => {
  const pool = new AccountPool();
  const ahead = account({
    usage: answer(NOW + HOUR, [window(1)]),
    cooldowns: { throttle: { until: NOW + 2 * HOUR, setAt: NOW + HOUR } },
  });
  pool.load(state({ a: ahead }), POLICY, NOW);
  const { record } = pool.get("a")!;
  assertEquals(record.usage?.answeredAt, 0);
  assertEquals(record.cooldowns["throttle"]?.until, NOW + HOUR);
});

test("a pool knows the meters of all its accounts by their names", () => {
  const next = { windows: [window(100)], name: "GPT-7-Next" };
  const meters = { codex: { windows: [] }, next };
  const pool = poolOf({
    a: { usage: usage([], { meters }) },
    b: { usage: usage([window(1)]) },
  });
  const reasons = () =>
    pool.all.map((it) => {
      const { standing } = it.assess("gpt-7-next", NOW);
      return "reason" in standing ? standing.reason : standing.kind;
    });
  assertEquals(reasons(), ["exhausted", "plan"]);
  delete pool.get("a")!.record.usage;
  pool.invalidate();
  assertEquals(reasons(), ["unknown", "included"]);
});

test("fullestPercent() looks at the windows of the model's own meter", () => {
  const meters = {
    codex: { windows: [window(3), window(40, { windowSeconds: 9 })] },
    [SPARK_METER]: { windows: [window(7)] },
  };
  const a = poolOf({ a: { usage: usage([], { meters }) } }).get("a")!;
  const found = [undefined, "gpt-5.5", SPARK, RESERVE]
    .map((model) => a.fullestPercent(model));
  assertEquals(found, [40, 40, 7, 0]);
});
