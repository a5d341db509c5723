/**
 * Memory over an hour: 100 sessions, each with a request every 20 seconds of a
 * simulated clock and a conversation that grows. The heap is measured after a
 * collection, six times: memory.ts [HOURS, default 1].
 *
 * Runs on every runtime: `deno run -A`, `bun` or `node` and this file.
 *
 * @module
 */
import process from "node:process";
import v8 from "node:v8";
import vm from "node:vm";
import { createRotator } from "../../mod.ts";
import type { FetchLike } from "../../mod.ts";
import { printTable, withFolder } from "./measure.ts";
import { answerHeaders, POST, storeOf, STREAM } from "./traffic.ts";

const SESSIONS = 100;
const BETWEEN_REQUESTS_MS = 20_000 / SESSIONS;
const HOURS = Number(process.argv[2] ?? 1);
const REQUESTS = HOURS * 3_600_000 / BETWEEN_REQUESTS_MS;
const BETWEEN_LOOKS = REQUESTS / 6;
const URL_OF_RESPONSES = "https://chatgpt.com/backend-api/codex/responses";

/** How to collect garbage now, as this runtime has it. */
function collector(): () => void {
  const { Bun } = globalThis as { Bun?: { gc(force: boolean): void } };
  if (Bun) return () => Bun.gc(true);
  v8.setFlagsFromString("--expose-gc");
  return vm.runInNewContext("gc");
}

const collect = collector();

/** Heap and resident memory, MiB. */
async function memory(): Promise<string[]> {
  // what the last requests left behind is let go of first
  await new Promise((resolve) => setTimeout(resolve, 50));
  collect();
  collect();
  const { heapUsed, rss } = process.memoryUsage();
  return [heapUsed, rss].map((bytes) => (bytes / 2 ** 20).toFixed(1));
}

/** The conversation of a session at its `turn`: half of them have a key, half are told by their beginning. */
function bodyOf(session: number, turn: number): string {
  const messages = Array.from({ length: 1 + turn % 10 * 2 }, (_, n) => ({
    role: n % 2 === 0 ? "user" : "assistant",
    content: `${n} in session ${session}. ${"Hello ".repeat(50)}`,
  }));
  return JSON.stringify({
    model: "gpt-5.5",
    instructions: "Be brief.",
    input: messages,
    store: false,
    stream: true,
    ...(session % 2 === 0 ? { prompt_cache_key: `session-${session}` } : {}),
  });
}

await withFolder(async (folder) => {
  const clock = { now: Date.now() };
  const fetch: FetchLike = () => {
    const used = clock.now / 1e6 % 80;
    const headers = answerHeaders(clock.now, used);
    return Promise.resolve(new Response(STREAM, { headers }));
  };
  await using rotator = createRotator({
    store: await storeOf(folder, 10, clock.now),
    credits: "none",
    fetch,
    now: () => clock.now,
  });
  const rows: string[][] = [];
  for (let n = 0; n <= REQUESTS; n++) {
    if (n > 0 && n % BETWEEN_LOOKS === 0) {
      const minutes = n / BETWEEN_LOOKS * 10 * HOURS;
      rows.push([`${minutes} minutes`, String(n), ...await memory()]);
    }
    clock.now += BETWEEN_REQUESTS_MS;
    const body = bodyOf(n % SESSIONS, Math.floor(n / SESSIONS));
    const response = await rotator.fetch(URL_OF_RESPONSES, { ...POST, body });
    if (!response.ok) throw new Error(`Answered ${response.status}`);
    await response.text();
  }
  printTable(
    `memory over ${HOURS} simulated hour(s), ${SESSIONS} sessions, 10 accounts`,
    ["", "requests", "heap MiB", "resident MiB"],
    rows,
  );
});
