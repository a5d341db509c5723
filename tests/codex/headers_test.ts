import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { readHeaders } from "../../lib/codex/headers.ts";
import { test } from "../test.ts";
import { headerPairs } from "./arbitrary.ts";
import { about, NOW, percents, RESERVE_METER, SPARK } from "./facts.ts";

function read(pairs: Record<string, string>, model?: string) {
  return readHeaders(new Headers(pairs), about(model));
}

/** The percentages of each meter that these headers tell. */
function told(pairs: Record<string, string>, model?: string) {
  return percents(read(pairs, model).usage);
}

const MAIN = {
  "x-codex-primary-used-percent": "42.5",
  "x-codex-primary-window-minutes": "300",
  "x-codex-primary-reset-at": "1790001000",
  "x-codex-secondary-used-percent": "7",
  "x-codex-secondary-window-minutes": "10080",
  "x-codex-secondary-reset-after-seconds": "5000",
};
const BENGALFOX = {
  "x-codex-bengalfox-primary-used-percent": "88",
  "x-codex-bengalfox-primary-window-minutes": "300",
  "x-codex-bengalfox-limit-name": "GPT-5.3-Codex-Spark",
};

test("readHeaders() reads the main meter", () => {
  const facts = read({ ...MAIN, "x-codex-plan-type": " plus " });
  assertEquals(facts.plan, "plus");
  assertStrictEquals(facts.credits, null);
  assertStrictEquals(facts.activeMeter, null);
  assertEquals(facts.usage?.observedAt, NOW);
  assertStrictEquals(facts.usage?.answeredAt, null);
  assertEquals(facts.usage?.meters.codex, {
    allowed: null,
    limitReached: null,
    observedAt: NOW,
    windows: [{
      usedPercent: 42.5,
      windowSeconds: 18000,
      resetsAt: 1_790_001_000_000,
      observedAt: NOW,
      seenAt: NOW,
    }, {
      usedPercent: 7,
      windowSeconds: 604800,
      resetsAt: NOW + 5_000_000,
      observedAt: NOW,
      seenAt: NOW,
    }],
  });
});

test("readHeaders() finds nothing in the headers of others", () => {
  const facts = read({
    "content-type": "text/html",
    "x-request-id": "1",
    "x-primary-used-percent": "50",
    "x-codex-primary-window-minutes": "300",
    "x-codex-primary-over-secondary-limit-percent": "3",
  });
  assertEquals(facts, {
    plan: null,
    usage: null,
    credits: null,
    activeMeter: null,
  });
});

test("readHeaders() takes the fuller of two windows of one length", () => {
  for (const length of [{}, { "window-minutes": "300" }]) {
    const pairs = Object.fromEntries(
      [["primary", "100", "3600"], ["secondary", "20", "500000"]].flatMap(
        ([slot, used, after]) =>
          Object.entries({
            "used-percent": used!,
            "reset-after-seconds": after!,
            ...length,
          }).map(([field, value]) => [`x-codex-${slot}-${field}`, value]),
      ),
    );
    assertEquals(told(pairs), { codex: [100] });
  }
});

test("readHeaders() tells families apart whose prefixes overlap", () => {
  assertEquals(told({ ...MAIN, ...BENGALFOX }), {
    codex: [42.5, 7],
    codex_bengalfox: [88],
  });
});

test("readHeaders() knows families that do not begin with x-codex-, as the reserve's", () => {
  const reserve = {
    "x-base-model-inference-primary-used-percent": "24",
    "x-base-model-inference-primary-window-minutes": "10080",
    "x-base-model-inference-limit-name": "gpt-reserve",
  };
  const { usage } = read({ ...MAIN, ...reserve }, "gpt-reserve");
  assertEquals(percents(usage), { codex: [42.5, 7], [RESERVE_METER]: [24] });
  assertEquals(usage?.meters[RESERVE_METER]?.name, "gpt-reserve");
  assertEquals(told({ "x-next-tertiary-used-percent": "3" }), { next: [3] });
});

