import { assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { Deadlines } from "../lib/deadlines.ts";
import {
  type Guarded,
  guardStream,
  isEventStream,
  LONGEST_HELD_MS,
} from "../lib/stream_guard.ts";
import type { EventMeaning } from "../lib/codex/stream.ts";

const CREATED = '{"type":"response.created","response":{"id":"r"}}';
const LIMITS = '{"type":"codex.rate_limits","rate_limits":{"allowed":true}}';
const ADDED = '{"type":"response.output_item.added","item":{"text":"äöü €"}}';
const COMPLETED = '{"type":"response.completed","response":{}}';
const FAILED =
  '{"type":"response.failed","response":{"error":{"code":"usage_limit_reached"}}}';

const encoder = new TextEncoder();

interface Source {
  response: Response;
  /** How many parts were asked for. */
  pulls: number;
  cancelled: unknown;
}

/** A response in these parts, which is left open where `end` is "stall". */
function source(
  parts: Iterable<Uint8Array<ArrayBuffer>>,
  end: "close" | "stall" | Error = "close",
): Source {
  const iterator = parts[Symbol.iterator]();
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      made.pulls++;
      const { done, value } = iterator.next();
      if (!done) return controller.enqueue(value);
      if (end === "stall") return new Promise(() => {});
      if (end === "close") controller.close();
      else controller.error(end);
    },
    cancel: (reason) => void (made.cancelled = reason),
  }, { highWaterMark: 0 });
  const response = new Response(body, { headers: { "x-own": "yes" } });
  const made: Source = { response, pulls: 0, cancelled: undefined };
  return made;
}

/** The same, read as Deno reads the network: each part into a larger buffer of its own, unless it is given one. */
function roomySource(
  parts: Iterable<Uint8Array<ArrayBuffer>>,
  end: "close" | "stall" | Error = "close",
): Source {
  const iterator = parts[Symbol.iterator]();
  const body = new ReadableStream({
    type: "bytes",
    autoAllocateChunkSize: 64 * 1024,
    pull(controller) {
      made.pulls++;
      const request = controller.byobRequest!;
      const view = request.view!;
      const { done, value } = iterator.next();
      if (!done) {
        new Uint8Array(view.buffer, view.byteOffset).set(value);
        return request.respond(value.length);
      }
      if (end === "stall") return new Promise(() => {});
      if (end !== "close") return controller.error(end);
      controller.close();
      request.respond(0);
    },
    cancel: (reason) => void (made.cancelled = reason),
  }, { highWaterMark: 0 });
  const response = new Response(body);
  const made: Source = { response, pulls: 0, cancelled: undefined };
  return made;
}

/** The same, from parts of one larger buffer. */
function slicedSource(...[parts, end]: Parameters<typeof source>): Source {
  const whole = new Uint8Array([...parts].flatMap((part) => [...part]));
  let at = 0;
  const slices = [...parts].map(({ length }) =>
    whole.subarray(at, at += length)
  );
  return source(slices, end);
}

interface Watched {
  guarded: Guarded;
  events: EventMeaning["kind"][];
}

async function guard(
  { response }: Source,
  longestMs = LONGEST_HELD_MS,
): Promise<Watched> {
  const events: EventMeaning["kind"][] = [];
  const deadlines = new Deadlines(longestMs);
  try {
    const guarded = await guardStream(response, {
      model: "gpt-5.5",
      now: () => 1_800_000_000_000,
      onEvent: ({ kind }) => events.push(kind),
      deadlines,
    });
    return { guarded, events };
  } finally {
    deadlines.close();
  }
}

function cutAt(bytes: Uint8Array, cuts: number[]): Uint8Array<ArrayBuffer>[] {
  const ends = [...cuts, bytes.length];
  return ends.map((end, n) => bytes.slice(ends[n - 1] ?? 0, end));
}

async function bytesOf(response: Response): Promise<Uint8Array> {
  return new Uint8Array(await response.arrayBuffer());
}

/** The beginnings of streams; each is followed by content, or by a failure. */
const BEGINNINGS: Record<string, string> = {
  "LF": `event: response.created\ndata: ${CREATED}\n\ndata: ${LIMITS}\n\n`,
  "CRLF":
    `event: response.created\r\ndata: ${CREATED}\r\n\r\ndata: ${LIMITS}\r\n\r\n`,
  "CR": `event: response.created\rdata: ${CREATED}\r\rdata: ${LIMITS}\r\r`,
  "comments": `: hello\n\n:\ndata: ${CREATED}\n\n: 🦕\n\ndata:${LIMITS}\n\n`,
  "a BOM": `\uFEFFdata: ${CREATED}\n\ndata: ${LIMITS}\n\n`,
  "several data lines": `data: {"type":\ndata: "response.created"}\n\n` +
    `id: 1\nretry: 5\ndata: {\ndata: ${LIMITS.slice(1)}\n\n`,
};

