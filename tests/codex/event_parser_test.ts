import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { EventParser, type StreamEvent } from "../../lib/codex/stream.ts";

const encoder = new TextEncoder();

function parse(...chunks: string[]): StreamEvent[] {
  const parser = new EventParser();
  const events = chunks.flatMap((chunk) => parser.push(encoder.encode(chunk)));
  return [...events, ...parser.flush()];
}

function datas(...chunks: string[]): string[] {
  return parse(...chunks).map((event) => event.data);
}

Deno.test("EventParser reads events with their place in the stream", () => {
  const first = "event: a\ndata: 1\n\n";
  const second = "data: zwei €\n\n";
  assertEquals(parse(first + second), [
    { event: "a", data: "1", end: 18 },
    { event: null, data: "zwei €", end: 18 + second.length + 2 },
  ]);
});

Deno.test("EventParser follows the event stream format", () => {
  const table: [string, string[]][] = [
    ["data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]],
    ["data: a\r\rdata: b\r\r", ["a", "b"]],
    ["data:a\n\n", ["a"]],
    ["data:  a\n\n", [" a"]],
    ["data: a\ndata: b\n\n", ["a\nb"]],
    ["data: a\ndata\ndata: b\n\n", ["a\n\nb"]],
    [": comment\n\n", []],
    [": comment\ndata: a\n\n", ["a"]],
    ["event: ping\n\n", []],
    ["data:\n\n", []],
    ["id: 1\nretry: 5\ndata: a\nother\n\n", ["a"]],
    ["\n\n\n\ndata: a\n\n", ["a"]],
    ["\ufeffdata: a\n\n", ["a"]],
    ["data: a", ["a"]],
    ["data: a\n", ["a"]],
    ["data: a: b\n\n", ["a: b"]],
    ["", []],
  ];
  for (const [text, wanted] of table) assertEquals(datas(text), wanted);
});

Deno.test("EventParser counts the bytes of comments towards the next event", () => {
  assertEquals(parse(": hi\n\ndata: a\n\n"), [
    { event: null, data: "a", end: 15 },
  ]);
});

Deno.test("EventParser tells an event as soon as its blank line is there", () => {
  const parser = new EventParser();
  assertEquals(parser.push(encoder.encode("data: a\n")), []);
  assertEquals(parser.pendingBytes, 8);
  assertEquals(parser.push(encoder.encode("\nda")), [
    { event: null, data: "a", end: 9 },
  ]);
  assertEquals(parser.pendingBytes, 2);
  assertEquals(parser.flush(), []);
  assertEquals(parser.pendingBytes, 0);
});

Deno.test("EventParser does not hold on to the caller's memory", () => {
  const parser = new EventParser();
  const chunk = encoder.encode("data: a");
  parser.push(chunk);
  chunk.fill(120);
  assertEquals(parser.push(encoder.encode("\n\n"))[0]?.data, "a");
});

Deno.test("EventParser reads the same wherever the stream is cut", () => {
  const line = fc.constantFrom(
    "data: {}",
    "data: größer 🎉",
    "event: x",
    ": c",
    "",
    "data",
  );
  const stream = fc.array(
    fc.tuple(line, fc.constantFrom("\n", "\r\n", "\r")),
    { maxLength: 20 },
  ).map((lines) => lines.flat().join(""));
  const cuts = fc.array(fc.nat(200));
  fc.assert(
    fc.property(stream, cuts, (text, cuts) => {
      const bytes = encoder.encode(text);
      const whole = new EventParser();
      const wanted = [...whole.push(bytes), ...whole.flush()];
      const parser = new EventParser();
      const events: StreamEvent[] = [];
      let from = 0;
      for (const to of cuts.sort((a, b) => a - b)) {
        events.push(...parser.push(bytes.slice(from, to)));
        from = Math.max(from, Math.min(to, bytes.length));
      }
      events.push(...parser.push(bytes.slice(from)), ...parser.flush());
      assertEquals(events, wanted);
    }),
    { numRuns: 500 },
  );
});

Deno.test("EventParser survives any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ max: 60 }), (bytes) => {
    const parser = new EventParser();
    const events = [...parser.push(bytes), ...parser.flush()];
    for (const { end } of events) assertEquals(end <= bytes.length, true);
    assertEquals(parser.pendingBytes, 0);
  }));
});
