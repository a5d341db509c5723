import process from "node:process";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { statusLine } from "../../lib/cli/status_summary.ts";
import { renderStatus } from "../../lib/cli/status_table.ts";
import { textWidth } from "../../lib/cli/table.ts";
import type { StatusReport } from "../../lib/report_types.ts";
import { test } from "../test.ts";
import {
  everyStanding,
  later,
  NOW,
  report,
  row,
  suggestAsInstalled,
  windows,
} from "./reports.ts";

// resets are shown on this machine's clock
process.env.TZ = "UTC";

const HOUR = 3_600_000;

function show(report: StatusReport, columns: number, color = false): string {
  suggestAsInstalled();
  return renderStatus(report, { columns, color, now: NOW });
}

test("renderStatus() puts each account on one line where that fits", () => {
  assertEquals(
    show(everyStanding(), 130),
    `\
  account  plan  standing                 5h, resets in              weekly, resets in         credits        requests      seen
→ alice    plus  included                 ███░░░░░  42% used  2h14m  █░░░░░░░  12% used  3d4h  none           3
  bob      plus  on credits until 14:14   ████████ 100% used  2h14m  ███░░░░░  40% used  3d4h  12.5           1234, 5m ago
  carol    plus  exhausted until 14:14    ████████ 100% used  2h14m  ███░░░░░  40% used  3d4h  50, forbidden  3             3h ago
  dora     team  needs a sign-in          –                          –                         unknown        3
    The sign-in was revoked
    Sign in again with: codex-rotator login dora
  emil     free  unknown                  –                          –                         unknown        3             never
  fay      pro   unconfirmed until 14:14  –                          ██████░░  81% used  3d4h  unlimited      3
    GPT-5.3-Codex-Spark  5h      █░░░   3% used  resets in 2h14m
    2 banked resets, left alone

1 of 6 on included usage, 1 on credits, 1 unknown until asked, 1 unconfirmed (may be charged), 2 blocked; bob frees up at 14:14
Next: alice, on included usage, longest unused (round-robin)
Everyone may spend purchased credits (nothing set); forbid with: codex-rotator credits none
`,
  );
});

test("renderStatus() puts the windows below each account on a usual terminal", () => {
  assertEquals(
    show(everyStanding(), 80),
    `\
    5h, resets in                      weekly, resets in
→ alice  plus  included
    ███████░░░░░░░░░  42% used  2h14m  ██░░░░░░░░░░░░░░  12% used  3d4h
    credits none  requests 3
  bob    plus  on credits until 14:14
    ████████████████ 100% used  2h14m  ██████░░░░░░░░░░  40% used  3d4h
    credits 12.5  requests 1234, 5m ago
  carol  plus  exhausted until 14:14
    ████████████████ 100% used  2h14m  ██████░░░░░░░░░░  40% used  3d4h
    credits 50, forbidden  requests 3  seen 3h ago
  dora   team  needs a sign-in
    credits unknown  requests 3
    The sign-in was revoked
    Sign in again with: codex-rotator login dora
  emil   free  unknown
    credits unknown  requests 3  seen never
  fay    pro   unconfirmed until 14:14
    –                                  █████████████░░░  81% used  3d4h
    credits unlimited  requests 3
    GPT-5.3-Codex-Spark  5h      █░░░   3% used  resets in 2h14m
    2 banked resets, left alone

1 of 6 on included usage, 1 on credits, 1 unknown until asked, 1 unconfirmed
(may be charged), 2 blocked; bob frees up at 14:14
Next: alice, on included usage, longest unused (round-robin)
Everyone may spend purchased credits (nothing set); forbid with:
codex-rotator credits none
`,
  );
});

test("renderStatus() shortens the bars on a narrow one", () => {
  assertEquals(
    show(everyStanding(), 48),
    `\
    5h, resets in          weekly, resets in
→ alice  plus  included
    ██░░  42% used  2h14m  █░░░  12% used  3d4h
    credits none  requests 3
  bob    plus  on credits until 14:14
    ████ 100% used  2h14m  ██░░  40% used  3d4h
    credits 12.5  requests 1234, 5m ago
  carol  plus  exhausted until 14:14
    ████ 100% used  2h14m  ██░░  40% used  3d4h
    credits 50, forbidden  requests 3
    seen 3h ago
  dora   team  needs a sign-in
    credits unknown  requests 3
    The sign-in was revoked
    Sign in again with: codex-rotator login dora
  emil   free  unknown
    credits unknown  requests 3  seen never
  fay    pro   unconfirmed until 14:14
    –                      ███░  81% used  3d4h
    credits unlimited  requests 3
    GPT-5.3-Codex-Spark
    5h      █░░░   3% used  resets in 2h14m
    2 banked resets, left alone

1 of 6 on included usage, 1 on credits, 1
unknown until asked, 1 unconfirmed (may be
charged), 2 blocked; bob frees up at 14:14
Next: alice, on included usage, longest unused
(round-robin)
Everyone may spend purchased credits (nothing
set); forbid with: codex-rotator credits none
`,
  );
});

