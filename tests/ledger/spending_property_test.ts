/**
 * Random charges, top-ups and late answers: what `spend` sums up is what the
 * stand-in has booked.
 */
import process from "node:process";
import { assert, assertEquals } from "@std/assert";
import * as fc from "fast-check";
import type { LedgerEntry, Store } from "../../mod.ts";
import { compareAmounts, sumAmounts } from "../../lib/decimal.ts";
import {
  SPEND_KEYS,
  spendItems,
  spendRows,
  sumItems,
} from "../../lib/ledger/spend.ts";
import { DAY, type Fleet, START, startKnown } from "../fleet.ts";
import { test } from "../test.ts";

/** How many histories are tried; the environment asks for more. */
const RUNS = 12 * Number(process.env["PROPERTY_RUNS"] ?? 1);
const NAMES = ["alice", "bob"] as const;

type Step =
  | { kind: "ask"; count: number; model: string; session: string; cost: number }
  /** Usage is asked for while requests run, and answers come late. */
  | { kind: "late"; count: number; cost: number; wait: number }
  | { kind: "elsewhere"; who: typeof NAMES[number]; cost: number }
  | { kind: "top-up"; who: typeof NAMES[number] }
  | { kind: "refresh" }
  | { kind: "wait"; ms: number };

const cost = fc.constantFrom(1, 3, 0.25, 1.333333, 7.1);
const who = fc.constantFrom(...NAMES);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("ask" as const),
      count: fc.integer({ min: 1, max: 4 }),
      model: fc.constantFrom("gpt-5.5", "gpt-5.4", "gpt-5.4-mini"),
      session: fc.constantFrom("one", "two"),
      cost,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("late" as const),
      count: fc.integer({ min: 1, max: 3 }),
      cost,
      wait: fc.constantFrom(0, 1, 500, 70_000),
    }),
  },
  fc.record({ kind: fc.constant("elsewhere" as const), who, cost }),
  fc.record({ kind: fc.constant("top-up" as const), who }),
  fc.record({ kind: fc.constant("refresh" as const) }),
  fc.record({
    kind: fc.constant("wait" as const),
    ms: fc.constantFrom(1, 1000, 61_000, DAY),
  }),
);

interface History {
  steps: Step[];
  /** When charges count. */
  chargesAtEnd: boolean;
  /** How full the windows are at the start: requests may be charged that were thought included. */
  usedPercent: number;
}

const history: fc.Arbitrary<History> = fc.record({
  steps: fc.array(step, { minLength: 3, maxLength: 10 }),
  chargesAtEnd: fc.boolean(),
  usedPercent: fc.constantFrom(40, 90, 100),
});

interface Played {
  fleet: Fleet;
  entries: LedgerEntry[];
  /** What other programs spent. */
  elsewhere: { who: string; amount: string }[];
}

function setCost(fleet: Fleet, costPerRequest: number): void {
  for (const name of NAMES) {
    Object.assign(fleet.fake.account(name).credits!, { costPerRequest });
  }
}

/** Plays one step; the clock goes on before each. */
async function play({ fleet, elsewhere }: Played, step: Step): Promise<void> {
  fleet.clock.now += 10;
  switch (step.kind) {
    case "ask": {
      setCost(fleet, step.cost);
      const { model, session: prompt_cache_key } = step;
      await Promise.all(
        Array.from(
          { length: step.count },
          () => fleet.ask({ model, prompt_cache_key }),
        ),
      );
      return;
    }
    case "late": {
      setCost(fleet, step.cost);
      const { promise, resolve } = Promise.withResolvers<void>();
      for (const name of NAMES) {
        fleet.fake.account(name).always = { until: promise };
      }
      const before = fleet.fake.log.at(-1)?.n ?? 0;
      const answers = Array.from({ length: step.count }, () => fleet.ask());
      await fleet.fake.seen(({ kind, n }) =>
        kind === "responses" && n > before
      );
      fleet.clock.now += step.wait;
      await fleet.rotator.refresh();
      fleet.clock.now += step.wait;
      resolve();
      await Promise.all(answers);
      for (const name of NAMES) fleet.fake.account(name).always = undefined;
      return;
    }
    case "elsewhere": {
      const { credits } = fleet.fake.account(step.who);
      credits!.balance = String(
        Number((Number(credits!.balance) - step.cost).toFixed(6)),
      );
      elsewhere.push({ who: step.who, amount: String(step.cost) });
      return;
    }
    case "top-up":
      return fleet.fake.topUp(step.who, 100);
    case "refresh":
      return void await fleet.rotator.refresh();
    case "wait":
      fleet.clock.now += step.ms;
  }
}

