import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import type { LedgerEntry, PoolState } from "../../mod.ts";
import { readLedger } from "../../lib/ledger/ledger.ts";
import {
  type SpendItem,
  type SpendKey,
  spendRows,
} from "../../lib/ledger/spend.ts";
import { sumAmounts } from "../../lib/decimal.ts";
import {
  CREDITED,
  type Fleet,
  type FleetOptions,
  START,
  startKnown,
} from "../fleet.ts";
import { tempFolder, test } from "../test.ts";

/** A fleet whose store is a file in a folder of its own. */
async function startFiled(
  options: FleetOptions,
): Promise<{ fleet: Fleet; folder: string } & AsyncDisposable> {
  const folder = await tempFolder();
  const path = join(folder, "accounts.json");
  const fleet = await startKnown({
    ...options,
    store(initial) {
      writeFileSync(path, JSON.stringify(initial));
      return path;
    },
  });
  return {
    fleet,
    folder,
    async [Symbol.asyncDispose]() {
      await fleet[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

async function entriesOf(folder: string): Promise<LedgerEntry[]> {
  return (await readLedger(folder, 0)).entries;
}

async function storedSpent(folder: string): Promise<Record<string, string>> {
  const text = await readFile(join(folder, "accounts.json"), "utf8");
  const { accounts } = JSON.parse(text) as PoolState;
  return Object.fromEntries(
    Object.entries(accounts).map((
      [alias, { spent = {} }],
    ) => [alias, sumAmounts(Object.values(spent))]),
  );
}

/** What the stand-in has charged an account. */
function booked(fleet: Fleet, alias: string): string {
  return sumAmounts(
    fleet.fake.book.filter(({ kind, account }) =>
      kind === "charge" && account === alias
    ).map(({ amount }) => String(amount)),
  );
}

test("the ledger has one line per answered request: streamed, folded and compact", async () => {
  await using filed = await startFiled({ accounts: { alice: {} } });
  const { fleet, folder } = filed;
  await fleet.ask({ prompt_cache_key: "secret-thread" });
  await fleet.ask({ stream: false });
  const url = `${fleet.rotator.baseURL}/responses/compact`;
  const compact = await fleet.rotator.fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: "gpt-5.5",
      instructions: "",
      input: [{ role: "user", content: "Hello" }],
    }),
  });
  await compact.text();
  await fleet.rotator.close();
  const entries = await entriesOf(folder);
  assertEquals(entries.length, 3);
  for (const entry of entries) {
    const { alias, model, standing, status, attempts } = entry;
    assertEquals([alias, model, standing, status, attempts], [
      "alice",
      "gpt-5.5",
      "included",
      200,
      1,
    ]);
    assert((entry.inputTokens ?? 0) > 0, JSON.stringify(entry));
    assert((entry.outputTokens ?? 0) > 0, JSON.stringify(entry));
    assertEquals(entry.at, new Date(START).toISOString());
  }
  const session = entries.find(({ session }) => session !== null)?.session;
  assert(session !== undefined && !session!.includes("secret"));
  const file = readdirSync(folder).find((it) => it.startsWith("ledger-"));
  const path = join(folder, file!);
  assertEquals(statSync(path).mode! & 0o777, 0o600);
  const text = readFileSync(path, "utf8");
  for (const secret of ["secret-thread", "alice@", "rt_", "eyJ"]) {
    assert(!text.includes(secret), secret);
  }
});

test("the ledger is off on request, and a function takes the entries instead", async () => {
  const taken: LedgerEntry[] = [];
  for (
    const ledger of [false, (entry: LedgerEntry) => void taken.push(entry)]
  ) {
    await using filed = await startFiled({ ledger, accounts: { alice: {} } });
    await filed.fleet.ask();
    await filed.fleet.rotator.close();
    assertEquals(await entriesOf(filed.folder), []);
  }
  assertEquals(taken.map(({ alias }) => alias), ["alice"]);
});

test("a ledger that cannot be written is told", async () => {
  for (const error of [new Error("The disk is full"), undefined]) {
    const ledger = () => {
      if (error) throw error;
    };
    await using filed = await startFiled({ ledger, accounts: { alice: {} } });
    const { fleet } = filed;
    assertEquals((await fleet.ask()).status, 200);
    await fleet.rotator.close();
    const told = fleet.events.filter((it) => it.type === "warning")
      .filter(({ reason }) => reason.includes("The disk is full"));
    assertEquals(told.length, error ? 1 : 0);
  }
});

test("spendRows() puts days in order, and all else with the dearest first", () => {
  const items = [["2027-01-02", "b", "1"], ["2027-01-01", "c", "0.5"], [
    "2027-01-03",
    "a",
    "9",
  ]].map(([day = "", account = "", credits = ""]): SpendItem => ({
    ...{ day, account, credits, model: "m", session: "s" },
    ...{ requests: 1, inputTokens: 0, cachedTokens: 0, outputTokens: 0 },
    approximate: false,
  }));
  const keys = (by: SpendKey) => spendRows(items, by).map(({ key }) => key);
  assertEquals(keys("day"), ["2027-01-01", "2027-01-02", "2027-01-03"]);
  assertEquals(keys("account"), ["a", "b", "c"]);
});

test("the ledger makes the folder that it is told, for its owner alone", async () => {
  const folder = await tempFolder();
  const ledger = join(folder, "kept", "here");
  await using filed = await startFiled({ ledger, accounts: { alice: {} } });
  await filed.fleet.ask();
  await filed.fleet.rotator.close();
  assertEquals((await entriesOf(ledger)).map(({ alias }) => alias), ["alice"]);
  if (process.platform !== "win32") {
    assertEquals(statSync(ledger).mode & 0o777, 0o700);
  }
  await rm(folder, { recursive: true });
});

