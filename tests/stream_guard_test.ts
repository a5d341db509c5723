import { assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import {
  foldStream,
  type GuardOptions,
  guardStream,
  isEventStream,
} from "../lib/stream_guard.ts";
import type { EventMeaning } from "../lib/codex/stream.ts";
import { CURRENT } from "./runtimes.ts";
import { test } from "./test.ts";
import type { Answer } from "../lib/tries.ts";

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
  guarded: Answer;
  events: EventMeaning["kind"][];
}

const NOW = 1_800_000_000_000;
const about = () => ({ model: "gpt-5.5", observedAt: NOW, seenAt: NOW });

async function guard(
  { response }: Pick<Source, "response">,
  options: Partial<GuardOptions> = {},
): Promise<Watched> {
  const events: EventMeaning["kind"][] = [];
  const guarded = await guardStream(response, {
    onEnd: () => {},
    onHeaders: () => {},
    about,
    onEvent: ({ kind }) => events.push(kind),
    ...options,
  });
  return { guarded, events };
}

function cutAt(bytes: Uint8Array, cuts: number[]): Uint8Array<ArrayBuffer>[] {
  const ends = [...cuts, bytes.length];
  return ends.map((end, n) => bytes.slice(ends[n - 1] ?? 0, end));
}

async function bytesOf(response: Response): Promise<Uint8Array> {
  return new Uint8Array(await response.arrayBuffer());
}

test("guardStream() decides the same, and changes no byte, however a stream is cut", async () => {
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
        assertEquals(cut.guarded.outcome, whole.guarded.outcome);
        assertEquals(await bytesOf(cut.guarded.response), bytes);
        assertEquals(await bytesOf(whole.guarded.response), bytes);
        assertEquals(cut.events, whole.events);
      },
    ),
    { numRuns: 200 },
  );
});

test("guardStream() does not hold the first content back", async () => {
  const parts = [CREATED, ADDED].map((data) =>
    encoder.encode(`data: ${data}\n\n`)
  );
  const { guarded } = await guard(source(parts, "stall"));
  assertEquals(guarded.outcome.kind, "ok");
  const reader = guarded.response.body!.getReader();
  assertEquals((await reader.read()).value, parts[0]);
  assertEquals((await reader.read()).value, parts[1]);
  await reader.cancel();
});

test("guardStream() takes all that is no output for preamble, and fails over behind it", async () => {
  const preamble = [
    CREATED,
    '{"type":"response.queued"}',
    '{"type":"response.in_progress"}',
    '{"type":"response.metadata","item":{}}',
    '{"type":"codex.response.metadata"}',
    '{"type":"never.heard.of","x":1}',
    LIMITS,
  ].map((data) => `data: ${data}\n\n`).join(": comment\n\n");
  for (
    const [last, kind] of [[FAILED, "usage-limit"], [ADDED, "ok"]] as const
  ) {
    const bytes = encoder.encode(`${preamble}data: ${last}\n\n`);
    const { guarded, events } = await guard(source([bytes]));
    assertEquals([guarded.outcome.kind, ...events], [kind, "rate-limits"]);
    assertEquals(await bytesOf(guarded.response), bytes);
  }
});

test("guardStream() says what a failure means, and leaves one that concerns only the caller to it", async () => {
  const kindOf = async (error: unknown) => {
    const data = JSON.stringify({ type: "error", error });
    const bytes = encoder.encode(`data: ${CREATED}\n\ndata: ${data}\n\n`);
    const { guarded } = await guard(source([bytes]));
    assertEquals(await bytesOf(guarded.response), bytes);
    return guarded.outcome.kind;
  };
  assertEquals(await kindOf({ code: "usage_limit_reached" }), "usage-limit");
  assertEquals(await kindOf({ code: "server_is_overloaded" }), "transient");
  assertEquals(await kindOf({ code: "context_length_exceeded" }), "ok");
  assertEquals(await kindOf({ code: "flex_unavailable" }), "ok");
});

