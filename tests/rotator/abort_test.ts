import { assert, assertEquals, assertRejects } from "@std/assert";
import { fileURLToPath } from "node:url";
import {
  type Fleet,
  type FleetOptions,
  fullWindows,
  MINUTE,
  requestBody,
  START,
  startFleet,
} from "../fleet.ts";
import type {
  FakeAnswer,
  FakeKind,
  FakeLogEntry,
} from "../../lib/testing/fake_codex.ts";
import { createRotator, type Store } from "../../mod.ts";
import { commandOf, CURRENT, RUNTIMES } from "../runtimes.ts";
import { spawn } from "../spawn.ts";
import { test, testOnDeno } from "../test.ts";

/** The caller's own reason, which must come back as it is. */
const REASON = new Error("the caller's own");
const CREATED = { type: "response.created", response: { id: "r" } };
const ADDED = { type: "response.output_item.added", item: {} };
const RAN_OUT = JSON.stringify({ error: { type: "usage_limit_reached" } });
/** Nothing ends this answer but a client that goes away. */
const HANGS: FakeAnswer = { hang: true };
/** Begins and then stays where it is. */
const STALLS = { drop: 99, chunkDelayMs: 60_000 };

/** Nothing may be held against an account because a caller went away. */
async function assertUnmarked({ store }: Fleet): Promise<void> {
  const { accounts } = await (store as Store).read();
  for (const [alias, account] of Object.entries(accounts)) {
    const { cooldowns = {}, auth = null, usageCheck } = account;
    assertEquals(
      { alias, cooldowns, auth, failed: usageCheck?.failedAt },
      { alias, cooldowns: {}, auth: null, failed: undefined },
    );
  }
}

interface Phase extends FleetOptions {
  prepare?: (fleet: Fleet) => void;
  body?: Record<string, unknown>;
  /** When the caller aborts. */
  when: (entry: FakeLogEntry) => boolean;
  /** What the backend sees; nothing follows the abort. */
  calls: FakeKind[];
}

/** Asks, aborts, and checks that it ends at once, with the reason, and leaves nothing behind. */
async function abortDuring(phase: Phase): Promise<Fleet> {
  const { prepare, body, when, calls, ...options } = phase;
  const fleet = await startFleet(options);
  prepare?.(fleet);
  const abort = new AbortController();
  const { signal } = abort;
  const asked = fleet.ask(body, { signal });
  const rejects = assertRejects(() => asked);
  await fleet.fake.seen(when);
  abort.abort(REASON);
  assertEquals(await rejects, REASON);
  await assertUnmarked(fleet);
  assertEquals(fleet.fake.log.map(({ kind }) => kind), calls);
  return fleet;
}

/** Later requests go on as if nothing had been, and they are all there is. */
async function assertGoesOn(fleet: Fleet): Promise<void> {
  const before = fleet.fake.log.filter(({ kind }) => kind === "responses");
  const answer = await fleet.ask();
  assertEquals(answer.status, 200);
  const after = fleet.fake.log.filter(({ kind }) => kind === "responses");
  assertEquals(after.length, before.length + 1);
  assertEquals(fleet.events.filter(({ type }) => type === "switched"), []);
}

const isResponses = ({ kind }: FakeLogEntry) => kind === "responses";

test("rotator.fetch() rejects with the caller's reason before it does anything", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  const url = `${fleet.rotator.baseURL}/responses`;
  const signal = AbortSignal.abort(REASON);
  const request = new Request(url, { method: "POST", body: "x", signal });
  for (
    const ask of [
      () => fleet.rotator.fetch(url, { method: "POST", body: "x", signal }),
      () => fleet.rotator.fetch(request),
      () => fleet.rotator.fetch(new URL(url), { signal }),
    ]
  ) assertEquals(await assertRejects(ask), REASON);
  const plain = AbortSignal.abort();
  const error = await assertRejects(() =>
    fleet.rotator.fetch(url, { signal: plain })
  );
  assert(error instanceof DOMException && error.name === "AbortError");
  assertEquals(fleet.fake.log, []);
  await assertUnmarked(fleet);
});

test("rotator.fetch() does not heed a Request's signal when its init has none", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  const request = new Request(`${fleet.rotator.baseURL}/responses`, {
    method: "POST",
    body: JSON.stringify(requestBody()),
    signal: AbortSignal.abort(REASON),
  });
  const response = await fleet.rotator.fetch(request, { signal: null });
  assertEquals(response.status, 200);
  await response.body?.cancel();
});

