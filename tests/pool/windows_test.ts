import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { indexOfLength, isSameLength } from "../../lib/meters.ts";
import { isClosed, pickWindow } from "../../lib/pool/windows.ts";
import type { NormalWindow } from "../../lib/normal_types.ts";
import { test } from "../test.ts";
import { HOUR, MINUTE, NOW, SECOND } from "./accounts.ts";
import { RUNS } from "./arbitrary.ts";

interface Given {
  /** When it was asked for, ms from now. */
  at?: number;
  /** How long it took to arrive, ms. */
  took?: number;
  /** When it resets, ms from now. */
  reset?: number | null;
  flags?: "allowed" | "refused";
}

/** A window of five hours, in the words of these tests. */
function seen(usedPercent: number, given: Given = {}): NormalWindow {
  const { at = 0, took = 0, reset = HOUR, flags } = given;
  return {
    usedPercent,
    windowSeconds: 18_000,
    resetsAt: reset === null ? null : NOW + reset,
    observedAt: NOW + at,
    seenAt: NOW + at + took,
    ...(flags && { flags }),
  };
}

type Row = [
  why: string,
  counts: "known" | "incoming",
  known: NormalWindow,
  incoming: NormalWindow,
];

/** Tests rows with the two windows in either order; `hasNoCredits` for accounts that have none, and for others. */
function table(
  name: string,
  { no, some }: { no?: Row[]; some?: Row[] },
): void {
  test(name, () => {
    for (const [rows, hasNoCredits] of [[no, true], [some, false]] as const) {
      for (const [why, counts, known, incoming] of rows ?? []) {
        const wanted = counts === "known" ? known : incoming;
        const row = `${why}${hasNoCredits ? ", no credits" : ""}`;
        for (const [a, b] of [[known, incoming], [incoming, known]] as const) {
          assertEquals([row, pickWindow(a, b, hasNoCredits)], [row, wanted]);
        }
      }
    }
  });
}

/** Rows that hold whether there are credits or not. */
const always = (rows: Row[]) => ({ no: rows, some: rows });

table(
  "pickWindow() lets the percentage of one window only grow",
  always([
    ["more is news", "incoming", seen(40), seen(41, { at: SECOND })],
    ["less is old news", "known", seen(40), seen(39, { at: SECOND })],
    [
      "a late answer with more",
      "incoming",
      seen(40, { at: SECOND }),
      seen(41, { took: MINUTE }),
    ],
    [
      "less, asked for almost 2 minutes after the higher one arrived",
      "known",
      seen(40, { took: SECOND }),
      seen(39, { at: SECOND + 2 * MINUTE - 1 }),
    ],
    [
      "less, asked for 2 minutes after it arrived",
      "incoming",
      seen(40, { took: SECOND }),
      seen(39, { at: SECOND + 2 * MINUTE }),
    ],
    [
      "as much, asked for later",
      "incoming",
      seen(40),
      seen(40, { at: SECOND }),
    ],
    [
      "a full one within 2 minutes",
      "known",
      seen(100),
      seen(99, { at: MINUTE }),
    ],
    [
      "a full one after 2 minutes",
      "incoming",
      seen(100),
      seen(99, { at: 2 * MINUTE }),
    ],
    [
      "resets within 60 s are of one window",
      "known",
      seen(100),
      seen(2, { at: SECOND, reset: HOUR + MINUTE }),
    ],
    [
      "resets further apart are not",
      "incoming",
      seen(97),
      seen(2, { at: SECOND, reset: HOUR + MINUTE + 1 }),
    ],
    [
      "a reset that is not told may be of any",
      "known",
      seen(97),
      seen(2, { at: SECOND, reset: null }),
    ],
    [
      "neither is told",
      "known",
      seen(97, { reset: null }),
      seen(2, { at: SECOND, reset: null }),
    ],
  ]),
);

table(
  "pickWindow() believes an earlier reset only of a fuller window, or 2 minutes later",
  always([
    [
      "emptier",
      "known",
      seen(40, { reset: 3 * HOUR }),
      seen(39, { at: SECOND }),
    ],
    [
      "fuller",
      "incoming",
      seen(40, { reset: 3 * HOUR }),
      seen(41, { at: SECOND }),
    ],
    [
      "fuller, but its reset has passed",
      "known",
      seen(40, { reset: 3 * HOUR }),
      seen(100, { at: SECOND, reset: -HOUR }),
    ],
    [
      "its reset has passed, 2 minutes later",
      "incoming",
      seen(40, { reset: 3 * HOUR }),
      seen(100, { at: 2 * MINUTE, reset: -HOUR }),
    ],
    [
      "emptier, almost 2 minutes later",
      "known",
      seen(40, { reset: 3 * HOUR }),
      seen(39, { at: 2 * MINUTE - 1 }),
    ],
    [
      "emptier, 2 minutes later",
      "incoming",
      seen(40, { reset: 3 * HOUR }),
      seen(39, { at: 2 * MINUTE }),
    ],
    [
      "refused, if emptier",
      "incoming",
      seen(60, { reset: 3 * HOUR }),
      seen(40, { at: SECOND, flags: "refused" }),
    ],
    [
      "refused, if emptier, where the known one was full",
      "known",
      seen(100, { reset: 3 * HOUR }),
      seen(40, { at: SECOND, flags: "refused" }),
    ],
    [
      "fuller, but allowed where the known one was refused",
      "known",
      seen(97, { reset: 3 * HOUR, flags: "refused" }),
      seen(100, { at: SECOND, flags: "allowed" }),
    ],
    [
      "a full one is not opened by the window before it, told late",
      "known",
      seen(100, { reset: 3 * HOUR }),
      seen(60, { at: SECOND, took: MINUTE }),
    ],
  ]),
);

