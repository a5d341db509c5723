import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { renderStatus } from "../../lib/cli/render_status.ts";
import { textWidth } from "../../lib/cli/table.ts";
import type { StatusReport } from "../../lib/report_types.ts";
import { everyStanding, later, NOW, report, row, windows } from "./reports.ts";

// resets are shown on this machine's clock
Deno.env.set("TZ", "UTC");

Deno.test("renderStatus() puts one line per account on a wide terminal", () => {
  assertEquals(
    renderStatus(everyStanding(), { columns: 160, color: false, now: NOW }),
    `\
→ alice  plus  included                         5h █████░░░░░░░  42%  in 2 h 14 min, 14:14  7d █░░░░░░░░░░░  12%  in 3 d 4 h, Wed 16:00  no credits
  bob    plus  on credits for 2 h 14 min        5h ████████████ 100%  in 2 h 14 min, 14:14  7d █████░░░░░░░  40%  in 3 d 4 h, Wed 16:00  12.5 credits, may spend
  carol  plus  exhausted, back in 2 h 14 min    5h ████████████ 100%  in 2 h 14 min, 14:14  7d █████░░░░░░░  40%  in 3 d 4 h, Wed 16:00  50 credits, forbidden
  dora   team  needs a sign-in                                                                                                           credits unknown
    The sign-in was revoked
  emil   free  unknown, never seen                                                                                                       credits unknown
  fay    pro   unconfirmed, back in 2 h 14 min                                              7d ██████████░░  81%  in 3 d 4 h, Wed 16:00  unlimited, may spend
    codex_bengalfox 5h 3%  in 2 h 14 min, 14:14
    2 banked resets, left untouched

1 of 6 on included usage, 1 on credits, 1 unknown until asked, 1 unconfirmed (may be charged), 2 blocked; bob frees up in 2 h 14 min (14:14).
Next: alice, on included usage, longest unused (round-robin).
Everyone may spend purchased credits (nothing set); forbid with: cli.ts credits none.
`,
  );
});

Deno.test("renderStatus() puts the windows below each account on a usual one", () => {
  assertEquals(
    renderStatus(everyStanding(), { columns: 120, color: false, now: NOW }),
    `\
→ alice  plus  included                         no credits
    5h ████████░░░░░░░░░░░░  42%  in 2 h 14 min, 14:14  7d ██░░░░░░░░░░░░░░░░░░  12%  in 3 d 4 h, Wed 16:00
  bob    plus  on credits for 2 h 14 min        12.5 credits, may spend
    5h ████████████████████ 100%  in 2 h 14 min, 14:14  7d ████████░░░░░░░░░░░░  40%  in 3 d 4 h, Wed 16:00
  carol  plus  exhausted, back in 2 h 14 min    50 credits, forbidden
    5h ████████████████████ 100%  in 2 h 14 min, 14:14  7d ████████░░░░░░░░░░░░  40%  in 3 d 4 h, Wed 16:00
  dora   team  needs a sign-in                  credits unknown
    The sign-in was revoked
  emil   free  unknown, never seen              credits unknown
  fay    pro   unconfirmed, back in 2 h 14 min  unlimited, may spend
                                                        7d ████████████████░░░░  81%  in 3 d 4 h, Wed 16:00
    codex_bengalfox 5h 3%  in 2 h 14 min, 14:14
    2 banked resets, left untouched

1 of 6 on included usage, 1 on credits, 1 unknown until asked, 1 unconfirmed (may be charged), 2 blocked; bob frees up
in 2 h 14 min (14:14).
Next: alice, on included usage, longest unused (round-robin).
Everyone may spend purchased credits (nothing set); forbid with: cli.ts credits none.
`,
  );
});