for (const [name, beginning] of Object.entries(BEGINNINGS)) {
  const ends = name === "CRLF" ? "\r\n" : name === "CR" ? "\r" : "\n";
  const content = [ADDED, LIMITS, COMPLETED]
    .map((data) => `data: ${data}${ends}${ends}`).join("");
  const opened = encoder.encode(beginning + content);
  const failed = encoder.encode(
    `${beginning}data: ${FAILED}${ends}${ends}`,
  );

  Deno.test(`guardStream() opens with the same bytes, cut anywhere: ${name}`, async () => {
    for (let cut = 1; cut < opened.length; cut++) {
      const { guarded, events } = await guard(source(cutAt(opened, [cut])));
      assertEquals([cut, guarded.kind], [cut, "open"]);
      assertEquals(await bytesOf(guarded.response), opened);
      // the second one lies behind the guard, where lines end in line feeds
      const count = ends === "\r" ? 1 : 2;
      const heard = Array(count).fill("rate-limits");
      assertEquals([cut, ...events.slice(0, count)], [cut, ...heard]);
    }
  });

  Deno.test(`guardStream() catches a failure, cut anywhere: ${name}`, async () => {
    for (let cut = 1; cut < failed.length; cut++) {
      const { guarded } = await guard(source(cutAt(failed, [cut])));
      const outcome = guarded.kind === "failed" ? guarded.outcome.kind : null;
      assertEquals([cut, outcome], [cut, "usage-limit"]);
    }
  });
}

