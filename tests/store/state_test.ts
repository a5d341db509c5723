import {
  assertEquals,
  assertStringIncludes,
  assertThrows,
  equal,
} from "@std/assert";
import fc from "fast-check";
import { inspect } from "node:util";
import { RotatorError } from "../../lib/errors.ts";
import {
  applyChange,
  editState,
  emptyState,
  lastingPart,
  normalState,
  parseState,
  snapshotOf,
} from "../../lib/store/state.ts";
import { normalRecord } from "../../lib/store/normal_form.ts";
import type { AccountRecord, PoolState } from "../../lib/types.ts";
import type { NormalRecord, NormalState } from "../../lib/normal_types.ts";
import { test } from "../test.ts";

function parse(value: unknown): PoolState {
  return parseState(JSON.stringify(value), "/s/accounts.json");
}

function normal(value: unknown): NormalState {
  return normalState(parse(value));
}

/** The account as it is understood when the file holds these fields of it. */
function account(fields: Record<string, unknown>): NormalRecord {
  return normal({ version: 1, accounts: { a: fields } }).accounts["a"]!;
}

/** Without the missing prototypes. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

function refusal(text: string): RotatorError {
  return assertThrows(() => parseState(text, "/s/accounts.json"), RotatorError);
}

test("parseState() reads an empty state", () => {
  assertEquals(parse({ version: 1, accounts: {} }), emptyState());
});

test("parseState() accepts a byte order mark", () => {
  const text = `\uFEFF{"version":1,"accounts":{"a":{}}}`;
  assertEquals(Object.keys(parseState(text, "x").accounts), ["a"]);
});

test("parseState() refuses what is not a store, naming file, backup and next step", () => {
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

test("parseState() quotes nothing of a damaged store", () => {
  const error = refusal(`{"version":1,"accounts":{"a":{"access":"sec-ret"`);
  assertEquals(inspect(error).includes("sec-ret"), false);
});

test("parseState() refuses a newer version", () => {
  const error = refusal(`{"version":2,"accounts":"other"}`);
  assertEquals(error.code, "store_version");
  assertStringIncludes(error.message, "/s/accounts.json");
});

test("parseState() finds nothing inherited under any alias", () => {
  const { accounts } = parse({ version: 1, accounts: {} });
  for (const name of ["constructor", "toString", "__proto__"]) {
    assertEquals(accounts[name], undefined);
  }
});

test("parseState() treats __proto__ as a key like any other", () => {
  const text =
    `{"version":1,"__proto__":{"settings":{"pinned":"x"}},"settings":{"__proto__":{"strategy":"random"}},` +
    `"accounts":{"__proto__":{"enabled":false,"tokens":{"access":"t"}},"a":{"__proto__":{"enabled":false}}}}`;
  const state = parseState(text, "x");
  assertEquals(normalState(state).accounts["a"]!.enabled, true);
  assertEquals(Object.keys(state.accounts), ["__proto__", "a"]);
  assertEquals(state.accounts["a"]!.enabled, undefined);
  assertEquals(state.accounts["tokens"], undefined);
  assertEquals(state.settings.strategy, undefined);
  assertEquals(state.settings.pinned, undefined);
  assertEquals(({} as Record<string, unknown>)["tokens"], undefined);
  assertEquals(JSON.parse(snapshotOf(state).text), JSON.parse(text));
  assertEquals(snapshotOf(state).text.includes("__proto__"), true);
});

const jsonKey = fc.oneof(
  fc.string(),
  fc.constantFrom("__proto__", "constructor", "toString", "hasOwnProperty"),
);
const unknownFields = fc.dictionary(
  jsonKey.map((key) => key === "__proto__" ? key : `x-${key}`),
  fc.jsonValue(),
);

test("applyChange() keeps every unknown field and record", () => {
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

test("applyChange() returns what it was given when nothing changed", () => {
  const before = snapshotOf(parse({ version: 1, accounts: { a: {} } }));
  assertEquals(applyChange(before, () => {}) === before, true);
});

test("applyChange() refuses a change that leaves no state or is not done", () => {
  const before = snapshotOf(emptyState());
  const broken = (state: PoolState) => {
    (state as { accounts: unknown }).accounts = [];
  };
  assertThrows(() => applyChange(before, broken), TypeError, "not a state");
  const late = async () => await Promise.resolve();
  assertThrows(() => applyChange(before, late), TypeError, "synchronous");
});

const WINDOW = { usedPercent: 42, windowSeconds: 18000, resetsAt: 5 };
/** What an account has of which nothing is stored. */
const DEFAULTS = {
  enabled: true,
  weight: 1,
  priority: 0,
  reserve: 0,
  cooldowns: {},
  requests: 0,
  lastUsedAt: null,
};

