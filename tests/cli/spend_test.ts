import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { Ajv } from "ajv";
import schema from "../../lib/cli/spend.schema.json" with { type: "json" };
import { statSync } from "node:fs";
import { copyFile, readFile, rm, symlink, writeFile } from "node:fs/promises";
import type { SpendReport } from "../../lib/ledger/spend.ts";
import type { LedgerEntry } from "../../lib/spending_types.ts";
import type { AccountRecord } from "../../lib/types.ts";
import type { Io } from "../../lib/cli/io.ts";
import { textWidth } from "../../lib/cli/table.ts";
import { tempFolder, test } from "../test.ts";
import { account, type Ran, run } from "./run.ts";

const NOW = Date.parse("2026-11-30T12:00:00Z");

/** A line of the ledger. */
function entry(changes: Partial<LedgerEntry>): LedgerEntry {
  return {
    at: "2026-11-29T10:00:00.000Z",
    request: 1,
    alias: "alice",
    model: "gpt-5.5",
    session: "5e55",
    standing: "included",
    status: 200,
    ms: 1000,
    attempts: 1,
    inputTokens: 1200,
    cachedTokens: 1000,
    outputTokens: 30,
    balanceBefore: null,
    balanceAfter: null,
    credits: null,
    approximate: false,
    ...changes,
  };
}

interface Filled extends AsyncDisposable {
  readonly folder: string;
  spend(args?: readonly string[], changes?: Partial<Io>): Promise<Ran>;
  json(...args: string[]): Promise<SpendReport>;
}