Deno.test("renderStatus() shortens bars and names before anything else", () => {
  assertEquals(
    renderStatus(everyStanding(), { columns: 80, color: false, now: NOW }),
    `\
→ alice  plus  included                         no credits
    5h ███░░░  42%  in 2 h 14 min, 14:14  7d █░░░░░  12%  in 3 d 4 h, Wed 16:00
  bob    plus  on credits for 2 h 14 min        12.5 credits, may spend
    5h ██████ 100%  in 2 h 14 min, 14:14  7d ██░░░░  40%  in 3 d 4 h, Wed 16:00
  carol  plus  exhausted, back in 2 h 14 min    50 credits, forbidden
    5h ██████ 100%  in 2 h 14 min, 14:14  7d ██░░░░  40%  in 3 d 4 h, Wed 16:00
  dora   team  needs a sign-in                  credits unknown
    The sign-in was revoked
  emil   free  unknown, never seen              credits unknown
  fay    pro   unconfirmed, back in 2 h 14 min  unlimited, may spend
                                          7d █████░  81%  in 3 d 4 h, Wed 16:00
    codex_bengalfox 5h 3%  in 2 h 14 min, 14:14
    2 banked resets, left untouched

1 of 6 on included usage, 1 on credits, 1 unknown until asked, 1 unconfirmed
(may be charged), 2 blocked; bob frees up in 2 h 14 min (14:14).
Next: alice, on included usage, longest unused (round-robin).
Everyone may spend purchased credits (nothing set); forbid with: cli.ts credits
none.
`,
  );
});

Deno.test("renderStatus() puts each window on a line of its own on a narrow one", () => {
  assertEquals(
    renderStatus(everyStanding(), { columns: 60, color: false, now: NOW }),
    `\
→ alice  plus  included  no credits
    5h ████████░░░░░░░░░░░░  42%  in 2 h 14 min, 14:14
    7d ██░░░░░░░░░░░░░░░░░░  12%  in 3 d 4 h, Wed 16:00
  bob  plus  on credits for 2 h 14 min
    12.5 credits, may spend
    5h ████████████████████ 100%  in 2 h 14 min, 14:14
    7d ████████░░░░░░░░░░░░  40%  in 3 d 4 h, Wed 16:00
  carol  plus  exhausted, back in 2 h 14 min
    50 credits, forbidden
    5h ████████████████████ 100%  in 2 h 14 min, 14:14
    7d ████████░░░░░░░░░░░░  40%  in 3 d 4 h, Wed 16:00
  dora  team  needs a sign-in  credits unknown
    The sign-in was revoked
  emil  free  unknown, never seen  credits unknown
  fay  pro  unconfirmed, back in 2 h 14 min
    unlimited, may spend
    7d ████████████████░░░░  81%  in 3 d 4 h, Wed 16:00
    codex_bengalfox 5h 3%  in 2 h 14 min, 14:14
    2 banked resets, left untouched

1 of 6 on included usage, 1 on credits, 1 unknown until
asked, 1 unconfirmed (may be charged), 2 blocked; bob frees
up in 2 h 14 min (14:14).
Next: alice, on included usage, longest unused
(round-robin).
Everyone may spend purchased credits (nothing set); forbid
with: cli.ts credits none.
`,
  );
});

Deno.test("renderStatus() keeps to the width whatever the names", () => {
  const names = ["a", "x".repeat(64), "天地玄黃", "e\u0301clair"];
  const accounts = names.map((name) =>
    row(name, { plan: "plan-of-unusual-length", detail: "w ".repeat(150) })
  );
  for (const columns of [60, 80, 120, 160, 200]) {
    const text = renderStatus(report(accounts), {
      columns,
      color: false,
      now: NOW,
    });
    for (const line of text.split("\n")) {
      assert(textWidth(line) <= columns, `${columns}: ${line}`);
    }
  }
});

Deno.test("renderStatus() aligns columns behind wide characters", () => {
  const accounts = ["ab", "天地玄黃", "x".repeat(64)].map((name) => row(name));
  const lines = renderStatus(report(accounts), {
    columns: 120,
    color: false,
    now: NOW,
  }).split("\n").slice(0, 3);
  const places = lines.map((line) =>
    ["plus", "included", "5h", "7d", "no credits"].map((word) =>
      textWidth(line.slice(0, line.indexOf(word)))
    )
  );
  assertEquals(places[1], places[0]);
  assertEquals(places[2], places[0]);
});

Deno.test("renderStatus() lets no control character through", () => {
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
        warning: evil,
      },
    }),
    { columns: 80, color: false, now: NOW },
  );
  assertEquals(text.replaceAll("\n", "").match(/[\p{Cc}\p{Bidi_C}]/gu), null);
});

