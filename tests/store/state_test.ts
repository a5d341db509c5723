import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { RotatorError } from "../../lib/errors.ts";
import {
  applyChange,
  cloneState,
  emptyState,
  lastingPart,
  parseState,
  snapshotOf,
} from "../../lib/store/state.ts";
import type { AccountRecord, PoolState } from "../../lib/types.ts";

function parse(value: unknown): PoolState {
  return parseState(JSON.stringify(value), "/s/accounts.json");
}

/** The account as it is understood when the file says this of it. */
function account(fields: Record<string, unknown>): AccountRecord {
  return parse({ version: 1, accounts: { a: fields } }).accounts["a"]!;
}

function refusal(text: string): RotatorError {
  return assertThrows(() => parseState(text, "/s/accounts.json"), RotatorError);
}

Deno.test("parseState() reads an empty state", () => {
  assertEquals(parse({ version: 1, accounts: {} }), emptyState());
});

Deno.test("parseState() accepts a byte order mark", () => {
  const text = `\uFEFF{"version":1,"accounts":{"a":{}}}`;
  assertEquals(Object.keys(parseState(text, "x").accounts), ["a"]);
});

Deno.test("parseState() refuses what is not a store, naming file, backup and next step", () => {
  const texts = [
    "",
    " \n",
    "\0\0\0\0",
    "{",
    `{"version":1,"accounts":{"a":{"tokens":{"access":"sec`,
    "null",
    "[]",
    "1",
    `"version"`,
    "{}",
    `{"accounts":{}}`,
    `{"version":"1","accounts":{}}`,
    `{"version":0,"accounts":{}}`,
    `{"version":null,"accounts":{}}`,
    `{"version":1}`,
    `{"version":1,"accounts":[]}`,
    `{"version":1,"accounts":null}`,
    `{"version":1,"accounts":{"a":null}}`,
    `{"version":1,"accounts":{"a":[]}}`,
    `{"version":1,"accounts":{"a":"b"}}`,
    `{"version":1,"accounts":{},"settings":null}`,
    `{"version":1,"accounts":{},"settings":[]}`,
    `{"version":1,"accounts":{},"settings":"all"}`,
  ];
  for (const text of texts) {
    const error = refusal(text);
    assertEquals(error.code, "store_corrupt", text);
    assertStringIncludes(error.message, "/s/accounts.json cannot");
    assertStringIncludes(error.message, "/s/accounts.json.bak");
    assertStringIncludes(error.message, "restore");
  }
});

Deno.test("parseState() quotes nothing of a damaged store", () => {
  const error = refusal(`{"version":1,"accounts":{"a":{"access":"sec-ret"`);
  assertEquals(Deno.inspect(error).includes("sec-ret"), false);
});

Deno.test("parseState() refuses a newer version", () => {
  const error = refusal(`{"version":2,"accounts":"other"}`);
  assertEquals(error.code, "store_version");
  assertStringIncludes(error.message, "/s/accounts.json");
});

Deno.test("parseState() finds nothing inherited under any alias", () => {
  const { accounts } = parse({ version: 1, accounts: {} });
  for (const name of ["constructor", "toString", "__proto__"]) {
    assertEquals(accounts[name], undefined);
  }
});

Deno.test("parseState() treats __proto__ as a key like any other", () => {
  const text =
    `{"version":1,"__proto__":{"settings":{"pinned":"x"}},"settings":{"__proto__":{"strategy":"random"}},` +
    `"accounts":{"__proto__":{"enabled":false,"tokens":{"access":"t"}},"a":{"__proto__":{"enabled":false}}}}`;
  const state = parseState(text, "x");
  assertEquals(Object.keys(state.accounts), ["__proto__", "a"]);
  assertEquals(state.accounts["a"]!.enabled, undefined);
  assertEquals(state.accounts["tokens"], undefined);
  assertEquals(state.settings.strategy, undefined);
  assertEquals(state.settings.pinned, undefined);
  assertEquals(({} as Record<string, unknown>)["tokens"], undefined);
  assertEquals(JSON.parse(snapshotOf(state).text), JSON.parse(text));
  assertEquals(snapshotOf(state).text.includes("__proto__"), true);
});

