/**
 * `serve` under a mix of good, broken and hostile requests for as long as
 * wanted: soak.ts [SECONDS, default 60] [RUNTIME, default deno]. Ends with 1
 * when a good request was not served, or when memory or descriptors grew.
 */
import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import process from "node:process";
import { requestBody } from "../fleet.ts";
import { commandOf, type Runtime } from "../runtimes.ts";
import { KEY, type Serving, startServing } from "../serve/serving.ts";

/** Requests at the same time. */
const CLIENTS = 12;
/** What a run may end with above its second quarter. */
const MAX_GROWTH = 1.2;
const MAX_MORE_DESCRIPTORS = 20;
const SAMPLE_EVERY = 2000;

const seconds = Number(process.argv[2] ?? 60);
const runtime = (process.argv[3] ?? "deno") as Runtime;
const url = (serving: Serving, path: string) => `${serving.baseURL}${path}`;

function post(
  serving: Serving,
  body: string,
  init: RequestInit = {},
): Promise<Response> {
  return fetch(url(serving, "/responses"), {
    method: "POST",
    headers: {
      "authorization": `Bearer ${KEY}`,
      "content-type": "application/json",
    },
    body,
    signal: AbortSignal.timeout(30_000),
    ...init,
  });
}

const STREAM = JSON.stringify(requestBody());
const { stream: _, ...folded } = requestBody();
const FOLDED = JSON.stringify(folded);
const BIG = JSON.stringify({
  ...requestBody(),
  instructions: "x".repeat(4 << 20),
});

/** One kind of request; what it returns is counted. */
const KINDS: Record<string, (serving: Serving) => Promise<string>> = {
  async stream(serving) {
    const answer = await post(serving, STREAM);
    const text = await answer.text();
    return answer.status === 200 && text.includes("response.completed")
      ? "served"
      : `status ${answer.status}`;
  },
  async folded(serving) {
    const answer = await post(serving, FOLDED);
    const { output } = await answer.json();
    return Array.isArray(output) ? "served" : `status ${answer.status}`;
  },
  async big(serving) {
    const answer = await post(serving, BIG);
    await answer.text();
    return answer.status === 200 ? "served" : `status ${answer.status}`;
  },
  async models(serving) {
    const headers = { authorization: `Bearer ${KEY}` };
    const answer = await fetch(url(serving, "/models"), { headers });
    await answer.text();
    return answer.status === 200 ? "served" : `status ${answer.status}`;
  },
  async "overload, then the next account"(serving) {
    const { queue } = serving.fake.account("alice");
    const code = "server_is_overloaded";
    if (queue.length === 0) {
      queue.push({
        for: "/responses",
        events: [{ type: "response.failed", response: { error: { code } } }],
      });
    }
    return await KINDS.stream!(serving);
  },
  async "left in the middle"(serving) {
    const gone = new AbortController();
    const answer = await post(serving, STREAM, { signal: gone.signal });
    const reader = answer.body!.getReader();
    await reader.read();
    gone.abort();
    await reader.read().catch(() => {});
    return "left";
  },
  async "wrong key"(serving) {
    const answer = await post(serving, STREAM, {
      headers: { authorization: "Bearer wrong" },
    });
    await answer.text();
    return `status ${answer.status}`;
  },
  async "no JSON"(serving) {
    const answer = await post(serving, "{");
    await answer.text();
    return "answered";
  },
  "half a head": (serving) => raw(serving, "POST /v1/responses HTTP/1.1\r\nHo"),
  "half a body": (serving) =>
    raw(
      serving,
      `POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${KEY}\r\nContent-Length: 9999\r\n\r\n{`,
    ),
  "no HTTP": (serving) => raw(serving, "\x16\x03\x01\x02\x00\x01\x00"),
};

/** Sends these bytes and leaves. */
function raw({ origin }: Serving, bytes: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(origin).port), "127.0.0.1", () => {
      socket.write(bytes);
      setTimeout(() => socket.destroy(), 50);
    });
    socket.resume();
    socket.on("error", () => {});
    socket.on("close", () => resolve("left"));
  });
}

interface Sample {
  memoryMiB: number;
  descriptors: number;
}

async function sample(pid: number): Promise<Sample> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const kib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  const { length } = await readdir(`/proc/${pid}/fd`);
  return { memoryMiB: Math.round(kib / 1024), descriptors: length };
}

/** The highest of each quarter. */
function quarters(samples: readonly Sample[], key: keyof Sample): number[] {
  const size = Math.ceil(samples.length / 4);
  return [0, 1, 2, 3].map((quarter) =>
    Math.max(
      ...samples.slice(quarter * size, (quarter + 1) * size)
        .map((it) => it[key]),
    )
  );
}

async function main(): Promise<number> {
  const reply = { text: "word ".repeat(56), deltas: 56 };
  await using serving = await startServing({
    accounts: { alice: { reply }, bob: { reply }, carol: { reply } },
    settings: { creditAccountAliases: "none" },
    start: [...commandOf(runtime), "cli.ts"],
  });
  const results: Record<string, Record<string, number>> = {};
  const samples: Sample[] = [];
  const timer = setInterval(async () => {
    // the stand-in keeps all it saw
    serving.fake.clearLog();
    samples.push(await sample(serving.child.pid));
  }, SAMPLE_EVERY);
  const end = performance.now() + seconds * 1000;
  const kinds = Object.entries(KINDS);
  let next = 0;
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (performance.now() < end) {
      const [name, ask] = kinds[next++ % kinds.length]!;
      const result = await ask(serving).catch((error) => String(error));
      const counts = results[name] ??= {};
      counts[result] = (counts[result] ?? 0) + 1;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }));
  clearInterval(timer);
  const memory = quarters(samples, "memoryMiB");
  const descriptors = quarters(samples, "descriptors");
  const code = await serving.stop();
  const report = { runtime, seconds, requests: next, results };
  process.stdout.write(
    `${JSON.stringify({ ...report, memory, descriptors, code }, null, 2)}\n`,
  );
  const isServed = kinds.slice(0, 5).every(([name]) =>
    Object.keys(results[name] ?? {}).join() === "served"
  );
  const isFlat = memory[3]! <= memory[1]! * MAX_GROWTH &&
    descriptors[3]! <= descriptors[1]! + MAX_MORE_DESCRIPTORS;
  return isServed && isFlat && code === 0 ? 0 : 1;
}

process.exitCode = await main();
