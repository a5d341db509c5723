import { assertEquals } from "@std/assert";
import {
  clearCooldowns,
  currentCooldowns,
  setCooldown,
  usageLimitKey,
} from "../../lib/pool/cooldowns.ts";
import type { NormalRecord, NormalUsage } from "../../lib/normal_types.ts";
import type { Cooldown } from "../../lib/types.ts";
import { test } from "../test.ts";
import {
  account,
  answer,
  DAY,
  HOUR,
  MINUTE,
  NOW,
  SECOND,
  usage,
  verdict,
  WEEK,
  window,
} from "./accounts.ts";

const KEY = usageLimitKey("codex");
const open = (at: number) => answer(at, [window(5)]);

/** An account with this cooldown, by default a usage limit of an hour set now. */
function limited(key = KEY, entry: Partial<Cooldown> = {}): NormalRecord {
  const cooldown = { until: NOW + HOUR, setAt: NOW, ...entry };
  return account({ cooldowns: { [key]: cooldown } });
}

/** Takes in a usage answer asked for at that time (epoch ms). */
function clear(
  record: NormalRecord,
  facts: NormalUsage,
  isExplicit = false,
): void {
  const at = facts.observedAt;
  clearCooldowns(record, facts, { askedAt: at, now: at, isExplicit });
}

/** Whether the usage limit of the main meter runs. */
function isLimited(record: NormalRecord, now: number): boolean {
  const { cooldowns } = record;
  const seen = { ...account({ usage: usage([window(5)]) }), cooldowns };
  return verdict(seen, { allowed: false, now }) === "blocked:exhausted";
}

test("setCooldown() sets no limit that is written so late that usage has ended it since", () => {
  const late = NOW + 10 * MINUTE;
  const limit = { until: NOW + HOUR, setAt: NOW };
  const set = (facts: NormalUsage, now: number, key = KEY) => {
    const record = account({ usage: facts });
    setCooldown(record, key, limit, now);
    return Object.keys(record.cooldowns);
  };
  assertEquals(set(open(NOW + 5 * MINUTE), late), []);
  // the clocks of two machines may differ by that much
  assertEquals(set(open(NOW + 30 * SECOND), late), [KEY]);
  // one that was written by a clock that was ahead tells nothing
  assertEquals(set(open(NOW + 5 * MINUTE), NOW), [KEY]);
  assertEquals(set(answer(NOW + 5 * MINUTE, [window(100)]), late), [KEY]);
  const throttle = set(open(NOW + 5 * MINUTE), late, "throttle");
  assertEquals(throttle, ["throttle"]);
  // what was cleared by a later answer stays so
  const cleared = limited();
  clear(cleared, open(NOW + 5 * MINUTE));
  setCooldown(cleared, KEY, limit, late);
  assertEquals(isLimited(cleared, late), false);
  setCooldown(cleared, KEY, { until: NOW + HOUR, setAt: late }, late);
  assertEquals(isLimited(cleared, late), true);
});

test("setCooldown() never shortens one that runs, and replaces one that is over", () => {
  const record = account();
  const set = (until: number, setAt: number) => {
    setCooldown(record, "throttle", { until, setAt });
    return record.cooldowns["throttle"]!.until;
  };
  assertEquals(set(NOW + HOUR, NOW), NOW + HOUR);
  assertEquals(set(NOW + MINUTE, NOW + 1), NOW + HOUR);
  assertEquals(set(NOW + 2 * HOUR, NOW + 1), NOW + 2 * HOUR);
  assertEquals(set(NOW + 3 * HOUR, NOW + 2 * HOUR), NOW + 3 * HOUR);
  assertEquals(set(NOW + 2 * HOUR + 60, NOW + 4 * HOUR), NOW + 2 * HOUR + 60);
});