Deno.test("cloneState() copies deeply and finds nothing inherited", () => {
  const state = parse({ version: 1, accounts: { a: { plan: "pro" } } });
  const copy = cloneState(state);
  copy.accounts["a"]!.plan = "plus";
  assertEquals(state.accounts["a"]!.plan, "pro");
  assertEquals(copy.accounts["constructor"], undefined);
});

const jsonKey = fc.oneof(
  fc.string(),
  fc.constantFrom("__proto__", "constructor", "toString", "hasOwnProperty"),
);
const unknownFields = fc.dictionary(
  jsonKey.map((key) => key === "__proto__" ? key : `x-${key}`),
  fc.jsonValue(),
);

Deno.test("applyChange() keeps every unknown field and record", () => {
  fc.assert(fc.property(
    unknownFields,
    unknownFields,
    fc.dictionary(jsonKey, unknownFields),
    (top, settings, accounts) => {
      const text = JSON.stringify({ ...top, version: 1, settings, accounts });
      const before = snapshotOf(parseState(text, "x"));
      const after = applyChange(before, (state) => {
        state.settings.strategy = "drain";
        state.accounts["new one"] = {};
      });
      const expected = JSON.parse(text);
      expected.settings.strategy = "drain";
      expected.accounts["new one"] = {};
      assertEquals(JSON.parse(after.text), expected);
    },
  ));
});

Deno.test("applyChange() returns what it was given when nothing changed", () => {
  const before = snapshotOf(parse({ version: 1, accounts: { a: {} } }));
  assertEquals(applyChange(before, () => {}) === before, true);
});

Deno.test("applyChange() refuses a change that leaves no state or is not done", () => {
  const before = snapshotOf(emptyState());
  const broken = (state: PoolState) => {
    (state as { accounts: unknown }).accounts = [];
  };
  assertThrows(() => applyChange(before, broken), TypeError, "not a state");
  const late = async () => await Promise.resolve();
  assertThrows(() => applyChange(before, late), TypeError, "synchronous");
});

const WINDOW = { usedPercent: 42, windowSeconds: 18000, resetsAt: 5 };

function usageWith(window: Record<string, unknown>) {
  return { observedAt: 1, meters: { codex: { windows: [window] } } };
}

Deno.test("parseState() keeps well-formed facts as they are", () => {
  const fields = {
    accountId: "1",
    enabled: true,
    weight: 0,
    tokens: { access: "t", refresh: "r", expiresAt: null },
    source: { kind: "codex", path: "/p" },
    usage: {
      ...usageWith(WINDOW),
      answeredAt: null,
      modelUsage: {
        m: { available: false, availableAt: 3, creditsWouldEnable: null },
      },
    },
    credits: {
      observedAt: 1,
      hasCredits: true,
      unlimited: false,
      balance: "12.5",
      reachedType: null,
    },
    cooldowns: { throttle: { until: 9, setAt: 2, detail: "busy" } },
    auth: { invalidAt: 4, reason: "expired" },
    usageCheck: { askedAt: 5 },
    requests: 7,
    lastUsedAt: null,
  };
  assertEquals(account(fields) as unknown, fields);
});

Deno.test("parseState() makes usage of a wrong shape unknown", () => {
  const wrong = [
    null,
    7,
    [],
    {},
    { observedAt: 1 },
    { observedAt: "1", meters: {} },
    { observedAt: 1, meters: [] },
    { observedAt: 1, meters: { codex: null } },
    { observedAt: 1, meters: { codex: {} } },
    { observedAt: 1, meters: { codex: { windows: {} } } },
    { observedAt: 1, meters: { codex: { windows: [null] } } },
    { observedAt: 1, meters: { codex: { windows: [], limitReached: "no" } } },
    { observedAt: 1, meters: { codex: { windows: [], limit: {} } } },
    { observedAt: 1, meters: {}, modelUsage: { m: true } },
    { observedAt: 1, meters: {}, creditOnly: "no" },
    usageWith({ ...WINDOW, usedPercent: "42" }),
    usageWith({ ...WINDOW, resetsAt: "soon" }),
    usageWith({ ...WINDOW, windowSeconds: [] }),
  ];
  for (const usage of wrong) {
    assertEquals(account({ usage }).usage, undefined, JSON.stringify(usage));
  }
  const text =
    `{"version":1,"accounts":{"a":{"usage":{"observedAt":1e999,"meters":{}}}}}`;
  assertEquals(parseState(text, "x").accounts["a"]!.usage, undefined);
});

