import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { readUsage, type UsageAnswer } from "../../lib/codex/usage.ts";
import { fixture } from "../fixtures.ts";
import { test } from "../test.ts";
import { usageJson } from "./arbitrary.ts";
import { NOW, seenAt } from "./facts.ts";

function read(json: unknown): UsageAnswer {
  const answer = readUsage(json, seenAt(NOW));
  if (answer === undefined) throw new Error("Not a usage answer");
  return answer;
}

test("readUsage() marks an account that lives on credits", () => {
  const answer = read(fixture("usage/business-credit-only"));
  assertEquals(answer.usage.creditOnly, true);
  assertEquals({ ...answer.usage.meters }, {});
  assertEquals(answer.credits, {
    observedAt: NOW,
    hasCredits: true,
    unlimited: false,
    balance: null,
    overageLimitReached: false,
    spendControlReached: false,
    individualLimit: true,
    reachedType: null,
    malformed: false,
    limitsObservedAt: NOW,
  });
});

test("readUsage() keeps what kind of limit was reached", () => {
  const depleted = read(fixture("usage/team-exhausted-depleted"));
  const kind = "workspace_member_credits_depleted";
  assertEquals(depleted.creditLimits.reachedType, kind);
  assertEquals(depleted.credits?.reachedType, kind);
});

test("readUsage() counts banked resets and not as credits", () => {
  const answer = read(fixture("usage/plus-weekly-only"));
  assertEquals(answer.usage.bankedResets, 0);
  const table: [unknown, number | null][] = [
    [{ available_count: 3 }, 3],
    [{ available_count: -1 }, null],
    [{ available_count: "x" }, null],
    [undefined, null],
  ];
  for (const [raw, wanted] of table) {
    const answer = read({ plan_type: "plus", rate_limit_reset_credits: raw });
    assertEquals(answer.usage.bankedResets, wanted);
    assertEquals(answer.credits, null);
  }
});

test("readUsage() says whether every request is charged where no rate limit is told", () => {
  const some = { has_credits: true, unlimited: false };
  const none = { has_credits: false, unlimited: false };
  const rows: [fields: Record<string, unknown>, boolean | null][] = [
    [{ rate_limit: null, credits: some }, true],
    [{ rate_limit: null, credits: { ...none, unlimited: true } }, true],
    [{ rate_limit: null, credits: { has_credits: "true" } }, true],
    [{ rate_limit: "odd", credits: some }, true],
    [{ credits: some }, true],
    [{ rate_limit: null, credits: none }, false],
    [{ rate_limit: null, credits: { ...none, balance: "0" } }, false],
    // it cannot be read whether there are credits
    [{ rate_limit: null }, null],
    [{ rate_limit: null, credits: null }, null],
    [{ rate_limit: null, credits: "none" }, null],
    [{ rate_limit: null, credits: {} }, null],
    [{ rate_limit: null, credits: { has_credits: false } }, null],
    [{ rate_limit: null, credits: { ...none, balance: "?" } }, null],
    // an answer without a word of a rate limit
    [{}, false],
    [{ rate_limit: { allowed: true }, credits: some }, false],
  ];
  for (const [fields, wanted] of rows) {
    const { usage } = read({ plan_type: "business", ...fields });
    const row = JSON.stringify(fields);
    assertEquals([row, usage.creditOnly], [row, wanted]);
  }
});

test("readUsage() reads balances and marks what it cannot read", () => {
  const table: [unknown, string | null, boolean][] = [
    [undefined, null, false],
    [null, null, false],
    ["12.50", "12.50", false],
    [12.5, "12.5", false],
    [0, "0", false],
    ["-4", "-4", false],
    ["1e3", "1e3", false],
    ["NaN", "NaN", true],
    ["Infinity", "Infinity", true],
    ["1e999", "1e999", true],
    ["", "", true],
    ["abc", "abc", true],
    ["0x10", "0x10", true],
    ["1,000", "1,000", true],
    [Infinity, "Infinity", true],
    [{}, null, true],
    [true, null, true],
  ];
  for (const [balance, text, malformed] of table) {
    const { credits } = read({
      plan_type: "plus",
      credits: { has_credits: true, unlimited: false, balance },
    });
    assertEquals(credits?.balance, text);
    assertEquals(credits?.malformed, malformed);
  }
});