Deno.test("renderStatus() colours only where it is asked to, and says the same", () => {
  const options = { columns: 120, now: NOW };
  const plain = renderStatus(everyStanding(), { ...options, color: false });
  const colored = renderStatus(everyStanding(), { ...options, color: true });
  assertStringIncludes(colored, "\u001b[31mexhausted");
  assertStringIncludes(colored, "\u001b[32mincluded");
  // deno-lint-ignore no-control-regex
  const stripped = colored.replace(/\u001b\[\d+m/g, "");
  assertEquals(stripped.replace(/ +$/gm, ""), plain);
});

Deno.test("renderStatus() says who is pinned, and when that name is gone", () => {
  const show = (pinned: string) =>
    renderStatus(report([row("alice")], { pinned }), {
      columns: 120,
      color: false,
      now: NOW,
    });
  assertStringIncludes(show("alice"), "Pinned to alice: only it serves");
  assertStringIncludes(show("alice"), "cli.ts use --auto");
  assertStringIncludes(show("bob"), "Pinned to bob, which does not exist");
});

Deno.test("renderStatus() says when nobody can serve and who will be first", () => {
  const blocked = (name: string, ms: number) =>
    row(name, { standing: "blocked", reason: "exhausted", until: later(ms) });
  const text = renderStatus(
    report([blocked("a", 7_200_000), blocked("b", 60_000)], { next: null }),
    { columns: 120, color: false, now: NOW },
  );
  assertStringIncludes(text, "2 blocked; b frees up in 1 min (12:01).");
  assertStringIncludes(text, "Next: nobody can serve.");
});

Deno.test("renderStatus() shows a window that has reset, and odd percentages", () => {
  const text = renderStatus(
    report([
      row("a", {
        windows: [
          {
            meter: "codex",
            name: null,
            windowSeconds: 900,
            usedPercent: 250,
            resetsAt: later(-1),
          },
          {
            meter: "codex",
            name: null,
            windowSeconds: null,
            usedPercent: 0.2,
            resetsAt: null,
          },
        ],
      }),
    ]),
    { columns: 120, color: false, now: NOW },
  );
  assertStringIncludes(text, "? █░");
  assertStringIncludes(text, "250%  reset");
});

Deno.test("renderStatus() keeps many accounts to a line each where that fits", () => {
  const [, bob] = everyStanding().accounts;
  const accounts = Array.from(
    { length: 50 },
    (_, i) => ({ ...bob!, alias: `account-${i}` }),
  );
  const lines = renderStatus(report(accounts), {
    columns: 120,
    color: false,
    now: NOW,
  }).split("\n");
  assertEquals(lines.indexOf(""), 50);
  assertStringIncludes(lines[0]!, "100%  2h14m");
  assertStringIncludes(lines[51]!, "0 of 50 on included usage, 50 on credits");
});

Deno.test("renderStatus() puts windows of one length in one column", () => {
  const weekly = row("weekly", { windows: windows(3, 97).slice(1) });
  for (const columns of [80, 160]) {
    const lines = renderStatus(report([row("both"), weekly]), {
      columns,
      color: false,
      now: NOW,
    }).split("\n").filter((line) => line.includes("7d"));
    assertEquals(lines[1]!.indexOf("7d"), lines[0]!.indexOf("7d"));
  }
});

Deno.test("renderStatus() says why this account is next", () => {
  const cases: [Parameters<typeof row>[1][], Partial<StatusReport>, string][] =
    [
      [[{}], {}, "Next: a, on included usage."],
      [[{}, {}], {}, "on included usage, longest unused (round-robin)."],
      [[{}, {}], { strategy: "drain" }, "its quota resets soonest (drain)."],
      [[{ plan: "pro" }, {}], {}, "on included usage, a pro plan first."],
      [
        [{ standing: "credits" }],
        {},
        "on credits, as no included usage is left.",
      ],
      [[{ standing: "unknown" }], {}, "asked for its usage first."],
      [
        [{ standing: "unconfirmed" }],
        {},
        "nothing else is left (may be charged).",
      ],
      [[{}, {}], { pinned: "a" }, "on included usage, pinned."],
    ];
  for (const [changes, about, words] of cases) {
    const accounts = changes.map((it, i) => row("ab"[i]!, it));
    assertStringIncludes(
      renderStatus(report(accounts, about), {
        columns: 120,
        color: false,
        now: NOW,
      }),
      words,
    );
  }
});
