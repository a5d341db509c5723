import { assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  type ServerSentEvent,
  ServerSentEventParser,
} from "../../lib/codex/sse.ts";
import { test } from "../test.ts";

const encoder = new TextEncoder();

/** The events of a stream that comes in these parts, as "event: data". */
function read(parts: Iterable<Uint8Array>): string[] {
  const parser = new ServerSentEventParser();
  return [...parts].flatMap((part) => texts(parser.push(part)));
}

function texts(events: readonly ServerSentEvent[]): string[] {
  return events.map(({ event, data }) => `${event ?? "-"}: ${data}`);
}

/** Bytes in as many parts as there are cuts, and one more. */
function cutAt(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...cuts, bytes.length];
  return ends.map((end, index) => bytes.slice(ends[index - 1] ?? 0, end));
}

/** What a stream holds, and its events by the WHATWG's format. */
const FORMAT: [why: string, stream: string, events: string[]][] = [
  ["LF ends a line", "data: a\n\ndata: b\n\n", ["-: a", "-: b"]],
  ["CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", ["-: a", "-: b"]],
  ["CR", "data: a\r\rdata: b\r\r", ["-: a", "-: b"]],
  ["mixed: CRLF, LF", "data: a\r\n\ndata: b\n\n", ["-: a", "-: b"]],
  ["mixed: LF, CRLF", "data: a\n\r\ndata: b\n\n", ["-: a", "-: b"]],
  ["mixed: CR, CRLF", "data: a\r\r\ndata: b\n\n", ["-: a", "-: b"]],
  ["mixed: LF, CR", "data: a\n\rdata: b\n\n", ["-: a", "-: b"]],
  ["CRLF is one end", "data: a\r\ndata: b\r\n\r\n", ["-: a\nb"]],
  ["a lone CR behind LF", "data: a\n\ndata: b\r\r", ["-: a", "-: b"]],
  ["several lone CRs behind LF", "data: a\n\ndata: b\r\rdata: c\r\r", [
    "-: a",
    "-: b",
    "-: c",
  ]],
  ["a byte order mark", "\uFEFFdata: a\n\n", ["-: a"]],
  ["one alone", "\uFEFF\uFEFFdata: a\n\ndata: b\n\n", ["-: b"]],
  ["none further on", "data: a\n\n\uFEFFdata: b\n\n", ["-: a"]],
  ["one in the data", "data: \uFEFFa\ndata:\uFEFF\n\n", ["-: \uFEFFa\n\uFEFF"]],
  ["comments", ": hi\n\n:\ndata: a\n: hi\n\n: 🦕\n\n", ["-: a"]],
  ["a comment is no field", ":data: a\n\n", []],
  ["several data lines", "data: a\ndata:\ndata: b\n\n", ["-: a\n\nb"]],
  ["empty data", "data\n\ndata:\n\ndata: \n\n", ["-: ", "-: ", "-: "]],
  ["no data", "event: e\n\ndata: a\n\n", ["-: a"]],
  ["an event name", "event: e\ndata: a\n\ndata: b\n\n", ["e: a", "-: b"]],
  ["the last name counts", "event: e\ndata: a\nevent: f\n\n", ["f: a"]],
  ["an empty name is none", "event: e\nevent:\ndata: a\n\n", ["-: a"]],
  ["one space is left out", "data:  a \ndata:b\n\n", ["-:  a \nb"]],
  ["a tab is not", "data:\ta\n\n", ["-: \ta"]],
  ["a colon in the value", "data: a: b\n\n", ["-: a: b"]],
  ["id and retry", "id: 1\nretry: 5\ndata: a\n\nid\n\n", ["-: a"]],
  ["unknown fields", "datum: a\ndat\ndata2: b\n data: c\nDATA: d\n\n", []],
  ["empty lines", "\n\n\n\ndata: a\n\n\n\n\r\n\r\n", ["-: a"]],
  ["no empty line at the end", "data: a\n\ndata: b\n", ["-: a"]],
  ["no line end at the end", "data: a\n\ndata: b", ["-: a"]],
  ["nothing", "", []],
];

test("the parser reads the format of server-sent events, cut at any byte", () => {
  for (const [why, stream, events] of FORMAT) {
    const bytes = encoder.encode(stream);
    assertEquals([why, ...read([bytes])], [why, ...events]);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const found = read(cutAt(bytes, [cut]));
      assertEquals([why, cut, ...found], [why, cut, ...events]);
    }
    assertEquals(read([...bytes].map((byte) => Uint8Array.of(byte))), events);
  }
});

test("the parser replaces bytes that are no UTF-8 and goes on", () => {
  const bytes = Uint8Array.of(...encoder.encode("data: a"), 0xff, 0xe2, 0x82);
  const rest = encoder.encode("\n\ndata: b\n\n");
  assertEquals(read([bytes, rest]), ["-: a\uFFFD\uFFFD", "-: b"]);
});