Deno.test("guardStream() decides the same, and changes no byte, however a stream is cut", async () => {
  const event = fc.constantFrom(
    `data: ${CREATED}\n\n`,
    `event: response.in_progress\r\ndata: {}\r\n\r\n`,
    ": comment\n\n",
    `data: ${LIMITS}\n\n`,
    `data: ${ADDED}\n\n`,
    `data: ${FAILED}\n\n`,
    `data: ${COMPLETED}\n\n`,
    "data: [DONE]\n\n",
    "data\n\n",
    "junk\n",
    "\n",
    "\r\n",
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { maxLength: 8 }),
      fc.array(fc.nat(400), { maxLength: 12 }),
      async (parts, cuts) => {
        const bytes = encoder.encode(parts.join(""));
        const sorted = cuts.filter((cut) => cut < bytes.length)
          .sort((a, b) => a - b);
        const whole = await guard(source([bytes]));
        const cut = await guard(source(cutAt(bytes, sorted)));
        assertEquals(cut.guarded.kind, whole.guarded.kind);
        assertEquals(await bytesOf(cut.guarded.response), bytes);
        assertEquals(await bytesOf(whole.guarded.response), bytes);
        assertEquals(cut.events, whole.events);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("guardStream() does not hold the first content back", async () => {
  const parts = [CREATED, ADDED].map((data) =>
    encoder.encode(`data: ${data}\n\n`)
  );
  const { guarded } = await guard(source(parts, "stall"));
  assertEquals(guarded.kind, "open");
  const reader = guarded.response.body!.getReader();
  assertEquals((await reader.read()).value, parts[0]);
  assertEquals((await reader.read()).value, parts[1]);
  await reader.cancel();
});

Deno.test("guardStream() holds at most 64 KiB back, and one part more", async () => {
  const part = encoder.encode(`: ${"x".repeat(1020)}\n\n`);
  assertEquals(part.length, 1024);
  function* endless() {
    for (;;) yield part.slice();
  }
  const made = source(endless());
  const { guarded } = await guard(made);
  assertEquals([guarded.kind, made.pulls], ["open", 64]);
  await guarded.response.body?.cancel();
});

Deno.test("guardStream() passes events of 1 MB and learns what comes after them", async () => {
  const huge = ADDED.replace("€", "€".repeat(350_000));
  const text = `data: ${CREATED}\n\ndata: ${huge}\n\ndata: ${LIMITS}\n\n`;
  const bytes = encoder.encode(text);
  const cuts = Array.from({ length: 64 }, (_, n) => (n + 1) * 16_000);
  const { guarded, events } = await guard(source(cutAt(bytes, cuts)));
  assertEquals(guarded.kind, "open");
  assertEquals(await bytesOf(guarded.response), bytes);
  assertEquals(events, ["rate-limits"]);
});

Deno.test("guardStream() holds no more memory than bytes", async () => {
  const parts = Array.from(
    encoder.encode(`data: ${CREATED}\n\n`),
    (byte) => new Uint8Array([byte]),
  );
  const { guarded } = await guard(
    roomySource([...parts, encoder.encode(`data: ${ADDED}\n\n`)]),
  );
  const reader = guarded.response.body!.getReader();
  for (const part of parts) {
    const { value } = await reader.read();
    assertEquals([value, value?.buffer.byteLength], [part, 1]);
  }
  await reader.cancel();
});

Deno.test("guardStream() opens a stream whose preamble is larger than it may hold", async () => {
  const huge = CREATED.replace('"r"', JSON.stringify("x".repeat(1_000_000)));
  const bytes = encoder.encode(`data: ${huge}\n\ndata: ${FAILED}\n\n`);
  const cuts = Array.from({ length: 60 }, (_, n) => (n + 1) * 16_000);
  const made = source(cutAt(bytes, cuts));
  const { guarded, events } = await guard(made);
  assertEquals([guarded.kind, made.pulls], ["open", 5]);
  assertEquals(await bytesOf(guarded.response), bytes);
  assertEquals(events, ["failed"], "learned, if too late to be made good");
});

Deno.test("guardStream() reads nothing that its reader does not ask for", async () => {
  const parts = Array.from(
    { length: 50 },
    () => encoder.encode(`data: ${ADDED}\n\n`),
  );
  const made = source(parts);
  const { guarded } = await guard(made);
  assertEquals(made.pulls, 1);
  const reader = guarded.response.body!.getReader();
  for (let n = 1; n <= 5; n++) {
    await reader.read();
    assertEquals(made.pulls, n);
  }
  await reader.cancel("enough");
  assertEquals(made.cancelled, "enough");

  const read = source(parts);
  await bytesOf((await guard(read)).guarded.response);
  assertEquals(read.pulls, parts.length + 1, "each part once, and the end");
});

Deno.test("guardStream() hands out the small parts of a long stream without the large buffers that the runtime read them into", async () => {
  const beginning = encoder.encode(`data: ${ADDED}\n\n`);
  const lengths = [...Array(21).keys()].slice(1).concat(
    32_768,
    1,
    32_769,
    2,
    65_536,
    3,
  );
  const parts = [
    beginning,
    ...lengths.map((length) => new Uint8Array(length).fill(length)),
  ];
  const { guarded } = await guard(roomySource(parts));
  const read: Uint8Array[] = [];
  for await (const part of guarded.response.body!) read.push(part);
  assertEquals(read, parts, "a later part was not written over an earlier one");
  const rooms = read.slice(10).filter(({ length }) => length <= 32_768)
    .map((part) => part.buffer.byteLength - part.length);
  assertEquals(new Set(rooms), new Set([0]));
});

Deno.test("guardStream() serves several reads at once, and ends, breaks and is cancelled as before, whichever way the runtime reads", async () => {
  const parts = [..."abcdefghijklmnopqrst"].map((text) =>
    encoder.encode(`data: ${ADDED}\n\n${text}`)
  );
  const broke = new TypeError("connection reset");
  for (const from of [source, roomySource, slicedSource]) {
    const reader = async (end?: "stall" | Error) => {
      const made = from(parts, end);
      const { guarded } = await guard(made);
      return { made, reader: guarded.response.body!.getReader() };
    };
    const whole = (await reader()).reader;
    const reads = Array.from({ length: 22 }, () => whole.read());
    const values = (await Promise.all(reads)).map(({ value }) => value);
    assertEquals(values, [...parts, undefined, undefined]);

    const broken = (await reader(broke)).reader;
    for (const part of parts) {
      assertEquals((await broken.read()).value, part);
    }
    assertEquals(await assertRejects(() => broken.read()), broke);

    const left = await reader("stall");
    for (const part of parts) {
      assertEquals((await left.reader.read()).value, part);
    }
    const waiting = left.reader.read();
    await left.reader.cancel("enough");
    assertEquals(left.made.cancelled, "enough");
    assertEquals((await waiting).done, true);
  }
});

Deno.test("guardStream() lets a stream go that says nothing for too long, and loses no byte of it", async () => {
  const preamble = encoder.encode(`data: ${CREATED}\n\n`);
  const rest = encoder.encode(`data: ${LIMITS}\n\ndata: ${ADDED}\n\n`);
  let send = (_part: Uint8Array) => {};
  const response = new Response(
    new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(preamble);
        send = (part) => {
          controller.enqueue(part);
          controller.close();
        };
      },
    }),
  );
  const { guarded, events } = await guard(
    { response, pulls: 0, cancelled: undefined },
    20,
  );
  assertEquals([guarded.kind, ...events], ["open"]);
  send(rest);
  const bytes = await bytesOf(guarded.response);
  assertEquals(bytes, new Uint8Array([...preamble, ...rest]));
  assertEquals(events[0], "rate-limits");
});

