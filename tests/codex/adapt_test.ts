import { assertEquals } from "@std/assert";
import { ServedItems } from "../../lib/codex/adapt.ts";
import { test } from "../test.ts";

test("servedItems.note() forgets the oldest of too many, and no item twice", () => {
  const items = new ServedItems();
  const item = (n: number, text = "") => ({
    type: "message",
    id: `m${n}`,
    text,
  });
  for (let n = 0; n < 10; n++) items.note(item(1, "x".repeat(1024 * 1024)));
  items.note(item(2));
  assertEquals((items.get("m1") as { id: string }).id, "m1");
  for (let n = 3; n < 6; n++) items.note(item(n, "x".repeat(1024 * 1024)));
  assertEquals([items.get("m1"), items.get("m2")], [undefined, item(2)]);
  assertEquals((items.get("m5") as { id: string }).id, "m5");
  items.note(item(6, "x".repeat(5 * 1024 * 1024)));
  assertEquals([items.get("m5"), items.get("m6")], [undefined, undefined]);
  items.note(item(7));
  assertEquals(items.get("m7"), item(7));
});

test("servedItems.note() keeps what has an id, and no reasoning", () => {
  const items = new ServedItems();
  const reasoning = { type: "reasoning", id: "rs_1", encrypted_content: "x" };
  for (const item of [reasoning, { type: "message" }, null, "text", [1]]) {
    items.note(item);
  }
  for (const id of ["rs_1", undefined, null, ""]) {
    assertEquals(items.get(id), undefined);
  }
});