test("rotator.fetch() rejects while a body is read that does not come", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  const cancelled = Promise.withResolvers<unknown>();
  const reading = Promise.withResolvers<void>();
  const body = new ReadableStream({
    pull() {
      reading.resolve();
      return new Promise(() => {});
    },
    cancel: cancelled.resolve,
  }, { highWaterMark: 0 });
  const abort = new AbortController();
  const { signal } = abort;
  const asked = fleet.rotator.fetch("/responses", {
    method: "POST",
    body,
    signal,
  });
  await reading.promise;
  abort.abort(REASON);
  assertEquals(await assertRejects(() => asked), REASON);
  assertEquals(await cancelled.promise, REASON);
  assertEquals(fleet.fake.log, []);
});

test("rotator.fetch() rejects while a body is sent, and stops sending it", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: {} },
    maxReplayBytes: 10,
  });
  await fleet.rotator.refresh();
  fleet.fake.clearLog();
  const cancelled = Promise.withResolvers<void>();
  const sending = Promise.withResolvers<void>();
  let pulled = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (pulled++ < 4) return controller.enqueue(new Uint8Array(100));
      sending.resolve();
      return new Promise(() => {});
    },
    cancel: () => cancelled.resolve(),
  }, { highWaterMark: 0 });
  const abort = new AbortController();
  const { signal } = abort;
  const asked = fleet.rotator.fetch("/responses", {
    method: "POST",
    body,
    signal,
  });
  await sending.promise;
  abort.abort(REASON);
  assertEquals(await assertRejects(() => asked), REASON);
  // Node's own fetch does not tell the body either
  if (CURRENT !== "node") await cancelled.promise;
  await fleet.fake.seen(({ aborted }) => aborted);
  assertEquals(fleet.fake.log.length, 1);
  await assertUnmarked(fleet);
  await assertGoesOn(fleet);
});

test("rotator.fetch() rejects while usage is asked for, and the next one asks again", async () => {
  await using fleet = await abortDuring({
    accounts: { alice: { usageQueue: [HANGS] } },
    when: ({ kind }) => kind === "usage",
    calls: ["usage"],
  });
  await fleet.fake.seen(({ aborted }) => aborted);
  await assertGoesOn(fleet);
});

test("rotator.fetch() rejects while a token is refreshed, and keeps the new one", async () => {
  const gate = Promise.withResolvers<void>();
  await using fleet = await abortDuring({
    accounts: { alice: { tokenQueue: [{ until: gate.promise }] } },
    fake: { accessLifetimeMs: -MINUTE },
    // the new one is to last
    prepare: ({ fake }) => fake.account("alice").accessLifetimeMs = 60 * MINUTE,
    when: ({ kind }) => kind === "token",
    calls: ["token"],
  });
  gate.resolve();
  await assertGoesOn(fleet);
  const tokenCalls = fleet.fake.log.filter(({ kind }) => kind === "token");
  assertEquals(tokenCalls.length, 1, "a refresh token serves once");
});

test("rotator.fetch() rejects before the headers and cuts the connection", async () => {
  await using fleet = await abortDuring({
    accounts: { alice: { queue: [HANGS] } },
    when: isResponses,
    calls: ["usage", "responses"],
  });
  await fleet.fake.seen((entry) => isResponses(entry) && entry.aborted);
  await assertGoesOn(fleet);
});

test("rotator.fetch() rejects while it waits between two tries", async () => {
  const abort = new AbortController();
  await using fleet = await startFleet({
    accounts: { alice: { queue: [{ status: 503 }] } },
    random: () => {
      // drawn for the pause, so that is where the request is now
      queueMicrotask(() => abort.abort(REASON));
      return 1;
    },
  });
  const { signal } = abort;
  const error = await assertRejects(() => fleet.ask({}, { signal }));
  assertEquals(error, REASON);
  assertEquals(fleet.fake.log.filter(isResponses).length, 1);
  await assertUnmarked(fleet);
  await assertGoesOn(fleet);
});

test("rotator.fetch() rejects while it waits for a reset", async () => {
  await using fleet = await abortDuring({
    accounts: { alice: { windows: fullWindows(START) } },
    maxWait: 120 * MINUTE,
    when: ({ kind, done }) => kind === "usage" && done,
    calls: ["usage"],
  });
  assertEquals(fleet.events.filter(({ type }) => type === "exhausted"), []);
});

