import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { readUsage, type UsageAnswer } from "../../lib/codex/usage.ts";
import type { UsageWindow } from "../../lib/types.ts";
import { usageJson } from "./arbitrary.ts";

const NOW = 1_778_000_000_000;
const DAY = 86_400_000;

function read(json: unknown, now = NOW): UsageAnswer {
  const answer = readUsage(json, now);
  if (answer === undefined) throw new Error("Not a usage answer");
  return answer;
}

async function fixture(name: string): Promise<unknown> {
  const url = new URL(`./fixtures/${name}.json`, import.meta.url);
  return JSON.parse(await Deno.readTextFile(url));
}

function windowOf(window: Record<string, unknown>): UsageWindow | undefined {
  return read({ rate_limit: { primary_window: window } }).usage.meters.codex
    ?.windows[0];
}

const PAYLOADS: {
  name: string;
  now: number;
  plan: string;
  windows: [number, number, number][];
  limited: boolean;
  hasCredits: boolean;
  balance: string | null;
}[] = [
  {
    name: "free-monthly",
    now: 1779694268 - 501635,
    plan: "free",
    windows: [[25, 2592000, 1779694268]],
    limited: false,
    hasCredits: false,
    balance: null,
  },
  {
    name: "plus-5h-and-weekly",
    now: 1778689421 - 6699,
    plan: "plus",
    windows: [[46, 18000, 1778689421], [15, 604800, 1779188048]],
    limited: false,
    hasCredits: false,
    balance: "0",
  },
  {
    name: "plus-exhausted-no-credits",
    now: 1788708977 - 15635,
    plan: "plus",
    windows: [[1, 18000, 1788708977], [100, 604800, 1788757189]],
    limited: true,
    hasCredits: false,
    balance: "0",
  },
  {
    name: "plus-exhausted-with-credits",
    now: 1789836474 - 9000,
    plan: "plus",
    windows: [[100, 18000, 1789836474], [16, 604800, 1790227474]],
    limited: true,
    hasCredits: true,
    balance: "489.25",
  },
  {
    name: "plus-weekly-only",
    now: 1784800646 - 547005,
    plan: "plus",
    windows: [[0, 604800, 1784800646]],
    limited: false,
    hasCredits: false,
    balance: "0",
  },
  {
    name: "prolite-with-spark-meter",
    now: 1789385295 - 603053,
    plan: "prolite",
    windows: [[0, 604800, 1789385295]],
    limited: false,
    hasCredits: false,
    balance: "0",
  },
  {
    name: "team-exhausted-depleted",
    now: 1787421242 - 74033,
    plan: "team",
    windows: [[100, 604800, 1787421242]],
    limited: true,
    hasCredits: false,
    balance: null,
  },
];

for (const payload of PAYLOADS) {
  Deno.test(`readUsage() reads ${payload.name}`, async () => {
    const now = payload.now * 1000;
    const answer = read(await fixture(payload.name), now);
    const meter = answer.usage.meters.codex;
    const windows = payload.windows.map(([percent, seconds, reset]) => ({
      usedPercent: percent,
      windowSeconds: seconds,
      resetsAt: reset * 1000,
      observedAt: now,
    }));
    assertEquals(answer.plan, payload.plan);
    assertEquals(meter?.windows, windows);
    assertEquals(meter?.allowed, !payload.limited);
    assertEquals(meter?.limitReached, payload.limited);
    assertEquals(
      meter?.limit,
      payload.limited ? { observedAt: now, windows } : undefined,
    );
    assertEquals(answer.credits?.hasCredits, payload.hasCredits);
    assertEquals(answer.credits?.balance, payload.balance);
    assertEquals(answer.credits?.malformed, undefined);
    assertEquals(answer.usage.creditOnly, false);
    assertEquals(answer.usage.observedAt, now);
    assertEquals(answer.usage.answeredAt, now);
  });
}

Deno.test("readUsage() reads the Spark meter beside the main one", async () => {
  const answer = read(await fixture("prolite-with-spark-meter"));
  assertEquals(Object.keys(answer.usage.meters).sort(), [
    "codex",
    "codex_bengalfox",
  ]);
  const lengths = answer.usage.meters.codex_bengalfox?.windows
    .map((window) => window.windowSeconds);
  assertEquals(lengths, [18000, 604800]);
});

Deno.test("readUsage() marks an account that lives on credits", async () => {
  const answer = read(await fixture("business-credit-only"));
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
  });
});

Deno.test("readUsage() keeps what kind of limit was reached", async () => {
  const depleted = read(await fixture("team-exhausted-depleted"));
  const kind = "workspace_member_credits_depleted";
  assertEquals(depleted.creditLimits.reachedType, kind);
  assertEquals(depleted.credits?.reachedType, kind);
});

