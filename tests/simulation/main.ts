/**
 * Runs simulations and prints what was found:
 * `deno run -A --import-map=tests/simulation/imports.json tests/simulation/main.ts`
 * with SIMULATION_RUNS, or SIMULATION_SEED for a single one with its trace.
 */
import process from "node:process";
import { installClock } from "./clock.ts";
import { openLibrary } from "./rotators.ts";
import { run, type RunResult } from "./run.ts";

const count = (name: string, absent: number) =>
  Number(process.env[name] ?? absent);

installClock();
const seed = process.env["SIMULATION_SEED"];
const first = seed === undefined ? 1 : Number(seed);
const runs = seed === undefined ? count("SIMULATION_RUNS", 20) : 1;
const totals = new Map<string, number>();
let failures = 0;
for (let it = first; it < first + runs; it++) {
  const result = await run({
    seed: it,
    open: openLibrary,
    days: count("SIMULATION_DAYS", 3),
    perDay: count("SIMULATION_REQUESTS", 60),
  });
  if (add(result) === 0) continue;
  failures++;
  if (failures <= 3) console.log(describe(it, result));
}
const summary = [...totals].sort().map(([name, it]) => `${name} ${it}`);
console.log(
  `${runs} fleets, ${failures} with violations: ${summary.join(", ")}`,
);
process.exit(failures > 0 ? 1 : 0);

/** Adds a run to the totals; returns how many violations it has. */
function add({ oracle, statuses }: RunResult): number {
  const plus = (name: string, it: number) =>
    totals.set(name, (totals.get(name) ?? 0) + it);
  for (const [status, it] of statuses) plus(`status ${status}`, it);
  for (const [kind, it] of oracle.exceptions) plus(kind, it);
  for (const { kind } of oracle.violations) plus(`VIOLATION ${kind}`, 1);
  return oracle.violations.length;
}

/** The first violation of a run and what led to it. */
function describe(it: number, { fleet, oracle }: RunResult): string {
  const { options, accounts, processes } = fleet;
  const plans = accounts.map(({ alias, options: { plan, credits } }) =>
    `${alias} ${plan} ${JSON.stringify(credits)}`
  );
  return [
    `SIMULATION_SEED=${it}: ${oracle.violations.length} violations`,
    `  ${options.strategy}, credits ${
      JSON.stringify(options.credits)
    }, ${processes.length} processes`,
    ...plans.map((line) => `  ${line}`),
    ...oracle.trace.map((line) => `  ${line}`),
  ].join("\n");
}
