import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { readUsage, type UsageAnswer } from "../../lib/codex/usage.ts";
import type { NormalWindow } from "../../lib/normal_types.ts";
import { fixture } from "../fixtures.ts";
import { test } from "../test.ts";
import { usageJson } from "./arbitrary.ts";
import {
  DAY,
  flagsOf,
  NOW,
  RESERVE_METER,
  SECOND,
  seenAt,
  SPARK_METER,
} from "./facts.ts";

function read(json: unknown): UsageAnswer {
  const answer = readUsage(json, seenAt(NOW));
  if (answer === undefined) throw new Error("Not a usage answer");
  return answer;
}

function windowOf(window: Record<string, unknown>): NormalWindow | undefined {
  return read({ rate_limit: { primary_window: window } }).usage.meters.codex
    ?.windows[0];
}

test("readUsage() reads what the backend sent", () => {
  const spark = `${SPARK_METER} 0 allowed, 0 allowed`;
  const rows: [name: string, plan: string, meters: string, credits: string][] =
    [
      ["business-astra-on-credits", "business", spark, "some"],
      ["business-credit-only", "business", "", "some"],
      ["business-spend-cap-overrun", "business", "", "some"],
      ["free-monthly", "free", "codex 25 allowed", "none"],
      [
        "plus-5h-and-weekly",
        "plus",
        "codex 46 allowed, 15 allowed",
        "none of 0",
      ],
      [
        "plus-exhausted-no-credits",
        "plus",
        "codex 1, 100 refused",
        "none of 0",
      ],
      [
        "plus-exhausted-with-credits",
        "plus",
        "codex 100 refused, 16",
        "some of 489.25",
      ],
      ["plus-reset-in-the-past", "plus", "codex 100 refused", "some of 50"],
      ["plus-weekly-only", "plus", "codex 0 allowed", "none of 0"],
      ["pro-model-back-at-iso-time", "pro", "codex 100 refused", "none of 0"],
      [
        "prolite-with-spark-meter",
        "prolite",
        `${spark}; codex 0 allowed`,
        "none of 0",
      ],
      [
        "reserve-left-main-used-up",
        "prolite",
        `${RESERVE_METER} 24 allowed; codex 100 refused`,
        "none of 0",
      ],
      ["team-exhausted-depleted", "team", "codex 100 refused", "none"],
      ["team-full-but-allowed", "team", "codex 100 allowed", "none"],
    ];
  for (const [name, ...wanted] of rows) {
    const { plan, usage, credits } = read(fixture(`usage/${name}`));
    const meters = Object.entries(usage.meters)
      .map(([id, meter]) => `${id} ${flagsOf(meter).join(", ")}`).join("; ");
    const amount = (credits?.hasCredits ? "some" : "none") +
      (credits?.balance ? ` of ${credits.balance}` : "");
    assertEquals([name, plan, meters, amount], [name, ...wanted]);
    assertEquals([name, credits?.malformed], [name, false]);
    assertEquals([usage.observedAt, usage.answeredAt], [NOW, NOW]);
  }
});

test("readUsage() reads lengths, resets and names of windows and meters", () => {
  const { usage } = read(fixture("usage/prolite-with-spark-meter"));
  const spark = usage.meters[SPARK_METER];
  assertEquals(spark?.name, "GPT-5.3-Codex-Spark");
  assertEquals(
    spark?.windows.map(({ flags: _, ...window }) => window),
    [[18_000, 1_788_800_242_000], [604_800, 1_789_387_042_000]].map((
      [windowSeconds, resetsAt],
    ) => ({
      usedPercent: 0,
      windowSeconds: windowSeconds!,
      resetsAt: resetsAt!,
      ...seenAt(NOW),
    })),
  );
  assertEquals(usage.meters.codex?.name, undefined);
});

test("readUsage() reads when a model is back, from ISO text or seconds", () => {
  const { usage } = read(fixture("usage/pro-model-back-at-iso-time"));
  assertEquals({ ...usage.modelUsage }, {
    "gpt-6-astra": {
      available: false,
      availableAt: Date.parse("2026-11-22T14:38:22.363Z"),
      creditsWouldEnable: true,
    },
  });
  const at = (available_at: unknown) =>
    read({
      plan_type: "pro",
      model_usage: { m: { available: false, available_at } },
    }).usage.modelUsage["m"]?.availableAt;
  const rows: [unknown, number | null][] = [
    [1_700_000_000, 1_700_000_000_000],
    ["1700000000", 1_700_000_000_000],
    ["2026-11-22T14:38:22+01:00", Date.parse("2026-11-22T13:38:22Z")],
    ["22 November 2026", null],
    ["soon", null],
    [null, null],
    [{}, null],
  ];
  for (const [value, wanted] of rows) assertEquals(at(value), wanted);
});

test("readUsage() knows what is no usage answer", () => {
  for (const json of [null, undefined, 5, "x", [], {}, { plan_type: 1 }]) {
    assertStrictEquals(readUsage(json, seenAt(NOW)), undefined);
  }
  assert(readUsage({ plan_type: "plus" }, seenAt(NOW)));
  assert(readUsage({ rate_limit: null }, seenAt(NOW)));
});