Deno.test("guardStream() lets a stream break as it broke", async () => {
  const broke = new TypeError("connection reset");
  const content = encoder.encode(`data: ${ADDED}\n\n`);
  const { guarded } = await guard(source([content], broke));
  assertEquals(guarded.kind, "open");
  const reader = guarded.response.body!.getReader();
  assertEquals((await reader.read()).value, content);
  assertEquals(await assertRejects(() => reader.read()), broke);
});

Deno.test("guardStream() breaks a stream off, at both ends, when listening to it fails", async () => {
  const parts = [ADDED, LIMITS].map((data) =>
    encoder.encode(`data: ${data}\n\n`)
  );
  const made = source(parts, "stall");
  const failed = new Error("cannot learn");
  const deadlines = new Deadlines(LONGEST_HELD_MS);
  const { response } = await guardStream(made.response, {
    model: undefined,
    now: Date.now,
    onEvent: () => {
      throw failed;
    },
    deadlines,
  });
  deadlines.close();
  assertEquals(await assertRejects(() => response.text()), failed);
  assertEquals(made.cancelled, failed);
});

Deno.test("guardStream() rejects a stream that is not made of bytes, at once or when it is let go", async () => {
  const texts = () =>
    new Response(
      new ReadableStream<unknown>({
        pull(controller) {
          controller.enqueue(`data: ${ADDED}\n\n`);
        },
      }) as BodyInit,
    );
  const made = { pulls: 0, cancelled: undefined };
  await assertRejects(() => guard({ response: texts(), ...made }), TypeError);
  // a status text that no response can be made with is found out at the end
  const odd = new Response(new ReadableStream());
  Object.defineProperty(odd, "statusText", { value: "\n" });
  await assertRejects(() => guard({ response: odd, ...made }, 10), TypeError);
});

Deno.test("guardStream() calls a stream broken that ends or breaks before any content", async () => {
  const preamble = encoder.encode(`data: ${CREATED}\n\n`);
  const broke = new TypeError("connection reset");
  for (const from of [source, roomySource]) {
    for (const end of ["close", broke] as const) {
      const { guarded } = await guard(from([preamble], end));
      assertEquals(guarded.kind, "broken");
      const reader = guarded.response.body!.getReader();
      assertEquals((await reader.read()).value, preamble);
      if (end === "close") assertEquals((await reader.read()).done, true);
      else assertEquals(await assertRejects(() => reader.read()), broke);
    }
  }
});

Deno.test("guardStream() keeps status, headers, url and whether it was redirected", async () => {
  const { response } = source([encoder.encode(`data: ${ADDED}\n\n`)]);
  Object.defineProperty(response, "url", { value: "https://example.com/a" });
  Object.defineProperty(response, "redirected", { value: true });
  const { guarded } = await guard({ response, pulls: 0, cancelled: 0 });
  const clones = [guarded.response.clone(), guarded.response.clone().clone()];
  for (const answer of [guarded.response, ...clones]) {
    const { status, headers, url, redirected } = answer;
    assertEquals(
      [status, headers.get("x-own"), url, redirected],
      [200, "yes", "https://example.com/a", true],
    );
    assertEquals(await answer.text(), `data: ${ADDED}\n\n`);
  }
});

Deno.test("isEventStream() takes a stream without a content type, but no JSON", () => {
  const stream = new Response(new ReadableStream());
  assertEquals(isEventStream(stream, null), true);
  assertEquals(isEventStream(stream, "text/event-stream; charset=utf-8"), true);
  assertEquals(isEventStream(stream, "application/json"), false);
  assertEquals(isEventStream(new Response(null), null), false);
  const failed = new Response(new ReadableStream(), { status: 201 });
  assertEquals(isEventStream(failed, null), false);
});
