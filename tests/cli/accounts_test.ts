import { assertEquals, assertStringIncludes } from "@std/assert";
import { readFile, writeFile } from "node:fs/promises";
import { test } from "../test.ts";
import { account, bench, run } from "./run.ts";

const two = () => ({ alice: account("alice"), bob: account("bob") });

test("use pins an account and --auto unpins it, each said once", async () => {
  await using it = await bench(two());
  const pinned = await it.run("use", "bob");
  assertEquals(pinned.code, 0);
  assertStringIncludes(pinned.out, "only bob serves");
  assertEquals(it.state().settings.pinned, "bob");
  assertStringIncludes((await it.run("use", "bob")).out, "already");
  const freed = await it.run("use", "--auto");
  assertStringIncludes(freed.out, "bob is not pinned any more");
  assertEquals(it.state().settings.pinned, null);
  assertStringIncludes((await it.run("use", "--auto")).out, "none was pinned");
});

test("use wants either an alias or --auto", async () => {
  await using it = await bench(two());
  assertEquals((await it.run("use")).code, 2);
  assertEquals((await it.run("use", "bob", "--auto")).code, 2);
  assertEquals(it.state().settings, {});
});

test("use warns when the pinned account is disabled", async () => {
  await using it = await bench({ bob: account("bob", { enabled: false }) });
  const { code, err } = await it.run("use", "bob");
  assertEquals(code, 0);
  assertStringIncludes(err, "bob is disabled, so nobody serves");
});

test("enable and disable switch accounts and say what was so already", async () => {
  await using it = await bench(two());
  assertEquals(
    (await it.run("enable", "bob")).out,
    "bob was already enabled\n",
  );
  assertEquals(
    (await it.run("disable", "bob", "alice")).out,
    "bob is disabled now\nalice is disabled now\n",
  );
  assertEquals(it.state().accounts.bob!.enabled, false);
  assertEquals(
    (await it.run("disable", "bob")).out,
    "bob was already disabled\n",
  );
  assertEquals((await it.run("enable", "bob")).out, "bob is enabled now\n");
  assertEquals(it.state().accounts.bob!.enabled, true);
});

test("commands on accounts change nothing when one name is wrong", async () => {
  await using it = await bench(two());
  const before = it.state();
  const calls = [
    ["use", "alcie"],
    ["enable", "alcie"],
    ["disable", "bob", "alcie"],
    ["remove", "bob", "alcie"],
    ["rename", "alcie", "carol"],
    ["credits", "bob", "alcie"],
  ];
  for (const args of calls) {
    const { code, out, err } = await it.run(...args);
    assertEquals([code, out], [2, ""], args.join(" "));
    assertStringIncludes(
      err,
      "No account is named alcie (did you mean alice?)",
    );
    assertStringIncludes(err, "there are: alice, bob");
  }
  for (const args of [["use", "constructor"], ["remove", "__proto__"]]) {
    assertEquals((await it.run(...args)).code, 2);
  }
  assertEquals(it.state(), before);
});

test("commands on accounts end with 4 when there is none", async () => {
  await using it = await bench();
  const calls = [["use", "a"], ["enable", "a"], ["remove", "a"], [
    "rename",
    "a",
    "b",
  ]];
  for (const args of calls) {
    const { code, err } = await it.run(...args);
    assertEquals(code, 4, args.join(" "));
    assertStringIncludes(err, "cli.ts login");
  }
});

test("remove drops the account, its name on the credit list and the pin", async () => {
  await using it = await bench(two(), {
    creditAccountAliases: ["bob"],
    pinned: "bob",
  });
  const { code, out } = await it.run("remove", "bob");
  assertEquals([code, out], [
    0,
    "bob is removed, also from the credit list and the pin\n",
  ]);
  const { accounts, settings } = it.state();
  assertEquals(Object.keys(accounts), ["alice"]);
  // an emptied list means nobody; none at all would mean everybody
  assertEquals(settings, { creditAccountAliases: [], pinned: null });
  const backup = await readFile(`${it.path}.bak`, "utf8");
  assertEquals(backup.includes("canary-access-bob"), false);
});

