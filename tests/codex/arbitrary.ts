/** Backend answers as nobody promised them: every known field with any value. */

import fc from "fast-check";

/** Unix seconds that are plausible, or anything but. */
const odd = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom<unknown>(
    null,
    undefined,
    true,
    false,
    "true",
    "False",
    0,
    -1,
    100,
    "100",
    NaN,
    Infinity,
    "",
    "NaN",
    1e308,
  ),
  fc.double(),
);

function record(fields: Record<string, fc.Arbitrary<unknown>>) {
  return fc.oneof(
    { weight: 5, arbitrary: fc.record(fields, { requiredKeys: [] }) },
    { weight: 1, arbitrary: odd },
  );
}

const flag = fc.oneof(fc.boolean(), odd);

const window = record({
  used_percent: fc.oneof(fc.integer({ min: -5, max: 120 }), odd),
  limit_window_seconds: fc.oneof(fc.constantFrom(18000, 604800), odd),
  reset_at: odd,
  reset_after_seconds: odd,
});

const rateLimit = record({
  allowed: flag,
  limit_reached: flag,
  primary_window: window,
  secondary_window: window,
  monthly_window: window,
});

/** An arbitrary usage answer. */
export const usageJson: fc.Arbitrary<unknown> = record({
  plan_type: fc.oneof(fc.constantFrom("plus", "no-such-plan"), odd),
  rate_limit: rateLimit,
  additional_rate_limits: fc.oneof(
    fc.array(record({
      metered_feature: fc.oneof(
        fc.constantFrom("codex_bengalfox", "codex", "__proto__", "toString"),
        odd,
      ),
      rate_limit: rateLimit,
    })),
    odd,
  ),
  credits: record({
    has_credits: flag,
    unlimited: flag,
    balance: fc.oneof(fc.constantFrom("12.5", "0", "abc"), odd),
    overage_limit_reached: flag,
  }),
  spend_control: record({
    reached: flag,
    individual_limit: record({ remaining: odd }),
  }),
  rate_limit_reached_type: record({ type: odd }),
  model_usage: fc.dictionary(
    fc.constantFrom("gpt-5", "__proto__", "constructor"),
    record({ available: flag, available_at: odd, credits_would_enable: flag }),
  ),
  rate_limit_reset_credits: record({ available_count: odd }),
});

const headerValue = fc.oneof(
  fc.constantFrom(
    "",
    "0",
    "12.5",
    "100",
    "120",
    "-3",
    "NaN",
    "True",
    "false",
    "1",
    "premium",
    "codex_bengalfox",
    "codex-bengalfox",
    "10080",
    "1790000000",
    "1e999",
  ),
  fc.string({ unit: fc.constantFrom("a", "0", "-", "_", ".", " ", "e") }),
);

const headerName = fc.oneof(
  fc.tuple(
    fc.constantFrom("codex", "codex-bengalfox", "premium", "__proto__", "x"),
    fc.constantFrom("primary", "secondary", "tertiary"),
    fc.constantFrom(
      "used-percent",
      "window-minutes",
      "reset-at",
      "reset-after-seconds",
    ),
  ).map(([id, slot, field]) => `x-${id}-${slot}-${field}`),
  fc.constantFrom(
    "x-codex-credits-has-credits",
    "x-codex-credits-unlimited",
    "x-codex-credits-balance",
    "x-codex-plan-type",
    "x-codex-active-limit",
    "x-codex-used-percent",
    "x-primary-used-percent",
    "x--primary-used-percent",
    "retry-after",
    "retry-after-ms",
  ),
);

/** Arbitrary response headers, as pairs. */
export const headerPairs: fc.Arbitrary<[string, string][]> = fc
  .uniqueArray(fc.tuple(headerName, headerValue), {
    selector: ([name]) => name,
  })
  .map((pairs) => pairs.map(([name, value]) => [name, value]));

/** An arbitrary `codex.rate_limits` event. */
export const rateLimitsJson: fc.Arbitrary<unknown> = record({
  plan_type: odd,
  metered_limit_name: odd,
  limit_name: odd,
  rate_limits: record({
    allowed: flag,
    limit_reached: flag,
    primary: record({
      used_percent: odd,
      window_minutes: odd,
      reset_at: odd,
    }),
  }),
  credits: record({ has_credits: flag, unlimited: flag, balance: odd }),
});

/** An arbitrary error body. */
export const errorJson: fc.Arbitrary<unknown> = fc.letrec<{ body: unknown }>(
  (tie) => ({
    body: record({
      error: fc.oneof({ maxDepth: 3 }, odd, tie("body")),
      detail: fc.oneof({ maxDepth: 3 }, odd, tie("body")),
      code: fc.oneof(
        fc.constantFrom("usage_limit_reached", "insufficient_quota"),
        odd,
      ),
      type: odd,
      message: fc.oneof(fc.constant("try again in 1..5s"), odd),
      plan_type: odd,
      resets_at: odd,
      resets_in_seconds: odd,
    }),
  }),
).body;