test("setCooldown() leaves other causes alone and is not held up by an impossible one", () => {
  const token = { until: NOW + HOUR, setAt: NOW };
  const record = account({
    cooldowns: { token, throttle: { until: NOW + 400 * DAY, setAt: NOW } },
  });
  setCooldown(record, "throttle", { until: NOW + MINUTE, setAt: NOW });
  assertEquals(record.cooldowns["throttle"]!.until, NOW + MINUTE);
  assertEquals(record.cooldowns["token"], token);
});

test("clearCooldowns() needs an answer asked for after the limit that calls its meter open", () => {
  const at = NOW + 10;
  const full = window(100, WEEK);
  const rows: [why: string, isCleared: boolean, NormalUsage][] = [
    ["open", true, open(at)],
    ["asked for when it was set", true, open(NOW)],
    ["asked for before", false, open(NOW - 1)],
    ["a full window", false, answer(at, [window(5), full])],
    [
      "a full window that is allowed",
      true,
      answer(at, [full], { allowed: true, limitReached: false }),
    ],
    ["limit reached", false, answer(at, [window(5)], { limitReached: true })],
    ["not allowed", false, answer(at, [window(5)], { allowed: false })],
    ["not mentioned", false, answer(at, [window(5)], { meter: "other" })],
    ["credits only", false, { ...open(at), creditOnly: true }],
  ];
  for (const [why, isCleared, facts] of rows) {
    const record = limited();
    clear(record, facts);
    assertEquals([why, isLimited(record, at)], [why, !isCleared]);
  }
});

test("clearCooldowns() leaves every other cooldown alone", () => {
  const causes = ["throttle", "token", "credits", "plan", "model:m"];
  const cooldowns = Object.fromEntries(
    [...causes, usageLimitKey("other")]
      .map((cause) => [cause, { until: NOW + HOUR, setAt: NOW }]),
  );
  const record = account({ cooldowns });
  clear(record, open(NOW + 10), true);
  assertEquals({ ...record.cooldowns }, cooldowns);
});

test("clearCooldowns() lifts the workspace of a 402, not that of a 403", () => {
  const isClosed = (code: string, askedAt = NOW + 10) => {
    const record = limited("workspace", { code });
    clear(record, answer(askedAt, [window(100)]));
    return "workspace" in record.cooldowns;
  };
  assertEquals(isClosed("deactivated_workspace"), false);
  assertEquals(isClosed("deactivated_workspace", NOW - 1), true);
  assertEquals(isClosed("codex_workspace_access_denied"), true);
  const both = limited("workspace", { code: "workspace_access_denied" });
  const again = { until: NOW + 2 * HOUR, setAt: NOW };
  setCooldown(both, "workspace", { ...again, code: "deactivated_workspace" });
  clear(both, open(NOW + 10));
  assertEquals(Object.keys(both.cooldowns), ["workspace"], "a 403 holds");
});

/**
 * A limit that comes back `after` ms after it was cleared, several times; each
 * time as soon as usage counts again.
 *
 * @returns For how long usage did not count, each time.
 */
function beliefs(times: number, after: number, length: number): number[] {
  const record = limited();
  const found: number[] = [];
  let now = NOW;
  for (let n = 0; n < times; n++) {
    const setAt = now;
    setCooldown(record, KEY, { until: setAt + length, setAt });
    while (isLimited(record, now)) {
      now += MINUTE;
      clear(record, open(now));
    }
    found.push(now - setAt);
    now += after;
  }
  return found;
}

test("a limit that comes back within 5 minutes is believed for 15 minutes, 1 hour, 6 hours", () => {
  assertEquals(beliefs(6, 5 * MINUTE, 4 * DAY), [
    MINUTE,
    15 * MINUTE,
    HOUR,
    6 * HOUR,
    6 * HOUR,
    6 * HOUR,
  ]);
});

test("a limit that comes back later, or ends by itself, is not believed for longer", () => {
  assertEquals(beliefs(4, 5 * MINUTE + 1, 4 * DAY), Array(4).fill(MINUTE));
  assertEquals(beliefs(4, 5 * MINUTE, 30 * MINUTE).slice(0, 3), [
    MINUTE,
    15 * MINUTE,
    30 * MINUTE,
  ]);
});

