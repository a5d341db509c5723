import { assertEquals } from "@std/assert";
import {
  believableUsage,
  creditsFromHeaders,
  isOlderThanAnswer,
  isSameLogin,
  mergeCredits,
  mergeRecord,
  mergeUsage,
} from "../../lib/pool/facts.ts";
import type { NormalUsage } from "../../lib/normal_types.ts";
import type { AccountRecord, UsageWindow } from "../../lib/types.ts";
import { test } from "../test.ts";
import {
  account,
  answer,
  credits,
  DAY,
  headers,
  HOUR,
  MINUTE,
  noCredits,
  NOW,
  quota,
  SECOND,
  SPARK_METER,
  usage,
  verdict,
  WEEK,
  window,
} from "./accounts.ts";

/** All facts taken in, in this order, of an account that may have credits. */
function merged(...facts: NormalUsage[]): NormalUsage {
  return facts.reduce((known, fact) => mergeUsage(known, fact, false));
}

/** The windows of a meter, as length and percentage. */
function percents(facts: NormalUsage, meter = "codex"): (number | null)[][] {
  return (facts.meters[meter]?.windows ?? [])
    .map(({ windowSeconds, usedPercent }) => [windowSeconds, usedPercent]);
}

const ago = (ms: number, windows: UsageWindow[]) => answer(NOW - ms, windows);

test("mergeUsage() lets a usage answer replace its meters and drop the others", () => {
  const before = ago(10, [window(10), window(20, WEEK)]);
  const spark = headers(NOW - 10, [window(99)], { meter: SPARK_METER });
  const facts = merged(before, spark, answer(NOW, [window(30)]));
  assertEquals(Object.keys(facts.meters), ["codex"]);
  assertEquals(percents(facts), [[18_000, 30]]);
});

test("mergeUsage() lets headers replace windows of the same length and keep the rest", () => {
  const before = ago(10, [window(10), window(20, WEEK)]);
  const facts = merged(before, headers(NOW, [window(30)]));
  assertEquals(percents(facts), [[18_000, 30], [604_800, 20]]);
  const other = headers(NOW, [window(99)], { meter: SPARK_METER });
  assertEquals(percents(merged(facts, other)), percents(facts));
});

test("mergeUsage() keeps the rest only until it resets", () => {
  const week = (reset: number) => window(100, { ...WEEK, resetsAt: reset });
  const facts = (reset: number) =>
    merged(ago(10, [window(10), week(reset)]), headers(NOW, [window(30)]));
  assertEquals(percents(facts(NOW)), [[18_000, 30]]);
  assertEquals(percents(facts(NOW + 1)), [[18_000, 30], [604_800, 100]]);
});

test("mergeUsage() takes windows told as 300 and as 299 minutes for one", () => {
  const odd = window(30, { windowSeconds: 17_940 });
  assertEquals(percents(merged(ago(10, [window(10)]), headers(NOW, [odd]))), [
    [17_940, 30],
  ]);
});

test("mergeUsage() does not let an answer that was asked for earlier undo what is newer", () => {
  const full = headers(NOW, [window(100)]);
  const late = ago(10, [window(10), window(20, WEEK)]);
  const facts = merged(full, late);
  assertEquals(percents(facts), [[18_000, 100], [604_800, 20]]);
  const cached = answer(NOW + 1, [window(5)]);
  assertEquals(percents(merged(facts, cached)), [[18_000, 100]]);
  const later = answer(NOW + 2 * MINUTE, [window(5)]);
  assertEquals(percents(merged(facts, later)), [[18_000, 5]]);
});

test("mergeUsage() drops what was observed together with a later answer that does not tell it", () => {
  const before = headers(NOW, [window(10)], { meter: SPARK_METER });
  assertEquals(Object.keys(merged(before, answer(NOW, [])).meters), ["codex"]);
  const after = headers(NOW + 1, [window(10)], { meter: SPARK_METER });
  const facts = merged(after, answer(NOW, []));
  assertEquals(Object.keys(facts.meters).sort(), ["codex", SPARK_METER]);
});

