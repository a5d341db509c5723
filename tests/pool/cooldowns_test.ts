import { assertEquals } from "@std/assert";
import { clearUsageLimits, setCooldown } from "../../lib/pool/cooldowns.ts";
import type { AccountRecord, UsageFacts } from "../../lib/types.ts";
import {
  account,
  answer,
  DAY,
  HOUR,
  MINUTE,
  NOW,
  usage,
  verdict,
  WEEK,
  window,
} from "./accounts.ts";

Deno.test("setCooldown() never shortens one that runs, and replaces one that is over", () => {
  const record: AccountRecord = {};
  const set = (until: number, setAt: number) => {
    setCooldown(record, "throttle", { until, setAt });
    return record.cooldowns!["throttle"]!.until;
  };
  assertEquals(set(NOW + HOUR, NOW), NOW + HOUR);
  assertEquals(set(NOW + MINUTE, NOW + 1), NOW + HOUR);
  assertEquals(set(NOW + 2 * HOUR, NOW + 1), NOW + 2 * HOUR);
  assertEquals(set(NOW + 3 * HOUR, NOW + 2 * HOUR), NOW + 3 * HOUR);
  assertEquals(set(NOW + 2 * HOUR + 60, NOW + 4 * HOUR), NOW + 2 * HOUR + 60);
});

Deno.test("setCooldown() leaves other causes alone and is not held up by an impossible one", () => {
  const record: AccountRecord = {
    cooldowns: {
      token: { until: NOW + HOUR, setAt: NOW },
      throttle: { until: NOW + 400 * DAY, setAt: NOW },
    },
  };
  setCooldown(record, "throttle", { until: NOW + MINUTE, setAt: NOW });
  assertEquals(record.cooldowns!["throttle"]!.until, NOW + MINUTE);
  assertEquals(record.cooldowns!["token"]!.until, NOW + HOUR);
});

const KEY = "usage-limit:codex";
function limited(): AccountRecord {
  return account({ cooldowns: { [KEY]: { until: NOW + HOUR, setAt: NOW } } });
}

Deno.test("clearUsageLimits() needs an answer asked for after the limit that calls the meter open", () => {
  const open = answer(NOW + 10, [window(5)]);
  const rows: [string, UsageFacts, askedAt: number, cleared: boolean][] = [
    ["open", open, NOW + 10, true],
    ["asked for before", open, NOW - 1, false],
    [
      "a full window",
      answer(NOW + 10, [window(5), window(100, WEEK)]),
      NOW + 10,
      false,
    ],
    [
      "limit reached",
      usage([window(5)], { meter: { limitReached: true } }),
      NOW + 10,
      false,
    ],
    [
      "not allowed",
      usage([window(5)], { meter: { allowed: false } }),
      NOW + 10,
      false,
    ],
    ["not mentioned", { observedAt: NOW, meters: {} }, NOW + 10, false],
    ["credits only", { ...open, creditOnly: true }, NOW + 10, false],
  ];
  for (const [why, facts, askedAt, cleared] of rows) {
    const record = limited();
    clearUsageLimits(record, facts, askedAt, NOW + 20);
    const runs = verdict({ ...record, usage: open }, {
      allowed: false,
      now: NOW + 20,
    });
    assertEquals([why, runs], [
      why,
      cleared ? "included" : "blocked:exhausted",
    ]);
  }
});

Deno.test("clearUsageLimits() leaves every other cooldown alone", () => {
  const cooldowns = Object.fromEntries(
    [
      "throttle",
      "token",
      "credits",
      "plan",
      "workspace",
      "model:m",
      "usage-limit:codex_bengalfox",
    ]
      .map((key) => [key, { until: NOW + HOUR, setAt: NOW }]),
  );
  const record = account({ cooldowns: structuredClone(cooldowns) });
  clearUsageLimits(record, answer(NOW + 10, [window(5)]), NOW + 10, NOW + 20);
  assertEquals(record.cooldowns, cooldowns);
});

Deno.test("setCooldown() believes a limit that comes back within five minutes of being cleared", () => {
  const comeBack = (after: number) => {
    const record = limited();
    const clearedAt = NOW + MINUTE;
    clearUsageLimits(
      record,
      answer(clearedAt, [window(5)]),
      clearedAt,
      clearedAt,
    );
    const again = clearedAt + after;
    setCooldown(record, KEY, { until: again + HOUR, setAt: again });
    clearUsageLimits(
      record,
      answer(again + 1, [window(5)]),
      again + 1,
      again + 1,
    );
    return verdict(record, { allowed: false, now: again + 2 });
  };
  assertEquals(comeBack(5 * MINUTE), "blocked:exhausted");
  assertEquals(comeBack(5 * MINUTE + 1), "unknown");
});
