import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { writeFile } from "node:fs/promises";
import { startFakeCodex } from "../../lib/testing/fake_codex.ts";
import { test } from "../test.ts";
import { account, type Bench, bench, run } from "./run.ts";

const two = () => ({ alice: account("alice"), bob: account("bob") });

test("credits --cap sets a cap for all together and for one account", async () => {
  await using it = await bench(two());
  const { code, out } = await it.run(
    ...["credits", "--cap", "20/day", "--cap=alice=200.5/month"],
  );
  assertEquals(code, 0);
  assertStringIncludes(out, "under the cap for all together: 0 of 20 today\n");
  assertStringIncludes(out, "under the cap for alice: 0 of 200.5 this month\n");
  assertEquals(it.state().settings, {
    creditCaps: { "*": { day: 20 }, alice: { month: 200.5 } },
  });
  await it.run("credits", "--cap", "100/month", "--cap", "alice=none");
  assertEquals(it.state().settings.creditCaps, {
    "*": { day: 20, month: 100 },
  });
  await it.run("credits", "--cap", "none");
  assertEquals(it.state().settings.creditCaps, {});
});

test("credits takes who may spend and how much in one call", async () => {
  await using it = await bench(two());
  const { code } = await it.run("credits", "alice", "--cap", "alice=0/day");
  assertEquals(code, 0);
  assertEquals(it.state().settings, {
    creditAccountAliases: ["alice"],
    creditCaps: { alice: { day: 0 } },
  });
});

test("credits refuses what is no cap, and changes nothing", async () => {
  await using it = await bench(two(), { creditCaps: { "*": { day: 5 } } });
  const before = it.state();
  const cases = [
    "20",
    "20/week",
    "-1/day",
    "1e3/day",
    "NaN/day",
    "/day",
    "20/day/month",
    "=20/day",
    "all=20/day",
    "alice=",
    "alice=bob=5/day",
  ];
  for (const cap of cases) {
    const { code, out, err } = await it.run("credits", `--cap=${cap}`);
    assertEquals([code, out], [2, ""], cap);
    assertStringIncludes(err, "is no cap");
  }
  const unknown = await it.run("credits", "--cap", "alcie=5/day");
  assertEquals(unknown.code, 2);
  assertStringIncludes(unknown.err, "(did you mean alice?)");
  const both = await it.run("credits", "none", "--cap", "5/week");
  assertEquals(both.code, 2);
  assertEquals(it.state(), before);
});

test("credits leaves caps alone that it cannot read", async () => {
  await using it = await bench(two(), { creditCaps: "20/day" });
  const { code, err } = await it.run("credits", "--cap", "alice=20/day");
  assertEquals(code, 1);
  assertStringIncludes(err, "creditCaps cannot be read");
  assertEquals(it.state().settings.creditCaps, "20/day");
});

Deno.test("status, credits and doctor warn of caps that cannot be read, show them as 0, and name what mends them", async () => {
  const zero = { day: 0, month: 0 };
  const cases = [
    ["20", { "*": zero }, ["--cap", "20/day"]],
    [{ "*": 20 }, { "*": zero }, ["--cap", "20/day"]],
    [{ "*": { day: "x" } }, { "*": zero }, ["--cap", "20/day"]],
    [{ "*": { week: 5 } }, { "*": zero }, ["--cap", "20/day"]],
    [
      { "*": { day: 5 }, alice: { day: 3, month: -1 } },
      { "*": { day: 5 }, alice: zero },
      ["--cap", "alice=20/month"],
    ],
  ] as const;
  for (const [creditCaps, caps, mending] of cases) {
    await using it = await bench(two(), { creditCaps });
    const command = `cli.ts credits ${mending.join(" ")} --store ${it.path}`;
    const shown = async () => {
      const report = JSON.parse((await it.run("status", "--json")).out).credits;
      const texts = await Promise.all(
        [["status"], ["credits"], ["doctor", "--offline"]].map(async (args) => {
          const { out, err } = await it.run(...args);
          return out + err;
        }),
      );
      return { report, texts };
    };
    const { report, texts } = await shown();
    assertEquals(report.caps, caps);
    assertStringIncludes(report.warning, command);
    for (const text of texts) {
      assertStringIncludes(text, "cannot be read, so");
      assertStringIncludes(text, command);
    }
    const who = "alice" in caps ? "alice" : "all together";
    assertStringIncludes(
      report.warning,
      creditCaps === "20"
        ? "The caps on credits cannot be read, so nothing may be spent"
        : `The cap on credits for ${who} cannot be read, so it is 0`,
    );
    assertStringIncludes(
      texts[1]!,
      `under the cap for ${who}: 0 of 0 today, 0 of 0 this month`,
    );
    assertEquals((await it.run("credits", ...mending)).code, 0);
    const after = await shown();
    assertEquals(after.report.warning, null);
    for (const text of after.texts) assert(!text.includes("cannot be"), text);
  }
});