Deno.test("readUsage() counts banked resets and not as credits", async () => {
  const answer = read(await fixture("plus-weekly-only"));
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

Deno.test("readUsage() knows what is no usage answer", () => {
  for (const json of [null, undefined, 5, "x", [], {}, { plan_type: 1 }]) {
    assertStrictEquals(readUsage(json, NOW), undefined);
  }
  assert(readUsage({ plan_type: "plus" }, NOW));
  assert(readUsage({ rate_limit: null }, NOW));
});

Deno.test("readUsage() drops windows whose use it cannot read", () => {
  const table: [unknown, number | undefined][] = [
    [42, 42],
    ["42.5", 42.5],
    [-3, 0],
    [130, 130],
    [NaN, undefined],
    [Infinity, undefined],
    ["", undefined],
    [null, undefined],
    [[50], undefined],
  ];
  for (const [used, wanted] of table) {
    assertEquals(windowOf({ used_percent: used })?.usedPercent, wanted);
  }
});

Deno.test("readUsage() reads lengths and clamps resets", () => {
  const table: [Record<string, unknown>, number | null][] = [
    [{ reset_at: NOW / 1000 + 90, reset_after_seconds: 5 }, NOW + 90_000],
    [{ reset_after_seconds: 5 }, NOW + 5000],
    [{ reset_at: "soon", reset_after_seconds: "7" }, NOW + 7000],
    [{ reset_at: NOW / 1000 - 1 }, NOW + 60_000],
    [{ reset_at: NOW / 1000 }, NOW + 60_000],
    [{ reset_after_seconds: -9 }, NOW + 60_000],
    [{ reset_at: NOW }, NOW + 35 * DAY],
    [{ reset_at: 1e308 }, NOW + 35 * DAY],
    [{ reset_at: "" }, null],
    [{}, null],
  ];
  for (const [fields, wanted] of table) {
    assertEquals(windowOf({ used_percent: 1, ...fields })?.resetsAt, wanted);
  }
  for (const seconds of [0, -5, null, "", {}]) {
    const window = windowOf({ used_percent: 1, limit_window_seconds: seconds });
    assertEquals(window?.windowSeconds, null);
  }
});

Deno.test("readUsage() takes any slot for a window", () => {
  const used = { used_percent: 9, limit_window_seconds: 604800 };
  for (const slot of ["primary", "secondary", "tertiary", "monthly"]) {
    const { usage } = read({ rate_limit: { [`${slot}_window`]: used } });
    assertEquals(usage.meters.codex?.windows[0]?.windowSeconds, 604800);
  }
});

Deno.test("readUsage() takes the fuller of two windows of one length", () => {
  const slot = (used_percent: number) => ({
    used_percent,
    limit_window_seconds: 18_000,
    reset_after_seconds: 60,
  });
  for (const [first, second] of [[100, 10], [10, 100]] as const) {
    const { windows } = read({
      rate_limit: {
        primary_window: slot(first),
        secondary_window: slot(second),
      },
    }).usage.meters.codex!;
    assertEquals(windows.map((it) => it.usedPercent), [100]);
  }
});

Deno.test("readUsage() ignores a rate limit that says nothing", () => {
  for (const rate_limit of [null, {}, "full", [], { allowed: null }]) {
    const { usage } = read({ rate_limit });
    assertStrictEquals(usage.meters.codex, undefined);
    assertEquals(usage.creditOnly, false);
  }
});

Deno.test("readUsage() says creditOnly whenever nothing but credits is left", () => {
  const table: [unknown, unknown, boolean][] = [
    [null, { has_credits: true, unlimited: false }, true],
    [undefined, { has_credits: false, unlimited: true }, true],
    ["odd", { has_credits: true }, true],
    [null, { has_credits: "true" }, true],
    [null, { has_credits: false, unlimited: false }, false],
    [null, null, false],
    [{ allowed: true }, { has_credits: true, unlimited: false }, false],
  ];
  for (const [rate_limit, credits, wanted] of table) {
    const { usage } = read({ plan_type: "business", rate_limit, credits });
    assertEquals(usage.creditOnly, wanted);
  }
});

Deno.test("readUsage() remembers a reached limit with the windows of that moment", () => {
  const primary_window = { used_percent: 97 };
  const table: [Record<string, unknown>, boolean][] = [
    [{ limit_reached: true }, true],
    [{ limit_reached: true, allowed: true }, true],
    [{ allowed: false, limit_reached: false }, true],
    [{ limit_reached: "true" }, true],
    [{ allowed: 0 }, true],
    [{ allowed: true, limit_reached: false }, false],
    [{ limit_reached: null }, false],
  ];
  for (const [flags, limited] of table) {
    const rate_limit = { ...flags, primary_window };
    const meter = read({ rate_limit }).usage.meters.codex;
    assertEquals(meter?.limit?.windows, limited ? meter?.windows : undefined);
    assertEquals(meter?.limit?.observedAt, limited ? NOW : undefined);
  }
});

Deno.test("readUsage() does not share windows between a meter and its limit", () => {
  const meter = read({
    rate_limit: { allowed: false, primary_window: { used_percent: 100 } },
  }).usage.meters.codex;
  for (const window of meter?.windows ?? []) window.usedPercent = 5;
  assertEquals(meter?.limit?.windows[0]?.usedPercent, 100);
});

Deno.test("readUsage() lists further meters by their feature", () => {
  const rate_limit = { primary_window: { used_percent: 5 } };
  const { usage } = read({
    plan_type: "pro",
    additional_rate_limits: [
      { metered_feature: "gpt-reserve", rate_limit },
      { metered_feature: "codex", rate_limit: { allowed: false } },
      { metered_feature: "__proto__", rate_limit },
      { metered_feature: "toString", rate_limit },
      { metered_feature: "empty", rate_limit: null },
      { metered_feature: "", rate_limit },
      { rate_limit },
      null,
    ],
  });
  assertEquals(Object.keys(usage.meters), ["gpt-reserve", "toString"]);
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(usage.meters)) copy[key] = usage.meters[key];
  assertStrictEquals(Object.getPrototypeOf(copy), Object.prototype);
});

Deno.test("readUsage() takes the stricter of two entries for one meter", () => {
  const entry = (used_percent: number, allowed: boolean) => ({
    metered_feature: "codex_bengalfox",
    rate_limit: {
      allowed,
      primary_window: { used_percent, limit_window_seconds: 18000 },
    },
  });
  const strict = entry(100, false);
  const loose = entry(3, true);
  for (const list of [[strict, loose], [loose, strict]]) {
    const { usage } = read({ plan_type: "pro", additional_rate_limits: list });
    const meter = usage.meters.codex_bengalfox;
    assertEquals(meter?.windows.map((window) => window.usedPercent), [100]);
    assertEquals(meter?.allowed, false);
    assert(meter?.limit);
  }
});

Deno.test("readUsage() reads model_usage and skips entries that say nothing", () => {
  const { usage } = read({
    plan_type: "pro",
    model_usage: {
      a: {
        available: false,
        available_at: 1_700_000_000,
        credits_would_enable: false,
      },
      b: { available: true, available_at: null },
      c: { available: "no" },
      d: null,
    },
  });
  assertEquals({ ...usage.modelUsage }, {
    a: {
      available: false,
      availableAt: 1_700_000_000_000,
      creditsWouldEnable: false,
    },
    b: { available: true, availableAt: null, creditsWouldEnable: null },
  });
});

Deno.test("readUsage() reads balances and marks what it cannot read", () => {
  const table: [unknown, string | null, true | undefined][] = [
    [undefined, null, undefined],
    [null, null, undefined],
    ["12.50", "12.50", undefined],
    [12.5, "12.5", undefined],
    [0, "0", undefined],
    ["-4", "-4", undefined],
    ["1e3", "1e3", undefined],
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

Deno.test("readUsage() calls credits malformed unless both flags are booleans", () => {
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

Deno.test("readUsage() reads what bounds the credits, and fails closed", () => {
  const open = {
    overageLimitReached: false,
    spendControlReached: false,
    individualLimit: false,
    reachedType: null,
  };
  const table: [Record<string, unknown>, Record<string, unknown>][] = [
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
    [{ spend_control: { individual_limit: { remaining: "0" } } }, {}],
    [{ spend_control: { individual_limit: { remaining: -1 } } }, {}],
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

Deno.test("readUsage() survives anything and loses no sign of exhaustion", () => {
  fc.assert(
    fc.property(usageJson, (json) => {
      const answer = readUsage(json, NOW);
      if (answer === undefined) return;
      const raw = json as Record<string, Record<string, unknown>>;
      const main = answer.usage.meters.codex;
      if (raw.rate_limit?.limit_reached === true) assert(main?.limit);
      if (raw.rate_limit?.allowed === false) assert(main?.limit);
      for (const slot of ["primary_window", "secondary_window"]) {
        const window = raw.rate_limit?.[slot] as { used_percent?: unknown };
        if (window?.used_percent === 100 || window?.used_percent === "100") {
          assert(main?.windows.some((window) => window.usedPercent >= 100));
        }
      }
      for (const window of main?.windows ?? []) {
        assert(window.usedPercent >= 0 && Number.isFinite(window.usedPercent));
        if (window.resetsAt !== null) {
          assert(window.resetsAt > NOW && window.resetsAt <= NOW + 35 * DAY);
        }
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("readUsage() never invents credits", () => {
  fc.assert(
    fc.property(usageJson, (json) => {
      const credits = readUsage(json, NOW)?.credits;
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