test("an answer that its owner asked for counts at once, whatever came back before", () => {
  for (const isExplicit of [true, false]) {
    const record = limited(KEY, { returns: 3 });
    clear(record, open(NOW + SECOND), isExplicit);
    assertEquals(isLimited(record, NOW + SECOND), !isExplicit);
  }
});

test("a limit that came back is believed as long when parallel requests are refused, too", () => {
  for (const returns of [0, 1]) {
    const record = limited(KEY, { returns });
    const again = { until: NOW + HOUR, setAt: NOW + SECOND };
    setCooldown(record, KEY, again);
    clear(record, open(NOW + MINUTE));
    assertEquals(isLimited(record, NOW + MINUTE), returns === 1);
  }
});

test("currentCooldowns() remembers what is over until no fresh fact is older, and a cleared one for its 5 minutes", () => {
  const kept = (entry: Cooldown, now: number) =>
    Object.keys(currentCooldowns({ [KEY]: entry }, now)).length > 0;
  const over = { until: NOW, setAt: NOW - HOUR };
  assertEquals(kept(over, NOW + 15 * MINUTE), true);
  assertEquals(kept(over, NOW + HOUR), false);
  const cleared = { ...over, clearedAt: NOW + HOUR };
  assertEquals(kept(cleared, NOW + HOUR + 5 * MINUTE), true);
  assertEquals(kept(cleared, NOW + 2 * HOUR), false);
});

test("a cooldown of a clock that was ahead lasts at most its own length", () => {
  const ahead = { until: NOW + 3 * HOUR + MINUTE, setAt: NOW + 3 * HOUR };
  const { throttle } = currentCooldowns({ throttle: ahead }, NOW);
  assertEquals(throttle, { until: NOW + MINUTE, setAt: NOW });
  const bit = { until: NOW + HOUR, setAt: NOW + MINUTE };
  assertEquals(currentCooldowns({ bit }, NOW), { bit });
  const longest = { until: NOW + 35 * DAY + MINUTE, setAt: NOW };
  assertEquals(currentCooldowns({ longest }, NOW), { longest });
  const longer = { ...longest, until: longest.until + 1 };
  assertEquals(Object.keys(currentCooldowns({ longer }, NOW)), []);
});

const open40 = { usage: usage([window(40)]) };
const pausing = (key: string, entry: Cooldown) =>
  account({ ...open40, cooldowns: { [key]: entry } });

test("assess() disbelieves a cooldown that no backend could have set", () => {
  const impossible = { until: NOW + 400 * DAY, setAt: NOW + 399 * DAY };
  assertEquals(verdict(pausing("throttle", impossible)), "included");
  const possible = { until: NOW + 34 * DAY, setAt: NOW };
  assertEquals(verdict(pausing("throttle", possible)), "blocked:cooldown");
});

test("assess() ends a cooldown 35 days after it was set", () => {
  const setAt = NOW - 34 * DAY;
  const long = pausing("throttle", { until: NOW + 20 * DAY, setAt });
  assertEquals(verdict(long), "blocked:cooldown");
  assertEquals(verdict(long, { now: NOW + DAY, allowed: false }), "unknown");
});

test("assess() believes a cooldown of which nobody knows when it was set", () => {
  for (const until of [NOW + MINUTE, NOW + 35 * DAY]) {
    const entry = { until, setAt: 0 };
    for (const cause of ["throttle", "workspace", "credits", KEY]) {
      const record = pausing(cause, entry);
      if (cause === "credits") record.usage = answer(NOW, [window(100)]);
      const found = verdict(record).split(":")[0];
      assertEquals([cause, found], [
        cause,
        cause === KEY ? "unconfirmed" : "blocked",
      ]);
    }
    const over = { until: NOW, setAt: 0 };
    assertEquals(verdict(pausing("throttle", over)), "included");
  }
});