test("mergeUsage() keeps a refusal while headers show other windows, until an answer asked for later", () => {
  const refused = answer(NOW, [window(60)], { limitReached: true });
  const facts = merged(refused, headers(NOW + 1, [window(2, WEEK)]));
  assertEquals(quota(facts, NOW + 1), "blocked:exhausted");
  const open = answer(NOW + 2 * MINUTE, [window(60)], { allowed: true });
  assertEquals(quota(merged(facts, open), NOW + 2 * MINUTE), "included");
});

test("mergeUsage() keeps a refusal that names no window, beside windows that show room", () => {
  const known = answer(NOW - 10, [window(40)]);
  const refusal = headers(NOW, [], { allowed: false });
  for (const order of [[known, refusal], [refusal, known]] as const) {
    const facts = merged(...order);
    assertEquals(quota(facts), "blocked:exhausted");
    const seen = merged(facts, headers(NOW + SECOND, [window(41)]));
    assertEquals(quota(seen, NOW + MINUTE), "blocked:exhausted");
    assertEquals(quota(seen, NOW + 15 * MINUTE + 1), "unknown");
    const open = answer(NOW + MINUTE, [window(40)]);
    assertEquals(quota(merged(seen, open), NOW + MINUTE), "included");
  }
});

test("mergeUsage() lets a refusal that names no window hide no full one", () => {
  const full = answer(NOW - 10, [window(100, WEEK)]);
  const facts = merged(full, headers(NOW, [], { limitReached: true }));
  assertEquals(quota(facts, NOW + 20 * MINUTE), "blocked:exhausted");
});

test("mergeUsage() believes a new window that headers show, the flags of the one before included", () => {
  const refused = answer(NOW, [window(100, { resetsAt: NOW + MINUTE })], {
    allowed: false,
    limitReached: true,
  });
  const fresh = window(1, { resetsAt: NOW + 5 * HOUR });
  const facts = merged(refused, headers(NOW + MINUTE, [fresh]));
  assertEquals(quota(facts, NOW + MINUTE), "included");
  const early = merged(refused, headers(NOW + SECOND, [fresh]));
  assertEquals(quota(early, NOW + SECOND), "blocked:exhausted");
  const told = { allowed: true, limitReached: false };
  const said = merged(refused, headers(NOW + SECOND, [fresh], told));
  assertEquals(quota(said, NOW + SECOND), "included");
});

test("mergeUsage() takes 100 % after flags that allowed it for no news, unless there may be credits", () => {
  const allowed = answer(NOW, [window(100)], {
    allowed: true,
    limitReached: false,
  });
  const full = headers(NOW + SECOND, [window(100)]);
  assertEquals(
    quota(mergeUsage(allowed, full, true), NOW + SECOND),
    "included",
  );
  assertEquals(
    quota(mergeUsage(allowed, full, false), NOW + SECOND),
    "blocked:exhausted",
  );
});

test("mergeUsage() makes no meter fresh that was not spoken of", () => {
  const old = answer(NOW - HOUR, [window(10)]);
  const other = headers(NOW, [window(1)], { meter: SPARK_METER });
  assertEquals(quota(merged(old, other)), "unknown");
  assertEquals(quota(merged(old, headers(NOW, [window(11)]))), "included");
});

test("mergeUsage() dates a window by when it was told, not its meter", () => {
  const full = headers(NOW - HOUR, [window(100, { resetsAt: null })]);
  const facts = merged(full, headers(NOW, [window(1, WEEK)]));
  assertEquals(quota(facts), "unknown");
});