Deno.test("status, credits and doctor name caps of accounts that do not exist, and how to drop them", async () => {
  const ghost = "no such";
  const creditCaps = { alice: { day: 2 }, bod: { day: 3 }, [ghost]: {} };
  await using it = await bench(two(), { creditCaps });
  const drop = ["credits", "--cap", "bod=none", "--cap", `${ghost}=none`];
  const wanted =
    `cli.ts credits --cap bod=none --cap '${ghost}=none' --store ${it.path}`;
  for (const args of [["status"], ["credits"], ["doctor", "--offline"]]) {
    const { out, err } = await it.run(...args);
    assertStringIncludes(out + err, `do not exist: bod, ${ghost}`);
    assertStringIncludes(out + err, wanted);
  }
  const json = await it.run("status", "--json");
  assertEquals(JSON.parse(json.out).credits.unknownCaps, ["bod", ghost]);
  const { code, err } = await it.run(...drop);
  assertEquals([code, err], [0, ""]);
  assertEquals(it.state().settings.creditCaps, { alice: { day: 2 } });
  // what is not listed is a wrong name
  assertEquals((await it.run("credits", "--cap", "bod=none")).code, 2);
});

/** Imports accounts of the stand-in, as a person at a terminal who answers, or without one. */
async function importing(
  it: Bench,
  credits: string | null,
  answer?: boolean,
  env: Record<string, string> = {},
) {
  await using fake = await startFakeCodex({
    accounts: {
      me: {
        credits: credits === null
          ? { hasCredits: false, unlimited: false, balance: "0" }
          : { hasCredits: true, unlimited: false, balance: credits },
      },
    },
  });
  const { access, refresh, id, accountId } = fake.tokens("me");
  const tokens = {
    access_token: access,
    refresh_token: refresh,
    id_token: id,
    account_id: accountId,
  };
  const file = `${it.folder}/auth.json`;
  await writeFile(file, JSON.stringify({ tokens }));
  const questions: string[] = [];
  const ran = await run(
    [
      ...["import", file, "--copy", "--store", it.path],
      ...["--backend", fake.backend, "--issuer", fake.issuer],
    ],
    env,
    answer === undefined ? {} : {
      ask(question) {
        questions.push(question);
        return Promise.resolve(answer);
      },
    },
  );
  assertEquals(ran.code, 0, ran.err);
  assert(!(ran.out + ran.err + questions).includes(fake.canary));
  return { ...ran, questions, setting: it.state().settings };
}

test("the first account with credits may not spend them where nobody can be asked", async () => {
  await using it = await bench();
  const { err, setting } = await importing(it, "12.5");
  assertEquals(setting.creditAccountAliases, "none");
  assertStringIncludes(err, "me has purchased credits, and nobody may spend");
  assertStringIncludes(err, `with: cli.ts credits me --store ${it.path}\n`);
});

test("the first account with credits may spend them when a person says yes, and it alone", async () => {
  await using it = await bench({ bob: account("bob") });
  const { questions, setting } = await importing(it, "12.5", true);
  assertEquals(setting.creditAccountAliases, ["me"]);
  assertEquals(questions.length, 1);
  assertStringIncludes(
    questions[0]!,
    "me has purchased credits (12.5)",
  );
});

test("the first account with credits may not spend them when a person says no", async () => {
  await using it = await bench();
  const { setting } = await importing(it, "12.5", false);
  assertEquals(setting.creditAccountAliases, "none");
});

test("an account without credits settles nothing, nor one that comes in where it is settled", async () => {
  await using poor = await bench();
  const without = await importing(poor, null, true);
  assertEquals([without.setting, without.questions], [{}, []]);
  await using set = await bench({}, { creditAccountAliases: ["bob"] });
  const listed = await importing(set, "12.5", true);
  assertEquals(listed.setting.creditAccountAliases, ["bob"]);
  await using environment = await bench();
  const env = { CODEX_ROTATOR_CREDIT_ACCOUNTS: "all" };
  const overridden = await importing(environment, "12.5", true, env);
  assertEquals(overridden.setting, {});
  const credits = {
    observedAt: Date.now(),
    hasCredits: true,
    unlimited: false,
    balance: "5",
  };
  await using second = await bench({ bob: account("bob", { credits }) });
  const later = await importing(second, "12.5", true);
  assertEquals(later.setting, {});
  const asked = [listed, overridden, later].flatMap((it) => it.questions);
  assertEquals(asked, []);
});
