import { assertEquals } from "@std/assert";
import { Tail } from "../../lib/codex/tail.ts";

const LIMITS =
  '{"type":"codex.rate_limits","rate_limits":{"limit_reached":true}}';
const FAILED =
  '{"type":"response.failed","response":{"error":{"code":"usage_limit_reached","message":"über"}}}';
const DELTA = '{"type":"response.output_text.delta","delta":"€"}';
const HUGE = `{"type":"response.output_item.done","item":"${
  "x".repeat(1_000_000)
}"}`;

/** What a tail hears, in whichever parts the text comes. */
function heard(text: string, cuts: number[] = []): string[] {
  const kinds: string[] = [];
  const tail = new Tail((meaning) =>
    kinds.push(
      meaning.kind === "failed"
        ? `failed ${meaning.code} ${meaning.message}`
        : meaning.kind,
    )
  );
  const bytes = new TextEncoder().encode(text);
  const ends = [...cuts, bytes.length];
  ends.forEach((end, n) => tail.push(bytes.subarray(ends[n - 1] ?? 0, end)));
  tail.end();
  return kinds;
}

const TEXTS: Record<string, string> = {
  LF: `data: ${DELTA}\n\ndata: ${LIMITS}\n\n: hm\n\ndata: ${FAILED}\n\n`,
  CRLF: `data: ${DELTA}\r\n\r\ndata: ${LIMITS}\r\n\r\ndata: ${FAILED}\r\n\r\n`,
  "event names": `event: codex.rate_limits\ndata: ${LIMITS}\n\n` +
    `event: response.failed\ndata:${FAILED}\n\n`,
  "several data lines": `data: {"type":\ndata: ${
    LIMITS.slice('{"type":'.length)
  }\n\nevent: response.failed\ndata: {\ndata: ${FAILED.slice(1)}\n\n`,
  "no type inside": `event: codex.rate_limits\ndata: {}\n\n` +
    `event: error\ndata: {"code":"usage_limit_reached","message":"über"}\n\n`,
  "no last blank line": `data: ${LIMITS}\n\ndata: ${FAILED}`,
};

for (const [name, text] of Object.entries(TEXTS)) {
  Deno.test(`Tail hears what concerns the account, cut anywhere: ${name}`, () => {
    const expected = ["rate-limits", "failed usage_limit_reached über"];
    assertEquals(heard(text), expected);
    const { length } = new TextEncoder().encode(text);
    for (let cut = 1; cut < length; cut++) {
      assertEquals([cut, ...heard(text, [cut])], [cut, ...expected]);
    }
    const each = Array.from({ length: length - 1 }, (_, n) => n + 1);
    assertEquals(heard(text, each), expected, "byte by byte");
  });
}

Deno.test("Tail hears what comes after an event that it does not keep", () => {
  const text = `data: ${HUGE}\n\ndata: ${LIMITS}\n\ndata: ${HUGE}`;
  assertEquals(heard(text, [100, 70_000, 500_000]), ["rate-limits"]);
});

Deno.test("Tail is not misled by content that speaks of limits", () => {
  const delta = JSON.stringify({
    type: "response.output_text.delta",
    delta: '{"type":"codex.rate_limits"} response.failed {"type":"error"}',
  });
  const kinds = heard(`data: ${delta}\n\ndata: ${LIMITS}\n\n`);
  assertEquals(kinds.filter((kind) => kind !== "content"), ["rate-limits"]);
});
