import { assertEquals } from "@std/assert";
import {
  creditWords,
  duration,
  inTime,
  policyProblems,
  policyWords,
  sanitize,
  shortDuration,
  standingWords,
  timeAgo,
  windowLabel,
} from "../../lib/cli/format.ts";
import { textWidth } from "../../lib/cli/table.ts";
import { nearest } from "../../lib/cli/nearest.ts";
import { credits, later, NOW, report, row } from "./reports.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

Deno.test("duration() names the two largest units", () => {
  const cases: [number, string, string][] = [
    [0, "0 s", "0s"],
    [1, "1 s", "1s"],
    [45_000, "45 s", "45s"],
    [MINUTE, "1 min", "1m"],
    [59 * MINUTE + 1, "1 h", "1h"],
    [2 * HOUR + 14 * MINUTE, "2 h 14 min", "2h14m"],
    [DAY, "1 d", "1d"],
    [3 * DAY + 4 * HOUR + 59 * MINUTE, "3 d 4 h", "3d4h"],
    [30 * DAY, "30 d", "30d"],
  ];
  for (const [ms, long, short] of cases) {
    assertEquals(duration(ms), long);
    assertEquals(shortDuration(ms), short);
  }
});

Deno.test("inTime() and timeAgo() count from now", () => {
  assertEquals(inTime(later(90_000), NOW), "in 2 min");
  assertEquals(inTime(later(-1), NOW), "now");
  assertEquals(timeAgo(later(-90_000), NOW), "1 min ago");
  assertEquals(timeAgo(NOW, NOW), "just now");
});

Deno.test("windowLabel() names a window by its length", () => {
  const cases: [number | null, string][] = [
    [18_000, "5h"],
    [604_800, "7d"],
    [2_592_000, "30d"],
    [2_628_000, "30d"],
    [900, "15m"],
    [null, "?"],
  ];
  for (const [seconds, label] of cases) {
    assertEquals(windowLabel(seconds), label);
  }
});

Deno.test("sanitize() takes out what a terminal would obey", () => {
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

Deno.test("textWidth() counts columns as a terminal shows them", () => {
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

Deno.test("nearest() finds what was probably meant, and nothing far away", () => {
  const names = ["status", "strategy", "refresh", "remove", "rename"];
  assertEquals(nearest("stauts", names), "status");
  assertEquals(nearest("refrsh", names), "refresh");
  assertEquals(nearest("STATUS", names), "status");
  assertEquals(nearest("teleport", names), undefined);
  assertEquals(nearest("", names), undefined);
});

Deno.test("standingWords() says why and until when", () => {
  const until = later(2 * HOUR + 14 * MINUTE);
  const say = (changes: Parameters<typeof row>[1]) =>
    standingWords(row("a", changes), NOW);
  assertEquals(say({}), "included");
  assertEquals(
    say({ standing: "blocked", reason: "exhausted", until }),
    "exhausted, back in 2 h 14 min",
  );
  assertEquals(
    say({ standing: "blocked", reason: "cooldown", until: later(45_000) }),
    "cooling down, back in 45 s",
  );
  assertEquals(
    say({ standing: "blocked", reason: "login" }),
    "needs a sign-in",
  );
  assertEquals(
    say({ standing: "blocked", reason: "constructor" }),
    "constructor",
  );
  assertEquals(
    say({ standing: "unknown", usageObservedAt: later(-3 * HOUR) }),
    "unknown, seen 3 h ago",
  );
  assertEquals(say({ standing: "credits", until: null }), "on credits");
});

Deno.test("creditWords() says how much there is and whether it may be spent", () => {
  const say = (changes: Parameters<typeof row>[1]) =>
    creditWords(row("a", changes));
  assertEquals(say({ credits: null }), "credits unknown");
  assertEquals(say({}), "no credits");
  assertEquals(say({ credits: credits("12.505") }), "12.51 credits, may spend");
  assertEquals(
    say({ credits: credits("3"), creditsAllowed: false }),
    "3 credits, forbidden",
  );
  assertEquals(
    say({ credits: credits("0", false) }),
    "0 credits, not usable now",
  );
  assertEquals(say({ credits: credits(null) }), "credits, may spend");
  assertEquals(
    say({ credits: { ...credits("1"), unlimited: true } }),
    "unlimited, may spend",
  );
});

Deno.test("policyWords() names the source, and how to forbid when nothing is set", () => {
  const { credits } = report([]);
  assertEquals(
    policyWords(credits),
    "Everyone may spend purchased credits (nothing set); forbid with: cli.ts credits none",
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
      "Warning: It is odd",
      "The credit list names accounts that do not exist: x",
    ],
  );
});
