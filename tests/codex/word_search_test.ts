import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { WordSearch } from "../../lib/codex/word_search.ts";

const WORDS = ["hello, world", "help is at hand", "no word is like it"];
const encoder = new TextEncoder();

/** Where the search finds a word in `text`, laid at `offset` into memory full of other text. */
function find(text: string, offset = 0, from = 0): number {
  const length = encoder.encode(text).length;
  const bytes = new Uint8Array((offset + length + 31) & ~7)
    .fill("h".charCodeAt(0));
  bytes.set(encoder.encode(text), offset);
  const fours = new Int32Array(bytes.buffer);
  const search = new WordSearch(WORDS);
  const at = search.find(bytes, fours, offset + from, offset + length);
  return at < 0 ? at : at - offset;
}

Deno.test("WordSearch.find() finds each word wherever it begins", () => {
  for (const word of WORDS) {
    for (let before = 0; before < 40; before++) {
      for (let offset = 0; offset < 9; offset++) {
        const text = `${"x".repeat(before)}${word}yy`;
        assertEquals(find(text, offset), before, text);
      }
    }
  }
});

Deno.test("WordSearch.find() takes no word that is cut, or that only begins or ends like one", () => {
  for (const word of WORDS) {
    for (let cut = 1; cut < word.length; cut++) {
      assertEquals(find(`ab${word.slice(0, -cut)}`), -1);
      assertEquals(find(`ab${word.slice(0, -cut)}${"#".repeat(cut)}`), -1);
      assertEquals(find(`ab${"#".repeat(cut)}${word.slice(cut)}`), -1);
    }
  }
});

Deno.test("WordSearch.find() looks neither before its beginning nor behind its end", () => {
  const text = `${WORDS[0]} and ${WORDS[1]}`;
  assertEquals(find(text), 0);
  assertEquals(find(text, 3, 1), text.indexOf(WORDS[1]!));
  assertEquals(find(text, 3, text.indexOf(WORDS[1]!) + 1), -1);
});

Deno.test("WordSearch.find() misses no word in any text", () => {
  const part = fc.oneof(
    fc.constantFrom(...WORDS),
    fc.constantFrom(...WORDS).chain((word) =>
      fc.nat(word.length).map((n) => word.slice(n))
    ),
    fc.string({ maxLength: 30 }),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), fc.nat(9), (parts, at) => {
      // one byte a character, so that places are the same
      const text = parts.join("").replaceAll(/[^ -~]/g, "?");
      const found = find(text, at);
      const places = WORDS.map((word) => text.indexOf(word))
        .filter((place) => place >= 0);
      assertEquals(found < 0, places.length === 0);
      if (found >= 0) {
        assertEquals(WORDS.some((word) => text.startsWith(word, found)), true);
      }
    }),
  );
});

Deno.test("new WordSearch() refuses a word that is too short to be found everywhere", () => {
  new WordSearch(["12345678901"]);
  assertThrows(
    () => new WordSearch(["1234567890"]),
    RangeError,
    "A word has 10 bytes; it needs 11",
  );
});