test("mergeUsage() remembers that every request is charged until an answer says otherwise", () => {
  const only = { ...answer(NOW - 10, []), meters: {}, creditOnly: true };
  const seen = merged(only, headers(NOW, [window(1)]));
  assertEquals(seen.creditOnly, true);
  assertEquals(merged(seen, ago(20, [window(1)])).creditOnly, true);
  assertEquals(merged(seen, answer(NOW + 1, [window(1)])).creditOnly, false);
});

test("mergeUsage() forgets a doubt by an answer asked for later, and by nothing else", () => {
  const doubted = { ...answer(NOW - 10, [window(1)]), doubtedAt: NOW };
  const doubt = (fact: NormalUsage) => merged(doubted, fact).doubtedAt;
  assertEquals(doubt(headers(NOW + 1, [window(1)])), NOW);
  assertEquals(doubt(answer(NOW, [window(1)])), NOW);
  assertEquals(doubt(answer(NOW + 1, [window(1)])), undefined);
});

test("believableUsage() takes what another clock wrote into the future for long past", () => {
  const ahead = answer(NOW + HOUR, [window(100, { resetsAt: NOW + DAY })]);
  const facts = merged(
    believableUsage(ahead, NOW),
    answer(NOW, [window(1, { resetsAt: NOW + DAY })]),
  );
  assertEquals(percents(facts), [[18_000, 1]]);
  assertEquals(facts.answeredAt, NOW);
  const bit = answer(NOW + MINUTE, [window(100)]);
  assertEquals(believableUsage(bit, NOW), bit);
});

test("creditsFromHeaders() replaces three fields and lets the rest stand", () => {
  const known = credits({
    observedAt: NOW - 10,
    overageLimitReached: true,
    spendControlReached: true,
    individualLimit: true,
    reachedType: "workspace_owner_credits_depleted",
  });
  const amounts = { hasCredits: true, unlimited: true, balance: "7" };
  const seen = { observedAt: NOW, ...amounts };
  assertEquals(creditsFromHeaders(known, seen, NOW), { ...known, ...seen });
});

test("creditsFromHeaders() takes credits of which nothing else is known for usable", () => {
  const seen = { observedAt: NOW, hasCredits: true, unlimited: false };
  for (
    const [balance, wanted] of [["7", "credits"], ["0", "blocked:exhausted"]]
  ) {
    const known = creditsFromHeaders(
      undefined,
      { ...seen, balance: balance! },
      NOW,
    );
    const record = {
      ...account({ usage: usage([window(100)]) }),
      credits: known,
    };
    assertEquals(verdict(record), wanted);
  }
});

test("creditsFromHeaders() keeps the balance that headers lack, and one that cannot be read", () => {
  const seen = { observedAt: NOW, hasCredits: true, unlimited: false };
  const known = credits({ observedAt: NOW - 10 });
  const odd = { ...known, balance: "lots", malformed: true };
  const learned = (from: typeof known, balance?: string) => {
    const facts = balance === undefined ? seen : { ...seen, balance };
    const read = creditsFromHeaders(from, facts, NOW);
    return [read.balance, read.malformed];
  };
  assertEquals(learned(known), ["10", false]);
  assertEquals(learned(known, "7"), ["7", false]);
  assertEquals(learned(odd), ["lots", true]);
  assertEquals(learned(odd, "7"), ["7", false]);
});

test("creditsFromHeaders() keeps what was observed later, unless that lies in the future", () => {
  const seen = { observedAt: NOW, hasCredits: true, unlimited: false };
  const later = credits({ observedAt: NOW + 10, balance: "1" });
  assertEquals(creditsFromHeaders(later, seen, NOW + 10), later);
  const future = credits({ observedAt: NOW + HOUR, hasCredits: false });
  const learned = creditsFromHeaders(future, seen, NOW);
  assertEquals([learned.observedAt, learned.hasCredits], [NOW, true]);
});