function usageWith(window: Record<string, unknown>) {
  return { observedAt: 1, meters: { codex: { windows: [window] } } };
}

test("normalState() keeps complete facts as they are", () => {
  const windows = [{ ...WINDOW, observedAt: 8, seenAt: 9 }];
  const fields = {
    accountId: "1",
    enabled: true,
    weight: 0,
    priority: -1,
    reserve: 20,
    tokens: { access: "t", refresh: "r", expiresAt: null },
    source: { kind: "codex", path: "/p", seen: "f" },
    usage: {
      observedAt: 9,
      answeredAt: null,
      meters: {
        codex: {
          allowed: null,
          limitReached: false,
          windows,
          observedAt: 8,
        },
      },
      creditOnly: true,
      modelUsage: {
        m: { available: false, availableAt: 3, creditsWouldEnable: null },
      },
      bankedResets: 2,
    },
    credits: {
      observedAt: 1,
      hasCredits: true,
      unlimited: false,
      balance: "12.5",
      overageLimitReached: true,
      spendControlReached: true,
      individualLimit: true,
      reachedType: null,
      malformed: true,
      limitsObservedAt: 7,
    },
    cooldowns: { throttle: { until: 9, setAt: 2, detail: "busy" } },
    auth: { invalidAt: 4, reason: "expired" },
    usageCheck: { askedAt: 5 },
    requests: 7,
    lastUsedAt: 3,
  };
  assertEquals(plain(account(fields)), fields);
});

test("normalState() fills what is absent, and dates every fact", () => {
  assertEquals(plain(account({})), DEFAULTS);
  const { usage, credits } = account({
    usage: usageWith({ usedPercent: 1 }),
    credits: { observedAt: 3, balance: 12.5 },
  });
  assertEquals(plain(usage), {
    observedAt: 1,
    answeredAt: 1,
    meters: {
      codex: {
        allowed: null,
        limitReached: null,
        windows: [
          {
            usedPercent: 1,
            windowSeconds: null,
            resetsAt: null,
            observedAt: 1,
            seenAt: 1,
          },
        ],
        observedAt: 1,
      },
    },
    creditOnly: false,
    modelUsage: {},
    bankedResets: null,
  });
  assertEquals(usage!.meters["constructor"], undefined);
  assertEquals(credits, {
    observedAt: 3,
    hasCredits: null,
    unlimited: null,
    balance: "12.5",
    overageLimitReached: false,
    spendControlReached: false,
    individualLimit: false,
    reachedType: null,
    malformed: false,
    limitsObservedAt: 3,
  });
});

test("normalState() puts a meter's flags on the windows that they are about", () => {
  const flagsOf = (flags: Record<string, unknown>, usedPercent: number) => {
    const windows = [{ ...WINDOW, usedPercent }, { ...WINDOW, usedPercent: 1 }];
    const codex = { windows, observedAt: 5, ...flags };
    const usage = { observedAt: 9, meters: { codex } };
    return account({ usage }).usage!.meters["codex"]!.windows
      .map((window) => window.flags ?? null);
  };
  assertEquals(flagsOf({ limitReached: true }, 99), ["refused", null]);
  assertEquals(flagsOf({ allowed: false }, 100), ["refused", null]);
  const open = { allowed: true, limitReached: false };
  assertEquals(flagsOf(open, 100), ["allowed", "allowed"]);
  assertEquals(flagsOf({ allowed: true }, 100), [null, "allowed"]);
  assertEquals(flagsOf({}, 100), [null, null]);
});

test("normalState() bounds what it takes, and keeps the main meter and the fullest windows", () => {
  const meters: Record<string, unknown> = { ["x".repeat(65)]: { windows: [] } };
  for (let n = 0; n < 40; n++) meters[`m${n}`] = { windows: [] };
  const windows = Array.from({ length: 20 }, (_, n) => ({
    usedPercent: n,
    windowSeconds: n + 1,
  }));
  meters["codex"] = { windows };
  const model = { available: false, availableAt: null };
  const modelUsage = Object.fromEntries(
    Array.from({ length: 40 }, (_, n) => [`m${n}`, model]),
  );
  const { usage, plan } = account({
    usage: { observedAt: 1, meters, modelUsage },
    plan: "p".repeat(100),
  });
  assertEquals(Object.keys(usage!.meters).length, 32);
  // a model that is left out would look available
  assertEquals(Object.keys(usage!.modelUsage).length, 40);
  assertEquals(
    usage!.meters["codex"]!.windows.map((window) => window.usedPercent),
    [19, 18, 17, 16, 15, 14, 13, 12],
  );
  assertEquals(plan!.length, 64);
});

