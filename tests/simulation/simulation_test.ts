/**
 * Simulated days of random fleets, judged by the oracle. By default 20 fleets;
 * SIMULATION_RUNS asks for more and SIMULATION_SEED repeats one with its trace.
 */
import { assert, assertEquals } from "@std/assert";
import type { Fault } from "./reference.ts";
import { openReference } from "./rotators.ts";
import { run } from "./run.ts";

/** What the oracle finds in some fleets behind the reference, by kind. */
async function findings(
  seeds: { from: number; to: number },
  fault?: Fault,
): Promise<{ violations: Set<string>; exceptions: Set<string> }> {
  const violations = new Set<string>();
  const exceptions = new Set<string>();
  for (let seed = seeds.from; seed <= seeds.to; seed++) {
    const { oracle } = await run({ seed, open: openReference(fault) });
    for (const { kind } of oracle.violations) violations.add(kind);
    for (const kind of oracle.exceptions.keys()) exceptions.add(kind);
  }
  return { violations, exceptions };
}

Deno.test({
  name:
    "createRotator() charges and refuses in no simulated fleet what the contract forbids",
  async fn() {
    // the import map gives the library a clock that jumps from timer to timer
    const map = new URL("imports.json", import.meta.url);
    const main = new URL("main.ts", import.meta.url);
    const { success, stdout, stderr } = await new Deno.Command(
      Deno.execPath(),
      { args: ["run", "-A", "--no-check", `--import-map=${map}`, main.href] },
    ).output();
    const text = (it: Uint8Array) => new TextDecoder().decode(it);
    assert(success, `${text(stdout)}${text(stderr)}`);
  },
});

Deno.test("the oracle finds nothing wrong with a rotator that follows the rules, which is charged for all reasons that are none of its faults", async () => {
  const { violations, exceptions } = await findings({ from: 1, to: 20 });
  assertEquals([...violations], []);
  assertEquals([...exceptions].sort(), [
    "filled-by-a-burst",
    "filled-while-running",
    "paid",
    "told-open",
  ]);
});

const FOUND: Record<Fault, string> = {
  "ignores the policy": "forbidden",
  "lets the clock open": "forbidden",
  "never asks": "refused",
  "spends after a hiccup": "hiccup",
  "spends first": "needless",
  "refuses at the first limit": "refused",
  "never spends": "refused-credits",
  "sends all to the first": "herd",
  "gives up at the first failure": "gave-up",
  "asks every time": "asked-too-often",
};

for (const [fault, kind] of Object.entries(FOUND)) {
  Deno.test(`the oracle finds "${kind}" where a rotator ${fault}`, async () => {
    // bursts that overfill an account beside an idle one are rare
    const from = kind === "herd" ? 110 : 1;
    const seeds = { from, to: from + 11 };
    const { violations } = await findings(seeds, fault as Fault);
    assert(violations.has(kind), [...violations].join(", "));
  });
}
