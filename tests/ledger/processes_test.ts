/** What is spent by several processes on one store, and under one cap. */
import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import type { PoolState, Settings } from "../../mod.ts";
import { sumAmounts } from "../../lib/decimal.ts";
import { readLedgerOf } from "../../lib/cli/open.ts";
import type { readLedger } from "../../lib/ledger/ledger.ts";
import {
  SPEND_KEYS,
  type SpendKey,
  type SpendReport,
} from "../../lib/ledger/spend.ts";
import {
  type FakeAccountOptions,
  type FakeCodex,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import { run } from "../cli/run.ts";
import { DAY, recordOf } from "../fleet.ts";
import { commandOf, type Runtime, RUNTIMES } from "../runtimes.ts";
import { type Place, testStores } from "../store/places.ts";
import { testOnDeno } from "../test.ts";

const WORKER = fromFileUrl(new URL("./spending_worker.ts", import.meta.url));

/** On credits for the next days: fifty of them, three for each request. */
function onCredits(): FakeAccountOptions {
  return {
    windows: [{
      seconds: 604_800,
      usedPercent: 100,
      resetAt: Date.now() + 5 * DAY,
    }],
    credits: {
      hasCredits: true,
      unlimited: false,
      balance: "50",
      costPerRequest: 3,
    },
  };
}

interface Site extends AsyncDisposable {
  readonly fake: FakeCodex;
  /** How far its clock is ahead of the real one, and that of workers that start now (ms). */
  readonly clock: { ahead: number };
  start(runtime?: Runtime): Promise<Worker>;
  spend(by: SpendKey): Promise<SpendReport>;
  ledger(): ReturnType<typeof readLedger>;
  /** What was charged, by the stand-in's book. */
  charged(alias?: string): string;
}

interface Worker {
  /** Sends so many requests at once; their statuses, once all are answered. */
  ask(
    count: number,
    about?: { model: string; session: string },
  ): Promise<string[]>;
  end(): Promise<void>;
  kill(): Promise<void>;
}

async function startSite(
  { where, open }: Place,
  accounts: Record<string, FakeAccountOptions>,
  settings: Settings = {},
): Promise<Site> {
  // a day of its cap does not end while it runs
  const clock = { ahead: DAY / 2 - Date.now() % DAY };
  const now = () => Date.now() + clock.ahead;
  const fake = await startFakeCodex({
    accounts,
    now,
    accessLifetimeMs: 40 * DAY,
  });
  const names = Object.keys(accounts);
  const state: PoolState = {
    version: 1,
    settings,
    accounts: Object.fromEntries(names.map((it) => [it, recordOf(fake, it)])),
  };
  await open().update((empty) => void Object.assign(empty, state));
  const site: Site = {
    fake,
    clock,
    start: (runtime = "deno") => start(runtime, where, site),
    async spend(by) {
      const args = ["spend", "--json", "--by", by, "--store", where];
      return JSON.parse((await run(args, {}, { now })).out);
    },
    ledger: () => readLedgerOf({ ...open(), path: where }, 0),
    charged: (alias) =>
      sumAmounts(
        fake.book.filter(({ kind, account }) =>
          kind === "charge" && account === (alias ?? account)
        ).map(({ amount }) => String(amount)),
      ),
    async [Symbol.asyncDispose]() {
      await fake.close();
    },
  };
  return site;
}

async function start(
  runtime: Runtime,
  where: string,
  { fake, clock: { ahead } }: Site,
): Promise<Worker> {
  const [program, ...flags] = commandOf(runtime);
  const child = new Deno.Command(program!, {
    args: [...flags, WORKER, where, fake.backend, fake.issuer, String(ahead)],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const next = async () => {
    while (!text.includes("\n")) {
      const { value, done } = await output.read();
      if (done) throw new Error("The worker ended");
      text += value;
    }
    const end = text.indexOf("\n");
    const line = text.slice(0, end);
    text = text.slice(end + 1);
    return JSON.parse(line);
  };
  await next();
  return {
    async ask(count, about = { model: "gpt-5.5", session: "one" }) {
      const line = `${JSON.stringify({ count, ...about })}\n`;
      await input.write(new TextEncoder().encode(line));
      return await next();
    },
    async end() {
      await input.close();
      await next();
      await child.status;
    },
    async kill() {
      child.kill("SIGKILL");
      await child.status;
      await output.cancel();
      await input.close().catch(() => {});
    },
  };
}

/** The runtime of the process with this number: all in turn. */
const runtimeOf = (index: number) => RUNTIMES[index % RUNTIMES.length]!;

/** It starts what it tries, on whatever runtime. */
function testProcesses(
  name: string,
  job: (place: Place) => Promise<void>,
): void {
  testStores(name, job, testOnDeno);
}

testProcesses(
  "holds a cap of ten a day over four processes with twenty requests each, a restart and a top-up, until the next day",
  async (place) => {
    await using site = await startSite(place, { alice: onCredits() }, {
      creditCaps: { "*": { day: 10 } },
    });
    const workers = await Promise.all(
      [0, 1, 2, 3].map((it) => site.start(runtimeOf(it))),
    );
    const answers = (await Promise.all(workers.map((it) => it.ask(20)))).flat();
    const served = answers.filter((it) => it === "200").length;
    assertEquals([served, site.charged()], [3, "9"]);
    assertEquals(
      answers.filter((it) => it !== "200" && it !== "429 capped"),
      [],
    );
    await Promise.all(workers.map((it) => it.end()));
    assertEquals((await site.spend("account")).total.credits, "9");
    // neither a restart nor more credits change it
    site.fake.topUp("alice", 100);
    const again = await site.start();
    assertEquals(await again.ask(2), ["429 capped", "429 capped"]);
    await again.end();
    site.clock.ahead += DAY;
    const tomorrow = await site.start();
    assert((await tomorrow.ask(5)).includes("200"));
    await tomorrow.end();
    assertEquals(site.charged(), "18");
  },
);

testProcesses(
  "sums two processes, one of them killed in the middle, up to what the backend has charged, by each key",
  async (place) => {
    await using site = await startSite(place, {
      alice: onCredits(),
      bob: onCredits(),
    });
    const [one, two] = [
      await site.start("deno"),
      await site.start(runtimeOf(2)),
    ];
    const about = (model: string, session: string) => ({ model, session });
    await Promise.all([
      one.ask(2, about("gpt-5.5", "canary-one")),
      two.ask(2, about("gpt-5.4", "canary-two")),
    ]);
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = site.fake.log.at(-1)!.n;
    for (const name of ["alice", "bob"]) {
      site.fake.account(name).always = { until: promise };
    }
    const lost = one.ask(3, about("gpt-5.4-mini", "canary-one"))
      .catch(() => {});
    await site.fake.seen(({ kind, n }) => kind === "responses" && n > before);
    await one.kill();
    await lost;
    resolve();
    for (const name of ["alice", "bob"]) {
      site.fake.account(name).always = undefined;
    }
    assertEquals(await two.ask(2, about("gpt-5.5", "canary-two")), [
      "200",
      "200",
    ]);
    site.fake.topUp("bob", 100);
    await two.ask(3, about("gpt-5.4", "canary-one"));
    await two.end();
    const three = await site.start();
    await three.ask(1);
    await three.end();
    const { rows, total } = await site.spend("account");
    for (const { key, credits } of rows) {
      const isTopped = key === "bob";
      assert(
        isTopped
          ? +credits >= +site.charged(key)
          : credits === site.charged(key),
        `${key}: ${credits} of ${site.charged(key)}`,
      );
    }
    for (const by of SPEND_KEYS) {
      const report = await site.spend(by);
      assertEquals([by, report.total], [by, total]);
      assertEquals(
        sumAmounts(report.rows.map(({ credits }) => credits)),
        total.credits,
      );
      assertEquals(report.skippedLines, 0);
    }
    // a ledger holds no token, no e-mail, no name of a conversation and no prompt
    const text = JSON.stringify(await site.ledger());
    assert(text.includes('"alias":"alice"'));
    for (const secret of ["canary", site.fake.canary, "@", "eyJ"]) {
      assert(!text.includes(secret), secret);
    }
  },
);

testProcesses(
  "has processes that write a ledger at once write whole lines only",
  async (place) => {
    await using site = await startSite(place, { alice: {}, bob: {} });
    const workers = await Promise.all(
      [0, 1, 2].map((it) => site.start(runtimeOf(it))),
    );
    const answers = await Promise.all(workers.map((it) => it.ask(40)));
    await Promise.all(workers.map((it) => it.end()));
    assertEquals(answers.flat().filter((it) => it !== "200"), []);
    const { entries, skippedLines } = await site.ledger();
    assertEquals([entries.length, skippedLines], [120, 0]);
  },
);