test("normalState() makes usage of a wrong form unknown", () => {
  const wrong = [
    null,
    7,
    [],
    {},
    { observedAt: 1 },
    { observedAt: "1", meters: {} },
    { observedAt: Infinity, meters: {} },
    { observedAt: 1, meters: [] },
    { observedAt: 1, meters: { codex: null } },
    { observedAt: 1, meters: { codex: {} } },
    { observedAt: 1, meters: { codex: { windows: {} } } },
    { observedAt: 1, meters: { codex: { windows: [null] } } },
    { observedAt: 1, meters: { codex: { windows: [], limitReached: "no" } } },
    { observedAt: 1, meters: {}, modelUsage: { m: true } },
    { observedAt: 1, meters: {}, creditOnly: "no" },
    usageWith({ ...WINDOW, usedPercent: "42" }),
    usageWith({ ...WINDOW, resetsAt: "soon" }),
    usageWith({ ...WINDOW, windowSeconds: [] }),
    usageWith({ ...WINDOW, observedAt: "now" }),
  ];
  for (const usage of wrong) {
    assertEquals(account({ usage }).usage, undefined, JSON.stringify(usage));
  }
});

test("normalState() makes credits of a wrong form unusable", () => {
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
    { observedAt: 3, hasCredits: true, balance: "1".repeat(65) },
    { observedAt: 3, hasCredits: true, overageLimitReached: "yes" },
    { observedAt: 3, hasCredits: true, reachedType: 5 },
  ];
  for (const value of wrong) {
    const credits = account({ credits: value }).credits!;
    const { hasCredits, unlimited, balance, malformed } = credits;
    assertEquals([hasCredits, unlimited, balance, malformed], [
      null,
      null,
      null,
      true,
    ], JSON.stringify(value));
    assertEquals(Number.isFinite(credits.observedAt), true);
  }
});

test("normalState() keeps only cooldowns that tell until when", () => {
  for (const cooldowns of [null, 5, "x", []]) {
    assertEquals(plain(account({ cooldowns }).cooldowns), {});
  }
  const cooldowns = {
    throttle: { until: "later", setAt: 1 },
    token: null,
    plan: { until: 5 },
    workspace: { until: 6, setAt: 1, clearedAt: "3", firm: "no", detail: 4 },
  };
  assertEquals(plain(account({ cooldowns }).cooldowns), {
    plan: { until: 5, setAt: 0 },
    workspace: { until: 6, setAt: 1 },
  });
});

test("normalState() keeps an account out that was switched off in a wrong way", () => {
  assertEquals(account({ enabled: "false" }).enabled, false);
  assertEquals(account({ enabled: null }).enabled, false);
  assertEquals(account({ auth: "expired" }).auth, {
    invalidAt: 0,
    reason: "Needs a sign-in",
  });
  assertEquals(account({ auth: null }).auth, undefined);
});

test("normalState() keeps of tokens what can be used", () => {
  const unusable = [
    "t",
    {},
    { access: 5, refresh: 5 },
    { access: "not\na header" },
    { access: "not\na header", refresh: "r" },
    { access: "", refresh: "" },
  ];
  for (const tokens of unusable) {
    assertEquals(account({ tokens }).tokens, undefined, JSON.stringify(tokens));
  }
  assertEquals(account({ tokens: { access: "t", expiresAt: "x" } }).tokens, {
    access: "t",
    expiresAt: null,
  });
  for (const access of [undefined, 5]) {
    assertEquals(account({ tokens: { access, refresh: "r" } }).tokens, {
      access: "",
      refresh: "r",
      expiresAt: null,
    });
  }
  const tokens = { access: "t" };
  assertEquals(account({ tokens, accountId: "id" }).tokens?.access, "t");
  assertEquals(account({ tokens, accountId: "no\nid" }).tokens, undefined);
});

test("normalState() forgets plain fields of a wrong type", () => {
  const fields = {
    accountId: 1,
    email: {},
    plan: [],
    fedramp: "yes",
    weight: -1,
    priority: "high",
    reserve: null,
    source: "codex",
    usageCheck: { askedAt: "x" },
    requests: "1",
    lastUsedAt: "x",
  };
  assertEquals(plain(account(fields)), DEFAULTS);
});