test("guardStream() holds at most 1 MiB back, and one part more", async () => {
  const part = encoder.encode(`: ${"x".repeat(16 * 1024 - 4)}\n\n`);
  assertEquals(part.length, 16 * 1024);
  function* endless() {
    for (;;) yield part.slice();
  }
  const made = source(endless());
  const { guarded } = await guard(made);
  assertEquals([guarded.outcome.kind, made.pulls], ["ok", 64]);
  await guarded.response.body?.cancel();
});

test("guardStream() passes events of 1 MB and learns what comes after them", async () => {
  const huge = ADDED.replace("€", "€".repeat(350_000));
  const text = `data: ${CREATED}\n\ndata: ${huge}\n\ndata: ${LIMITS}\n\n`;
  const bytes = encoder.encode(text);
  const cuts = Array.from({ length: 64 }, (_, n) => (n + 1) * 16_000);
  const { guarded, events } = await guard(source(cutAt(bytes, cuts)));
  assertEquals(guarded.outcome.kind, "ok");
  assertEquals(await bytesOf(guarded.response), bytes);
  assertEquals(events, ["rate-limits"]);
});

test("guardStream() opens a stream whose preamble is larger than it may hold, and learns from it late", async () => {
  const huge = CREATED.replace('"r"', JSON.stringify("x".repeat(2_000_000)));
  const bytes = encoder.encode(`data: ${huge}\n\ndata: ${FAILED}\n\n`);
  const cuts = Array.from({ length: 120 }, (_, n) => (n + 1) * 16_000);
  const made = source(cutAt(bytes, cuts));
  const { guarded, events } = await guard(made);
  assertEquals([guarded.outcome.kind, made.pulls], ["ok", 66]);
  assertEquals(await bytesOf(guarded.response), bytes);
  assertEquals(events, ["failed"], "learned, if too late to be made good");
});

test("guardStream() fails over behind a preamble that echoes a large request", async () => {
  const huge = CREATED.replace('"r"', JSON.stringify("x".repeat(900_000)));
  const bytes = encoder.encode(`data: ${huge}\n\ndata: ${FAILED}\n\n`);
  const { guarded } = await guard(source(cutAt(bytes, [5, 16_000, 500_000])));
  assertEquals(guarded.outcome.kind, "usage-limit");
  assertEquals(await bytesOf(guarded.response), bytes);
});

