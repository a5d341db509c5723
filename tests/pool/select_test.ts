import { assertEquals } from "@std/assert";
import { select } from "../../lib/pool/select.ts";
import type { AccountRecord } from "../../lib/types.ts";
import { account, credits, query, roster, usage, window } from "./accounts.ts";
Deno.test("select() takes a tried account again only when its pool has nobody else and no earlier one anybody", () => {
  const empty = { usage: usage([window(100)]), credits: credits() };
  const full = { usage: usage([window(10)]) };
  const tried = { tried: new Set(["a"]), retriable: new Set(["a"]) };
  const chosen = (accounts: Record<string, AccountRecord>) =>
    select(roster(accounts).all, query(tried)).choice?.runner.alias;
  assertEquals(chosen({ a: account(empty) }), "a");
  assertEquals(chosen({ a: account(empty), b: account(empty) }), "b");
  assertEquals(chosen({ a: account(empty), b: account(full) }), "b");
  assertEquals(chosen({ a: account(full), b: account(empty) }), "a");
});

Deno.test("select() follows a plan that has changed", () => {
  const full = { usage: usage([window(10)]) };
  const made = roster({ a: account(full), b: account(full) });
  const asked = query();
  const chosen = () => select(made.all, asked).choice?.runner.alias;
  assertEquals(chosen(), "a");
  made.get("b")!.record.plan = "pro";
  made.invalidate();
  assertEquals(chosen(), "b");
});

Deno.test("select() passes over unknown accounts where only known ones count", () => {
  const full = { usage: usage([window(10)]) };
  const chosen = (
    accounts: Record<string, AccountRecord>,
    knownOnly: boolean,
  ) => select(roster(accounts).all, query({ knownOnly })).choice?.runner.alias;
  assertEquals(chosen({ a: account(), b: account(full) }, false), "a");
  assertEquals(chosen({ a: account(), b: account(full) }, true), "b");
  assertEquals(chosen({ a: account() }, false), "a");
  assertEquals(chosen({ a: account() }, true), undefined);
});
