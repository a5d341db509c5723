/**
 * What a rotator adds to a request, for pools of several sizes, beside a bare
 * wrapper around the same `fetch`.
 *
 * @module
 */
import { join } from "node:path";
import { createRotator } from "../../mod.ts";
import type { FetchLike, Rotator } from "../../mod.ts";
import { medians, printTable, withFolder } from "./measure.ts";
import { bareWrapper, POST, storeOf } from "./traffic.ts";

const SIZES = [2, 10, 100, 1000];
/** Rounds until the runtimes have compiled what is measured. */
const WARM_UP = 20;

/** What is measured, and how often. */
export interface AddedOptions {
  /** What it is, for people. */
  title: string;
  /** The network. */
  fetch: FetchLike;
  /** The same, where an account's answers never say what the one before said. */
  fetchNews?: FetchLike;
  /** What the rotator takes for the backend. */
  backend: string;
  rounds: number;
  requestsPerRound: number;
}

/** Measures and prints. */
export async function measureAdded(options: AddedOptions): Promise<void> {
  const { title, fetch, fetchNews, backend, rounds, requestsPerRound } =
    options;
  const url = `${backend}/codex/responses`;
  const rotators: Rotator[] = [];
  await withFolder(async (folder) => {
    try {
      const subjects = new Map<string, FetchLike>([
        ["fetch alone", fetch],
        ["bare wrapper", bareWrapper(fetch)],
      ]);
      const add = async (name: string, size: number, fetch: FetchLike) => {
        const store = await storeOf(join(folder, name), size);
        const rotator = createRotator({
          store,
          backend,
          credits: "none",
          fetch,
        });
        rotators.push(rotator);
        subjects.set(name, rotator.fetch);
      };
      for (const size of SIZES) await add(`${size} accounts`, size, fetch);
      if (fetchNews) await add("10, always news", 10, fetchNews);
      const times = await medians(
        subjects,
        rounds,
        WARM_UP,
        (subject) => round(subject, url, requestsPerRound),
      );
      printTable(
        `${title}; medians of ${rounds} rounds of ${requestsPerRound} requests`,
        ["", "µs per request", "added", "ratio to the bare wrapper"],
        rowsOf(times),
      );
    } finally {
      for (const rotator of rotators) await rotator.close();
    }
  });
}

function rowsOf(times: ReadonlyMap<string, number>): string[][] {
  const alone = times.get("fetch alone")!;
  const wrapper = times.get("bare wrapper")!;
  return [...times].map(([name, time]) => [
    name,
    time.toFixed(1),
    (time - alone).toFixed(1),
    (time / wrapper).toFixed(2),
  ]);
}

/** One round, in µs per request. */
async function round(
  fetch: FetchLike,
  url: string,
  requests: number,
): Promise<number> {
  const start = performance.now();
  for (let n = 0; n < requests; n++) {
    const response = await fetch(url, POST);
    if (!response.ok) throw new Error(`Answered ${response.status}`);
    await response.text();
  }
  return (performance.now() - start) * 1000 / requests;
}