table(
  "pickWindow() takes a later reset for a new window, whose word ends the limit of the one before",
  always([
    [
      "after the reset",
      "incoming",
      seen(100, { reset: 0, at: -SECOND }),
      seen(1, { at: SECOND, reset: 5 * HOUR }),
    ],
    [
      "after the reset, refused before",
      "incoming",
      seen(100, { reset: 0, at: -SECOND, flags: "refused" }),
      seen(1, { at: SECOND, reset: 5 * HOUR }),
    ],
    [
      "before the reset, and it was not full",
      "incoming",
      seen(99),
      seen(1, { at: SECOND, reset: 5 * HOUR }),
    ],
    [
      "an early reset, allowed",
      "incoming",
      seen(100, { flags: "refused" }),
      seen(1, { at: SECOND, reset: 5 * HOUR, flags: "allowed" }),
    ],
    [
      "an early reset without flags, 15 minutes after it was full",
      "incoming",
      seen(100),
      seen(1, { at: 15 * MINUTE, reset: 5 * HOUR }),
    ],
    [
      "as full as before",
      "incoming",
      seen(100),
      seen(100, { at: SECOND, reset: 5 * HOUR }),
    ],
  ]),
);

table(
  "pickWindow() is not opened by a week that flips between two anchors, unless it is allowed",
  always([
    [
      "within 15 minutes",
      "known",
      seen(100),
      seen(1, { at: 15 * MINUTE - 1, reset: 5 * HOUR }),
    ],
    [
      "counted from when the full one arrived",
      "known",
      seen(100, { took: MINUTE }),
      seen(1, { at: 15 * MINUTE, reset: 5 * HOUR }),
    ],
    [
      "refused below 100 %",
      "known",
      seen(97, { flags: "refused" }),
      seen(1, { at: SECOND, reset: 5 * HOUR }),
    ],
    [
      "allowed",
      "incoming",
      seen(100),
      seen(1, { at: SECOND, reset: 5 * HOUR, flags: "allowed" }),
    ],
    [
      "and back again",
      "known",
      seen(100, { at: SECOND, reset: 3 * HOUR }),
      seen(1, { at: MINUTE }),
    ],
  ]),
);

const allowed = (at: number, percent = 100) =>
  seen(percent, { at, flags: "allowed" });
const full = (at: number, more: Given = {}) => seen(100, { at, ...more });

table(
  "pickWindow() lets flags outrank percentages, and asks credits for how long",
  {
    // a wrong guess costs a refusal
    no: [
      ["100 % after flags is no news", "known", allowed(0), full(SECOND)],
      ["nor an hour later", "known", allowed(0), full(59 * MINUTE)],
      ["flags after 100 %", "incoming", full(0), allowed(SECOND)],
      ["flags after more", "incoming", seen(120), allowed(SECOND)],
      [
        "a refusal after flags",
        "incoming",
        allowed(0),
        full(SECOND, { flags: "refused" }),
      ],
      [
        "a refusal below 100 % after flags",
        "incoming",
        allowed(0, 97),
        seen(97, { at: SECOND, flags: "refused" }),
      ],
      [
        "flags after a refusal",
        "incoming",
        full(0, { flags: "refused" }),
        allowed(SECOND),
      ],
      [
        "a lower percentage with flags is old news",
        "known",
        full(0),
        allowed(SECOND, 80),
      ],
      ["but not for 2 minutes", "incoming", full(0), allowed(2 * MINUTE, 80)],
      [
        "100 % where flags were of less is news",
        "incoming",
        allowed(0, 80),
        full(SECOND),
      ],
    ],
    // a wrong guess may cost money
    some: [
      ["100 % after flags closes", "incoming", allowed(0), full(SECOND)],
      ["flags right after 100 %", "known", full(0), allowed(SECOND)],
      [
        "flags almost 2 minutes after it arrived",
        "known",
        full(0, { took: SECOND }),
        allowed(SECOND + 2 * MINUTE - 1),
      ],
      [
        "flags 2 minutes after it arrived",
        "incoming",
        full(0, { took: SECOND }),
        allowed(SECOND + 2 * MINUTE),
      ],
      [
        "flags 2 minutes after a refusal",
        "incoming",
        full(0, { flags: "refused" }),
        allowed(2 * MINUTE),
      ],
      [
        "flags right after a refusal",
        "known",
        full(0, { flags: "refused" }),
        allowed(2 * MINUTE - 1),
      ],
    ],
  },
);