test("the ledger starts a line of its own where a process died in the middle of one", async () => {
  for (const [left, skipped] of [['{"at":"2027', 1], ["{}\n", 1], ["", 0]]) {
    await using filed = await startFiled({ accounts: { alice: {} } });
    const { fleet, folder } = filed;
    const month = new Date(START).toISOString().slice(0, 7);
    const path = join(folder, `ledger-${month}.jsonl`);
    await writeFile(path, String(left));
    await fleet.ask();
    await fleet.rotator.close();
    const { entries, skippedLines } = await readLedger(folder, 0);
    assertEquals([entries.length, skippedLines], [1, skipped]);
    const lines = readFileSync(path, "utf8").split("\n");
    assertEquals(lines.map((it) => it === "").indexOf(true), lines.length - 1);
  }
});

test("the ledger drops months that are older than thirteen", async () => {
  await using filed = await startFiled({ accounts: { alice: {} } });
  const { fleet, folder } = filed;
  const month = (ago: number) => {
    const date = new Date(START);
    return new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() - ago))
      .toISOString().slice(0, 7);
  };
  const others = ["ledger-old.jsonl", "ledger-2020-01.jsonl.bak"];
  const months = [1, 13, 14, 30].map((it) => `ledger-${month(it)}.jsonl`);
  for (const name of [...others, ...months]) {
    await writeFile(join(folder, name), "");
  }
  await fleet.ask();
  await fleet.rotator.close();
  const names = readdirSync(folder)
    .filter((it) => it.startsWith("ledger"));
  const kept = [`ledger-${month(0)}.jsonl`, ...months.slice(0, 2), ...others];
  assertEquals(names.sort(), kept.sort());
});

test("what is spent is what the backend has charged, to the last decimal", async () => {
  const credits = {
    hasCredits: true,
    unlimited: false,
    balance: "50.5",
    costPerRequest: 1.25,
  };
  await using filed = await startFiled({
    accounts: { alice: { ...CREDITED, credits } },
  });
  const { fleet, folder } = filed;
  await fleet.ask({ model: "gpt-5.5" });
  await fleet.ask({ model: "gpt-5.4" });
  await Promise.all([1, 2, 3].map(() => fleet.ask({ model: "gpt-5.5" })));
  await fleet.rotator.close();
  assertEquals(booked(fleet, "alice"), "6.25");
  assertEquals(await storedSpent(folder), { alice: "6.25" });
  const entries = await entriesOf(folder);
  assertEquals(entries.length, 5);
  assertEquals(
    sumAmounts(entries.map(({ credits }) => credits ?? "0")),
    "6.25",
  );
});

test("a balance that rises is a top-up, told and never netted", async () => {
  await using filed = await startFiled({ accounts: { alice: CREDITED } });
  const { fleet, folder } = filed;
  await fleet.ask();
  await fleet.rotator.refresh();
  fleet.clock.now += 1000;
  fleet.fake.topUp("alice", 100);
  await fleet.rotator.refresh();
  fleet.clock.now += 1000;
  await fleet.ask();
  await fleet.rotator.close();
  assertEquals(await storedSpent(folder), { alice: booked(fleet, "alice") });
  const told = fleet.events.filter((event) =>
    event.type === "warning" && /topped up/.test(event.reason)
  );
  assertEquals(told.length, 1);
});

test("a top-up that an answer on credits shows is told, too, but for seconds that clocks may be apart", async () => {
  for (
    const [added, waitMs, told] of [
      [0, 11_000, 0],
      [100, 11_000, 1],
      [100, 5_000, 0],
    ] as const
  ) {
    await using filed = await startFiled({ accounts: { alice: CREDITED } });
    const { fleet } = filed;
    await fleet.ask();
    await fleet.rotator.refresh();
    fleet.clock.now += waitMs;
    if (added > 0) fleet.fake.topUp("alice", added);
    await fleet.ask();
    const topUps = () =>
      fleet.events.filter((event) =>
        event.type === "warning" && /topped up/.test(event.reason)
      ).length;
    assertEquals(topUps(), told);
    fleet.clock.now += 1000;
    await fleet.rotator.refresh();
    assertEquals(topUps(), added > 0 ? 1 : 0);
  }
});

test("the last balance of a burst is asked for when it is over, not while a request of it runs", async () => {
  await using filed = await startFiled({ accounts: { alice: CREDITED } });
  const { fake, ask } = filed.fleet;
  const alice = fake.account("alice");
  const asked = () => fake.log.filter(({ kind }) => kind === "usage").length;
  const before = asked();
  const held = Promise.withResolvers<void>();
  alice.always = { until: held.promise };
  const slow = ask();
  await fake.seen(({ kind }) => kind === "responses");
  alice.always = undefined;
  await ask();
  // a burst is over after half a second
  await delay(800);
  assertEquals(asked(), before);
  held.resolve();
  await slow;
  const last = fake.log.at(-1)!.n;
  await fake.seen(({ kind, n }) => kind === "usage" && n > last);
  assertEquals(asked(), before + 1);
});

test("what other programs spend is booked on the account", async () => {
  await using filed = await startFiled({ accounts: { alice: CREDITED } });
  const { fleet, folder } = filed;
  fleet.clock.now += 1000;
  const alice = fleet.fake.account("alice");
  alice.credits = { ...alice.credits!, balance: "7.5" };
  await fleet.rotator.refresh();
  await fleet.rotator.close();
  assertEquals(await storedSpent(folder), { alice: "2.5" });
});