test("renderStatus() keeps to the width whatever the names", () => {
  const names = ["a", "x".repeat(64), "天地玄黃", "e\u0301clair"];
  const accounts = names.map((name) =>
    row(name, { plan: "plan-of-unusual-length", detail: "w ".repeat(150) })
  );
  for (const columns of [60, 80, 120, 160, 200]) {
    const text = show(report(accounts), columns);
    for (const line of text.split("\n")) {
      assert(textWidth(line) <= columns, `${columns}: ${line}`);
    }
  }
});

test("renderStatus() aligns columns behind wide characters", () => {
  const accounts = ["ab", "天地玄黃", "x".repeat(64)].map((name) => row(name));
  const lines = show(report(accounts), 120).split("\n").slice(1, 4);
  const places = lines.map((line) =>
    ["plus", "included", "42%", "12%", "none"].map((word) =>
      textWidth(line.slice(0, line.indexOf(word)))
    )
  );
  assertEquals(places[1], places[0]);
  assertEquals(places[2], places[0]);
});

test("renderStatus() lets no control character through", () => {
  const evil = "\u001b[2J\u001b]0;x\u0007\rname\u009b\u202e\n";
  const text = renderStatus(
    report([
      row(evil, {
        plan: evil,
        email: evil,
        detail: evil,
        standing: "blocked",
        reason: evil,
        windows: [{
          meter: evil,
          name: null,
          windowSeconds: 60,
          usedPercent: 1,
          resetsAt: null,
          lastsUntil: null,
        }],
        credits: {
          hasCredits: true,
          unlimited: false,
          balance: evil,
          usable: true,
        },
      }),
    ], {
      pinned: evil,
      credits: {
        allow: [evil],
        source: "store",
        unknownAliases: [evil],
        caps: {},
        unknownCaps: [],
        spentByRemoved: { spentToday: "0", spentThisMonth: "0" },
        warning: evil,
      },
    }),
    { columns: 80, color: false, now: NOW },
  );
  assertEquals(text.replaceAll("\n", "").match(/[\p{Cc}\p{Bidi_C}]/gu), null);
});

