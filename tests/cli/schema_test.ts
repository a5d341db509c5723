import { assert, assertEquals } from "@std/assert";
import { Ajv } from "ajv";
import schema from "../../lib/cli/status.schema.json" with { type: "json" };
import type { AccountRecord } from "../../lib/types.ts";
import { test } from "../test.ts";
import { everyStanding } from "./reports.ts";
import { account, bench } from "./run.ts";

/** The schema as written, or closed: no field that it does not name. */
function validator(closed: boolean) {
  const text = JSON.stringify(schema);
  const used = closed
    ? text.replaceAll('"properties":', '"additionalProperties":false,$&')
    : text;
  const ajv = new Ajv({ strict: true, allowUnionTypes: true });
  return ajv.compile(JSON.parse(used));
}

/** A store with all that can be in one. */
function everything(): Record<string, AccountRecord> {
  const observedAt = Date.now();
  const windows = [
    { usedPercent: 100, windowSeconds: 18_000, resetsAt: observedAt + 9_000 },
    { usedPercent: 0.5, windowSeconds: null, resetsAt: null },
  ];
  return {
    full: account("full", {
      usage: { observedAt, meters: { codex: { windows } }, bankedResets: 2 },
      credits: { observedAt, hasCredits: true, unlimited: null, balance: "5" },
      cooldowns: {
        throttle: {
          until: observedAt + 60_000,
          setAt: observedAt,
          detail: "x",
        },
      },
      source: { kind: "codex", path: "/home/me/.codex/auth.json" },
      lastUsedAt: observedAt,
      weight: 0.5,
    }),
    bare: {},
    off: { enabled: false },
    out: account("out", { auth: { invalidAt: 1, reason: "Revoked" } }),
  };
}

test("status --json says what its schema says, and no field more", async () => {
  const validate = validator(true);
  for (
    const settings of [{}, { creditAccountAliases: ["full", "gone"] }, {
      creditAccountAliases: 7,
      pinned: "bare",
    }]
  ) {
    await using it = await bench(everything(), settings);
    for (const model of [[], ["--model", "gpt-5.3-codex-spark"]]) {
      const { out } = await it.run("status", "--json", ...model);
      assert(validate(JSON.parse(out)), JSON.stringify(validate.errors));
    }
  }
  assert(validate(everyStanding()), JSON.stringify(validate.errors));
});

test("status --json of an empty store fits its schema", async () => {
  await using it = await bench();
  const validate = validator(true);
  const { out } = await it.run("status", "--json");
  assert(validate(JSON.parse(out)), JSON.stringify(validate.errors));
});

test("status.schema.json refuses what status never says", () => {
  const validate = validator(false);
  const report = () => JSON.parse(JSON.stringify(everyStanding()));
  const wrong: ((it: ReturnType<typeof report>) => void)[] = [
    (it) => it.version = 2,
    (it) => it.now = "yesterday",
    (it) => it.strategy = "fastest",
    (it) => it.credits.allow = "some",
    (it) => delete it.next,
    (it) => it.accounts[0].standing = "paid",
    (it) => it.accounts[0].until = 0,
    (it) => it.accounts[0].reason = "because",
    (it) => it.accounts[0].credits = { balance: 5 },
    (it) => it.accounts[0].windows[0].usedPercent = "5",
  ];
  assertEquals(validate(report()), true);
  for (const spoil of wrong) {
    const spoilt = report();
    spoil(spoilt);
    assertEquals(validate(spoilt), false, String(spoil));
  }
});
