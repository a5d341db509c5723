import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStrictEquals,
} from "@std/assert";
import fc from "fast-check";
import { sessionKey } from "../../lib/codex/request.ts";
import { test } from "../test.ts";

const NONE = {};

function keyOf(json: Record<string, unknown>): string | undefined {
  return sessionKey(json, NONE);
}

function message(text: string) {
  return { role: "user", content: [{ type: "input_text", text }] };
}

test("sessionKey() prefers the cache key to headers, and those to the input", () => {
  const json = { prompt_cache_key: "k", input: [message("a"), message("b")] };
  const headers = { "session-id": "s", "thread-id": "t" };
  assertEquals(sessionKey(json, headers), keyOf({ prompt_cache_key: "k" }));
  const { prompt_cache_key: _, ...rest } = json;
  assertEquals(sessionKey(rest, headers), sessionKey(undefined, headers));
  assertNotEquals(keyOf(rest), sessionKey(rest, headers));
});

test("sessionKey() keeps the kinds apart", () => {
  const names = ["session-id", "session_id", "conversation_id", "thread-id"];
  const keys = names.map((name) => sessionKey(undefined, { [name]: "same" }));
  keys.push(keyOf({ prompt_cache_key: "same" }));
  assert(keys.every((key) => key !== undefined));
  assertEquals(new Set(keys).size, 5);
});

test("sessionKey() knows a conversation by how it began", () => {
  const instructions = "Be brief";
  const first = message("Hello");
  const second = keyOf({ instructions, input: [first, message("b")] });
  const third = keyOf({
    instructions,
    input: [first, message("b"), message("c")],
  });
  assert(second);
  assertEquals(second, third);
  const others = [
    { instructions: "Be long!", input: [first, 1] },
    { input: [first, 1] },
    { instructions, input: [message("Hullo"), 1] },
    { instructions, input: [{ ...first, role: "system" }, 1] },
  ];
  for (const other of others) assertNotEquals(keyOf(other), second);
});

test("sessionKey() tells nothing where a conversation only begins", () => {
  for (const input of [undefined, "Hello", [], [message("Hello")], {}]) {
    assertStrictEquals(keyOf({ instructions: "x", input }), undefined);
  }
  assertStrictEquals(sessionKey(undefined, NONE), undefined);
  assertStrictEquals(keyOf({ prompt_cache_key: "" }), undefined);
  assertStrictEquals(keyOf({ prompt_cache_key: 5 }), undefined);
});

test("sessionKey() stays short however long the conversation is", () => {
  const long = "x".repeat(1_000_000);
  const key = (text: string) =>
    keyOf({ instructions: text, input: [message(text), 1] });
  assert((key(long)?.length ?? Infinity) < 2000);
  assertNotEquals(key(long), key(`${long}x`));
  assertNotEquals(key(long), key(`y${long.slice(1)}`));
  const cacheKey = keyOf({ prompt_cache_key: long });
  assert((cacheKey?.length ?? Infinity) < 2000);
});

test("sessionKey() survives anything and stays the same", () => {
  fc.assert(fc.property(fc.array(fc.jsonValue()), fc.jsonValue(), (list, x) => {
    const json = { instructions: x, input: list };
    const key = keyOf(json);
    assertEquals(key === undefined, list.length < 2);
    assertEquals(
      keyOf({ ...json, input: [...list, 1, 2] }),
      key ??
        keyOf({ ...json, input: [...list, 1, 2, 3] }),
    );
  }));
});