test("readHeaders() finds the owner of the unprefixed family", () => {
  const main = { "x-codex-primary-used-percent": "9" };
  const both = { ...main, ...BENGALFOX };
  const active = (name: string) => ({ "x-codex-active-limit": name });
  const table: [Record<string, string>, string | undefined, string[]][] = [
    [{ ...both, ...active("codex_bengalfox") }, SPARK, ["codex_bengalfox"]],
    [{ ...both, ...active("Codex-Bengalfox") }, SPARK, ["codex_bengalfox"]],
    [{ ...both, ...active("codex_bengalfox") }, "gpt-5", ["codex_bengalfox"]],
    [{ ...both, ...active("codex") }, SPARK, ["codex", "codex_bengalfox"]],
    [{ ...both, ...active("premium") }, SPARK, ["codex", "codex_bengalfox"]],
    [{ ...both, ...active("other") }, "gpt-5", ["codex", "codex_bengalfox"]],
    [{ ...main, ...active("codex_bengalfox") }, SPARK, ["codex_bengalfox"]],
    [{ ...main, ...active("codex_bengalfox") }, "gpt-5", ["codex"]],
    [main, SPARK, ["codex_bengalfox"]],
    [main, "gpt-5", ["codex"]],
    [main, undefined, ["codex"]],
    [both, SPARK, ["codex_bengalfox"]],
    [both, "gpt-5", ["codex", "codex_bengalfox"]],
  ];
  for (const [pairs, model, meters] of table) {
    assertEquals(Object.keys(told(pairs, model)).sort(), meters);
  }
  const premium = { "x-premium-primary-used-percent": "100" };
  assertEquals(told({ ...both, ...premium, ...active("codex_bengalfox") }), {
    codex: [100],
    codex_bengalfox: [88],
  });
});

test("readHeaders() keeps the fuller window where two families are one meter", () => {
  const pairs = {
    ...BENGALFOX,
    "x-codex-primary-used-percent": "100",
    "x-codex-primary-window-minutes": "300",
  };
  assertEquals(told(pairs, SPARK), { codex_bengalfox: [100] });
  for (const [codex, premium] of [["100", "7"], ["7", "100"], ["100", "?"]]) {
    const both = {
      "x-codex-primary-used-percent": codex!,
      "x-premium-primary-used-percent": premium!,
    };
    assertEquals(told(both), { codex: [100] });
  }
});

test("readHeaders() names the active meter", () => {
  const table: [Record<string, string>, string | null][] = [
    [{}, null],
    [{ "x-codex-active-limit": "" }, null],
    [{ "x-codex-active-limit": "premium" }, "codex"],
    [{ "x-codex-active-limit": "codex" }, "codex"],
    [{ "x-codex-active-limit": "never-heard-of" }, "codex"],
    [{ "x-codex-active-limit": " CODEX-Bengalfox" }, "codex_bengalfox"],
    [{
      "x-codex-active-limit": "gpt-reserve",
      "x-gpt-reserve-primary-used-percent": "1",
    }, "gpt_reserve"],
  ];
  for (const [pairs, wanted] of table) {
    assertStrictEquals(read(pairs).activeMeter, wanted);
  }
});

test("readHeaders() drops windows that are absent or unreadable", () => {
  const table: [Record<string, string>, number[] | undefined][] = [
    [{ "used-percent": "0" }, undefined],
    [{
      "used-percent": "0",
      "window-minutes": "0",
      "reset-at": "",
      "reset-after-seconds": "0",
    }, undefined],
    [{ "used-percent": "0", "window-minutes": "300" }, [0]],
    [{ "used-percent": "0", "reset-after-seconds": "60" }, [0]],
    [{ "used-percent": "-2", "window-minutes": "300" }, [0]],
    [{ "used-percent": "100" }, [100]],
    [{ "used-percent": "131.4" }, [131.4]],
    [{ "used-percent": "NaN", "window-minutes": "300" }, undefined],
    [{ "used-percent": "", "window-minutes": "300" }, undefined],
    [{ "window-minutes": "300" }, undefined],
  ];
  for (const [fields, wanted] of table) {
    const pairs = Object.fromEntries(
      Object.entries(fields).map(([key, value]) => [
        `x-codex-primary-${key}`,
        value,
      ]),
    );
    assertEquals(told(pairs).codex, wanted);
  }
});

