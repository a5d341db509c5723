/**
 * Streams through the guard beside bare `fetch`, over HTTP on the loopback
 * interface: how fast a stream of 100 MB runs, and when the first content comes.
 *
 * Runs on every runtime: `deno run -A`, `bun` or `node` and this file.
 *
 * @module
 */
import { createRotator } from "../../mod.ts";
import type { FetchLike } from "../../mod.ts";
import { medians, printTable, startScript, withFolder } from "./measure.ts";
import { POST, storeOf } from "./traffic.ts";

const ROUNDS = 21;
const FIRST_ROUNDS = 15;
const FIRST_PER_ROUND = 20;
const FIRST_CONTENT = "response.output_item.added";

function ask(fetch: FetchLike, url: string, answer: string) {
  const headers = { ...POST.headers, "x-answer": answer };
  return fetch(url, { ...POST, headers });
}

/** MB per second of one long stream, whose bytes are only counted or made text, as every client does. */
async function throughput(
  fetch: FetchLike,
  url: string,
  answer: string,
  isDecoded: boolean,
): Promise<number> {
  const start = performance.now();
  const response = await ask(fetch, url, answer);
  const decoder = new TextDecoder();
  let bytes = 0;
  for await (const chunk of response.body!) {
    bytes += isDecoded
      ? decoder.decode(chunk, { stream: true }).length
      : chunk.length;
  }
  const seconds = (performance.now() - start) / 1000;
  if (bytes < 100_000_000) throw new Error(`Only ${bytes} bytes came`);
  return bytes / 1e6 / seconds;
}

/** Until the first content event is in the caller's hands, mean of a round, ms. */
async function firstContent(fetch: FetchLike, url: string): Promise<number> {
  let total = 0;
  for (let n = 0; n < FIRST_PER_ROUND; n++) {
    const start = performance.now();
    const response = await ask(fetch, url, "short");
    const decoder = new TextDecoder();
    let text = "";
    let isFound = false;
    for await (const chunk of response.body!) {
      if (isFound) continue;
      text += decoder.decode(chunk, { stream: true });
      isFound = text.includes(FIRST_CONTENT);
      if (isFound) total += performance.now() - start;
    }
    if (!isFound) throw new Error("No content came");
  }
  return total / FIRST_PER_ROUND;
}

async function measure(folder: string, backend: string): Promise<void> {
  const url = `${backend}/codex/responses`;
  const store = await storeOf(folder, 10);
  await using rotator = createRotator({ store, backend, credits: "none" });
  const subjects = new Map<string, FetchLike>([
    ["bare", globalThis.fetch],
    ["guarded", rotator.fetch],
  ]);
  const rows: string[][] = [];
  const add = (
    name: string,
    times: ReadonlyMap<string, number>,
    unit: string,
  ) => {
    const bare = times.get("bare")!;
    const guarded = times.get("guarded")!;
    const digits = unit === "ms" ? 3 : 0;
    const cells = [bare, guarded, guarded - bare]
      .map((it) => `${it.toFixed(digits)} ${unit}`);
    rows.push([name, ...cells, (guarded / bare).toFixed(2)]);
  };
  for (
    const [answer, isDecoded, name] of [
      ["large", false, "100 MB in events of 64 KiB"],
      ["large", true, "the same, decoded"],
      ["small", false, "100 MB in events of 200 bytes"],
      ["small", true, "the same, decoded"],
    ] as const
  ) {
    const speeds = await medians(
      subjects,
      ROUNDS,
      1,
      (fetch) => throughput(fetch, url, answer, isDecoded),
    );
    add(name, speeds, "MB/s");
  }
  const times = await medians(
    subjects,
    FIRST_ROUNDS,
    3,
    (fetch) => firstContent(fetch, url),
  );
  add("first content event", times, "ms");
  printTable(
    `streams; medians of ${ROUNDS} streams, of ${FIRST_ROUNDS} rounds of ${FIRST_PER_ROUND} first events`,
    ["", "bare fetch", "guarded", "difference", "ratio"],
    rows,
  );
}

const server = startScript(new URL("server.ts", import.meta.url));
try {
  const backend = (await server.line())!;
  await withFolder((folder) => measure(folder, backend));
} finally {
  server.child.kill();
}