test("rotator.fetch() rejects while the body of an error comes", async () => {
  await using fleet = await abortDuring({
    accounts: {
      alice: {
        queue: [{
          status: 429,
          raw: [RAN_OUT.slice(0, 9), RAN_OUT],
          ...STALLS,
        }],
      },
      bob: {},
    },
    when: ({ status }) => status === 429,
    calls: ["usage", "usage", "responses"],
  });
  await fleet.fake.seen(({ aborted }) => aborted);
  await assertGoesOn(fleet);
});

test("rotator.fetch() rejects while a stream has only begun, folded or not", async () => {
  for (const stream of [true, false]) {
    await using fleet = await abortDuring({
      accounts: {
        alice: { queue: [{ events: [CREATED, CREATED], ...STALLS }] },
        bob: {},
      },
      body: { stream },
      when: (entry) => isResponses(entry) && entry.status === 200,
      calls: ["usage", "usage", "responses"],
    });
    await fleet.fake.seen(({ aborted }) => aborted);
    await assertGoesOn(fleet);
  }
});

test("rotator.fetch() rejects while it folds a stream that has content", async () => {
  await using fleet = await abortDuring({
    accounts: {
      alice: { queue: [{ events: [CREATED, ADDED, ADDED], ...STALLS }] },
      bob: {},
    },
    body: { stream: false },
    when: (entry) => isResponses(entry) && entry.status === 200,
    calls: ["usage", "usage", "responses"],
  });
  await fleet.fake.seen(({ aborted }) => aborted);
  await assertGoesOn(fleet);
});

test("rotator.fetch() ends a stream with the caller's reason when it aborts in the middle", async () => {
  await using fleet = await startFleet({
    accounts: {
      alice: { queue: [{ events: [ADDED, ADDED, ADDED], ...STALLS }] },
      bob: {},
    },
  });
  const abort = new AbortController();
  const response = await fleet.rotator.fetch("/responses", {
    method: "POST",
    body: JSON.stringify(requestBody()),
    signal: abort.signal,
  });
  const reader = response.body!.getReader();
  assertEquals((await reader.read()).done, false);
  const rest = assertRejects(() => reader.read());
  abort.abort(REASON);
  assertEquals(await rest, REASON);
  await fleet.fake.seen((entry) => isResponses(entry) && entry.aborted);
  await assertUnmarked(fleet);
  await assertGoesOn(fleet);
});

test("rotator.fetch() leaves other callers alone when one of them aborts", async () => {
  const gate = Promise.withResolvers<void>();
  await using fleet = await startFleet({
    accounts: { alice: { usageQueue: [{ until: gate.promise }] } },
  });
  const abort = new AbortController();
  const leaving = assertRejects(() => fleet.ask({}, { signal: abort.signal }));
  const staying = fleet.ask();
  await fleet.fake.seen(({ kind }) => kind === "usage");
  abort.abort(REASON);
  assertEquals(await leaving, REASON);
  gate.resolve();
  assertEquals((await staying).status, 200);
  assertEquals(fleet.fake.log.map(({ kind }) => kind), ["usage", "responses"]);
});

test("rotator.fetch() passes an abort on for a URL that is not the backend's", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  const abort = new AbortController();
  const { fake } = fleet;
  fake.account("alice").usageQueue.push(HANGS);
  const other = `${new URL(fake.backend).origin}/elsewhere`;
  abort.abort(REASON);
  const asked = () => fleet.rotator.fetch(other, { signal: abort.signal });
  assertEquals(await assertRejects(asked), REASON);
});

test("rotator.fetch() holds no listener on a signal that outlives the request, where fetch holds none", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = function (...args: unknown[]) {
    listeners++;
    return Reflect.apply(addEventListener, signal, args);
  };
  signal.removeEventListener = function (...args: unknown[]) {
    listeners--;
    return Reflect.apply(removeEventListener, signal, args);
  };
  fleet.fake.account("alice").queue.push({ status: 401 }, {
    status: 429,
    raw: RAN_OUT,
  });
  await (await fetch(fleet.fake.backend, { signal })).text();
  const held = listeners;
  const answer = await fleet.ask({}, { signal });
  assertEquals(answer.alias, "bob");
  assert(listeners <= 4 * held, `${listeners}, and ${held} with fetch`);
});