test("readUsage() calls credits malformed unless both flags are booleans", () => {
  const odd = ["yes", 5, [], {}, { has_credits: true }, {
    has_credits: "true",
    unlimited: false,
  }, { has_credits: 1, unlimited: 0 }];
  for (const credits of odd) {
    const read1 = read({ plan_type: "plus", credits }).credits;
    assertEquals(read1?.malformed, true);
  }
  const half = read({ plan_type: "plus", credits: { has_credits: true } });
  assertEquals(half.credits?.hasCredits, true);
  assertEquals(half.credits?.unlimited, null);
  for (const credits of [null, undefined]) {
    assertStrictEquals(read({ plan_type: "plus", credits }).credits, null);
  }
});

test("readUsage() reads what bounds the credits, and fails closed", () => {
  const open = {
    overageLimitReached: false,
    spendControlReached: false,
    individualLimit: false,
    reachedType: null,
  };
  type Row = [Record<string, unknown>, Record<string, unknown>];
  const table: Row[] = [
    [{}, {}],
    [{ spend_control: null, rate_limit_reached_type: null }, {}],
    [{ credits: { overage_limit_reached: true } }, {
      overageLimitReached: true,
    }],
    [{ credits: { overage_limit_reached: "no" } }, {
      overageLimitReached: true,
    }],
    [{ credits: { overage_limit_reached: null } }, {}],
    [{ spend_control: { reached: true } }, { spendControlReached: true }],
    [{ spend_control: { reached: 0 } }, { spendControlReached: true }],
    [{ spend_control: "off" }, { spendControlReached: true }],
    [{ spend_control: { individual_limit: {} } }, { individualLimit: true }],
    [{ spend_control: { individual_limit: { remaining: "4.5" } } }, {
      individualLimit: true,
    }],
    ...["0", "-33140", 0, -1].map((remaining): Row => [
      { spend_control: { individual_limit: { remaining } } },
      { spendControlReached: true },
    ]),
    [{ spend_control: { individual_limit: { used_percent: 99 } } }, {
      individualLimit: true,
    }],
    ...[100, "100", 455].map((used_percent): Row => [
      {
        spend_control: { individual_limit: { remaining: "1", used_percent } },
      },
      { spendControlReached: true },
    ]),
    [{ spend_control: { individual_limit: { used_percent: "most" } } }, {
      spendControlReached: true,
    }],
    [{ spend_control: { individual_limit: { remaining: "lots" } } }, {
      spendControlReached: true,
    }],
    [{ spend_control: { individual_limit: 7 } }, { spendControlReached: true }],
    [{ rate_limit_reached_type: { type: "x" } }, { reachedType: "x" }],
    [{ rate_limit_reached_type: "x" }, { reachedType: "x" }],
    [{ rate_limit_reached_type: { type: null } }, {}],
    [{ rate_limit_reached_type: { type: 5 } }, { spendControlReached: true }],
    [{ rate_limit_reached_type: [] }, { spendControlReached: true }],
  ];
  for (const [fields, differs] of table) {
    const { creditLimits } = read({ plan_type: "team", ...fields });
    assertEquals(creditLimits, { ...open, ...differs });
  }
});

test("readUsage() never invents credits", () => {
  fc.assert(
    fc.property(usageJson, (json) => {
      const credits = readUsage(json, seenAt(NOW))?.credits;
      if (!credits) return;
      const raw = (json as { credits?: Record<string, unknown> }).credits ?? {};
      if (credits.hasCredits) assertStrictEquals(raw.has_credits, true);
      if (credits.unlimited) assertStrictEquals(raw.unlimited, true);
      if (!credits.malformed) {
        assertEquals(typeof raw.has_credits, "boolean");
        assertEquals(typeof raw.unlimited, "boolean");
        assert(Number.isFinite(Number(credits.balance)));
        if (raw.overage_limit_reached === true) {
          assertEquals(credits.overageLimitReached, true);
        }
      }
    }),
    { numRuns: 500 },
  );
});
