import { assertEquals, assertMatch } from "@std/assert";
import {
  areUsable,
  creditPolicy,
  isAlias,
  maySpend,
  type PolicySources,
} from "../../lib/pool/credits.ts";
import { ClockReading } from "../../lib/pool/clock.ts";
import type { NormalCredits } from "../../lib/normal_types.ts";
import type { CreditFacts } from "../../lib/types.ts";
import { test } from "../test.ts";
import { credits, MINUTE, NOW } from "./accounts.ts";

test("areUsable() takes every rule into account, one by one", () => {
  const rows: [string, boolean, Partial<CreditFacts>][] = [
    ["some", true, {}],
    ["unlimited instead", true, {
      hasCredits: false,
      unlimited: true,
      balance: null,
    }],
    ["neither", false, { hasCredits: false, balance: "10" }],
    ["flags unknown", false, { hasCredits: null, unlimited: null }],
    ["15 minutes old", true, { observedAt: NOW - 15 * MINUTE }],
    ["older", false, { observedAt: NOW - 15 * MINUTE - 1 }],
    ["a minute ahead", true, { observedAt: NOW + MINUTE }],
    ["further ahead", false, { observedAt: NOW + MINUTE + 1 }],
    ["overage limit", false, { overageLimitReached: true }],
    ["no overage limit", true, { overageLimitReached: false }],
    ["spend control", false, { spendControlReached: true }],
    ["no spend control", true, { spendControlReached: false }],
    ["workspace limit", false, {
      reachedType: "workspace_member_credits_depleted",
    }],
    ["another workspace limit", false, {
      reachedType: "workspace_owner_usage_limit_reached",
    }],
    ["plan limit", true, { reachedType: "rate_limit_reached" }],
    ["no type", true, { reachedType: null }],
    ["balance 0", false, { balance: "0" }],
    ["balance 0.00", false, { balance: "0.00" }],
    ["balance 0, spend limit behind it", true, {
      balance: "0",
      individualLimit: true,
    }],
    ["balance above 0", true, { balance: "0.01" }],
    ["balance null", true, { balance: null }],
    ["balance null, spend limit behind it", true, {
      balance: null,
      individualLimit: true,
    }],
    ["NaN", false, { balance: "NaN" }],
    ["NaN, spend limit behind it", false, {
      balance: "NaN",
      individualLimit: true,
    }],
    ["infinite", false, { balance: "Infinity" }],
    ["too large to be finite", false, { balance: "1e999" }],
    ["negative", false, { balance: "-1" }],
    ["negative, spend limit behind it", false, {
      balance: "-1",
      individualLimit: true,
    }],
    ["empty", false, { balance: "" }],
    ["hexadecimal is no decimal", false, { balance: "0x10" }],
    ["malformed", false, { malformed: true }],
  ];
  for (const [why, expected, more] of rows) {
    const found = areUsable(credits(more), new ClockReading(NOW));
    assertEquals([why, found], [why, expected]);
  }
});

test("areUsable() reads a number as a balance, as a hand-written store may hold it", () => {
  const withBalance = (balance: unknown) =>
    areUsable(
      { ...credits(), balance } as NormalCredits,
      new ClockReading(NOW),
    );
  assertEquals(withBalance(12.5), true);
  assertEquals(withBalance(0), false);
  assertEquals(withBalance(-3), false);
  assertEquals(withBalance(NaN), false);
  assertEquals(withBalance(Infinity), false);
  assertEquals(withBalance(true), false);
  assertEquals(withBalance({}), false);
});

test("creditPolicy() understands every form, and fails closed on any other", () => {
  const rows: [value: unknown, allow: unknown, warns: boolean][] = [
    ["all", "all", false],
    ["*", "all", false],
    [" all ", "all", false],
    ["all,", "all", false],
    ["none", "none", false],
    ["a", ["a"], false],
    ["a,b", ["a", "b"], false],
    [" a , b ,", ["a", "b"], false],
    ["A,a", ["A", "a"], false],
    [["a", " b "], ["a", "b"], false],
    [["a", ""], ["a"], false],
    [[], [], false],
    ["", "none", true],
    ["  ", "none", true],
    [",", "none", true],
    ["a,all", "none", true],
    ["none,a", "none", true],
    ["all,none", "none", true],
    ["*,a", "none", true],
    ["a b", "none", true],
    ["-a", "none", true],
    ["x".repeat(65), "none", true],
    ["ALL", ["ALL"], false],
    [["all", "a"], "none", true],
    [["none"], "none", true],
    [["a", 1], "none", true],
    [true, "none", true],
    [0, "none", true],
    [{ a: true }, "none", true],
  ];
  for (const [value, allow, warns] of rows) {
    const policy = creditPolicy({ store: value });
    assertEquals([value, policy.allow], [value, allow]);
    assertEquals([value, policy.warning !== undefined], [value, warns]);
    assertEquals(policy.source, "store");
  }
});

test("creditPolicy() takes the first source that is set", () => {
  const rows: [PolicySources, allow: unknown, source: string][] = [
    [{}, "all", "default"],
    [{ store: null }, "all", "default"],
    [{ option: null, environment: undefined, store: null }, "all", "default"],
    [{ store: "none" }, "none", "store"],
    [{ environment: "a", store: "none" }, ["a"], "environment"],
    [{ environment: "", store: "all" }, "none", "environment"],
    [
      { environment: { unreadable: true }, store: "all" },
      "none",
      "environment",
    ],
    [{ option: "all", environment: { unreadable: true } }, "all", "option"],
    [{ option: [], environment: "all", store: "all" }, [], "option"],
  ];
  for (const [sources, allow, source] of rows) {
    const policy = creditPolicy(sources);
    assertEquals([policy.allow, policy.source], [allow, source]);
  }
});

test("creditPolicy() says what is wrong without quoting the setting", () => {
  const { warning } = creditPolicy({ environment: "sk-secret value" });
  assertMatch(warning ?? "", /nobody may spend/);
  assertEquals(warning?.includes("sk-secret"), false);
});

test("maySpend() follows the list, case included", () => {
  const named = creditPolicy({ store: "a,b" });
  assertEquals(["a", "b", "A", "c", ""].map((name) => maySpend(named, name)), [
    true,
    true,
    false,
    false,
    false,
  ]);
  assertEquals(maySpend(creditPolicy({}), "anyone"), true);
  assertEquals(maySpend(creditPolicy({ store: [] }), "a"), false);
  assertEquals(maySpend(creditPolicy({ store: "al l" }), "al"), false);
});

test("isAlias() knows what can name an account", () => {
  for (const name of ["a", "A.b_c-9", "0", "x".repeat(64), "All", "nONE"]) {
    assertEquals([name, isAlias(name)], [name, true]);
  }
  for (
    const name of [
      "",
      "all",
      "none",
      "*",
      "a b",
      ".a",
      "_a",
      "é",
      "x".repeat(65),
      "a\n",
    ]
  ) {
    assertEquals([name, isAlias(name)], [name, false]);
  }
});