test("rotator.fetch() rejects with the caller's reason also where its fetch does not listen", async () => {
  const stalled = () => new Response(new ReadableStream(), { status: 200 });
  const never = new Promise<Response>(() => {});
  const cancelled: unknown[] = [];
  const late = Promise.withResolvers<Response>();
  for (
    const [name, answer] of [
      ["before its answer", () => never],
      ["before the first event", () => Promise.resolve(stalled())],
      ["with an answer that comes later", () => late.promise],
    ] as const
  ) {
    for (const stream of [true, false]) {
      await using fleet = await startFleet({ accounts: { alice: {} } });
      await fleet.rotator.refresh();
      const called = Promise.withResolvers<void>();
      await using deaf = createRotator({
        store: fleet.store,
        backend: fleet.fake.backend,
        now: () => fleet.clock.now,
        fetch() {
          called.resolve();
          return answer();
        },
      });
      const abort = new AbortController();
      const asked = deaf.fetch("/responses", {
        method: "POST",
        body: JSON.stringify({ model: "gpt-5.5", input: "x", stream }),
        signal: abort.signal,
      });
      const rejects = assertRejects(() => asked);
      await called.promise;
      await new Promise((resolve) => setTimeout(resolve, 20));
      abort.abort(REASON);
      assertEquals([name, await rejects], [name, REASON]);
    }
  }
  const body = new ReadableStream({
    cancel: (why) => void cancelled.push(why),
  });
  late.resolve(new Response(body));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(cancelled.length, 1, "what comes too late is let go");
});

test("rotator.fetch() lets go of an earlier answer when it is aborted while it waits", async () => {
  let cancelled = 0;
  const busy = () =>
    new Response(new ReadableStream({ cancel: () => void cancelled++ }), {
      status: 503,
    });
  await using fleet = await startFleet({ accounts: { alice: {} } });
  await fleet.rotator.refresh();
  const asked = Promise.withResolvers<void>();
  await using rotator = createRotator({
    store: fleet.store,
    backend: fleet.fake.backend,
    now: () => fleet.clock.now,
    random: () => 1,
    fetch: () => {
      asked.resolve();
      return Promise.resolve(busy());
    },
  });
  const abort = new AbortController();
  const rejects = assertRejects(() =>
    rotator.fetch("/responses", {
      method: "POST",
      body: JSON.stringify({ model: "gpt-5.5", input: "x" }),
      signal: abort.signal,
    })
  );
  await asked.promise;
  await new Promise((resolve) => setTimeout(resolve, 20));
  abort.abort(REASON);
  assertEquals([await rejects, cancelled], [REASON, 1]);
});

test("rotator.close() does not wait for a fetch that never ends", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  const rotator = createRotator({
    store: fleet.store,
    backend: fleet.fake.backend,
    now: () => fleet.clock.now,
    fetch: () => new Promise(() => {}),
  });
  const refreshed = rotator.refresh();
  await new Promise((resolve) => setTimeout(resolve, 20));
  await rotator.close();
  assertEquals((await refreshed).accounts[0]?.ok, false);
});

test("rotator.fetch() rejects while its store is read", async () => {
  await using fleet = await startFleet({ accounts: { alice: {} } });
  const { store, fake } = fleet;
  let letGo = () => {};
  const rotator = createRotator({
    store: {
      ...(store as Store),
      async read() {
        await new Promise<void>((done) => letGo = done);
        return await (store as Store).read();
      },
    },
    backend: fake.backend,
  });
  const signal = AbortSignal.timeout(50);
  const asked = fleet.ask({}, { signal }, rotator);
  assertEquals(await assertRejects(() => asked), signal.reason);
  letGo();
  await rotator.close();
});

for (const runtime of RUNTIMES) {
  testOnDeno(
    `rotator.fetch() ends a stream with the caller's reason also after memory was collected, on ${runtime}`,
    async () => {
      const script = new URL("abort_late.ts", import.meta.url);
      const flags = {
        deno: ["-A", "--v8-flags=--expose-gc"],
        bun: ["--expose-gc"],
        node: ["--expose-gc"],
      };
      const [program, ...start] = commandOf(runtime, flags.deno);
      const own = runtime === "deno" ? [] : flags[runtime];
      const path = fileURLToPath(script);
      const { out, err } = await spawn([program!, ...start, ...own, path]);
      assertEquals([out, err], ["all\n", ""]);
    },
  );
}
