import { assert, assertEquals } from "@std/assert";
import { meanMonth, simulateMonth } from "./drain_simulation.ts";

Deno.test("drain wastes less included quota at resets than round-robin and least-used", () => {
  for (const begins of ["on-use", "fixed"] as const) {
    for (const load of [0.5, 1]) {
      const wasted = (strategy: "drain" | "round-robin" | "least-used") =>
        meanMonth(3, { strategy, load, begins }).wasted;
      const drained = wasted("drain");
      for (const other of ["round-robin", "least-used"] as const) {
        const lost = wasted(other);
        assert(
          drained < lost,
          `${begins}, load ${load}: drain ${drained}, ${other} ${lost}`,
        );
      }
    }
  }
});

Deno.test("simulateMonth() gives every strategy the same load, and serves or refuses all of it", () => {
  const months = (["round-robin", "drain", "random"] as const).map((strategy) =>
    simulateMonth({ strategy, seed: 5, begins: "on-use" })
  );
  const loads = months.map(({ served, refused }) => served + refused);
  assertEquals(new Set(loads).size, 1);
  assert(months.every(({ served }) => served > 1000));
});
