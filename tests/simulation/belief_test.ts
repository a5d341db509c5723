import { assertEquals } from "@std/assert";
import { FIVE_HOURS, WEEK } from "./account.ts";
import { Belief } from "./belief.ts";
import { DAY, HOUR, MINUTE, SECOND, START } from "./clock.ts";
import {
  MAIN,
  type Shown,
  type ShownCredits,
  type ShownMeter,
  SPARK,
} from "./told.ts";
import type { Attempt, Limit, Told } from "./witness.ts";

const NOW = START + DAY;
const RESET = NOW + 2 * HOUR;
const CREDITS = { hasCredits: true, unlimited: false, balance: "50" };
const NO_CREDITS = { hasCredits: false, unlimited: false, balance: "0" };

/** The main meter with a 5-hour window used so far, open unless it is full. */
function main(used: number, more: Partial<ShownMeter> = {}): ShownMeter {
  return {
    id: MAIN,
    limitName: "codex",
    allowed: used < 100,
    limitReached: used >= 100,
    windows: [
      { used, seconds: FIVE_HOURS, resetsAt: RESET },
      { used: 20, seconds: WEEK, resetsAt: NOW + 3 * DAY },
    ],
    ...more,
  };
}

/** The same with a window that begins later. */
function renewed(used: number): ShownMeter {
  const [, week] = main(0).windows;
  const resetsAt = RESET + 5 * HOUR;
  const windows = [{ used, seconds: FIVE_HOURS, resetsAt }, week!];
  return main(used, { windows });
}

/** Something told `after` ms from now. */
function told(
  kind: Told["kind"],
  meters: ShownMeter[],
  { after = 0, credits = CREDITS, ...more }: {
    after?: number;
    credits?: ShownCredits | null;
  } & Partial<Told> = {},
): Told {
  const began = NOW + after;
  const shown: Shown = {
    plan: "plus",
    main: meters.find(({ id }) => id === MAIN) ?? null,
    others: meters.filter(({ id }) => id !== MAIN),
    credits,
    overageReached: false,
    individual: null,
    models: {},
    bankedResets: 0,
  };
  const rest = { began, arrived: began, shown, meters, isRefresh: false };
  return { kind, tellsCredits: kind !== "headers", ...rest, ...more };
}

/** How an account may stand after all this, by the strict and the lenient reading. */
function states(
  facts: readonly (Told | Limit)[],
  { after = 0, model = "gpt-5.5" } = {},
): string {
  const all = [true, false].map((isStrict) => {
    const belief = new Belief("plus", { isStrict, slack: 0 });
    for (const fact of facts) {
      if ("shown" in fact) belief.told(fact);
      else belief.limited(fact);
    }
    return belief.standing(model, NOW + after).state;
  });
  return [...new Set(all)].join(" or ");
}

function limit(more: Partial<Limit> = {}): Limit {
  const attempt = { model: "gpt-5.5" } as Attempt;
  const times = { began: NOW, arrived: NOW };
  return {
    attempt,
    ...times,
    isAboutCredits: false,
    named: main(100),
    until: RESET,
    ...more,
  };
}

Deno.test("a full meter is exhausted, unknown once the clock has ended that, and included once it was seen open", () => {
  const full = told("usage", [main(100)]);
  const later = 2 * HOUR + 1;
  assertEquals(states([full]), "exhausted");
  assertEquals(states([full], { after: later }), "unknown");
  const open = told("usage", [renewed(0)], { after: later });
  assertEquals(states([full, open], { after: later }), "included");
  const still = told("usage", [main(100)], { after: later });
  assertEquals(states([full, still], { after: later }), "unknown");
});

Deno.test("an account without credits is included as soon as its reset has passed, and when its facts are old", () => {
  const full = told("usage", [main(100)], { credits: NO_CREDITS });
  assertEquals(states([full], { after: 2 * HOUR + 1 }), "included");
  const open = told("usage", [main(50)], { credits: NO_CREDITS });
  assertEquals(states([open], { after: HOUR }), "included");
  assertEquals(states([open], { after: DAY + HOUR }), "unknown");
  const rich = told("usage", [main(50)]);
  assertEquals(states([rich], { after: HOUR }), "unknown");
});

Deno.test("flags outrank the percentages of their own usage answer, but not what an answer showed within 2 minutes", () => {
  const flags = { allowed: true, limitReached: false };
  const usage = (after: number) => told("usage", [main(100, flags)], { after });
  const headers = told("headers", [main(100)]);
  assertEquals(states([usage(0)]), "included");
  assertEquals(states([usage(0), headers]), "exhausted");
  assertEquals(
    states([headers, usage(MINUTE)], { after: MINUTE }),
    "exhausted",
  );
  const late = 2 * MINUTE + SECOND;
  assertEquals(states([headers, usage(late)], { after: late }), "included");
});

Deno.test("flags go on outranking what headers show of an account without credits", () => {
  const flags = { allowed: true, limitReached: false };
  const usage = told("usage", [main(100, flags)], { credits: NO_CREDITS });
  const headers = told("headers", [main(100)], { after: SECOND });
  assertEquals(states([usage, headers]), "included");
});

Deno.test("a usage answer out of a cache opens nothing, one asked for 2 minutes later does", () => {
  const headers = told("headers", [main(100)]);
  const usage = (after: number) => told("usage", [main(85)], { after });
  const soon = 40 * SECOND;
  assertEquals(states([headers, usage(soon)], { after: soon }), "exhausted");
  const late = 2 * MINUTE + SECOND;
  assertEquals(states([headers, usage(late)], { after: late }), "included");
});

Deno.test("a new window ends the limit of the one before, also of its flags", () => {
  const full = told("usage", [main(100)]);
  const after = HOUR;
  const event = told("event", [renewed(1)], { after });
  assertEquals(states([full, event], { after }), "included");
});

Deno.test("a 429 shuts a meter until usage that was asked for later says that it is open", () => {
  const before = told("usage", [main(97)]);
  const named = main(100);
  assertEquals(states([before, limit({ named })]), "exhausted");
  const stale = told("usage", [main(97)], { after: -SECOND });
  assertEquals(states([before, limit({ named }), stale]), "exhausted");
  const after = 3 * MINUTE;
  const open = told("usage", [main(97)], { after });
  assertEquals(states([before, limit({ named }), open], { after }), "included");
});

Deno.test("a 429 whose headers show room in the main meter is about the model alone", () => {
  const facts = [told("usage", [main(40)]), limit({ named: main(40) })];
  assertEquals(states(facts), "blocked");
  assertEquals(states(facts, { model: "gpt-6-astra" }), "included");
});

Deno.test("an event without a name is about the main meter, whatever was asked for", () => {
  const spark = { ...main(4), id: SPARK, limitName: "GPT-5.3-Codex-Spark" };
  const facts = [told("event", [main(100), spark])];
  assertEquals(states(facts), "exhausted");
  const known = [told("usage", [main(50), spark]), ...facts];
  const model = "gpt-5.3-codex-spark";
  assertEquals(states(known, { model }), "included");
});

Deno.test("an account without a rate limit is exhausted, also when its credits cannot be read", () => {
  assertEquals(states([told("usage", [])]), "exhausted");
  assertEquals(states([told("usage", [], { credits: null })]), "exhausted");
  const credits = NO_CREDITS;
  assertEquals(states([told("usage", [], { credits })]), "included");
});

Deno.test("the reserve is no model of an account that was asked and lacks its meter", () => {
  const model = "gpt-reserve";
  assertEquals(states([told("usage", [main(0)])], { model }), "blocked");
  assertEquals(states([], { model }), "unknown");
});