Deno.test("parseState() reads absent parts of a window as unknown", () => {
  const { usage } = account({ usage: usageWith({ usedPercent: 1 }) });
  assertEquals(usage!.meters["codex"]!.windows, [
    { usedPercent: 1, windowSeconds: null, resetsAt: null },
  ]);
  assertEquals(usage!.meters["constructor"], undefined);
});

Deno.test("parseState() makes credits of a wrong shape unusable", () => {
  const unusable = { hasCredits: null, unlimited: null, balance: null };
  const wrong = [
    null,
    true,
    "12",
    [],
    {},
    { observedAt: "now", hasCredits: true },
    { observedAt: 3, hasCredits: "true" },
    { observedAt: 3, hasCredits: true, unlimited: 1 },
    { observedAt: 3, hasCredits: true, balance: {} },
    { observedAt: 3, hasCredits: true, overageLimitReached: "yes" },
    { observedAt: 3, hasCredits: true, reachedType: 5 },
  ];
  for (const value of wrong) {
    const credits = account({ credits: value }).credits!;
    const { observedAt, ...rest } = credits;
    assertEquals(rest, { ...unusable, malformed: true }, JSON.stringify(value));
    assertEquals(Number.isFinite(observedAt), true);
  }
  const partial = account({ credits: { observedAt: 3, balance: 12.5 } });
  assertEquals(partial.credits, {
    observedAt: 3,
    ...unusable,
    balance: "12.5",
  });
});

Deno.test("parseState() keeps only cooldowns that say until when", () => {
  for (const cooldowns of [null, 5, "x", []]) {
    assertEquals(account({ cooldowns }).cooldowns, {});
  }
  const cooldowns = {
    throttle: { until: "later", setAt: 1 },
    token: null,
    plan: { until: 5 },
    workspace: { until: 6, setAt: 1, clearedAt: "3", firm: "no", detail: 4 },
  };
  assertEquals(account({ cooldowns }).cooldowns, {
    plan: { until: 5, setAt: 0 },
    workspace: { until: 6, setAt: 1 },
  });
});

Deno.test("parseState() keeps an account out that was switched off in a wrong way", () => {
  assertEquals(account({ enabled: "false" }).enabled, false);
  assertEquals(account({ enabled: null }).enabled, false);
  assertEquals(account({ auth: "expired" }).auth, {
    invalidAt: 0,
    reason: "Needs a sign-in",
  });
  assertEquals(account({ auth: null }).auth, null);
});

Deno.test("parseState() keeps of tokens what can be used", () => {
  assertEquals(account({ tokens: "t" }).tokens, undefined);
  assertEquals(account({ tokens: {} }).tokens, undefined);
  assertEquals(
    account({ tokens: { access: 5, refresh: 5 } }).tokens,
    undefined,
  );
  assertEquals(account({ tokens: { access: "t", expiresAt: "x" } }).tokens, {
    access: "t",
  });
  assertEquals(account({ tokens: { refresh: "r" } }).tokens, {
    access: "",
    refresh: "r",
  });
});

Deno.test("parseState() forgets plain fields of a wrong type", () => {
  const fields = {
    accountId: 1,
    email: {},
    plan: [],
    fedramp: "yes",
    weight: -1,
    source: "codex",
    usageCheck: { askedAt: "x" },
    requests: "1",
    lastUsedAt: "x",
  };
  assertEquals(account(fields), {});
});