test("the parser gives an event as soon as its empty line has come", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const parser = new ServerSentEventParser();
    const push = (text: string) => texts(parser.push(encoder.encode(text)));
    assertEquals(push(`data: a${end}`), []);
    assertEquals(push(end), ["-: a"]);
    assertEquals(push(`data: b${end}${end}data: c`), ["-: b"]);
    assertEquals(push(`${end}${end}`), ["-: c"]);
  }
});

/** Texts of which streams are made, so that their ends meet in every way. */
const piece = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("\n", "\r", "\r\n") },
  {
    weight: 3,
    arbitrary: fc.constantFrom("data", "data: ", "event: ", ":", " ", "\uFEFF"),
  },
  { weight: 2, arbitrary: fc.constantFrom("a", "ä€🦕", "x".repeat(300)) },
);
const stream = fc.array(piece, { maxLength: 40 }).map((it) => it.join(""));

/** The same in the plainest way: a line at a time. */
function reference(stream: string): string[] {
  const events: string[] = [];
  let event = "";
  let data: string[] = [];
  const lines = stream.replace(/^\uFEFF/, "").split(/\r\n|\r|\n/);
  for (const line of lines.slice(0, -1)) {
    if (line === "") {
      if (data.length > 0) events.push(`${event || "-"}: ${data.join("\n")}`);
      event = "";
      data = [];
    }
    const [, field, value = ""] = /^([^:]*)(?:: ?([^]*))?$/.exec(line)!;
    if (field === "data") data.push(value);
    if (field === "event") event = value;
  }
  return events;
}

test("the parser reads any stream as the format says, however it is cut", () => {
  fc.assert(
    fc.property(stream, fc.array(fc.nat(400)), (stream, cuts) => {
      const bytes = encoder.encode(stream);
      const sorted = cuts.filter((cut) => cut < bytes.length)
        .sort((a, b) => a - b);
      assertEquals(read(cutAt(bytes, sorted)), reference(stream));
    }),
    { numRuns: 1000 },
  );
});

const MIB = 1024 * 1024;

test("the parser drops an event longer than 1 MiB and reads the next one, however both are cut", () => {
  const line = `data: ${"x".repeat(MIB - 100)}`;
  const events: [why: string, event: string, isKept: boolean][] = [
    ["just short enough", line, true],
    ["one long line", `${line}${"x".repeat(200)}`, false],
    [
      "many lines",
      `data: y\n${`${line.slice(0, MIB / 4)}\n`.repeat(5)}`,
      false,
    ],
    ["many short lines", "data: abc\n".repeat(MIB / 8), false],
    ["a long comment", `:${line}${line}\ndata: late`, false],
    ["without line feeds", `${line}\r${line}`, false],
  ];
  for (const [why, event, isKept] of events) {
    const end = event.includes("\r") ? "\r" : "\n";
    for (const size of [50_000, MIB, 8 * MIB]) {
      const stream =
        `data: a${end}${end}${event}${end}${end}data: b${end}${end}`;
      const bytes = encoder.encode(stream);
      const cuts = Array.from(
        { length: Math.floor(bytes.length / size) },
        (_, n) => (n + 1) * size,
      );
      const found = read(cutAt(bytes, cuts))
        .map((it) => it.length < 100 ? it : "long");
      const kept = isKept ? ["long"] : [];
      assertEquals([why, size, ...found], [why, size, "-: a", ...kept, "-: b"]);
    }
  }
});

test("the parser drops what is too long up to the empty line, wherever that is cut", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    for (const before of ["", end, `${end}data: y${end}`]) {
      const long = encoder.encode(`data: ${"x".repeat(MIB)}${before}`);
      const rest = encoder.encode(
        `${before === "" ? end : ""}${end}data: b${end}${end}`,
      );
      for (let cut = 0; cut < rest.length; cut++) {
        assertEquals(read([long, ...cutAt(rest, [cut])]), ["-: b"]);
      }
    }
  }
});

test("the parser keeps longer events where its reader wants them whole", () => {
  const data = "x".repeat(2 * MIB);
  const parser = new ServerSentEventParser(Infinity);
  const bytes = encoder.encode(`data: ${data}\n\n`);
  const events = cutAt(bytes, [5, MIB, 2 * MIB])
    .flatMap((part) => parser.push(part));
  assertEquals(events.map((it) => it.data === data), [true]);
});

test("the parser returns only events that are wanted, wherever they are cut", () => {
  const stream = ["data: plain", "event: wanted\ndata: 1", "data: x\ndata: two"]
    .map((event) => `${event}\n\n`).join("");
  const bytes = encoder.encode(stream);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const parser = new ServerSentEventParser();
    const found = cutAt(bytes, [cut])
      .flatMap((part) => parser.push(part, /wanted|two/));
    assertEquals(texts(found), ["wanted: 1", "-: x\ntwo"]);
  }
});
