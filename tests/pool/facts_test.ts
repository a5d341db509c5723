import { assertEquals } from "@std/assert";
import {
  creditsFromHeaders,
  mergeCredits,
  mergeRecord,
  mergeUsage,
} from "../../lib/pool/facts.ts";
import type { UsageFacts, UsageWindow } from "../../lib/types.ts";
import {
  account,
  answer,
  credits,
  DAY,
  HOUR,
  noCredits,
  NOW,
  usage,
  verdict,
  WEEK,
  window,
} from "./accounts.ts";

function headers(
  at: number,
  windows: UsageWindow[],
  meter = "codex",
): UsageFacts {
  return {
    observedAt: at,
    answeredAt: null,
    meters: {
      [meter]: {
        observedAt: at,
        windows: windows.map((window) => ({ ...window, observedAt: at })),
      },
    },
  };
}

function percents(facts: UsageFacts, meter = "codex"): (number | null)[][] {
  return (facts.meters[meter]?.windows ?? [])
    .map(({ windowSeconds, usedPercent }) => [windowSeconds, usedPercent]);
}

Deno.test("mergeUsage() lets a usage answer replace its meters and drop the others", () => {
  const before = {
    ...answer(NOW - 10, [window(10), window(20, WEEK)]),
    meters: {
      ...usage([window(10)]).meters,
      codex_bengalfox: { windows: [window(99)] },
    },
  };
  const merged = mergeUsage(before, answer(NOW, [window(30)]), NOW);
  assertEquals(Object.keys(merged.meters), ["codex"]);
  assertEquals(percents(merged), [[18_000, 30]]);
});

Deno.test("mergeUsage() lets headers replace windows of the same length and keep the rest", () => {
  const before = answer(NOW - 10, [window(10), window(20, WEEK)]);
  const merged = mergeUsage(before, headers(NOW, [window(30)]), NOW);
  assertEquals(percents(merged), [[18_000, 30], [604_800, 20]]);
});

Deno.test("mergeUsage() keeps the rest only until it resets", () => {
  const before = answer(NOW - 10, [
    window(10),
    window(100, { ...WEEK, resetsAt: NOW - 1 }),
  ]);
  const merged = mergeUsage(before, headers(NOW, [window(30)]), NOW);
  assertEquals(percents(merged), [[18_000, 30]]);
});

Deno.test("mergeUsage() does not let an answer that was asked for earlier undo what is newer", () => {
  const full = headers(NOW, [window(100)]);
  const late = answer(NOW - 10, [window(10), window(20, WEEK)]);
  const merged = mergeUsage(mergeUsage(undefined, full, NOW), late, NOW);
  assertEquals(percents(merged), [[18_000, 100], [604_800, 20]]);
  const later = mergeUsage(merged, answer(NOW + 1, [window(5)]), NOW + 1);
  assertEquals(percents(later), [[18_000, 5]]);
});

Deno.test("mergeUsage() keeps a limit that was said when later headers show other windows", () => {
  const said = usage([window(60)], { meter: { limitReached: true } });
  const merged = mergeUsage(said, headers(NOW + 1, [window(2, WEEK)]), NOW + 1);
  const record = account({ usage: merged });
  assertEquals(
    verdict(record, { allowed: false, now: NOW + 1 }),
    "blocked:exhausted",
  );
  const open = mergeUsage(merged, answer(NOW + 2, [window(60)]), NOW + 2);
  assertEquals(
    verdict(account({ usage: open }), { allowed: false, now: NOW + 2 }),
    "included",
  );
});

Deno.test("mergeUsage() makes no meter fresh that was not spoken of", () => {
  const written = usage([window(10)], { observedAt: NOW - HOUR });
  const other = headers(NOW, [window(1)], "codex_bengalfox");
  const record = account({ usage: mergeUsage(written, other, NOW) });
  assertEquals(verdict(record), "unknown");
  const twin = mergeUsage(written, headers(NOW, [window(11)]), NOW);
  assertEquals(verdict(account({ usage: twin })), "included");
});

Deno.test("mergeUsage() does not let facts from the future of another clock win for ever", () => {
  const ahead = answer(NOW + HOUR, [window(1)]);
  const merged = mergeUsage(ahead, answer(NOW, [window(100)]), NOW);
  assertEquals(percents(merged), [[18_000, 100]]);
});

Deno.test("mergeUsage() takes the fuller of two windows that were seen at one moment", () => {
  const known = mergeUsage(
    answer(NOW - 10, [window(80)]),
    headers(NOW, [window(90)]),
    NOW,
  );
  const ahead = mergeUsage(known, headers(NOW, [window(100)]), NOW);
  assertEquals(percents(ahead), [[18_000, 100]]);
  assertEquals(percents(mergeUsage(ahead, headers(NOW, [window(90)]), NOW)), [[
    18_000,
    100,
  ]], "answers overtake each other");
  assertEquals(
    percents(mergeUsage(known, ahead, NOW)),
    [[18_000, 100]],
    "and the store lags behind",
  );
  assertEquals(percents(mergeUsage(ahead, known, NOW)), [[18_000, 100]]);
});

Deno.test("mergeUsage() takes the fuller of two windows of one length that were told together", () => {
  const full = window(100, { resetsAt: NOW + HOUR });
  const other = window(20, { resetsAt: NOW + 3 * DAY });
  for (const told of [[full, other], [other, full]]) {
    for (
      const known of [answer(NOW - 10, [window(98)]), answer(NOW - 10, [])]
    ) {
      const merged = mergeUsage(known, headers(NOW, told), NOW);
      assertEquals(percents(merged), [[18_000, 100]]);
    }
  }
});

