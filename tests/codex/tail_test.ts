import { assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  type EventMeaning,
  EventParser,
  readEvent,
} from "../../lib/codex/stream.ts";
import { Tail } from "../../lib/codex/tail.ts";

const LIMITS =
  '{"type":"codex.rate_limits","rate_limits":{"limit_reached":true}}';
const FAILED =
  '{"type":"response.failed","response":{"error":{"code":"usage_limit_reached","message":"über"}}}';
const DELTA = '{"type":"response.output_text.delta","delta":"€"}';
const HUGE = `{"type":"response.output_item.done","item":"${
  "x".repeat(1_000_000)
}"}`;

function wordsOf(meaning: EventMeaning): string {
  return meaning.kind === "failed"
    ? `failed ${meaning.code} ${meaning.message}`
    : meaning.kind;
}

/** What a tail hears, in whichever parts the text comes. */
function heard(text: string, cuts: readonly number[] = []): string[] {
  const kinds: string[] = [];
  const tail = new Tail((meaning) => kinds.push(wordsOf(meaning)));
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
  "the type last, and no last line feed": `data: ${LIMITS}\n\ndata: ${
    FAILED.replace('"type":"response.failed",', "").slice(0, -1)
  },"type":"response.failed"}`,
  "the name behind the data": `data: {}\nevent: codex.rate_limits\n\n` +
    `data: {"code":"usage_limit_reached","message":"über"}\nevent: error\n\n`,
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

Deno.test("Tail keeps an event of up to 1 MiB, and no longer one", () => {
  const failure = (length: number) =>
    `data: ${FAILED.slice(0, -1)},"instructions":"${"i".repeat(length)}"}\n\n`;
  const cuts = [10_000, 20_000, 90_000, 700_000];
  const expected = ["failed usage_limit_reached über", "rate-limits"];
  const long = `${failure(900_000)}data: ${LIMITS}\n\n`;
  assertEquals(heard(long, cuts), expected);
  const longer = `${failure(1_500_000)}data: ${LIMITS}\n\n`;
  assertEquals(heard(longer, [...cuts, 1_400_000]), ["rate-limits"]);
});

Deno.test("Tail hears just the events about the account, in any stream, cut anywhere", () => {
  const data = (json: unknown, space: number) =>
    JSON.stringify(json, null, space).replaceAll("\n", "\ndata: ");
  const json = fc.constantFrom<unknown>(
    { type: "response.output_text.delta", delta: "response.failed, error" },
    { type: "response.output_text.delta", delta: '"type":"error","' },
    { type: "response.completed", response: { error: null, output: [] } },
    { type: "response.failed", response: { error: { code: "a" } } },
    { response: { error: { code: "b" } }, type: "response.failed" },
    { type: "error", error: { type: "c" } },
    { code: "d", type: "error" },
    { type: "codex.rate_limits", rate_limits: {} },
    { type: "response.created", response: { instructions: "i".repeat(300) } },
  );
  const named = fc.record({
    name: fc.constantFrom("", "event: x\n", "event:response.created\n"),
    json,
    space: fc.constantFrom(0, 0, 0, 1),
  }).map(({ name, json, space }) => `${name}data: ${data(json, space)}\n\n`);
  const nameless = fc.constantFrom(
    'event: error\ndata: {"code":"e"}\n\n',
    'event:error\nid: 1\ndata: {"code":"f"}\n\n',
    'event: response.failed\ndata: {"error":{"code":"g"}}\n\n',
    "event: codex.rate_limits\ndata: {}\n\n",
    ": a comment\n\n",
    "data: [DONE]\n\n",
  );
  fc.assert(
    fc.property(
      fc.array(fc.oneof(named, named, nameless), { maxLength: 12 }),
      fc.boolean(),
      fc.array(fc.nat(5000), { maxLength: 8 }),
      (events, isCrlf, at) => {
        const text = isCrlf
          ? events.join("").replaceAll("\n", "\r\n")
          : events.join("");
        const { length } = text;
        const cuts = at.filter((n) => n < length).sort((a, b) => a - b);
        const all = new EventParser().push(new TextEncoder().encode(text))
          .map((event) => readEvent(event.data, event.event));
        const expected = all.filter(({ kind }) =>
          kind === "failed" || kind === "rate-limits"
        ).map(wordsOf);
        const told = heard(text, cuts).filter((it) =>
          it.startsWith("failed") || it === "rate-limits"
        );
        assertEquals(told, expected);
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("Tail hears an event that shows only after 250 bytes what it is about, cut anywhere", () => {
  const json = `{"code":"late","pad":"${"p".repeat(220)}","type":"error"}`;
  const text = `data: ${DELTA}\n\ndata: ${json}\n\n`;
  const shown = text.indexOf('"type":"error"') - text.indexOf("\n\n") - 2;
  assertEquals(shown, 250);
  for (let cut = 1; cut < text.length; cut++) {
    assertEquals([cut, ...heard(text, [cut])], [cut, "failed late "]);
  }
});

Deno.test("Tail hears an error however its JSON is spelled", () => {
  const rest = '"code":"usage_limit_reached","message":"über"';
  for (const colon of [":", ": ", " :", " : ", ":  ", ":\t", "\t:\t"]) {
    for (const behind of [",", " ,", "\t,"]) {
      const first = `{"type"${colon}"error"${behind}${rest}}`;
      const last = `{${rest},"type"${colon}"error"}`;
      for (const json of [first, last]) {
        for (const end of ["\n\n", "\r\n\r\n", "\n", ""]) {
          const text = `data: ${DELTA}\n\ndata: ${json}${end}`;
          assertEquals(heard(text), ["failed usage_limit_reached über"], text);
        }
      }
    }
  }
});

Deno.test("Tail hears an event wherever it lies in a long chunk, and however that lies in memory", () => {
  const event = `event: error\ndata: {"code":"here","type":"error"}\n\n`;
  const filler = `data: ${DELTA}\n\n`.repeat(300);
  for (const length of [3500, 4000, 4096, 4150, 4500, 9000]) {
    for (let more = 0; more < 120; more += 7) {
      const before = `data: ${"x".repeat(length + more)}\n\n`;
      const bytes = new TextEncoder().encode(before + event + filler);
      const memory = new Uint8Array(bytes.length + 8);
      for (const offset of [0, 1, 2, 3, 5]) {
        memory.set(bytes, offset);
        const kinds: string[] = [];
        const tail = new Tail((meaning) => kinds.push(wordsOf(meaning)));
        tail.push(memory.subarray(offset, offset + bytes.length));
        tail.push(bytes);
        tail.end();
        assertEquals(
          [length + more, offset, ...kinds],
          [length + more, offset, "failed here ", "failed here "],
        );
      }
    }
  }
});
