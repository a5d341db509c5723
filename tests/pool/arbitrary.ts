/** Random accounts, with times that like to sit on the edges of the rules. */
import process from "node:process";
import * as fc from "fast-check";
import { normalRecord } from "../../lib/store/normal_form.ts";
import type { NormalRecord } from "../../lib/normal_types.ts";
import type {
  AccountRecord,
  Cooldown,
  CreditFacts,
  MeterFacts,
  UsageFacts,
  UsageWindow,
} from "../../lib/types.ts";
import {
  DAY,
  HOUR,
  MINUTE,
  NOW,
  RESERVE,
  RESERVE_METER,
  SPARK,
  SPARK_METER,
} from "./accounts.ts";

/** How often a property is tried; the environment asks for more. */
export const RUNS = Number(process.env["PROPERTY_RUNS"] ?? 1) * 300;

const EDGES = [0, MINUTE, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, DAY];

/** A time near `NOW`, often to the millisecond where a rule changes. */
export const time: fc.Arbitrary<number> = fc.oneof(
  fc.tuple(
    fc.constantFrom(...EDGES, 35 * DAY),
    fc.constantFrom(-1, 1),
    fc.integer({ min: -1, max: 1 }),
  )
    .map(([edge, sign, off]) => NOW + sign * edge + off),
  fc.integer({ min: -2 * HOUR, max: 2 * HOUR }).map((off) => NOW + off),
);

const percent = fc.oneof(
  fc.constantFrom(0, 99, 99.9, 100, 120),
  fc.integer({ min: 0, max: 100 }),
);

/** A window; its own times may be missing, as in a store written by hand. */
export const window: fc.Arbitrary<UsageWindow> = fc.record({
  usedPercent: percent,
  windowSeconds: fc.constantFrom(18_000, 604_800, null),
  resetsAt: fc.option(time),
  observedAt: time,
  seenAt: time,
  flags: fc.constantFrom("allowed", "refused"),
}, { requiredKeys: ["usedPercent", "windowSeconds", "resetsAt"] });

const windows = fc.uniqueArray(window, {
  maxLength: 3,
  selector: ({ windowSeconds }) => windowSeconds,
});

const flag = fc.constantFrom(true, false, null);

const meter: fc.Arbitrary<MeterFacts> = fc.record({
  windows,
  allowed: flag,
  limitReached: flag,
  observedAt: time,
  refusedAt: time,
  name: fc.constantFrom("Next", "n"),
}, { requiredKeys: ["windows"] });

const usage: fc.Arbitrary<UsageFacts> = fc.record({
  observedAt: time,
  answeredAt: fc.option(time),
  meters: fc.dictionary(
    fc.constantFrom("codex", "codex", SPARK_METER, RESERVE_METER, "other"),
    meter,
  ),
  creditOnly: fc.constantFrom(false, false, true, null),
  doubtedAt: time,
  modelUsage: fc.dictionary(
    fc.constantFrom("m", "n"),
    fc.record({
      available: fc.boolean(),
      availableAt: fc.option(time),
      creditsWouldEnable: flag,
    }),
  ),
}, { requiredKeys: ["observedAt", "meters"] });

export const credits: fc.Arbitrary<CreditFacts> = fc.record({
  observedAt: time,
  hasCredits: flag,
  unlimited: flag,
  balance: fc.constantFrom("0", "10", "NaN", "-1", null),
  overageLimitReached: fc.boolean(),
  spendControlReached: fc.boolean(),
  individualLimit: fc.boolean(),
  reachedType: fc.constantFrom(
    null,
    "rate_limit_reached",
    "workspace_member_credits_depleted",
  ),
  malformed: fc.boolean(),
  limitsObservedAt: time,
}, { requiredKeys: ["observedAt", "hasCredits", "unlimited", "balance"] });

const cooldown: fc.Arbitrary<Cooldown> = fc.record({
  until: time,
  setAt: time,
  clearedAt: time,
  returns: fc.nat(4),
}, { requiredKeys: ["until", "setAt"] });

const CAUSES = [
  "throttle",
  "token",
  "usage-limit:codex",
  `usage-limit:${SPARK_METER}`,
  "credits",
  "plan",
  "workspace",
  "model:m",
];

/** An account in any state, as it is stored. */
const stored: fc.Arbitrary<AccountRecord> = fc.record({
  plan: fc.constantFrom("pro", "plus", "prolite"),
  enabled: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
  weight: fc.constantFrom(0, 1, 3, -1, NaN),
  priority: fc.constantFrom(0, 1),
  reserve: fc.constantFrom(0, 50),
  tokens: fc.constant({ access: "a" }),
  usage,
  credits,
  cooldowns: fc.dictionary(fc.constantFrom(...CAUSES), cooldown, {
    maxKeys: 2,
  }),
  auth: fc.integer({ min: 0, max: 9 }).map((n) =>
    n === 0 ? { invalidAt: NOW, reason: "x" } : null
  ),
  usageCheck: fc.record({ askedAt: time, failedAt: time }, {
    requiredKeys: ["askedAt"],
  }),
  requests: fc.integer({ min: 0, max: 5 }),
  lastUsedAt: fc.option(time),
}, { requiredKeys: ["tokens"] });

/** The same, as it is read. */
export const account: fc.Arbitrary<NormalRecord> = stored.map(normalRecord);

/** A model, often none. */
export const model: fc.Arbitrary<string | undefined> = fc.constantFrom(
  undefined,
  "m",
  "n",
  SPARK,
  RESERVE,
);

/** Up to 50 accounts by name. */
export const fleet: fc.Arbitrary<Record<string, AccountRecord>> = fc.array(
  stored,
  { minLength: 1, maxLength: 50 },
)
  .map((list) =>
    Object.fromEntries(list.map((one, index) => [`a${index}`, one]))
  );
