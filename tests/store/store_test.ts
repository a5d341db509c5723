/** What every kind of store promises that several processes share. */
import {
  assertEquals,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { RotatorError } from "../../lib/errors.ts";
import type { PoolState } from "../../lib/types.ts";
import { testStores } from "./places.ts";
import { count } from "./stores.ts";

testStores(
  "hands out the same frozen state until it changes",
  async ({ open }) => {
    const store = open();
    const first = await store.update(count);
    assertStrictEquals(await store.read(), first);
    assertStrictEquals(await store.update(() => {}), first);
    assertThrows(() => first.accounts["a"]!.requests = 9, TypeError);
    assertThrows(() => first.accounts["b"] = {}, TypeError);
    await open().update(count);
    const second = await store.read();
    assertNotStrictEquals(second, first);
    assertEquals(second.accounts["a"]!.requests, 2);
    assertStrictEquals(await store.read(), second);
  },
);

testStores(
  "sees every change of others, however fast and alike",
  async ({ open }) => {
    const reader = open();
    const writer = open();
    for (let number = 100; number < 200; number++) {
      await writer.update((state) => {
        state.accounts["a"] = { requests: number };
      });
      const state = await reader.read();
      assertEquals(state.accounts["a"]!.requests, number);
    }
  },
);

testStores(
  "isolates changes that are made at the same time",
  async ({ open }) => {
    const store = open();
    const results = await Promise.allSettled([
      store.update(count),
      store.update((state) => {
        state.accounts["b"] = {};
        state.accounts["a"]!.requests = 77;
        throw new Error("no");
      }),
      store.update(count),
      store.update((state) => {
        (state as { settings: unknown }).settings = 5;
      }),
      store.update(count),
    ]);
    const outcomes = results.map((result) => result.status);
    assertEquals(outcomes, [
      "fulfilled",
      "rejected",
      "fulfilled",
      "rejected",
      "fulfilled",
    ]);
    assertEquals((await store.read()).accounts, { a: { requests: 3 } });
  },
);

testStores(
  "loses no update of many at once, from several objects",
  async ({ open }) => {
    const stores = [open(), open(), open()];
    const updates = Array.from(
      { length: 150 },
      (_, index) => stores[index % 3]!.update(count),
    );
    await Promise.all(updates);
    assertEquals((await stores[0]!.read()).accounts["a"]!.requests, 150);
  },
);

testStores(
  "hands an update's own result out, in order",
  async ({ open }) => {
    const store = open();
    const seen: number[] = [];
    const note = (state: PoolState) => {
      count(state);
      seen.push(state.accounts["a"]!.requests!);
    };
    await Promise.all([store.update(note), store.update(note)]);
    await store.update(note);
    assertEquals(seen, [1, 2, 3]);
  },
);

testStores(
  "passes on what an exclusive job returns or throws",
  async ({ open }) => {
    const store = open();
    assertEquals(await store.exclusive("x", () => Promise.resolve(5)), 5);
    const missing = Object.assign(new Error("mine"), { code: "ENOENT" });
    const failing = () => store.exclusive("x", () => Promise.reject(missing));
    assertStrictEquals(await assertRejects(failing), missing);
  },
);

testStores(
  "allows updates while an exclusive job runs",
  async ({ open }) => {
    const store = open();
    const state = await store.exclusive("x", () => store.update(count));
    assertEquals(state.accounts["a"]!.requests, 1);
  },
);

testStores(
  "keeps unknown fields and odd names, and drops what is deleted",
  async ({ open }) => {
    const odd = JSON.parse(
      `{"future":[1,{"x":null}],"settings":{"new":"s"},"accounts":{` +
        `"a":{"flag":true,"note":"\\u0000\\ud800 \\u00fc"},` +
        `"__proto__":{"plan":"pro"},"constructor":{"plan":"plus"}}}`,
    );
    await open().update((state) => {
      Object.assign(state, { future: odd.future });
      Object.assign(state.settings, odd.settings);
      for (const alias of Object.keys(odd.accounts)) {
        state.accounts[alias] = odd.accounts[alias];
      }
    });
    const state = await open().update(count);
    odd.accounts.a.requests = 1;
    const all = JSON.parse(JSON.stringify(state));
    assertEquals(JSON.stringify(all.accounts), JSON.stringify(odd.accounts));
    assertEquals([all.future, all.settings], [odd.future, odd.settings]);
    await open().update((state) => {
      delete state.accounts["__proto__"];
      delete (state as { future?: unknown }).future;
    });
    const left = await open().read();
    assertEquals(Object.keys(left.accounts), ["a", "constructor"]);
    assertEquals(left, { ...left, version: 1, settings: odd.settings });
    assertEquals("future" in left, false);
  },
);

/** What people do with a state, and may do with any plain object. */
const CHANGES: Record<string, (state: PoolState) => void> = {
  clones: (state) => {
    const { accounts } = structuredClone(state);
    state.accounts["copy"] = structuredClone(state.accounts)["a"]!;
    state.accounts["b"]!.requests = Object.keys(accounts).length;
  },
  formats: (state) => {
    state.accounts["a"]!.email = JSON.stringify(state.accounts);
  },
  spreads: (state) => {
    state.accounts = { ...state.accounts, new: { ...state.accounts["a"]! } };
  },
  lists: (state) => {
    for (const [alias, it] of Object.entries(state.accounts)) it.email = alias;
    for (const alias in state.accounts) state.accounts[alias]!.plan = alias;
    const requests = Object.values(state.accounts).map((it) => it.requests);
    Object.assign(state.settings, { requests });
  },
  describes: (state) => {
    const all = Object.getOwnPropertyDescriptors(state.accounts);
    state.accounts = Object.defineProperties({}, all);
    state.accounts["a"]!.requests = 5;
  },
  asks: ({ accounts }) => {
    const found = ["a", "c", "nobody"].map((alias) => alias in accounts);
    accounts["a"]!.email = found.join();
    delete accounts["a"]!.plan;
    if (delete accounts["c"]) accounts["b"]!.email = String("c" in accounts);
  },
  "takes out and puts back": ({ accounts }) => {
    const { a, b } = accounts;
    delete accounts["a"];
    delete accounts["b"];
    accounts["a"] = b!;
    Object.assign(accounts, { b: a });
    delete accounts["__proto__"];
    accounts["c"] = undefined!;
  },
  "replaces a record": ({ accounts }) => {
    accounts["a"] = { requests: 7 };
    accounts["b"] = accounts["a"];
    accounts["b"].plan = "pro";
  },
  "replaces all": (state) => {
    const { b } = state.accounts;
    state.accounts = { b: { ...b, requests: 9 }, d: b! };
  },
  "keeps some": (state) => {
    state.accounts = Object.fromEntries(
      Object.entries(structuredClone(state.accounts)).slice(1),
    );
  },
  empties: (state) => void (state.accounts = {}),
};

testStores(
  "hands a change a state of plain objects, whatever it does with them",
  async ({ another }) => {
    const before = `{"version":1,"settings":{},"accounts":{` +
      `"a":{"plan":"plus","requests":1},"b":{"requests":2},"c":{},` +
      `"__proto__":{"plan":"pro"}}}`;
    for (const [name, change] of Object.entries(CHANGES)) {
      const { open } = another();
      await open().update((state) => Object.assign(state, JSON.parse(before)));
      const expected = JSON.parse(before);
      change(expected);
      const store = open();
      await store.read();
      for (const state of [await store.update(change), await open().read()]) {
        assertEquals(
          JSON.parse(JSON.stringify(state)),
          JSON.parse(JSON.stringify(expected)),
          name,
        );
      }
    }
  },
);

testStores(
  "makes a change from what others wrote just before, also one that comes to nothing",
  async ({ open }) => {
    const [mine, other] = [open(), open()];
    await mine.update(count);
    await other.update((state) => {
      state.accounts["a"]!.requests = 7;
      state.settings.pinned = "a";
    });
    let seen: unknown;
    await mine.update((state) => void (seen = state.settings.pinned));
    assertEquals(seen, "a");
    await other.update((state) => delete state.accounts["a"]);
    const gone = () =>
      mine.update((state) => {
        if (!state.accounts["a"]) throw new Error("gone");
        state.accounts["a"].requests = 8;
      });
    await assertRejects(gone, Error, "gone");
    assertEquals((await mine.read()).accounts, {});
  },
);

testStores(
  "refuses a change that is not done yet, and one that leaves no state",
  async ({ open }) => {
    const store = open();
    await store.update(count);
    const late = () => store.update((async () => {}) as () => void);
    await assertRejects(late, TypeError, "promise");
    for (
      const [name, value] of [["accounts", []], ["version", "one"], [
        "accounts",
        { a: 5 },
      ]] as const
    ) {
      const change = (state: PoolState) => {
        Object.assign(state, { [name]: value });
      };
      await assertRejects(() => store.update(change), TypeError, "not a state");
    }
    assertEquals((await open().read()).accounts, { a: { requests: 1 } });
  },
);

testStores(
  "gives up an exclusive name after its time, and runs other names meanwhile",
  async ({ open }) => {
    const [holder, waiter] = [open(), open({ waitLimit: 300 })];
    const { promise: gate, resolve: leave } = Promise.withResolvers<void>();
    const { promise: inside, resolve: enter } = Promise.withResolvers<void>();
    const held = holder.exclusive("x", () => {
      enter();
      return gate;
    });
    await inside;
    const late = await assertRejects(
      () => waiter.exclusive("x", () => Promise.resolve()),
      RotatorError,
    );
    assertEquals(late.code, "store_locked");
    assertEquals(await waiter.exclusive("y", () => Promise.resolve(1)), 1);
    leave();
    await held;
    assertEquals(await waiter.exclusive("x", () => Promise.resolve(2)), 2);
  },
);
