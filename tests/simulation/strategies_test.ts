import { assert, assertEquals } from "@std/assert";
import { bound } from "./bound.ts";
import { RULES, simulateRule } from "./rules.ts";
import {
  makeAccounts,
  makeArrivals,
  type Scenario,
  SCENARIOS,
} from "./traffic.ts";

/** The same traffic for every rule; chance evens out over so many runs. */
const RUNS = 40;

/** What is paid by rules in a scenario, in all runs together. */
function paidBy(scenario: Scenario, names: readonly string[]) {
  const paid = Object.fromEntries(names.map((name) => [name, 0]));
  for (let seed = 1; seed <= RUNS; seed++) {
    const arrivals = makeArrivals(scenario, seed);
    for (const name of names) {
      const accounts = makeAccounts(scenario, seed);
      paid[name]! += simulateRule(accounts, arrivals, RULES[name]!).paid;
    }
  }
  return paid;
}

Deno.test("drain pays clearly less than round-robin and every simple rule where weeks are staggered", () => {
  for (const scenario of SCENARIOS) {
    if (!scenario.name.endsWith(" staggered")) continue;
    const { drain, ...others } = paidBy(scenario, Object.keys(RULES));
    for (const [name, paid] of Object.entries(others)) {
      const least = name === "least-used by week" ? 1.03 : 1.07;
      const text = `${scenario.name}: ${drain} of ${paid} by ${name}`;
      assert(paid > least * drain!, text);
    }
  }
});

Deno.test("drain pays no more than round-robin in any scenario, but for chance", () => {
  for (const scenario of SCENARIOS) {
    const names = ["round-robin", "drain"];
    const { drain, ["round-robin"]: paid } = paidBy(scenario, names);
    assert(paid! > 0.99 * drain!, `${scenario.name}: ${drain} of ${paid}`);
  }
});

Deno.test("no simple rule pays less than the bound says", () => {
  for (const scenario of SCENARIOS) {
    const arrivals = makeArrivals(scenario, 1);
    const least = bound(makeAccounts(scenario, 1), arrivals);
    for (const [name, rule] of Object.entries(RULES)) {
      const accounts = makeAccounts(scenario, 1);
      const { paid, credits } = simulateRule(accounts, arrivals, rule);
      const text = `${scenario.name}, ${name}: ${paid}, ${credits}`;
      assert(paid >= least.paid && credits >= least.credits, text);
    }
  }
});

Deno.test("bound() says what one account pays for in one burst, less the request by which a full window may be exceeded", () => {
  const sizes = [1];
  const scenario = { name: "", sizes, isStaggered: false, load: 1 };
  const arrivals = Array.from({ length: 80 }, (_, index) => ({
    at: 1_800_000_000_000 + index * 1000,
    id: index + 1,
    size: 1,
    session: "s",
  }));
  const fill = RULES["fill-first"]!;
  const served = simulateRule(makeAccounts(scenario, 1), arrivals, fill);
  assertEquals(served.paid, 30);
  // the bound allows for one large request beyond a full window
  const { paid, credits } = bound(makeAccounts(scenario, 1), arrivals);
  assertEquals([paid, credits], [29, 28.5]);
});

Deno.test("makeArrivals() gives the same traffic for the same seed, and another for another", () => {
  const [scenario] = SCENARIOS;
  const first = makeArrivals(scenario!, 1);
  assertEquals(makeArrivals(scenario!, 1), first);
  assert(makeArrivals(scenario!, 2)[0]!.at !== first[0]!.at);
  assert(first.length > 1000);
});
