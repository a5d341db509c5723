import { assertEquals } from "@std/assert";
import {
  ageWords,
  clockTime,
  creditWords,
  duration,
  meterWords,
  sanitize,
  standingWords,
  timeAgo,
  windowLabel,
} from "../../lib/cli/format.ts";
import { policyProblems, policyWords } from "../../lib/cli/status_summary.ts";
import { textWidth } from "../../lib/cli/table.ts";
import { nearest } from "../../lib/nearest.ts";
import { test } from "../test.ts";
import {
  credits,
  later,
  NOW,
  report,
  row,
  suggestAsInstalled,
  windows,
} from "./reports.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

test("duration() names the two largest units", () => {
  const cases: [number, string][] = [
    [0, "0s"],
    [1, "1s"],
    [45_000, "45s"],
    [MINUTE, "1m"],
    [59 * MINUTE + 1, "1h"],
    [2 * HOUR + 14 * MINUTE, "2h14m"],
    [DAY, "1d"],
    [3 * DAY + 4 * HOUR + 59 * MINUTE, "3d4h"],
    [30 * DAY, "30d"],
  ];
  for (const [ms, text] of cases) assertEquals(duration(ms), text);
});

test("timeAgo() names the largest unit", () => {
  assertEquals(timeAgo(later(-90_000), NOW), "1m ago");
  assertEquals(timeAgo(later(-DAY - 5 * HOUR), NOW), "1d ago");
  assertEquals(timeAgo(NOW, NOW), "just now");
});

test("windowLabel() names a window by its length", () => {
  const cases: [number | null, string][] = [
    [18_000, "5h"],
    [86_400, "1d"],
    [604_800, "weekly"],
    [2_592_000, "monthly"],
    [2_628_000, "monthly"],
    [3 * 86_400, "3d"],
    [900, "15m"],
    [null, "usage"],
  ];
  for (const [seconds, label] of cases) {
    assertEquals(windowLabel(seconds), label);
  }
});

test("sanitize() takes out what a terminal would obey", () => {
  const cases: [string, string][] = [
    ["plain ünïcode 天", "plain ünïcode 天"],
    ["\u001b[31mred\u001b[0m", "red"],
    ["\u001b]0;title\u0007after", "after"],
    ["\u001b]8;;http://x\u001b\\link", "link"],
    ["\u001b]52;c;unfinished", ""],
    ["a\u0000b\u0008c\u009bd\u007f", "abcd"],
    ["two\r\nlines\ttab", "two lines tab"],
    ["right\u202eleft\u2066", "rightleft"],
  ];
  for (const [text, expected] of cases) assertEquals(sanitize(text), expected);
});

test("textWidth() counts columns as a terminal shows them", () => {
  const cases: [string, number][] = [
    ["abc", 3],
    ["天地", 4],
    ["e\u0301", 1],
    ["ｆｕ", 4],
    ["ｱ", 1],
    ["한국", 4],
    ["🚀", 2],
    ["─█░…→", 5],
  ];
  for (const [text, width] of cases) assertEquals(textWidth(text), width, text);
});

test("nearest() finds what was probably meant, and nothing far away", () => {
  const names = ["status", "strategy", "refresh", "remove", "rename"];
  assertEquals(nearest("stauts", names), "status");
  assertEquals(nearest("refrsh", names), "refresh");
  assertEquals(nearest("STATUS", names), "status");
  assertEquals(nearest("teleport", names), undefined);
  assertEquals(nearest("", names), undefined);
});

test("standingWords() says why and until when", () => {
  const until = later(2 * HOUR + 14 * MINUTE);
  const say = (changes: Parameters<typeof row>[1]) =>
    standingWords(row("a", changes), NOW);
  const blocked = (reason: string, until: string | null = null) =>
    say({ standing: "blocked", reason, until });
  const clock = clockTime(until, NOW);
  assertEquals(say({}), "included");
  assertEquals(blocked("exhausted", until), `exhausted until ${clock}`);
  assertEquals(blocked("cooldown", until), `cooling down until ${clock}`);
  assertEquals(blocked("capped", until), `at its credit cap until ${clock}`);
  assertEquals(blocked("login"), "needs a sign-in");
  assertEquals(blocked("constructor"), "constructor");
  assertEquals(say({ standing: "unknown" }), "unknown");
  assertEquals(say({ standing: "credits", until: null }), "on credits");
  assertEquals(
    say({ standing: "credits", until }),
    `on credits until ${clock}`,
  );
});

test("ageWords() is silent for 15 minutes", () => {
  const say = (usageObservedAt: string | null) =>
    ageWords(row("a", { usageObservedAt }), NOW);
  assertEquals(say(later(-15 * MINUTE)), "");
  assertEquals(say(later(-16 * MINUTE)), "16m ago");
  assertEquals(say(later(-3 * HOUR)), "3h ago");
  assertEquals(say(null), "never");
});

test("meterWords() names a meter as its owner knows it", () => {
  const say = (meter: string, name: string | null = null) =>
    meterWords({ ...windows(1, 2)[0]!, meter, name });
  assertEquals(say("codex"), "");
  assertEquals(say("codex_bengalfox"), "GPT-5.3-Codex-Spark");
  assertEquals(say("codex_bengalfox", "Spark"), "Spark");
  assertEquals(say("constructor"), "constructor");
});

test("creditWords() says how much there is and what forbids it", () => {
  const say = (changes: Parameters<typeof row>[1]) =>
    creditWords(row("a", changes), NOW);
  assertEquals(say({ credits: null }), "unknown");
  assertEquals(say({}), "none");
  assertEquals(say({ credits: credits("12.505") }), "12.51");
  assertEquals(
    say({ credits: credits("3"), creditsAllowed: false }),
    "3, forbidden",
  );
  assertEquals(say({ credits: credits("0", false) }), "0, not usable now");
  // whether old ones are usable is not known
  const usageObservedAt = later(-HOUR);
  assertEquals(say({ credits: credits("3", false), usageObservedAt }), "3");
  // a balance that nobody told is not 0
  assertEquals(say({ credits: credits(null) }), "some");
  assertEquals(
    say({ credits: { ...credits(null), hasCredits: null } }),
    "unreadable",
  );
  assertEquals(
    say({ credits: { ...credits("1"), unlimited: true } }),
    "unlimited",
  );
});

test("policyWords() names the source, and how to forbid when nothing is set", () => {
  suggestAsInstalled();
  const { credits } = report([]);
  assertEquals(
    policyWords(credits),
    "Everyone may spend purchased credits (nothing set); forbid with: codex-rotator credits none",
  );
  assertEquals(
    policyWords({ ...credits, allow: ["a", "b"], source: "store" }),
    "Only a, b may spend purchased credits (set in the store)",
  );
  assertEquals(
    policyWords({ ...credits, allow: [], source: "environment" }),
    "Nobody may spend purchased credits (set by the environment)",
  );
  assertEquals(policyProblems(credits), []);
  assertEquals(
    policyProblems({ ...credits, unknownAliases: ["x"], warning: "It is odd" }),
    [
      "It is odd",
      "The credit list names accounts that do not exist: x",
    ],
  );
});
