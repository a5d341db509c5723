/** Rotators as real processes on one store file, in front of a stand-in. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { fromFileUrl, join } from "@std/path";
import process from "node:process";
import {
  type FakeAccountOptions,
  type FakeCodex,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import type {
  AccountRecord,
  PoolState,
  RotatorEvent,
  StatusReport,
} from "../../mod.ts";
import { HOUR, recordOf } from "../fleet.ts";
import { commandOf, type Runtime, RUNTIMES } from "../runtimes.ts";
import type { Place } from "../store/places.ts";

const WORKER = fromFileUrl(new URL("./refresh_worker.ts", import.meta.url));

/** Set for the full counts instead of those of an everyday run. */
export const TORTURE = process.env.TORTURE === "1";

/** What a worker says, by the first word of its lines. */
interface Said {
  ready: number;
  stopped: string;
  answers: string[];
  event: RotatorEvent;
  closed: StatusReport;
}

/** A worker process; see refresh_worker.ts. */
export interface Worker extends AsyncDisposable {
  /** Tells it to send so many requests at once. */
  send(count: number): Promise<void>;
  /** The next line of this kind. */
  next<K extends keyof Said>(kind: K): Promise<Said[K]>;
  /** All its events so far, as far as its lines were read. */
  readonly events: RotatorEvent[];
  kill(): Promise<void>;
  /** Lets it end by itself, and how it reports its accounts then. */
  end(): Promise<StatusReport>;
  /** All that it wrote to both outputs, once it has ended. */
  output(): Promise<string>;
  /** What of that it wrote to stderr. */
  errors(): Promise<string>;
}

/** A stand-in, and a store file with its accounts in a folder of its own. */
export interface Site extends AsyncDisposable {
  readonly fake: FakeCodex;
  readonly folder: string;
  readonly path: string;
  state(): Promise<PoolState>;
  /** Writes the file with the accounts as they are signed in now. */
  seed(records?: Record<string, Partial<AccountRecord>>): Promise<void>;
  start(runtime: Runtime, stopsAt?: "before" | "after"): Promise<Worker>;
  tokenCalls(account?: string): number;
}

/** The runtime of the worker with this number: all of them in turn. */
export function runtimeOf(index: number): Runtime {
  return RUNTIMES[index % RUNTIMES.length]!;
}

/** An account whose access token has expired. */
export const EXPIRED: FakeAccountOptions = { accessLifetimeMs: -HOUR };

/** Facts that say just now that everything is included. */
export function freshUsage(): Partial<AccountRecord> {
  const window = { usedPercent: 1, windowSeconds: 604_800, resetsAt: null };
  const observedAt = Date.now();
  return {
    usage: { observedAt, meters: { codex: { windows: [window] } } },
  };
}

/** Starts a stand-in with a store for its accounts: a file, unless a place is given. */
export async function startSite(
  accounts: Record<string, FakeAccountOptions>,
  place?: Place,
): Promise<Site> {
  const fake = await startFakeCodex({ accounts });
  const folder = await mkdtemp(join(tmpdir(), "codex-rotator-tokens-"));
  const path = place?.where ?? join(folder, "accounts.json");
  const site: Site = {
    fake,
    folder,
    path,
    state: place?.content ??
      (async () => JSON.parse(await readFile(path, "utf8"))),
    async seed(records) {
      const seeded = seedOf(fake, Object.keys(accounts), records);
      if (place) {
        await place.open().update((state) => void Object.assign(state, seeded));
      } else await writeFile(path, JSON.stringify(seeded), { mode: 0o600 });
    },
    start: (...args) => start(site, ...args),
    tokenCalls: (account) =>
      fake.log.filter((entry) =>
        entry.kind === "token" && entry.account === (account ?? entry.account)
      ).length,
    async [Symbol.asyncDispose]() {
      await fake.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return site;
}

function seedOf(
  fake: FakeCodex,
  names: readonly string[],
  records: Record<string, Partial<AccountRecord>> = {},
): PoolState {
  const accounts: Record<string, AccountRecord> = {};
  for (const name of names) {
    accounts[name] = { ...recordOf(fake, name), ...records[name] };
    // what is got for it is good for the stand-in's usual time
    fake.account(name).accessLifetimeMs = undefined;
  }
  return { version: 1, settings: {}, accounts };
}

async function start(
  { path, fake }: Site,
  runtime: Runtime,
  stopsAt = "",
): Promise<Worker> {
  const [program, ...flags] = commandOf(runtime);
  const child = new Deno.Command(program!, {
    args: [...flags, WORKER, path, fake.backend, fake.issuer, stopsAt],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(child.stderr).text();
  const input = child.stdin.getWriter();
  const lines = readLines(child.stdout);
  const read: string[] = [];
  const events: RotatorEvent[] = [];
  async function next<K extends keyof Said>(kind: K): Promise<Said[K]> {
    for (;;) {
      const { value: line } = await lines.next();
      if (line === undefined) {
        throw new Error(`The worker ended: ${await errors}`);
      }
      read.push(line);
      const space = line.indexOf(" ");
      const value = JSON.parse(line.slice(space + 1));
      if (line.startsWith("event ")) events.push(value);
      if (line.slice(0, space) === kind) return value;
    }
  }
  async function kill(): Promise<void> {
    try {
      child.kill("SIGKILL");
    } catch {
      // it has ended already
    }
    await input.close().catch(() => {});
    for await (const line of lines) read.push(line);
    await errors;
    await child.status;
  }
  await next("ready");
  return {
    events,
    next,
    kill,
    send: (count) => input.write(new TextEncoder().encode(`${count}\n`)),
    async end() {
      await input.close();
      const report = await next("closed");
      for await (const line of lines) read.push(line);
      await child.status;
      return report;
    },
    output: async () => read.join("\n") + await errors,
    errors: () => errors,
    [Symbol.asyncDispose]: kill,
  };
}

async function* readLines(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<string, undefined> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    yield* lines;
  }
}