test("pickWindow() keeps a refusal while its window only shows percentages", () => {
  const refused = seen(97, { flags: "refused" });
  for (const more of [97, 98, 100]) {
    const picked = pickWindow(refused, seen(more, { at: MINUTE }), false);
    assertEquals([picked.usedPercent, picked.flags], [more, "refused"]);
  }
  const lower = pickWindow(refused, seen(50, { at: 5 * MINUTE }), false);
  assertEquals([lower.usedPercent, lower.flags], [50, "refused"]);
  const next = seen(1, { at: 16 * MINUTE, reset: 6 * HOUR });
  assertEquals(pickWindow(refused, next, false), next);
});

const flags = fc.constantFrom(
  undefined,
  "allowed" as const,
  "refused" as const,
);
const anyWindow: fc.Arbitrary<NormalWindow> = fc.record({
  percent: fc.constantFrom(0, 1, 40, 97, 99.9, 100, 120),
  at: fc.oneof(
    fc.constantFrom(0, 1, MINUTE, 2 * MINUTE, 2 * MINUTE - 1, 15 * MINUTE),
    fc.integer({ min: -HOUR, max: HOUR }),
  ),
  took: fc.constantFrom(0, 1, SECOND, MINUTE),
  reset: fc.constantFrom(null, -HOUR, 0, HOUR, HOUR + 59 * SECOND, 5 * HOUR),
  flags,
}).map(({ percent, flags, ...given }) =>
  seen(percent, flags ? { ...given, flags } : given)
);

/** What two windows often have in common. */
const common = fc.subarray([
  ["usedPercent"],
  ["observedAt", "seenAt"],
  ["resetsAt"],
  ["flags"],
]).map((groups) => groups.flat());

function property(holds: (a: NormalWindow, b: NormalWindow) => void): void {
  const check = fc.property(anyWindow, anyWindow, common, (a, b, common) => {
    const own = Object.entries(b).filter(([key]) => !common.includes(key));
    const shared = Object.entries(a).filter(([key]) => common.includes(key));
    holds(
      a,
      Object.fromEntries([...own, ...shared]) as unknown as NormalWindow,
    );
  });
  fc.assert(check, { numRuns: 10 * RUNS });
}

test("pickWindow() gives the same of two windows in either order", () => {
  property((a, b) => {
    for (const hasNoCredits of [true, false]) {
      const picked = pickWindow(a, b, hasNoCredits);
      assertEquals(picked, pickWindow(b, a, hasNoCredits));
      const { flags: _, ...rest } = picked;
      const { flags: __, ...known } = picked.seenAt === a.seenAt &&
          picked.usedPercent === a.usedPercent &&
          picked.resetsAt === a.resetsAt && picked.observedAt === a.observedAt
        ? a
        : b;
      assertEquals(rest, known, "it is one of the two");
    }
  });
});

test("pickWindow() never opens a closed window within 2 minutes, unless it began afresh or there are no credits", () => {
  property((closed, open) => {
    const isSettled = open.observedAt >= closed.seenAt + 2 * MINUTE;
    const isOlder = open.seenAt < closed.seenAt;
    if (!isClosed(closed) || isClosed(open) || isSettled || isOlder) return;
    const isAfresh = open.resetsAt !== null && closed.resetsAt !== null &&
      open.resetsAt > closed.resetsAt + MINUTE;
    // one that arrives when its period is over says nothing of the next
    const isLater = open.seenAt === closed.seenAt &&
      open.observedAt <= closed.observedAt;
    const hasReset = closed.resetsAt !== null &&
      closed.resetsAt <= (isLater ? closed.seenAt : open.observedAt);
    if (isAfresh && (hasReset || open.flags === "allowed")) return;
    assert(isClosed(pickWindow(closed, open, false)));
  });
});

test("windows are one whose lengths are within 2 %, as 299 and 300 minutes", () => {
  const rows: [number | null, number | null, boolean][] = [
    [18_000, 17_940, true],
    [18_000, 18_000, true],
    [18_000, 17_640, true],
    [18_000, 17_639, false],
    [2_592_000, 2_628_000, true],
    [18_000, 604_800, false],
    [18_000, null, false],
    [null, null, true],
  ];
  for (const [a, b, isSame] of rows) {
    assertEquals([a, b, isSameLength(a, b)], [a, b, isSame]);
    assertEquals([a, b, isSameLength(b, a)], [a, b, isSame]);
  }
  const windows = [seen(1), { ...seen(2), windowSeconds: null }];
  const at = [17_940, null, 60].map((it) => indexOfLength(windows, it));
  assertEquals(at, [0, 1, -1]);
});
