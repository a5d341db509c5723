/**
 * Two weeks of bursts through the rotator with each strategy, beside simple
 * rules and a bound that none can beat. Prints tables as Markdown:
 * `deno run -A --import-map=tests/simulation/imports.json tests/simulation/strategies.ts`
 * with STRATEGIES_RUNS for the number of runs that are averaged.
 */
import process from "node:process";
import { createRotator, memoryStore, type StrategyName } from "../../mod.ts";
import type { Account } from "./account.ts";
import {
  at,
  DAY,
  installClock,
  now,
  resetClock,
  runUntil,
  sleep,
  START,
} from "./clock.ts";
import { Random } from "./random.ts";
import { bound } from "./bound.ts";
import { type Outcome, RULES, simulateRule } from "./rules.ts";
import {
  type Arrival,
  DAYS,
  makeAccounts,
  makeArrivals,
  type Scenario,
  SCENARIOS,
} from "./traffic.ts";
import type { Attempt, Process, Witness } from "./witness.ts";
import { World } from "./world.ts";

const STRATEGIES: readonly StrategyName[] = [
  "round-robin",
  "least-used",
  "random",
  "weighted",
  "drain",
];

/** What the rotator makes of some traffic with a strategy. */
export async function simulateStrategy(
  accounts: readonly Account[],
  arrivals: readonly Arrival[],
  { strategy, seed }: { strategy: StrategyName; seed: number },
): Promise<Outcome> {
  resetClock();
  const outcome: Outcome = { paid: 0, credits: 0, moved: 0 };
  const random = new Random(seed);
  const sizeOf = (request: number) => arrivals[request - 1]!.size;
  const witness = new Counting(outcome, arrivals);
  const world = new World({ accounts, random, breaks: 0, sizeOf }, witness);
  const self: Process = { name: "p", skew: 0, isRefreshing: false };
  const records = accounts.map(({ alias, options: { plan } }) => [alias, {
    accountId: alias,
    plan,
    tokens: { access: `token-${alias}`, expiresAt: START + 300 * DAY },
  }]);
  const rotator = createRotator({
    store: memoryStore({ accounts: Object.fromEntries(records) }),
    strategy,
    credits: "all",
    fetch: world.fetchFor(self),
    now,
    random: random.next,
  });
  const jobs: Promise<void>[] = [];
  for (const arrival of arrivals) {
    at(arrival.at, () => {
      const url = `${rotator.baseURL}/responses`;
      const job = rotator.fetch(url, initOf(arrival));
      jobs.push(job.then((response) => response.text()).then(() => {}));
    });
  }
  await runUntil(sleep((DAYS + 1) * DAY));
  await runUntil(Promise.all(jobs));
  await runUntil(rotator.close());
  return outcome;
}

function initOf({ id, session }: Arrival): RequestInit {
  const body = {
    model: "gpt-5.5",
    store: false,
    stream: true,
    instructions: "",
    input: [{ type: "message", role: "user", content: `#${id}` }],
    include: ["reasoning.encrypted_content"],
    prompt_cache_key: session,
  };
  const headers = {
    "content-type": "application/json",
    accept: "text/event-stream",
  };
  return { method: "POST", headers, body: JSON.stringify(body) };
}

/** Counts what is paid and which sessions move. */
class Counting implements Witness {
  readonly #outcome: Outcome;
  readonly #arrivals: readonly Arrival[];
  readonly #sessions = new Map<string, Account>();

  constructor(outcome: Outcome, arrivals: readonly Arrival[]) {
    this.#outcome = outcome;
    this.#arrivals = arrivals;
  }

  sent({ request, account }: Attempt): void {
    const { session } = this.#arrivals[request - 1]!;
    const last = this.#sessions.get(session);
    if (last && last !== account) this.#outcome.moved++;
    this.#sessions.set(session, account);
  }

  charged({ charged }: Attempt): void {
    this.#outcome.paid++;
    this.#outcome.credits += charged;
  }

  asked(): void {}
  told(): void {}
  limited(): void {}
  throttled(): void {}
}

/** The rows of a table: a name and a figure for each scenario. */
type Rows = Map<string, Partial<Outcome>[]>;

async function measure(runs: number): Promise<Rows> {
  const rows: Rows = new Map();
  for (const [column, scenario] of SCENARIOS.entries()) {
    for (let seed = 1; seed <= runs; seed++) {
      const add = adder(rows, column, runs);
      await measureOne(scenario, seed, add);
    }
  }
  return rows;
}

async function measureOne(
  scenario: Scenario,
  seed: number,
  add: (name: string, outcome: Partial<Outcome>) => void,
): Promise<void> {
  const arrivals = makeArrivals(scenario, seed);
  const accounts = () => makeAccounts(scenario, seed);
  for (const strategy of STRATEGIES) {
    const options = { strategy, seed };
    add(strategy, await simulateStrategy(accounts(), arrivals, options));
  }
  for (const [name, rule] of Object.entries(RULES)) {
    add(`*${name}*`, simulateRule(accounts(), arrivals, rule));
  }
  add("**bound**", bound(accounts(), arrivals));
}

/** Adds to the means of one column. */
function adder(rows: Rows, column: number, runs: number) {
  return (name: string, outcome: Partial<Outcome>) => {
    const row = rows.get(name) ??
      SCENARIOS.map((): Partial<Outcome> => ({}));
    rows.set(name, row);
    const sum = row[column]!;
    for (const [key, value] of Object.entries(outcome)) {
      const field = key as keyof Outcome;
      sum[field] = (sum[field] ?? 0) + value / runs;
    }
  };
}

function table(rows: Rows, field: keyof Outcome): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const lines = [...rows].map(([name, row]) =>
    line([name, ...row.map((it) => it[field]?.toFixed(0) ?? "")])
  );
  return [
    line(["", ...SCENARIOS.map(({ name }) => name)]),
    line(["---", ...SCENARIOS.map(() => "---:")]),
    ...lines,
  ].join("\n");
}

const INTRODUCTION = `14 days of bursts of half an hour to three hours, most
on working days, each of 2 to 8 sessions. A window begins with its first
request; an ordinary request takes 2 % of the 5 hours and 0.4 % of the week of
an account of size 1. "fresh": no window has begun; "staggered" and "mixed":
weeks are under way, each with another end. Load is the share of all weeks that
is asked for. In *italics*: simple rules that know all that is true, simulated
beside the rotator. The bound is derived in bound.ts.`;

if (import.meta.main) {
  installClock();
  const runs = Number(process.env["STRATEGIES_RUNS"] ?? 3);
  const rows = await measure(runs);
  const scenarios = SCENARIOS.map(({ name, sizes, load }) =>
    `- ${name}: sizes ${sizes.join(", ")}, load ${load}`
  );
  // deno-lint-ignore no-console
  console.log([INTRODUCTION, "", ...scenarios, ""].join("\n"));
  const print = (title: string, field: keyof Outcome) =>
    // deno-lint-ignore no-console
    console.log(`### ${title}\n\n${table(rows, field)}\n`);
  print("Requests without included usage", "paid");
  print("Credits spent", "credits");
  print("Sessions that moved", "moved");
  process.exit(0);
}
