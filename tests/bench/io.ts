/**
 * What healthy requests cost besides themselves: looks at the store, writes to
 * it, usage checks and token calls while 10,000 requests in 100 sessions run,
 * spread over 21 seconds, with usage that grows all the time.
 *
 * Runs on every runtime: `deno run -A`, `bun` or `node` and this file.
 *
 * @module
 */
import { createRotator } from "../../mod.ts";
import type { FetchLike, Store } from "../../mod.ts";
import { printTable, withFolder } from "./measure.ts";
import { answerHeaders, BODY, POST, storeOf, STREAM } from "./traffic.ts";

const REQUESTS = 10_000;
const SESSIONS = 100;
/** Requests that are sent one after the other before the next pause. */
const BURST = 100;
const BETWEEN_BURSTS_MS = 21_000 / (REQUESTS / BURST);
const URL_OF_RESPONSES = "https://chatgpt.com/backend-api/codex/responses";

/** What was asked for while the requests ran. */
interface Counts {
  reads: number;
  writes: number;
  locks: number;
  usage: number;
  tokens: number;
  responses: number;
}

/** A store that counts: a read of an unchanged file is one `stat`. */
function counting(store: Store, counts: Counts): Store {
  return {
    read() {
      counts.reads++;
      return store.read();
    },
    update(change) {
      counts.writes++;
      return store.update(change);
    },
    exclusive(name, job) {
      counts.locks++;
      return store.exclusive(name, job);
    },
  };
}

function countingFetch(counts: Counts): FetchLike {
  return (input) => {
    const url = input instanceof Request ? input.url : String(input);
    if (url.includes("/usage")) counts.usage++;
    else if (url.includes("/oauth/")) counts.tokens++;
    else counts.responses++;
    const used = 10 + 50 * counts.responses / REQUESTS;
    const headers = answerHeaders(Date.now(), used);
    return Promise.resolve(new Response(STREAM, { headers }));
  };
}

function bodyOf(session: number): string {
  const json = JSON.parse(BODY);
  return JSON.stringify({ ...json, prompt_cache_key: `session-${session}` });
}

async function run(fetch: FetchLike, counts: Counts): Promise<number> {
  const start = performance.now();
  for (let n = 0; n < REQUESTS; n++) {
    if (n % BURST === 0) {
      const due = start + n / BURST * BETWEEN_BURSTS_MS;
      const wait = due - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    }
    const body = bodyOf(n % SESSIONS);
    const response = await fetch(URL_OF_RESPONSES, { ...POST, body });
    await response.text();
  }
  if (counts.responses !== REQUESTS) throw new Error("A request was not sent");
  return (performance.now() - start) / 1000;
}

await withFolder(async (folder) => {
  const counts = {
    reads: 0,
    writes: 0,
    locks: 0,
    usage: 0,
    tokens: 0,
    responses: 0,
  };
  const rotator = createRotator({
    store: counting(await storeOf(folder, 10), counts),
    credits: "none",
    fetch: countingFetch(counts),
  });
  const seconds = await run(rotator.fetch, counts);
  // `close` writes once more what the last seconds brought
  const { reads, writes, locks, usage, tokens } = counts;
  await rotator.close();
  printTable(
    `${REQUESTS} healthy requests, 10 accounts, ${seconds.toFixed(1)} s`,
    ["", "count", "rate"],
    [
      ["looks at the store", `${reads}`, `${rate(reads, seconds)} per s`],
      ["writes", `${writes}`, `${rate(writes, seconds / 10)} per 10 s`],
      ["locks taken for a name", `${locks}`, ""],
      ["usage calls", `${usage}`, ""],
      ["token calls", `${tokens}`, ""],
    ],
  );
});

function rate(count: number, units: number): string {
  return (count / units).toFixed(2);
}
