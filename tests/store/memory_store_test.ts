import {
  assertEquals,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { memoryStore } from "../../lib/store/memory_store.ts";
import { test } from "../test.ts";

test("memoryStore() starts with a copy of what it is given", async () => {
  const accounts = { a: { requests: 1 } };
  const store = memoryStore({ accounts, settings: { pinned: "a" } });
  accounts.a.requests = 99;
  assertEquals(await store.read(), {
    version: 1,
    settings: { pinned: "a" },
    accounts: { a: { requests: 1 } },
  });
});

test("memoryStore() hands out the same frozen state until it changes", async () => {
  const store = memoryStore();
  const first = await store.read();
  assertStrictEquals(await store.read(), first);
  assertStrictEquals(await store.update(() => {}), first);
  const second = await store.update((state) => {
    state.accounts["a"] = { requests: 1 };
  });
  assertNotStrictEquals(second, first);
  assertStrictEquals(await store.read(), second);
  assertEquals(first.accounts, {});
  assertThrows(() => second.accounts["a"]!.requests = 2, TypeError);
});

test("memoryStore() keeps nothing of a change that throws", async () => {
  const store = memoryStore();
  const change = store.update((state) => {
    state.accounts["a"] = {};
    throw new Error("no");
  });
  await assertRejects(() => change, Error, "no");
  assertEquals((await store.read()).accounts, {});
});

test("memoryStore() runs exclusive jobs of one name one after another", async () => {
  const store = memoryStore();
  const log: string[] = [];
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const job = (name: string, wait?: Promise<void>) => async () => {
    log.push(`start ${name}`);
    await wait;
    log.push(`end ${name}`);
    return name;
  };
  const first = store.exclusive("x", job("first", gate));
  const second = store.exclusive("x", job("second"));
  assertEquals(await store.exclusive("y", job("other")), "other");
  open();
  assertEquals(await Promise.all([first, second]), ["first", "second"]);
  assertEquals(log, [
    "start first",
    "start other",
    "end other",
    "end first",
    "start second",
    "end second",
  ]);
});

test("memoryStore() goes on after an exclusive job that throws", async () => {
  const store = memoryStore();
  const failing = store.exclusive("x", () => Promise.reject(new Error("no")));
  const next = store.exclusive("x", () => Promise.resolve(1));
  await assertRejects(() => failing, Error, "no");
  assertEquals(await next, 1);
});