test("remove keeps what was spent for the cap of all together, also through restore", async () => {
  for (
    const [spent, standing] of [["8", "blocked"], ["6", "credits"]] as const
  ) {
    const now = Date.now();
    const day = new Date(now).toISOString().slice(0, 10);
    const windows = [{
      usedPercent: 100,
      windowSeconds: 604_800,
      resetsAt: now + 3_600_000,
    }];
    const bob = account("bob", {
      usage: { observedAt: now, meters: { codex: { windows } } },
      credits: {
        observedAt: now,
        hasCredits: true,
        unlimited: false,
        balance: "50",
      },
      spending: {
        observedAt: now,
        seenAt: now,
        paid: {},
        dearest: { [now]: "3" },
      },
    });
    const alice = account("alice", { spent: { [day]: spent } });
    const creditCaps = { "*": { month: 10 } };
    await using it = await bench({ alice, bob }, { creditCaps });
    assertEquals((await it.run("remove", "alice", "--yes")).code, 0);
    const standingNow = async () =>
      JSON.parse((await it.run("status", "--json")).out).accounts[0].standing;
    assertEquals(await standingNow(), standing);
    assertStringIncludes(
      (await it.run("status")).out.replace(/\s+/g, " "),
      `all together: ${spent}.00 of 10 this month`,
    );
    await it.run("disable", "bob");
    await it.run("restore", "2");
    assertEquals(await standingNow(), standing);
  }
});

test("remove leaves a credit setting alone that it cannot read", async () => {
  for (const creditAccountAliases of ["all", "none", 5, ["bob", 7]]) {
    await using it = await bench(two(), { creditAccountAliases });
    assertEquals((await it.run("remove", "bob")).code, 0);
    assertEquals(
      it.state().settings.creditAccountAliases,
      creditAccountAliases,
    );
  }
});

test("rename carries the name along in the credit list and the pin", async () => {
  for (const creditAccountAliases of [["alice", "bob"], "alice, bob"]) {
    await using it = await bench(two(), {
      creditAccountAliases,
      pinned: "bob",
    });
    const { code, out } = await it.run("rename", "bob", "work");
    assertEquals([code, out], [0, "bob is work now\n"]);
    const { accounts, settings } = it.state();
    assertEquals(Object.keys(accounts).sort(), ["alice", "work"]);
    assertEquals(accounts.work!.userId, "user-bob");
    assertEquals(settings, {
      creditAccountAliases: ["alice", "work"],
      pinned: "work",
    });
  }
});

test("rename refuses a name that is taken, invalid, or would bring a right to spend", async () => {
  await using it = await bench(two(), { creditAccountAliases: ["carol"] });
  const before = it.state();
  const cases: [string, number, string][] = [
    ["alice", 1, "An account is named alice already"],
    ["all", 2, "cannot be an alias"],
    ["none", 2, "cannot be an alias"],
    ["-x", 2, "Unknown option"],
    ["a b", 2, "cannot be an alias"],
    ["x".repeat(65), 2, "cannot be an alias"],
    ["carol", 1, "could spend purchased credits"],
  ];
  for (const [name, expected, message] of cases) {
    const { code, err } = await it.run("rename", "bob", name);
    assertEquals(code, expected, name);
    assertStringIncludes(err, message);
  }
  assertEquals(it.state(), before);
});

test("rename heeds the environment's credit list as well", async () => {
  await using it = await bench(two());
  const call = (list: string) =>
    run(["rename", "bob", "work", "--store", it.path], {
      CODEX_ROTATOR_CREDIT_ACCOUNTS: list,
    });
  const refused = await call("work");
  assertEquals(refused.code, 1);
  assertStringIncludes(refused.err, "CODEX_ROTATOR_CREDIT_ACCOUNTS");
  const renamed = await call("bob");
  assertEquals(renamed.code, 0);
  assertStringIncludes(renamed.err, "still names bob");
});