test("readHeaders() prefers reset-at, and keeps one that has passed", () => {
  const table: [Record<string, string>, number | null][] = [
    [{ "reset-at": "1790000100", "reset-after-seconds": "5" }, NOW + 100_000],
    [{ "reset-at": "", "reset-after-seconds": "5" }, NOW + 5000],
    [{ "reset-at": "1789999000" }, NOW - 1_000_000],
    [{ "reset-after-seconds": "1e12" }, NOW + 35 * 86_400_000],
    [{}, null],
  ];
  for (const [fields, wanted] of table) {
    const pairs = Object.fromEntries(
      Object.entries({ "used-percent": "5", ...fields })
        .map(([key, value]) => [`x-codex-primary-${key}`, value]),
    );
    const window = read(pairs).usage?.meters.codex?.windows[0];
    assertStrictEquals(window?.resetsAt, wanted);
  }
});

test("readHeaders() counts credits only when both flags can be read", () => {
  type Value = string | undefined;
  const table: [Value, Value, Value, object | null][] = [
    ["True", "False", "12.5", {
      hasCredits: true,
      unlimited: false,
      balance: "12.5",
    }],
    ["true", "0", undefined, { hasCredits: true, unlimited: false }],
    ["0", " TRUE ", "", { hasCredits: false, unlimited: true }],
    ["1", "false", "NaN", {
      hasCredits: true,
      unlimited: false,
      balance: "NaN",
    }],
    ["true", undefined, "5", null],
    [undefined, "true", "5", null],
    ["yes", "false", "5", null],
    ["true", "", "5", null],
  ];
  for (const [has, unlimited, balance, wanted] of table) {
    const headers = new Headers();
    if (has !== undefined) headers.set("x-codex-credits-has-credits", has);
    if (unlimited !== undefined) {
      headers.set("x-codex-credits-unlimited", unlimited);
    }
    if (balance !== undefined) {
      headers.set("x-codex-credits-balance", balance);
    }
    const { credits } = readHeaders(headers, about());
    const facts: unknown = wanted ? { observedAt: NOW, ...wanted } : null;
    assertEquals(credits as unknown, facts);
  }
});

test("readHeaders() does not let a header name reach the prototype", () => {
  const meters = read({ "x-__proto__-primary-used-percent": "5" }).usage
    ?.meters;
  assertEquals(Object.keys(meters ?? {}), []);
});

test("readHeaders() survives anything and loses no full window", () => {
  const models = fc.constantFrom(undefined, "gpt-5", SPARK);
  fc.assert(
    fc.property(headerPairs, models, (pairs, model) => {
      const said = new Map(pairs);
      const facts = readHeaders(new Headers(pairs), about(model));
      if (facts.credits?.hasCredits) {
        assert(
          /^(true|1)$/i.test(said.get("x-codex-credits-has-credits") ?? ""),
        );
      }
      const meters = Object.values(facts.usage?.meters ?? {});
      const full = meters.some((meter) =>
        meter.windows.some((window) => window.usedPercent >= 100)
      );
      for (const id of ["codex-bengalfox", "premium"]) {
        const used = said.get(`x-${id}-primary-used-percent`);
        if (Number(used) >= 100 && Number.isFinite(Number(used))) assert(full);
      }
      const main = said.get("x-codex-primary-used-percent");
      if (main === "100" && facts.activeMeter === null) assert(full);
    }),
    { numRuns: 500 },
  );
});
