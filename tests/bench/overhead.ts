/**
 * How much time a rotator adds to a request, beside a bare wrapper that copies
 * the request, parses the body and pipes the stream. The network is a stub
 * that answers at once, so that nothing else is measured.
 *
 * Runs on every runtime: `deno run -A`, `bun` or `node` and this file.
 *
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type AccountRecord, createRotator, jsonStore } from "../../mod.ts";
import type { FetchLike, Rotator } from "../../mod.ts";

const SIZES = [2, 10, 100, 1000];
const ROUNDS = 41;
const WARM_UP_ROUNDS = 5;
const REQUESTS_PER_ROUND = 100;

const URL_OF_RESPONSES = "https://chatgpt.com/backend-api/codex/responses";
const HOUR = 3_600_000;

const BODY = JSON.stringify({
  model: "gpt-5.5",
  instructions: "Be brief.",
  input: [{ role: "user", content: "Hello ".repeat(500) }],
  store: false,
  stream: true,
});

const STREAM = [
  { type: "response.created", response: { id: "r" } },
  { type: "response.output_item.added", output_index: 0, item: {} },
  { type: "response.output_text.delta", delta: "Hello" },
  { type: "response.completed", response: { id: "r", output: [] } },
].map((it) => `event: ${it.type}\ndata: ${JSON.stringify(it)}\n\n`).join("");

/** 25 headers, ten of them about limits. */
function answerHeaders(): [string, string][] {
  const reset = String(Math.round((Date.now() + 2 * HOUR) / 1000));
  const filler = Array.from({ length: 14 }, (_, n): [string, string] => [
    `x-other-${n}`,
    `value ${n}`,
  ]);
  return [
    ["content-type", "text/event-stream"],
    ["x-codex-plan-type", "plus"],
    ["x-codex-active-limit", "codex"],
    ["x-codex-primary-used-percent", "12.5"],
    ["x-codex-primary-window-minutes", "300"],
    ["x-codex-primary-reset-at", reset],
    ["x-codex-secondary-used-percent", "40"],
    ["x-codex-secondary-window-minutes", "10080"],
    ["x-codex-secondary-reset-at", reset],
    ["x-codex-credits-has-credits", "False"],
    ["x-codex-credits-unlimited", "False"],
    ...filler,
  ];
}

const HEADERS = answerHeaders();
const stub: FetchLike = () =>
  Promise.resolve(new Response(STREAM, { headers: HEADERS }));

/** What any wrapper has to do: copy the request, parse the body, pipe the stream. */
const bare: FetchLike = async (input, init) => {
  const headers = new Headers(init?.headers);
  headers.set("authorization", "Bearer token");
  JSON.parse(init?.body as string);
  const request = new Request(input, { ...init, headers });
  const { status, headers: given, body } = await stub(request);
  const reader = body!.getReader();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  }, { highWaterMark: 0 });
  return new Response(stream, { status, headers: given });
};

function record(n: number): AccountRecord {
  const now = Date.now();
  const window = (windowSeconds: number) => ({
    usedPercent: 10,
    windowSeconds,
    resetsAt: now + 2 * HOUR,
  });
  return {
    accountId: `account-${n}`,
    userId: `user-${n}`,
    email: `user-${n}@example.com`,
    plan: n % 4 === 0 ? "pro" : "plus",
    tokens: { access: `access-${n}`, expiresAt: now + 24 * HOUR },
    usage: {
      observedAt: now,
      meters: { codex: { windows: [window(18_000), window(604_800)] } },
    },
    credits: {
      observedAt: now,
      hasCredits: false,
      unlimited: false,
      balance: "0",
    },
    requests: 0,
  };
}

async function openRotator(folder: string, size: number): Promise<Rotator> {
  const store = jsonStore(join(folder, `${size}.json`));
  await store.update((state) => {
    for (let n = 0; n < size; n++) state.accounts[`user-${n}`] = record(n);
  });
  return createRotator({ store, credits: "none", fetch: stub });
}

/** One round, in µs per request. */
async function measure(fetch: FetchLike): Promise<number> {
  const start = performance.now();
  for (let n = 0; n < REQUESTS_PER_ROUND; n++) {
    const response = await fetch(URL_OF_RESPONSES, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: BODY,
    });
    if (!response.ok) throw new Error(`Answered ${response.status}`);
    await response.text();
  }
  return (performance.now() - start) * 1000 / REQUESTS_PER_ROUND;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Rounds of all take turns, so that a slow moment hits them alike. */
async function medians(
  subjects: ReadonlyMap<string, FetchLike>,
): Promise<Map<string, number>> {
  const rounds = new Map(
    [...subjects.keys()].map((it) => [it, [] as number[]]),
  );
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    for (const [name, fetch] of subjects) {
      const time = await measure(fetch);
      if (round >= 0) rounds.get(name)!.push(time);
    }
  }
  return new Map([...rounds].map(([name, times]) => [name, median(times)]));
}

function runtime(): string {
  const { deno, bun, node } = process.versions as Record<string, string>;
  if (deno) return `Deno ${deno}`;
  return bun ? `Bun ${bun}` : `Node ${node}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function printTable(times: ReadonlyMap<string, number>): void {
  const nothing = times.get("stub alone")!;
  const wrapper = times.get("bare wrapper")!;
  print(`${"".padEnd(16)}µs per request   added   ratio to the bare wrapper`);
  for (const [name, time] of times) {
    const added = time - nothing;
    const cells = [
      name.padEnd(16),
      time.toFixed(1).padStart(14),
      added.toFixed(1).padStart(8),
      (time / wrapper).toFixed(2).padStart(26),
    ];
    print(cells.join("").trimEnd());
  }
}

const folder = await mkdtemp(join(tmpdir(), "codex-rotator-bench-"));
const rotators: Rotator[] = [];
try {
  const subjects = new Map([["stub alone", stub], ["bare wrapper", bare]]);
  for (const size of SIZES) {
    const rotator = await openRotator(folder, size);
    rotators.push(rotator);
    subjects.set(`${size} accounts`, rotator.fetch);
  }
  const machine = cpus();
  print(
    `${runtime()} on ${process.platform} ${process.arch}, ` +
      `${machine.length} × ${
        machine[0]?.model.trim() ?? "unknown processor"
      }; ` +
      `medians of ${ROUNDS} rounds of ${REQUESTS_PER_ROUND} requests`,
  );
  printTable(await medians(subjects));
} finally {
  for (const rotator of rotators) await rotator.close();
  await rm(folder, { recursive: true, force: true });
}