/** A store with a ledger beside it, at noon of the last of November. */
async function filled(
  lines: readonly (LedgerEntry | string)[],
  accounts: Record<string, AccountRecord> = { alice: account("alice") },
): Promise<Filled> {
  const folder = await tempFolder();
  const store = join(folder, "accounts.json");
  const state = { version: 1, settings: {}, accounts };
  await writeFile(store, JSON.stringify(state), { mode: 0o600 });
  const texts = lines.map((it) =>
    typeof it === "string" ? it : JSON.stringify(it)
  );
  if (texts.length > 0) {
    const path = join(folder, "ledger-2026-11.jsonl");
    await writeFile(path, texts.map((it) => `${it}\n`).join(""));
  }
  const spend: Filled["spend"] = (args = [], changes = {}) =>
    run(["spend", ...args, "--store", store], {}, {
      now: () => NOW,
      ...changes,
    });
  return {
    folder,
    spend,
    async json(...args) {
      const { out, code } = await spend(["--json", ...args]);
      assertEquals(code, 0);
      return JSON.parse(out);
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}

const PAID: LedgerEntry[] = [
  entry({ credits: "1.25", standing: "credits" }),
  entry({ credits: "0.333333", model: "gpt-5.4", session: null }),
  entry({ credits: "0.666667", approximate: true, session: "7e57" }),
  entry({ alias: "bob", at: "2026-11-30T01:00:00.000Z" }),
  entry({ alias: "bob", at: "2026-11-30T01:00:00.000Z", model: null }),
];

/** Alice's store has booked a credit and a half more than her requests tell. */
const SPENT = {
  alice: account("alice", {
    spent: { "2026-11-29": "3.75", "2026-10-01": "100" },
  }),
  bob: account("bob"),
};

const keysOf = ({ rows }: SpendReport) =>
  rows.map(({ key, requests, credits }) => [key, requests, credits]);

test("spend sums up by account, model, session and day, to the same total", async () => {
  await using it = await filled(PAID, SPENT);
  const expected = {
    account: [["alice", 3, "3.75"], ["bob", 2, "0"]],
    model: [["gpt-5.5", 3, "1.916667"], ["other", 0, "1.5"], [
      "gpt-5.4",
      1,
      "0.333333",
    ], ["unknown", 1, "0"]],
    session: [["other", 0, "1.5"], ["5e55", 3, "1.25"], [
      "7e57",
      1,
      "0.666667",
    ], ["none", 1, "0.333333"]],
    day: [["2026-11-29", 3, "3.75"], ["2026-11-30", 2, "0"]],
  };
  for (const [by, rows] of Object.entries(expected)) {
    const report = await it.json("--by", by);
    assertEquals([by, keysOf(report)], [by, rows]);
    assertEquals(report.total, {
      requests: 5,
      inputTokens: 6000,
      cachedTokens: 5000,
      outputTokens: 150,
      credits: "3.75",
      approximate: true,
    });
  }
});

test("spend --json fits its schema, and has no field more", async () => {
  const closed = JSON.stringify(schema)
    .replaceAll('"properties":', '"additionalProperties":false,$&');
  const validate = new Ajv({ strict: true }).compile(JSON.parse(closed));
  for (const lines of [PAID, []]) {
    await using it = await filled(lines, SPENT);
    for (const by of ["account", "model", "session", "day"]) {
      const report = await it.json("--by", by);
      assert(validate(report), JSON.stringify(validate.errors));
      const spoilt = { ...report, total: { ...report.total, credits: 5 } };
      assert(!validate(spoilt));
    }
  }
});

test("spend counts whole UTC days: so many, today included, or from a date on", async () => {
  await using it = await filled([
    entry({ at: "2026-11-30T00:00:00.000Z", model: "today" }),
    entry({ at: "2026-11-29T23:59:59.000Z", model: "yesterday" }),
    entry({ at: "2026-11-01T00:00:00.000Z", model: "first" }),
  ]);
  for (
    const [since, models] of [
      ["1d", ["today"]],
      ["2d", ["today", "yesterday"]],
      ["2026-11-29", ["today", "yesterday"]],
      ["30d", ["first", "today", "yesterday"]],
      ["9999d", ["first", "today", "yesterday"]],
    ] as const
  ) {
    const { rows } = await it.json("--by=model", "--since", since);
    assertEquals([since, rows.map(({ key }) => key)], [since, [...models]]);
  }
  assertEquals((await it.json()).since, "2026-11-01T00:00:00.000Z");
});

test("spend books no request twice that cost its credits behind midnight", async () => {
  const late = entry({ at: "2026-11-28T23:59:59.000Z", credits: "3" });
  await using it = await filled([late], {
    alice: account("alice", { spent: { "2026-11-29": "4" } }),
  });
  assertEquals((await it.json()).total.credits, "4");
  // the request itself is before this time; what else was booked is not
  const later = await it.json("--since=2026-11-29", "--by=model");
  assertEquals(keysOf(later), [["other", 0, "1"]]);
});

test("spend counts what an account was charged under an earlier name", async () => {
  await using it = await filled(PAID, { ...SPENT, bob: account("bob") });
  const store = join(it.folder, "accounts.json");
  for (const [from, to] of [["alice", "carol"], ["bob", "alice"]]) {
    const io = { now: () => NOW };
    const { code } = await run(
      ["rename", from!, to!, "--store", store],
      {},
      io,
    );
    assertEquals(code, 0);
  }
  assertEquals(keysOf(await it.json()), [["carol", 3, "3.75"], [
    "alice",
    2,
    "0",
  ]]);
});

test("spend refuses a time or a key that it does not know, and says what it wants", async () => {
  await using it = await filled(PAID);
  for (
    const [args, wanted] of [
      [["--by", "modell"], "did you mean model?"],
      [["--by", "week"], "account, model, session, day"],
      [["--since", "week"], "such as 7d, or a date, such as 2026-11-30"],
      [["--since", "0d"], "such as 7d"],
      [["--since", "2026-02-31"], "such as 7d"],
      [["--since", "2027-01-01"], "no past time"],
      [["--since="], "--since"],
    ] as const
  ) {
    const { code, err, out } = await it.spend(args);
    assertEquals([args, code, out], [args, 2, ""]);
    assertStringIncludes(err, wanted);
  }
});

test("spend says in a sentence that nothing was served", async () => {
  await using it = await filled([]);
  const { code, out } = await it.spend();
  assertEquals([code, out], [
    0,
    "Nothing was served or paid since 2026-11-01, as the ledger beside the store tells\n",
  ]);
});

test("spend tells how many lines of the ledger cannot be read", async () => {
  await using it = await filled(['{"at":"2026', ...PAID], SPENT);
  assertEquals((await it.json()).skippedLines, 1);
  assertStringIncludes((await it.spend()).err, "1 line of the ledger");
});

test("spend shows a table with a total that fits the terminal", async () => {
  const lines = [
    ...PAID,
    entry({
      inputTokens: 123_456_789,
      credits: "1234.5",
      model: "m".repeat(60),
    }),
  ];
  await using it = await filled(lines, SPENT);
  for (const columns of [60, 80, 120]) {
    for (const by of ["account", "model", "session", "day"]) {
      const { out } = await it.spend(["--by", by], {
        columns,
        outIsTerminal: true,
      });
      const widest = Math.max(...out.split("\n").map(textWidth));
      assert(widest <= columns, `${columns}: ${out}`);
      assertStringIncludes(out, columns === 60 ? "123M" : "123,462,789");
      assertStringIncludes(out, "≈1,23");
      assert(!out.includes("\u001b"), out);
    }
  }
  const { out } = await it.spend([], { color: true });
  assertStringIncludes(out, "\u001b[1mtotal\u001b[22m");
});

test("spend shows what names itself like an escape sequence as harmless text", async () => {
  await using it = await filled([entry({ model: "\u001b[31mred\u0007" })]);
  for (const args of [["--by=model"], ["--by=model", "--json"]]) {
    const { out } = await it.spend(args);
    // deno-lint-ignore no-control-regex
    assert(!/[\u001b\u0007]/.test(out), out);
  }
});

test("spend --html and status --html write one page that only its owner can read, with nothing from elsewhere", async () => {
  const bad = "</script><img src=x onerror=alert(1)>&\"'";
  const lines = [
    ...PAID,
    entry({ model: bad, alias: bad, balanceAfter: "12.5", credits: "2" }),
  ];
  await using it = await filled(lines, SPENT);
  const store = join(it.folder, "accounts.json");
  for (const name of ["spend", "status"]) {
    const path = join(it.folder, `${name}.html`);
    await writeFile(path, "old", { mode: 0o644 });
    const { code, out, err } = await run(
      [name, "--html", path, "--store", store],
      {},
      { now: () => NOW },
    );
    assertEquals([name, code, out, err], [name, 0, "", `${path} is written\n`]);
    assertEquals(statSync(path).mode! & 0o777, 0o600);
    const page = await readFile(path, "utf8");
    assert(!page.includes("<img") && !page.includes("<script"), page);
    assert(
      !/https?:|src=|url\(|@import|<link/.test(page.replaceAll("src=x", "")),
    );
    assert(!/canary|@example/.test(page));
    // alice's day and the day's other charges, with the sum as a tooltip
    assertStringIncludes(page, "<title>2026-11-29, alice: ≈3.75 credits");
    assertStringIncludes(page, '<path class="line');
    assertStringIncludes(page, "prefers-color-scheme:dark");
  }
});

test("spend --html does not replace the store", async () => {
  await using it = await filled(PAID, SPENT);
  const store = join(it.folder, "accounts.json");
  const before = await readFile(store, "utf8");
  const link = join(it.folder, "page.html");
  await symlink(store, link);
  await copyFile(store, `${store}.bak`);
  for (const path of [store, link, `${store}.bak`]) {
    assertEquals([path, (await it.spend(["--html", path])).code], [path, 2]);
  }
  assertEquals(await readFile(store, "utf8"), before);
  assertEquals(await readFile(`${store}.bak`, "utf8"), before);
});

test("spend --html says which page cannot be written, and what to do", async () => {
  await using it = await filled(PAID, SPENT);
  const { code, err } = await it.spend(["--html", it.folder]);
  assertEquals([code, err], [
    1,
    `Error: ${it.folder} cannot be written (EISDIR)\n  → name another file: --html FILE\n`,
  ]);
});

test("status and doctor show what is spent of a cap, and that a balance that rises is no limit", async () => {
  const topped = account("bob", {
    spent: { "2026-11-30": "1.5", "2026-11-02": "2" },
    spending: {
      observedAt: 1,
      seenAt: 1,
      paid: {},
      dearest: {},
      toppedUpAt: NOW - 1000,
    },
  });
  const warning = "The balance of bob has risen";
  for (
    const [creditCaps, shown] of [
      [{}, [warning, "cli.ts credits --cap bob=20/day --store"]],
      [{ alice: { day: 1 } }, ["cap for alice: 0 of 1 today", warning]],
      [{ bob: { day: 10, month: 1000 } }, [
        "cap for bob: 1.50 of 10 today, 3.50 of 1,000 this month",
      ]],
      [{ "*": { day: 10.5 } }, ["cap for all together: 1.50 of 10.5 today"]],
    ] as const
  ) {
    await using it = await filled([], { alice: account("alice"), bob: topped });
    const store = join(it.folder, "accounts.json");
    const state = JSON.parse(await readFile(store, "utf8"));
    state.settings = { creditCaps };
    await writeFile(store, JSON.stringify(state));
    for (const args of [["status"], ["doctor", "--offline"]]) {
      const { out } = await run([...args, "--store", store], {}, {
        now: () => NOW,
        columns: 1000,
      });
      for (const words of shown) assertStringIncludes(out, words);
      assertEquals(out.includes(warning), shown.some((it) => it === warning));
    }
  }
});