test("rename carries a cap along, and refuses a name that the caps or the pin hold for nobody", async () => {
  const creditCaps = { "*": { day: 9 }, bob: { day: 2 }, carol: { month: 3 } };
  await using it = await bench(two(), { creditCaps, pinned: "dora" });
  for (const [name, where] of [["carol", "the caps"], ["dora", "the pin"]]) {
    const { code, err } = await it.run("rename", "alice", name!);
    assertEquals(code, 1, err);
    assertStringIncludes(err, `${name} is named in ${where}`);
  }
  assertEquals((await it.run("rename", "bob", "carol")).code, 0);
  assertEquals(it.state().settings.creditCaps, {
    "*": { day: 9 },
    carol: { day: 2 },
  });
  const { out } = await it.run("remove", "carol");
  assertEquals(out, "carol is removed, also from the caps\n");
  assertEquals(it.state().settings.creditCaps, { "*": { day: 9 } });
});

test("remove asks a person, and removes nothing without a yes", async () => {
  await using it = await bench(two());
  const questions: string[] = [];
  const asked = (answer: boolean, ...args: string[]) =>
    run(["remove", ...args, "--store", it.path], {}, {
      ask(question) {
        questions.push(question);
        return Promise.resolve(answer);
      },
    });
  const before = it.state();
  const declined = await asked(false, "bob");
  assertEquals([declined.code, declined.out], [1, ""]);
  assertEquals(it.state(), before);
  assertEquals((await asked(true, "bob")).code, 0);
  assertEquals(Object.keys(it.state().accounts), ["alice"]);
  // a wrong name is told before anybody is asked
  assertEquals((await asked(true, "bob")).code, 2);
  assertEquals(questions, Array(2).fill("Forget bob and the tokens?"));
  assertEquals((await asked(false, "alice", "--yes")).code, 0);
  assertEquals(Object.keys(it.state().accounts), []);
});

test("rename accepts names that objects have, and the same name", async () => {
  await using it = await bench(two());
  assertEquals((await it.run("rename", "bob", "constructor")).code, 0);
  assertEquals(Object.keys(it.state().accounts).sort(), [
    "alice",
    "constructor",
  ]);
  assertEquals((await it.run("rename", "constructor", "toString")).code, 0);
  assertEquals(
    (await it.run("rename", "alice", "alice")).out,
    "alice is its name already\n",
  );
});

test("numbers are aliases like any other", async () => {
  await using it = await bench(two());
  assertEquals((await it.run("rename", "bob", "007")).code, 0);
  assertEquals((await it.run("use", "007")).code, 0);
  assertEquals(it.state().settings.pinned, "007");
});

test("strategy shows, sets, and lists the names it knows", async () => {
  await using it = await bench(two());
  assertStringIncludes((await it.run("strategy")).out, "round-robin: ");
  assertStringIncludes((await it.run("strategy", "drain")).out, "is drain now");
  assertStringIncludes((await it.run("strategy", "drain")).out, "already");
  assertEquals(it.state().settings.strategy, "drain");
  assertStringIncludes((await it.run("strategy")).out, "drain: ");
  const { code, err } = await it.run("strategy", "dran");
  assertEquals(code, 2);
  assertStringIncludes(err, "(did you mean drain?)");
  for (
    const name of ["round-robin", "least-used", "random", "weighted", "drain"]
  ) {
    assertStringIncludes(err, name);
  }
  assertEquals((await it.run("strategy", "constructor")).code, 2);
});

test("strategy says when the store names one that is not known", async () => {
  await using it = await bench(two(), { strategy: "psychic" });
  const { code, out, err } = await it.run("strategy");
  assertEquals(code, 0);
  assertStringIncludes(out, "round-robin");
  assertStringIncludes(err, "psychic");
});

test("restore puts the backup back and says from when it is", async () => {
  await using it = await bench(two());
  await it.run("disable", "bob");
  await writeFile(it.path, "{ damaged");
  const damaged = await it.run("enable", "bob");
  assertEquals(damaged.code, 1);
  assertStringIncludes(damaged.err, "restore");
  const { code, out } = await it.run("restore");
  assertEquals(code, 0);
  assertStringIncludes(out, "is restored from the backup of 20");
  assertStringIncludes(out, "is kept as ");
  assertEquals(it.state().accounts.bob!.enabled, false);
});

test("restore says when there is no backup", async () => {
  await using it = await bench();
  const { code, out, err } = await it.run("restore");
  assertEquals([code, out], [1, ""]);
  assertStringIncludes(err, "accounts.json");
});
