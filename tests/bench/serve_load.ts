/**
 * Many streams at once through `serve`, beside the same load on the stand-in
 * directly: serve_load.ts [SECONDS, default 5] [STREAMS, default 200]. Ends with
 * 1 when a stream failed or got stuck, or when memory grew.
 */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { requestBody } from "../fleet.ts";
import { KEY, startServing } from "../serve/serving.ts";

/** A stream of 64 events: this many deltas, and 8 around them. */
const DELTAS = 56;
const EVENTS = 64;
/** A stream that takes longer is stuck, ms. */
const STUCK = 30_000;
/** Memory that a run may end higher than it was after its first third. */
const MOST_GROWTH = 1.25;

const seconds = Number(process.argv[2] ?? 5);
const streams = Number(process.argv[3] ?? 200);
const body = JSON.stringify(requestBody());

interface Target {
  url: string;
  headers: Record<string, string>;
}

interface Figures {
  done: number;
  failed: string[];
  /** Until the first bytes, ms, in order. */
  first: number[];
  /** Until the end, ms, in order. */
  whole: number[];
}

async function load(target: Target, seconds: number): Promise<Figures> {
  const figures: Figures = { done: 0, failed: [], first: [], whole: [] };
  const end = performance.now() + seconds * 1000;
  const stream = async () => {
    while (performance.now() < end) {
      try {
        await one(target, figures);
      } catch (error) {
        figures.failed.push(String(error));
      }
    }
  };
  await Promise.all(Array.from({ length: streams }, stream));
  figures.first.sort((a, b) => a - b);
  figures.whole.sort((a, b) => a - b);
  return figures;
}

async function one({ url, headers }: Target, figures: Figures): Promise<void> {
  const began = performance.now();
  const signal = AbortSignal.timeout(STUCK);
  const answer = await fetch(url, { method: "POST", headers, body, signal });
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of answer.body!) {
    if (text === "") figures.first.push(performance.now() - began);
    text += decoder.decode(chunk, { stream: true });
  }
  const events = text.match(/^data:/gm)?.length;
  if (answer.status !== 200 || events !== EVENTS) {
    throw new Error(`Status ${answer.status} with ${events} events`);
  }
  figures.done++;
  figures.whole.push(performance.now() - began);
}

function at(share: number, sorted: readonly number[]): number {
  return sorted[Math.floor(share * (sorted.length - 1))] ?? NaN;
}

/** Resident memory of a process, MiB; undefined where the system does not tell. */
async function memory(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1];
  return kib === undefined ? undefined : Number(kib) / 1024;
}

function median(values: readonly number[]): number {
  return at(0.5, values.toSorted((a, b) => a - b));
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function tell(name: string, { done, failed, first, whole }: Figures): void {
  const ms = [at(0.5, first), at(0.5, whole), at(0.99, whole)]
    .map((it) => it.toFixed(0));
  say(
    `${name}: ${(done / seconds).toFixed(0)} streams/s; first bytes ${
      ms[0]
    } ms, whole ${ms[1]} ms, 99th percentile ${
      ms[2]
    } ms; ${failed.length} failed${failed[0] ? ` (${failed[0]})` : ""}`,
  );
}

async function main(): Promise<number> {
  const reply = { text: "word ".repeat(DELTAS), deltas: DELTAS };
  await using serving = await startServing({
    accounts: { alice: { reply }, bob: { reply }, carol: { reply } },
    settings: { creditAccountAliases: "none" },
  });
  const { fake, child } = serving;
  const { access, accountId } = fake.tokens("alice");
  const type = { "content-type": "application/json" };
  const direct: Target = {
    url: `${fake.backend}/codex/responses`,
    headers: {
      ...type,
      "authorization": `Bearer ${access}`,
      "chatgpt-account-id": accountId,
      "user-agent": "load/1",
    },
  };
  const served: Target = {
    url: `${serving.baseURL}/responses`,
    headers: { ...type, authorization: `Bearer ${KEY}` },
  };
  const used: number[] = [];
  let isServing = false;
  const timer = setInterval(async () => {
    // the stand-in keeps all it saw
    fake.clearLog();
    const now = isServing ? await memory(child.pid) : undefined;
    if (now !== undefined) used.push(now);
  }, 250);
  try {
    say(
      `${streams} streams of ${EVENTS} events at once, ${seconds} s each way`,
    );
    await load(direct, 1);
    const plain = await load(direct, seconds);
    tell("stand-in alone", plain);
    await load(served, 1);
    isServing = true;
    const through = await load(served, seconds);
    isServing = false;
    tell("through serve ", through);
    return verdict(plain, through, used);
  } finally {
    clearInterval(timer);
  }
}

function verdict(plain: Figures, through: Figures, used: number[]): number {
  const third = Math.ceil(used.length / 3);
  const before = median(used.slice(third, 2 * third));
  const after = median(used.slice(2 * third));
  say(
    `ratio: ${(through.done / plain.done).toFixed(2)} of the streams, ${
      (at(0.5, through.whole) / at(0.5, plain.whole)).toFixed(2)
    } times as long; memory ${before.toFixed(0)} MiB in the second third, ${
      after.toFixed(0)
    } MiB in the last`,
  );
  const isFlat = !(after > before * MOST_GROWTH);
  const isWhole = through.failed.length === 0 && plain.failed.length === 0;
  return isFlat && isWhole && through.done > 0 ? 0 : 1;
}

process.exitCode = await main();