/** What was charged to an account, by the stand-in's book and by other programs. */
function booked({ fleet, elsewhere }: Played, alias: string): string {
  const amounts = fleet.fake.book.filter(({ kind, account }) =>
    kind === "charge" && account === alias
  ).map(({ amount }) => String(amount));
  return sumAmounts([
    ...amounts,
    ...elsewhere.filter(({ who }) => who === alias).map(({ amount }) => amount),
  ]);
}

/** Plays a history to its end, and compares each account's sum with the book. */
async function check(
  { steps, chargesAtEnd, usedPercent }: History,
  compare: (sum: string, book: string, alias: string) => void,
): Promise<void> {
  const entries: LedgerEntry[] = [];
  const account = {
    windows: [{ seconds: 604_800, usedPercent, resetAt: START + 40 * DAY }],
    costPercent: 10,
    credits: { hasCredits: true, unlimited: false, balance: "1000" },
    chargesAtEnd,
  };
  const fleet = await startKnown({
    ledger: (entry) => void entries.push(entry),
    accounts: {
      alice: structuredClone(account),
      bob: structuredClone(account),
    },
  });
  const played: Played = { fleet, entries, elsewhere: [] };
  try {
    for (const step of steps) await play(played, step);
    fleet.clock.now += 10;
    await fleet.rotator.refresh();
    await fleet.rotator.close();
    const { accounts } = await (fleet.store as Store).read();
    const items = spendItems(entries, accounts, START - START % DAY);
    for (const alias of NAMES) {
      const own = items.filter((it) => it.account === alias);
      compare(sumItems(own).credits, booked(played, alias), alias);
    }
    const total = sumItems(items).credits;
    for (const key of SPEND_KEYS) {
      const rows = spendRows(items, key);
      assertEquals([key, sumItems(rows).credits], [key, total]);
    }
    const asked = fleet.fake.log.filter(({ kind, status }) =>
      kind === "responses" && status === 200
    );
    assertEquals(entries.length, asked.length);
  } finally {
    await fleet[Symbol.asyncDispose]();
  }
}

test("what is spent equals the backend's book to the last decimal, whatever is charged and how late it is told", async () => {
  const untouched = history.map((it) => ({
    ...it,
    steps: it.steps.filter(({ kind }) => kind !== "top-up"),
  }));
  await fc.assert(
    fc.asyncProperty(
      untouched,
      (it) =>
        check(
          it,
          (sum, book, alias) => assertEquals([alias, sum], [alias, book]),
        ),
    ),
    { numRuns: RUNS },
  );
});

test("what is spent is never less than the backend's book where top-ups fall between observations", async () => {
  // each request costs the same, and one was seen before
  const first: Step[] = [
    { kind: "ask", count: 2, model: "gpt-5.5", session: "one", cost: 3 },
    { kind: "wait", ms: 61_000 },
    { kind: "refresh" },
  ];
  const topped = history.map(({ steps, ...more }) => ({
    ...more,
    usedPercent: 100,
    steps: [
      ...first,
      ...steps.filter(({ kind }) => kind !== "elsewhere")
        .map((it) => "cost" in it ? { ...it, cost: 3 } : it),
    ],
  }));
  await fc.assert(
    fc.asyncProperty(
      topped,
      (it) =>
        check(it, (sum, book, alias) =>
          assert(
            compareAmounts(sum, book) >= 0,
            `${alias}: ${sum} of ${book}`,
          )),
    ),
    { numRuns: RUNS },
  );
});