test("guardStream() holds no more memory than bytes", async () => {
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

test("guardStream() reads nothing that its reader does not ask for", async () => {
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

test("guardStream() hands out the small parts of a long stream without the large buffers that the runtime read them into", async () => {
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

test("guardStream() serves several reads at once, and ends, breaks and is cancelled as before, whichever way the runtime reads", async () => {
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

test("guardStream() stops holding a stream that says nothing for too long, and loses no byte of it", async () => {
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
  const { guarded, events } = await guard({ response }, { maxHeldMs: 20 });
  assertEquals([guarded.outcome.kind, ...events], ["ok"]);
  send(rest);
  const bytes = await bytesOf(guarded.response);
  assertEquals(bytes, new Uint8Array([...preamble, ...rest]));
  assertEquals(events[0], "rate-limits");
});

test("guardStream() lets a stream break as it broke", async () => {
  const broke = new TypeError("connection reset");
  const content = encoder.encode(`data: ${ADDED}\n\n`);
  const { guarded } = await guard(source([content], broke));
  assertEquals(guarded.outcome.kind, "ok");
  const reader = guarded.response.body!.getReader();
  assertEquals((await reader.read()).value, content);
  assertEquals(await assertRejects(() => reader.read()), broke);
});

test("guardStream() breaks a stream off, at both ends, when listening to it fails", async () => {
  const parts = [ADDED, LIMITS].map((data) =>
    encoder.encode(`data: ${data}\n\n`)
  );
  const made = source(parts, "stall");
  const failed = new Error("cannot learn");
  const { guarded: { response } } = await guard(made, {
    onEvent: () => {
      throw failed;
    },
  });
  assertEquals(await assertRejects(() => response.text()), failed);
  assertEquals(made.cancelled, failed);
});

test({
  name:
    "guardStream() rejects a stream that is not made of bytes, at once or when it is passed on",
  // which takes both
  ignore: CURRENT === "bun",
  async fn() {
    const texts = () =>
      new Response(
        new ReadableStream<unknown>({
          pull(controller) {
            controller.enqueue(`data: ${ADDED}\n\n`);
          },
        }) as BodyInit,
      );
    await assertRejects(() => guard({ response: texts() }), TypeError);
    // a status text that no response can be made with is found out at the end
    const odd = new Response(new ReadableStream());
    Object.defineProperty(odd, "statusText", { value: "\n" });
    await assertRejects(
      () => guard({ response: odd }, { maxHeldMs: 10 }),
      TypeError,
    );
  },
});

test("guardStream() calls a stream broken that ends or breaks before any content", async () => {
  const preamble = encoder.encode(`data: ${CREATED}\n\n`);
  const broke = new TypeError("connection reset");
  for (const from of [source, roomySource]) {
    for (const end of ["close", broke] as const) {
      const { guarded } = await guard(from([preamble], end));
      assertEquals(guarded.outcome, { kind: "transient", status: 502 });
      const reader = guarded.response.body!.getReader();
      assertEquals((await reader.read()).value, preamble);
      if (end === "close") assertEquals((await reader.read()).done, true);
      else assertEquals(await assertRejects(() => reader.read()), broke);
    }
  }
});

test("guardStream() keeps status, headers, url and whether it was redirected", async () => {
  const { response } = source([encoder.encode(`data: ${ADDED}\n\n`)]);
  Object.defineProperty(response, "url", { value: "https://example.com/a" });
  Object.defineProperty(response, "redirected", { value: true });
  const { guarded } = await guard({ response });
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

test("guardStream() ends with the reason of an aborted signal, and cancels the stream", async () => {
  const made = source([encoder.encode(`data: ${CREATED}\n\n`)], "stall");
  const controller = new AbortController();
  const guarded = guard(made, { signal: controller.signal });
  const reason = new Error("enough");
  controller.abort(reason);
  assertEquals(await assertRejects(() => guarded), reason);
  assertEquals(made.cancelled, reason);
});

test("isEventStream() takes a stream without a content type, but no JSON", () => {
  const stream = (type?: string, status = 200) => {
    const init = type === undefined
      ? {}
      : { headers: { "content-type": type } };
    return isEventStream(
      new Response(new ReadableStream(), { status, ...init }),
    );
  };
  assertEquals(stream(), true);
  assertEquals(stream("text/event-stream; charset=utf-8"), true);
  assertEquals(stream("application/json"), false);
  assertEquals(stream(undefined, 201), false);
  assertEquals(isEventStream(new Response(null)), false);
});

test("foldStream() takes output of any size", async () => {
  const item = { type: "image", result: "x".repeat(3_000_000) };
  const done = { type: "response.output_item.done", output_index: 0, item };
  const bytes = encoder.encode(
    [CREATED, JSON.stringify(done), COMPLETED].map((data) =>
      `data: ${data}\n\n`
    ).join(""),
  );
  const cuts = Array.from({ length: 45 }, (_, n) => (n + 1) * 65_536);
  const { response } = source(cutAt(bytes, cuts));
  const folded = await foldStream(response, {
    about,
    onEvent: () => {},
    onEnd: () => {},
    onHeaders: () => {},
  });
  if ("error" in folded) throw folded.error;
  assertEquals(folded.outcome.kind, "ok");
  const { output } = await folded.response.json();
  assertEquals(output[0].result.length, 3_000_000);
});

test("foldStream() calls a stream broken that ends inside its last event, and none that ends behind it", async () => {
  const stream = `data: ${ADDED}\n\ndata: ${COMPLETED}\n\n`;
  const fold = async (text: string) => {
    const { response } = source([encoder.encode(text)]);
    const folded = await foldStream(response, {
      about,
      onEvent: () => {},
      onEnd: () => {},
      onHeaders: () => {},
    });
    return "error" in folded
      ? String(folded.error)
      : [folded.outcome.kind, folded.response.status];
  };
  assertEquals(await fold(stream), ["ok", 200]);
  for (const cut of [2, 3, 10, 20]) {
    assertEquals(
      await fold(stream.slice(0, -cut)),
      "TypeError: The stream ended before its response",
    );
  }
});
