/**
 * Two weeks of bursts through the rotator with each strategy, beside simple
 * rules and a bound that none can beat. Prints tables as Markdown:
 * `deno run -A --import-map=tests/simulation/imports.json tests/simulation/strategies.ts`
 * with STRATEGIES_RUNS for the number of runs (about a minute each) and
 * RULES_RUNS for those of the rules alone (about half a second each).
 */
import process from "node:process";
import {
  createRotator,
  type PoolState,
  type Store,
  type StrategyName,
} from "../../mod.ts";
import type { Account } from "./account.ts";
import {
  at,
  DAY,
  installClock,
  MINUTE,
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
  SCENARIOS,
} from "./traffic.ts";
import type { Attempt, Process, Witness } from "./witness.ts";
import { World } from "./world.ts";

/** How the rotator is set. */
interface Setting {
  strategy: StrategyName;
  preferPlans?: string[];
}

const SETTINGS: Readonly<Record<string, Setting>> = {
  "round-robin": { strategy: "round-robin" },
  "least-used": { strategy: "least-used" },
  "random": { strategy: "random" },
  "weighted": { strategy: "weighted" },
  "drain": { strategy: "drain" },
  "round-robin, `preferPlans: []`": {
    strategy: "round-robin",
    preferPlans: [],
  },
  "drain, `preferPlans: []`": { strategy: "drain", preferPlans: [] },
};

/** What the rotator makes of some traffic. */
async function simulateStrategy(
  accounts: readonly Account[],
  arrivals: readonly Arrival[],
  { seed, ...setting }: Setting & { seed: number },
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
    store: plainStore({
      version: 1,
      settings: {},
      accounts: Object.fromEntries(records),
    }),
    ...setting,
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

/** As `memoryStore`, but for speed it checks nothing and takes a minute for a write, which gathers what else is to be written. */
function plainStore(state: PoolState): Store {
  return {
    read: () => Promise.resolve(state),
    async update(change) {
      await sleep(MINUTE);
      const next = { ...state };
      change(next);
      state = Object.freeze(next);
      return state;
    },
    exclusive: (_, job) => job(),
  };
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

/** Outcomes by name, scenario and run. */
type Results = Map<string, Outcome[][]>;

function add(
  results: Results,
  { name, column }: { name: string; column: number },
  outcome: Outcome,
): void {
  const row = results.get(name) ?? SCENARIOS.map(() => []);
  results.set(name, row);
  row[column]!.push(outcome);
}

async function measure(runs: number): Promise<Results> {
  const results: Results = new Map();
  for (const [column, scenario] of SCENARIOS.entries()) {
    const isMixed = scenario.sizes.some((size) => size > 1);
    for (let seed = 1; seed <= runs; seed++) {
      const arrivals = makeArrivals(scenario, seed);
      const accounts = () => makeAccounts(scenario, seed);
      for (const [name, setting] of Object.entries(SETTINGS)) {
        if (setting.preferPlans && !isMixed) continue;
        const options = { ...setting, seed };
        const outcome = await simulateStrategy(accounts(), arrivals, options);
        add(results, { name, column }, outcome);
      }
      for (const [name, rule] of Object.entries(RULES)) {
        if (name in SETTINGS) continue;
        const outcome = simulateRule(accounts(), arrivals, rule);
        add(results, { name: `*${name}*`, column }, outcome);
      }
      const least = { ...bound(accounts(), arrivals), moved: NaN };
      add(results, { name: "**bound**", column }, least);
    }
  }
  return results;
}

function measureRules(runs: number): Results {
  const results: Results = new Map();
  for (const [column, scenario] of SCENARIOS.entries()) {
    for (let seed = 1; seed <= runs; seed++) {
      const arrivals = makeArrivals(scenario, seed);
      for (const [name, rule] of Object.entries(RULES)) {
        const accounts = makeAccounts(scenario, seed);
        const outcome = simulateRule(accounts, arrivals, rule);
        add(results, { name: `*${name}*`, column }, outcome);
      }
    }
  }
  return results;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, it) => sum + it, 0) / values.length;
}

/** A mean, and twice its standard error. */
function withError(values: readonly number[]): string {
  const middle = mean(values);
  const variance = mean(values.map((it) => (it - middle) ** 2)) *
    values.length / (values.length - 1);
  const error = 2 * Math.sqrt(variance / values.length);
  return `${middle.toFixed(1)} ± ${error.toFixed(1)}`;
}

/** A table of what `cell` makes of each name's runs in a scenario, which a name may lack. */
function table(
  results: Results,
  cell: (runs: readonly Outcome[], column: number) => string,
): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const lines = [...results].map(([name, row]) =>
    line([name, ...row.map((it, column) => it[0] ? cell(it, column) : "")])
  );
  return [
    line(["", ...SCENARIOS.map(({ name }) => name)]),
    line(["---", ...SCENARIOS.map(() => "---:")]),
    ...lines,
  ].join("\n");
}

/** The means of a figure; nothing where a rule has none. */
function means(results: Results, field: keyof Outcome): string {
  return table(results, (runs) => {
    const value = mean(runs.map((run) => run[field]));
    return Number.isNaN(value) ? "" : value.toFixed(0);
  });
}

/** What is paid more or less than by a rule with the same traffic. */
function differences(results: Results, name: string): string {
  const base = results.get(name)!;
  return table(results, (runs, column) => {
    const than = base[column]!;
    return withError(runs.map(({ paid }, run) => paid - than[run]!.paid));
  });
}

if (import.meta.main) {
  installClock();
  const results = await measure(Number(process.env["STRATEGIES_RUNS"] ?? 3));
  const rules = measureRules(Number(process.env["RULES_RUNS"] ?? 100));
  const tables = {
    "Requests without included usage": means(results, "paid"),
    "The same, beside round-robin": differences(results, "round-robin"),
    "Credits spent": means(results, "credits"),
    "Sessions that moved": means(results, "moved"),
    "Rules alone: requests without included usage": means(rules, "paid"),
    "Rules alone, beside round-robin": differences(rules, "*round-robin*"),
    "Rules alone: sessions that moved": means(rules, "moved"),
  };
  for (const [title, text] of Object.entries(tables)) {
    // deno-lint-ignore no-console
    console.log(`### ${title}\n\n${text}\n`);
  }
  process.exit(0);
}