test("readUsage() drops windows whose use it cannot read", () => {
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

test("readUsage() keeps a reset in the past, and none beyond 35 days", () => {
  const table: [Record<string, unknown>, number | null][] = [
    [
      { reset_at: NOW / 1000 + 90, reset_after_seconds: 5 },
      NOW + 90 * SECOND,
    ],
    [{ reset_after_seconds: 5 }, NOW + 5 * SECOND],
    [{ reset_at: "soon", reset_after_seconds: "7" }, NOW + 7 * SECOND],
    [{ reset_at: NOW / 1000 - 1 }, NOW - SECOND],
    [{ reset_at: NOW / 1000 }, NOW],
    [{ reset_after_seconds: -9 }, NOW - 9 * SECOND],
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

test("readUsage() takes any slot for a window", () => {
  const used = { used_percent: 9, limit_window_seconds: 604800 };
  for (const slot of ["primary", "secondary", "tertiary", "monthly"]) {
    const { usage } = read({ rate_limit: { [`${slot}_window`]: used } });
    assertEquals(usage.meters.codex?.windows[0]?.windowSeconds, 604800);
  }
});

test("readUsage() takes the fuller of two windows of one length", () => {
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

test("readUsage() ignores a rate limit that says nothing", () => {
  for (const rate_limit of [null, {}, "full", [], { allowed: null }]) {
    assertStrictEquals(read({ rate_limit }).usage.meters.codex, undefined);
  }
});

test("readUsage() puts flags on the windows that they are about", () => {
  const at = (used_percent: number, limit_window_seconds = 18_000) => ({
    used_percent,
    limit_window_seconds,
  });
  const rows: [Record<string, unknown>, number[], string[]][] = [
    [{ limit_reached: true }, [97, 3], ["97 refused", "3"]],
    [{ limit_reached: true, allowed: true }, [97, 3], ["97 refused", "3"]],
    [{ allowed: false, limit_reached: false }, [100, 97], [
      "100 refused",
      "97",
    ]],
    [{ allowed: false }, [100, 120], ["100 refused", "120 refused"]],
    [{ allowed: false }, [97, 97], ["97 refused", "97 refused"]],
    [{ limit_reached: "true" }, [97, 3], ["97 refused", "3"]],
    [{ allowed: 0 }, [97, 3], ["97 refused", "3"]],
    [{ allowed: true, limit_reached: false }, [100, 3], [
      "100 allowed",
      "3 allowed",
    ]],
    [{ allowed: true }, [100, 3], ["100", "3 allowed"]],
    [{ limit_reached: false }, [100, 3], ["100", "3"]],
    [{ limit_reached: null }, [100, 3], ["100", "3"]],
  ];
  for (const [flags, [first, second], wanted] of rows) {
    const meter = read({
      rate_limit: {
        ...flags,
        primary_window: at(first!),
        secondary_window: at(second!, 604_800),
      },
    }).usage.meters.codex;
    const row = JSON.stringify(flags);
    assertEquals([row, flagsOf(meter)], [row, wanted]);
  }
});

test("readUsage() remembers when a meter without any window was refused", () => {
  const { usage } = read({ rate_limit: { allowed: false } });
  assertEquals(usage.meters.codex?.refusedAt, NOW);
  const open = read({ rate_limit: { allowed: true } });
  assertEquals(open.usage.meters.codex?.refusedAt, undefined);
});

test("readUsage() lists further meters by their feature", () => {
  const rate_limit = { primary_window: { used_percent: 5 } };
  const { usage } = read({
    plan_type: "pro",
    additional_rate_limits: [
      { metered_feature: "gpt-reserve", rate_limit },
      { metered_feature: "codex", rate_limit: { allowed: false } },
      { metered_feature: "__proto__", rate_limit },
      { metered_feature: "constructor", rate_limit },
      { metered_feature: "empty", rate_limit: null },
      { metered_feature: "", rate_limit },
      { rate_limit },
      null,
    ],
  });
  assertEquals(Object.keys(usage.meters), ["gpt_reserve", "constructor"]);
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(usage.meters)) copy[key] = usage.meters[key];
  assertStrictEquals(Object.getPrototypeOf(copy), Object.prototype);
});

test("readUsage() takes the stricter of two entries for one meter", () => {
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
    const meter = usage.meters[SPARK_METER];
    assertEquals(flagsOf(meter), ["100 refused"]);
    assertEquals(meter?.allowed, false);
  }
});

test("readUsage() reads model_usage and skips entries that say nothing", () => {
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

test("readUsage() survives anything and loses no sign of exhaustion", () => {
  fc.assert(
    fc.property(usageJson, (json) => {
      const answer = readUsage(json, seenAt(NOW));
      if (answer === undefined) return;
      const raw = json as Record<string, Record<string, unknown>>;
      const main = answer.usage.meters.codex;
      const { limit_reached, allowed } = raw.rate_limit ?? {};
      if (limit_reached === true || allowed === false) {
        const isRefused = main?.windows.some((it) => it.flags === "refused");
        assert(isRefused || main?.refusedAt !== undefined);
      }
      for (const slot of ["primary_window", "secondary_window"]) {
        const window = raw.rate_limit?.[slot] as { used_percent?: unknown };
        if (window?.used_percent === 100 || window?.used_percent === "100") {
          assert(main?.windows.some((window) => window.usedPercent >= 100));
        }
      }
      for (const window of main?.windows ?? []) {
        assert(window.usedPercent >= 0 && Number.isFinite(window.usedPercent));
        assert((window.resetsAt ?? 0) <= NOW + 35 * DAY);
      }
    }),
    { numRuns: 500 },
  );
});