test("mergeCredits() takes bounds from an answer that was asked for before headers came", () => {
  const amounts = { hasCredits: true, unlimited: false, balance: "9" };
  const seen = creditsFromHeaders(
    undefined,
    { observedAt: NOW, ...amounts },
    NOW,
  );
  const late = credits({ observedAt: NOW - 10, overageLimitReached: true });
  for (const [first, second] of [[seen, late], [late, seen]] as const) {
    const facts = mergeCredits(first, second, NOW);
    assertEquals([facts.balance, facts.overageLimitReached], ["9", true]);
  }
});

test("mergeRecord() brings what one process learned into the record of another", () => {
  const learned = (at: number, percent: number, some = credits) =>
    account({
      usage: answer(at, [window(percent)]),
      credits: some({ observedAt: at }),
      usageCheck: { askedAt: at, failedAt: at },
    });
  const stored = learned(NOW - 10, 10);
  const known = () => [
    percents(stored.usage!)[0]![1],
    stored.credits?.hasCredits,
    stored.usageCheck?.failedAt,
  ];
  mergeRecord(stored, learned(NOW, 100, noCredits), NOW);
  assertEquals(known(), [100, false, NOW]);
  mergeRecord(stored, learned(NOW - 5, 1), NOW);
  assertEquals(known(), [100, false, NOW], "older facts change nothing");
});

test("mergeRecord() is not held up by what another clock wrote", () => {
  const mine = account({
    usage: answer(NOW, [window(30)]),
    credits: credits(),
    lastUsedAt: NOW,
  });
  const stored = account({
    usage: answer(NOW + HOUR, [window(1)]),
    credits: noCredits({ observedAt: NOW + HOUR }),
    lastUsedAt: NOW + HOUR,
    cooldowns: { throttle: { until: NOW + 2 * HOUR, setAt: NOW + HOUR } },
  });
  mergeRecord(stored, mine, NOW);
  assertEquals(percents(stored.usage!), [[18_000, 30]]);
  assertEquals(stored.credits?.hasCredits, true);
  assertEquals(stored.lastUsedAt, NOW);
  assertEquals(stored.cooldowns["throttle"]?.until, NOW + HOUR);
});

test("isSameLogin() tells logins apart by what both tell of themselves", () => {
  const token = (access: string, refresh = "r") => ({ access, refresh });
  const rows: [
    why: string,
    isSame: boolean,
    a: AccountRecord,
    b: AccountRecord,
  ][] = [
    ["ids", true, { accountId: "a", userId: "u" }, {
      accountId: "a",
      userId: "u",
    }],
    ["another workspace", false, { accountId: "a", userId: "u" }, {
      accountId: "b",
      userId: "u",
    }],
    ["another person", false, { accountId: "a", userId: "u" }, {
      accountId: "a",
      userId: "v",
    }],
    ["one id untold", true, { accountId: "a", userId: "u" }, {
      accountId: "a",
    }],
    ["nothing in common: access tokens", true, { tokens: token("a") }, {
      accountId: "a",
      tokens: token("a", "s"),
    }],
    ["refresh tokens", true, { tokens: token("a") }, { tokens: token("b") }],
    ["neither", false, { tokens: token("a") }, { tokens: token("b", "s") }],
    ["no tokens either", true, { tokens: token("a") }, {}],
  ];
  for (const [why, isSame, a, b] of rows) {
    assertEquals([why, isSameLogin(a, b)], [why, isSame]);
    assertEquals([why, isSameLogin(b, a)], [why, isSame]);
  }
});

test("isOlderThanAnswer() compares with the last usage answer, not with headers", () => {
  const record = account({
    usage: merged(answer(NOW, [window(1)]), headers(NOW + 10, [window(2)])),
  });
  assertEquals(isOlderThanAnswer(record, NOW - 1), true);
  assertEquals(isOlderThanAnswer(record, NOW), false);
  assertEquals(isOlderThanAnswer(account(), 0), false);
  assertEquals(verdict(record), "included");
});