Deno.test("parseState() survives any JSON in any known place", () => {
  const names = [
    "tokens",
    "auth",
    "usage",
    "credits",
    "cooldowns",
    "enabled",
    "usageCheck",
    "source",
  ];
  const fields = fc.dictionary(fc.constantFrom(...names), fc.jsonValue());
  fc.assert(fc.property(fields, (values) => {
    const first = account(values);
    assertEquals(account({ ...first }), first);
    assertEquals(
      first.credits === undefined || !first.credits.hasCredits,
      true,
    );
  }));
});

Deno.test("parseState() keeps a credit list of any type as it is", () => {
  for (const value of [null, 5, "a,b", [], ["a", 1], { a: true }, false]) {
    const state = parse({
      version: 1,
      accounts: {},
      settings: { creditAccountAliases: value, strategy: 5, pinned: 5 },
    });
    assertEquals(state.settings, { creditAccountAliases: value, pinned: "5" });
  }
});

Deno.test("lastingPart() tells apart what the backup must mirror", () => {
  const base: PoolState = {
    version: 1,
    settings: {},
    accounts: { a: { tokens: { access: "t" }, requests: 1 } },
  };
  const part = (change: (state: PoolState) => void) => {
    const state = structuredClone(base);
    change(state);
    return lastingPart(state) === lastingPart(base);
  };
  assertEquals(part((state) => state.accounts["a"]!.requests = 2), true);
  assertEquals(part((state) => state.accounts["a"]!.lastUsedAt = 2), true);
  assertEquals(part((state) => state.accounts["a"]!.cooldowns = {}), true);
  assertEquals(part((state) => state.accounts["b"] = {}), false);
  assertEquals(part((state) => delete state.accounts["a"]), false);
  assertEquals(part((state) => state.settings.pinned = "a"), false);
  assertEquals(part((state) => state.accounts["a"]!.enabled = false), false);
  const token = (state: PoolState) => state.accounts["a"]!.tokens!.access = "u";
  assertEquals(part(token), false);
});

/** What no version so far has written. */
const ODD = {
  settings: { strategy: { name: "new" }, pinned: ["a"] },
  account: {
    plan: { name: "plus" },
    enabled: "false",
    weight: "auto",
    source: { kind: "keychain", service: "codex" },
    usage: { observedAt: 1, meters: { codex: { windows: "none" } } },
    credits: { observedAt: 1, hasCredits: "yes" },
    cooldowns: { "usage-limit:codex": { until: null, setAt: 1 }, throttle: 5 },
    auth: { invalidAt: "today", reason: "x" },
    tokens: { refresh: { current: "r1", next: "r2" }, expiresAt: "later" },
  },
};

function oddState(): PoolState {
  const { settings, account } = ODD;
  return parse({ version: 1, settings, accounts: { a: account, b: {} } });
}

Deno.test("a change leaves what this version cannot read as it was", () => {
  const before = snapshotOf(oddState());
  const after = applyChange(before, (state) => {
    state.accounts["b"]!.enabled = false;
    state.accounts["a"]!.requests = 1;
  });
  const { settings, accounts } = JSON.parse(after.text);
  assertEquals(settings, ODD.settings);
  assertEquals(accounts, {
    a: { ...ODD.account, requests: 1 },
    b: { enabled: false },
  });
  // and it is understood no better
  const { tokens, source, usage, enabled } = after.state.accounts["a"]!;
  assertEquals([tokens, source, usage, enabled], [
    undefined,
    undefined,
    undefined,
    false,
  ]);
});

Deno.test("a change puts what it writes in the place of what could not be read", () => {
  const { text } = applyChange(snapshotOf(oddState()), (state) => {
    const account = state.accounts["a"]!;
    Object.assign(account, {
      plan: "pro",
      enabled: true,
      tokens: { access: "new" },
      auth: null,
      cooldowns: { throttle: { until: 9, setAt: 8 } },
    });
    state.settings.strategy = "drain";
  });
  const { settings, accounts: { a } } = JSON.parse(text);
  assertEquals(settings.strategy, "drain");
  assertEquals([a.plan, a.enabled, a.tokens, a.auth], [
    "pro",
    true,
    { access: "new" },
    null,
  ]);
  assertEquals(a.cooldowns, {
    throttle: { until: 9, setAt: 8 },
    "usage-limit:codex": { until: null, setAt: 1 },
  });
});