Deno.test("mergeUsage() takes the later of two windows of one moment when one has started afresh", () => {
  const full = headers(NOW, [window(100)]);
  const afresh = headers(NOW, [window(1, { resetsAt: NOW + 5 * HOUR })]);
  const known = answer(NOW - 10, [window(80)]);
  const merged = mergeUsage(mergeUsage(known, full, NOW), afresh, NOW);
  assertEquals(percents(merged), [[18_000, 1]]);
  const stored = mergeUsage(known, full, NOW);
  assertEquals(percents(mergeUsage(stored, merged, NOW)), [[18_000, 1]]);
});

Deno.test("mergeUsage() remembers that every request is charged until an answer says otherwise", () => {
  const only = {
    observedAt: NOW - 10,
    answeredAt: NOW - 10,
    meters: {},
    creditOnly: true,
  };
  const seen = mergeUsage(only, headers(NOW, [window(1)]), NOW);
  assertEquals(seen.creditOnly, true);
  const told = mergeUsage(seen, answer(NOW + 1, [window(1)]), NOW + 1);
  assertEquals(told.creditOnly ?? false, false);
});

Deno.test("creditsFromHeaders() replaces three fields and lets the rest stand", () => {
  const known = credits({
    observedAt: NOW - 10,
    overageLimitReached: true,
    spendControlReached: true,
    individualLimit: true,
    reachedType: "workspace_owner_credits_depleted",
  });
  const seen = {
    observedAt: NOW,
    hasCredits: true,
    unlimited: true,
    balance: "7",
  };
  const merged = creditsFromHeaders(known, seen, NOW);
  assertEquals(merged, {
    ...known,
    ...seen,
    malformed: false,
    limitsObservedAt: NOW - 10,
  });
});

Deno.test("creditsFromHeaders() keeps what was observed later, unless that lies in the future", () => {
  const seen = { observedAt: NOW, hasCredits: true, unlimited: false };
  const later = credits({ observedAt: NOW + 10, balance: "1" });
  assertEquals(creditsFromHeaders(later, seen, NOW + 10), later);
  const future = credits({ observedAt: NOW + 3_600_000, hasCredits: false });
  const learned = creditsFromHeaders(future, seen, NOW);
  assertEquals([learned.observedAt, learned.hasCredits], [NOW, true]);
});

Deno.test("mergeCredits() takes bounds from an answer that was asked for before headers came", () => {
  const seen = creditsFromHeaders(undefined, {
    observedAt: NOW,
    hasCredits: true,
    unlimited: false,
    balance: "9",
  }, NOW);
  const late = credits({
    observedAt: NOW - 10,
    balance: "10",
    overageLimitReached: true,
  });
  const merged = mergeCredits(seen, late, NOW);
  assertEquals([merged.balance, merged.overageLimitReached], ["9", true]);
});

Deno.test("mergeCredits() lets the newer amounts and the newer bounds win in any order", () => {
  const first = credits({ observedAt: NOW - 20, overageLimitReached: true });
  const second = noCredits({
    observedAt: NOW - 10,
    overageLimitReached: false,
  });
  assertEquals(mergeCredits(first, second, NOW), second);
  assertEquals(mergeCredits(second, first, NOW), second);
});

Deno.test("mergeUsage() and mergeCredits() keep what only a newer version knows", () => {
  const extra = { fromNewer: { deep: 1 } };
  const before = { ...answer(NOW - 10, [window(10)]), ...extra };
  const later = answer(NOW, [window(20)]);
  const usage = mergeUsage({ ...before, creditOnly: true }, later, NOW);
  assertEquals(percents(usage), percents(later));
  assertEquals({ ...usage, ...extra }, usage);
  assertEquals(usage.creditOnly, undefined);
  const known = { ...credits({ observedAt: NOW - 10 }), malformed: true };
  const seen = credits({ observedAt: NOW, balance: "7" });
  assertEquals(mergeCredits({ ...known, ...extra }, seen, NOW), {
    ...seen,
    ...extra,
  });
});

Deno.test("joinFacts() brings what one process learned into the record of another", () => {
  const stored = account({
    usage: answer(NOW - 10, [window(10)]),
    credits: credits({ observedAt: NOW - 10 }),
    usageCheck: { askedAt: NOW - 10 },
  });
  const mine = account({
    usage: answer(NOW, [window(100)]),
    credits: noCredits(),
    usageCheck: { askedAt: NOW, failedAt: NOW },
  });
  mergeRecord(stored, mine, NOW);
  assertEquals(percents(stored.usage!), [[18_000, 100]]);
  assertEquals(stored.credits?.hasCredits, false);
  assertEquals(stored.usageCheck?.failedAt, NOW);
  mergeRecord(
    stored,
    account({
      usage: answer(NOW - 5, [window(1)]),
      credits: credits({ observedAt: NOW - 5 }),
      usageCheck: { askedAt: NOW - 5 },
    }),
    NOW,
  );
  assertEquals(percents(stored.usage!), [[18_000, 100]]);
  assertEquals(stored.credits?.hasCredits, false);
  assertEquals(stored.usageCheck?.failedAt, NOW);
});