test("normalState() survives any JSON in any known place", () => {
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

test("normalState() keeps a credit list of any type as it is", () => {
  for (const value of [null, 5, "a,b", [], ["a", 1], { a: true }, false]) {
    const { settings } = normal({
      version: 1,
      accounts: {},
      settings: { creditAccountAliases: value, strategy: 5, pinned: 5 },
    });
    assertEquals(settings, { creditAccountAliases: value, pinned: "5" });
  }
});

test("normalState() copes with what a store of one's own may lack", () => {
  const state = normalState({ version: 1 } as unknown as PoolState);
  assertEquals([state.settings, plain(state.accounts)], [{ pinned: null }, {}]);
});

test("lastingPart() tells apart what the backup must mirror", () => {
  const base: PoolState = {
    version: 1,
    settings: {},
    accounts: { a: { tokens: { access: "t" }, requests: 1 } },
  };
  const part = (change: (state: PoolState) => void) => {
    const state = structuredClone(base);
    change(state);
    return equal(lastingPart(state), lastingPart(base));
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
  return parse({
    version: 1,
    settings: { ...settings, later: [1] },
    accounts: { a: { ...account, later: { x: null } }, b: {} },
  });
}

test("editState() leaves what this version cannot read as it was", () => {
  const state = oddState();
  editState(state, ({ accounts }) => {
    accounts["b"]!.enabled = false;
    accounts["a"]!.requests = 1;
  });
  assertEquals(state.settings as unknown, { ...ODD.settings, later: [1] });
  assertEquals(plain(state.accounts), {
    a: { ...ODD.account, later: { x: null }, requests: 1 },
    b: { enabled: false },
  });
});

test("editState() puts what is changed in the place of what could not be read", () => {
  const state = oddState();
  editState(state, ({ accounts, settings }) => {
    Object.assign(accounts["a"]!, {
      plan: "pro",
      enabled: true,
      tokens: { access: "new" },
    });
    delete accounts["a"]!.auth;
    accounts["a"]!.cooldowns["throttle"] = { until: 9, setAt: 8 };
    settings.strategy = "drain";
  });
  const a = state.accounts["a"]!;
  assertEquals(state.settings.strategy, "drain");
  assertEquals([a.plan, a.enabled, a.tokens, a.auth], [
    "pro",
    true,
    { access: "new" },
    undefined,
  ]);
  assertEquals(plain(a.cooldowns), {
    throttle: { until: 9, setAt: 8 },
    "usage-limit:codex": { until: null, setAt: 1 },
  });
});

test("editState() writes only what became different, however deep", () => {
  const tokens = { access: "t", later: 1 };
  const meter = { windows: [WINDOW], later: 2 };
  const usage = { observedAt: 1, meters: { codex: meter, other: meter } };
  const state = parse({ version: 1, accounts: { a: { tokens, usage } } });
  editState(state, ({ accounts: { a } }) => {
    a!.tokens = { ...a!.tokens!, access: "u" };
    a!.usage = structuredClone({ ...a!.usage!, creditOnly: true });
    delete a!.usage.meters["other"];
  });
  assertEquals(plain(state.accounts), {
    a: {
      tokens: { access: "u", later: 1 },
      usage: { observedAt: 1, creditOnly: true, meters: { codex: meter } },
    },
  });
});

test("editState() takes what is unknown of an account along to its new name, and not to another login", () => {
  const state = parse({ version: 1, accounts: { a: { later: 1 }, b: {} } });
  editState(state, ({ accounts }) => {
    accounts["c"] = accounts["a"]!;
    delete accounts["a"];
    accounts["b"] = normalRecord({ email: "b@example.com" });
  });
  assertEquals(Object.keys(state.accounts), ["b", "c"]);
  assertEquals(state.accounts["c"] as unknown, { later: 1 });
  assertEquals(state.accounts["b"]!.email, "b@example.com");
});

test("editState() keeps every unknown field and record", () => {
  fc.assert(fc.property(
    unknownFields,
    fc.dictionary(jsonKey, unknownFields),
    (settings, accounts) => {
      const text = JSON.stringify({ version: 1, settings, accounts });
      const state = parseState(text, "x");
      editState(state, ({ settings, accounts }) => {
        settings.strategy = "drain";
        for (const account of Object.values(accounts)) account.requests = 1;
      });
      const expected = JSON.parse(text);
      expected.settings.strategy = "drain";
      for (const account of Object.values(expected.accounts)) {
        (account as AccountRecord).requests = 1;
      }
      assertEquals(JSON.parse(JSON.stringify(state)), expected);
    },
  ));
});
