import { assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "../test.ts";
import { account, bench } from "./run.ts";

const two = () => ({ alice: account("alice"), bob: account("bob") });

test("set shows weight, priority and reserve, with what holds where nothing is set", async () => {
  await using it = await bench({
    alice: account("alice", { weight: 3, priority: -1, reserve: 20 }),
    bob: account("bob"),
  });
  assertEquals(
    (await it.run("set", "alice")).out,
    "alice: weight 3, priority -1, reserve 20%\n",
  );
  assertEquals(
    (await it.run("set", "bob")).out,
    "bob: weight 1, priority 0, reserve 0%\n",
  );
});

test("set changes what is named and leaves the rest", async () => {
  await using it = await bench(two());
  const { code, out } = await it.run("set", "bob", "weight=2.5", "reserve=15%");
  assertEquals(code, 0);
  assertEquals(out, "bob: weight 2.5, priority 0, reserve 15%\n");
  await it.run("set", "bob", "priority=-3", "weight=0");
  const { alice, bob } = it.state().accounts;
  assertEquals([bob!.weight, bob!.priority, bob!.reserve], [0, -3, 15]);
  assertEquals(alice!.weight, undefined);
});

test("set refuses what is no setting or no number for it, and changes nothing", async () => {
  await using it = await bench(two());
  const before = it.state();
  const cases: [string[], string][] = [
    [["bob", "wieght=2"], "wieght=2 sets nothing (did you mean weight?)"],
    [["bob", "color=2"], "color=2 sets nothing\n  → give weight=N, "],
    [["bob", "weight"], "weight sets nothing"],
    [["bob", "weight="], "weight is empty"],
    [["bob", "weight=-1"], "weight is -1"],
    [["bob", "weight=1e3"], "weight is 1e3"],
    [["bob", "weight=NaN"], "weight is NaN"],
    [["bob", "priority=high"], "priority is high"],
    [["bob", "reserve=101"], "reserve is 101"],
    [["bob", "weight=2", "reserve=-5"], "reserve is -5"],
    [["bbo", "weight=2"], "No account is named bbo (did you mean bob?)"],
  ];
  for (const [args, message] of cases) {
    const { code, out, err } = await it.run("set", ...args);
    assertEquals([code, out], [2, ""], args.join(" "));
    assertStringIncludes(err, message);
  }
  assertEquals(it.state(), before);
});