test("renderStatus() colours only where it is asked to, and says the same", () => {
  const plain = show(everyStanding(), 120);
  const colored = show(everyStanding(), 120, true);
  assertStringIncludes(colored, "\u001b[31mexhausted");
  assertStringIncludes(colored, "\u001b[32mincluded");
  // deno-lint-ignore no-control-regex
  const stripped = colored.replace(/\u001b\[\d+m/g, "");
  assertEquals(stripped.replace(/ +$/gm, ""), plain);
});

test("renderStatus() says who is pinned, and when that name is gone", () => {
  const text = (pinned: string) =>
    show(report([row("alice")], { pinned }), 120);
  assertStringIncludes(text("alice"), "Pinned to alice: only it serves");
  assertStringIncludes(text("alice"), "codex-rotator use --auto");
  assertStringIncludes(text("bob"), "Pinned to bob, which does not exist");
});

test("renderStatus() says when nobody can serve and who will be first", () => {
  const blocked = (name: string, ms: number) =>
    row(name, { standing: "blocked", reason: "exhausted", until: later(ms) });
  const accounts = [blocked("a", 2 * HOUR), blocked("b", 60_000)];
  const text = show(report(accounts, { next: null }), 120);
  assertStringIncludes(text, "2 blocked; b frees up at 12:01\n");
  assertStringIncludes(text, "Next: nobody can serve\n");
});

test("renderStatus() shows a share that is neither none nor all as such", () => {
  const window = { meter: "codex", name: null, windowSeconds: 18_000 };
  const cases: [number, string | null, string][] = [
    [0, later(HOUR), "░░░░░░░░░░░░░░░░   0% used  1h"],
    [0.2, later(HOUR), "█░░░░░░░░░░░░░░░   1% used  1h"],
    [99.8, later(HOUR), "███████████████░  99% used  1h"],
    [100, null, "████████████████ 100% used  –"],
    [250, later(-1), "████████████████ 250% used  reset"],
  ];
  for (const [usedPercent, resetsAt, text] of cases) {
    const account = row("a", {
      windows: [{ ...window, usedPercent, resetsAt, lastsUntil: null }],
    });
    assertStringIncludes(show(report([account]), 120), text);
  }
});

test("renderStatus() shows what is absent as absent", () => {
  const absent = row("a", {
    plan: null,
    credits: null,
    windows: [],
    usageObservedAt: null,
  });
  const lines = show(report([row("b"), absent]), 120).split("\n");
  assertEquals(
    lines[2]!.trim().split(/ {2,}/),
    ["a", "–", "included", "–", "–", "unknown", "3", "never"],
  );
});

test("renderStatus() puts many accounts in groups by who can serve, a line each where that fits", () => {
  const members = everyStanding().accounts.map((it) => ({
    ...it,
    windows: windows(100, 40),
    detail: null,
    bankedResets: null,
    reason: null,
  }));
  const accounts = Array.from(
    { length: 50 },
    (_, i) => ({ ...members[i % 6]!, alias: `account-${i}` }),
  );
  const lines = show(report(accounts), 130).split("\n");
  const titles = lines.filter((it) => /^[A-Z].*\(\d+\)$/.test(it));
  assertEquals(titles, [
    "On included usage (9)",
    "Unknown until asked (8)",
    "On purchased credits (9)",
    "Unconfirmed, may be charged (8)",
    "Cannot serve (16)",
  ]);
  assertEquals(lines.indexOf(""), 1 + 5 + 50);
  const few = show(report(accounts.slice(0, 11)), 130).split("\n");
  assertEquals(few.indexOf(""), 1 + 11);
});

test("renderStatus() puts windows of one length in one column, also in a mixed fleet", () => {
  const monthly = { ...windows(55, 0)[0]!, windowSeconds: 2_628_000 };
  const accounts = [
    row("both"),
    row("monthly", { windows: [monthly] }),
    row("weekly", { windows: windows(3, 97).slice(1) }),
    // a month may be 30 days as well
    row("other", {
      windows: [{ ...monthly, usedPercent: 56, windowSeconds: 2_592_000 }],
    }),
  ];
  for (const columns of [80, 160]) {
    const lines = show(report(accounts), columns).split("\n");
    const header = lines.find((it) => it.includes("5h, resets in"))!;
    const column = (used: string) => {
      const line = lines.find((it) => it.includes(used))!;
      // a cell begins with its bar
      const begin = line.slice(0, line.indexOf(used)).search(/[█░]+ *$/);
      return header.slice(begin).split(",")[0];
    };
    assertEquals(
      ["42%", "12%", "55%", "97%", "56%"].map(column),
      ["5h", "weekly", "monthly", "weekly", "monthly"],
      `${columns}`,
    );
  }
  const narrow = show(report(accounts), 60).split("\n");
  assert(narrow.some((it) => /^ {4}weekly +█.* 97% used/.test(it)));
  assert(narrow.every((it) => textWidth(it) <= 60));
});

test("renderStatus() says how long windows and fleet last at the present pace", () => {
  const [window] = windows(42, 0);
  const lastsUntil = later(HOUR);
  const moving = row("a", { windows: [{ ...window!, lastsUntil }] });
  const text = show(report([moving], { lastsUntil }), 80);
  assertStringIncludes(text, "42% used  2h14m, full 13:00");
  assertStringIncludes(text, "usage lasts until 13:00 at the present pace\n");
  const still = show(report([row("a")]), 80);
  assertEquals(/full|lasts/.test(still), false);
});

test("renderStatus() says why this account is next", () => {
  const cases: [Parameters<typeof row>[1][], Partial<StatusReport>, string][] =
    [
      [[{}], {}, "Next: a, on included usage\n"],
      [[{}, {}], {}, "on included usage, longest unused (round-robin)\n"],
      [[{}, {}], { strategy: "drain" }, "quota would be lost first (drain)\n"],
      [[{ plan: "prolite" }, {}], {}, "on included usage, a Pro plan first\n"],
      [
        [{ standing: "credits" }],
        {},
        "on credits, as no included usage is left\n",
      ],
      [[{ standing: "unknown" }], {}, "asked for its usage first\n"],
      [
        [{ standing: "unconfirmed" }],
        {},
        "(may be charged), as no included usage is left\n",
      ],
      [[{}, {}], { pinned: "a" }, "on included usage, pinned\n"],
      [[{}, {}], { next: "c" }, "Next: c\n"],
    ];
  for (const [changes, about, words] of cases) {
    const accounts = changes.map((it, i) => row("ab"[i]!, it));
    assertStringIncludes(show(report(accounts, about), 120), words);
  }
});

test("statusLine() says in 60 columns who is next, how many can serve and when the next window resets", () => {
  const until = later(2 * HOUR + 14 * 60_000);
  assertEquals(
    statusLine(everyStanding(), NOW),
    "→ alice · 4 of 6 can serve · reset 14:14",
  );
  const spending = report([row("bob", { standing: "credits", until })]);
  assertEquals(
    statusLine(spending, NOW),
    "→ bob · credits · 1 of 1 can serve · reset 14:14",
  );
  const nobody = report([row("bob", { standing: "blocked", windows: [] })], {
    next: null,
    lastsUntil: null,
  });
  assertEquals(statusLine(nobody, NOW), "nobody · 0 of 1 can serve");
  assertEquals(statusLine(report([]), NOW), "no account");
  const long = "天".repeat(64);
  const line = statusLine(
    report([row(long, { standing: "unconfirmed" })]),
    NOW,
  );
  assert(textWidth(line) <= 60 && line.includes("…"), line);
});
