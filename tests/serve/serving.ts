/** `cli.ts serve` as a process of its own, in front of a stand-in backend. */
import { rm } from "node:fs/promises";
import { fromFileUrl, join } from "@std/path";
import {
  type FakeAccountOptions,
  type FakeCodex,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import type { AccountRecord, Settings } from "../../lib/types.ts";
import { recordOf } from "../fleet.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));
/** The key that {@linkcode startServing} gives the server, unless told otherwise. */
export const KEY = "key-of-the-tests";

/** What a test says of its server. */
export interface ServingOptions {
  accounts: Record<string, FakeAccountOptions>;
  settings?: Settings;
  args?: string[];
  /** What starts the command line; by default Deno with scoped permissions. */
  start?: readonly string[];
  /** A shell script that runs "$@", the server, as its last command. */
  shell?: string;
  /** @default {{ CODEX_ROTATOR_SERVE_KEY: KEY }} */
  env?: Record<string, string>;
}

/** A server that listens. */
export interface Serving extends AsyncDisposable {
  fake: FakeCodex;
  /** Its base URL, which ends in /v1. */
  baseURL: string;
  /** Without the path. */
  origin: string;
  folder: string;
  child: Deno.ChildProcess;
  /** What it wrote to stderr so far. */
  err(): string;
  /** Waits until stderr holds this. */
  said(text: string): Promise<void>;
  /** Closes the reading end of stderr. */
  leaveLog(): Promise<void>;
  /** Ends it. */
  stop(signal?: Deno.Signal): Promise<number>;
}

/** Starts Deno with no more permissions than `serve` needs. */
function scopedDeno(folder: string): string[] {
  return [
    Deno.execPath(),
    "run",
    "--no-prompt",
    "--quiet",
    `--allow-read=${folder}`,
    `--allow-write=${folder}`,
    "--allow-net=127.0.0.1",
    "--allow-env=CODEX_ROTATOR_SERVE_KEY,CODEX_ROTATOR_CREDIT_ACCOUNTS,OPENCODE_MULTI_AUTH_CREDIT_ACCOUNT_ALIASES",
    "cli.ts",
  ];
}

/** `serve` over the store in a folder. */
export function serveCommand(
  folder: string,
  args: string[],
  { env = {}, start = scopedDeno(folder), shell }: Partial<ServingOptions> = {},
): Deno.Command {
  const store = join(folder, "accounts.json");
  const words = [...start, "serve", "--store", store, ...args];
  const [program, ...rest] = shell === undefined
    ? words
    : ["sh", "-c", shell, "sh", ...words];
  return new Deno.Command(program!, {
    args: rest,
    cwd: ROOT,
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

/** Starts a stand-in, a store with its accounts, and a server over them. */
export async function startServing(options: ServingOptions): Promise<Serving> {
  const { accounts, settings = {}, args = [] } = options;
  const fake = await startFakeCodex({ accounts });
  const folder = await Deno.makeTempDir();
  const records: Record<string, AccountRecord> = {};
  for (const name of Object.keys(accounts)) {
    records[name] = recordOf(fake, name);
  }
  await Deno.writeTextFile(
    join(folder, "accounts.json"),
    JSON.stringify({ version: 1, settings, accounts: records }),
    { mode: 0o600 },
  );
  const child = serveCommand(
    folder,
    ["--port=0", "--backend", fake.backend, "--issuer", fake.issuer, ...args],
    { env: { CODEX_ROTATOR_SERVE_KEY: KEY }, ...options },
  ).spawn();
  const err = new Collector(child.stderr);
  const out = new Collector(child.stdout);
  await Promise.race([out.said("\n"), child.status]);
  const baseURL = out.text.trim();
  if (baseURL === "") throw new Error(`serve did not start: ${err.text}`);
  const stop = async (signal: Deno.Signal = "SIGTERM") => {
    try {
      child.kill(signal);
    } catch {
      // it is over already
    }
    const { code } = await child.status;
    await Promise.all([err.done, out.done]);
    return code;
  };
  return {
    fake,
    baseURL,
    origin: new URL(baseURL).origin,
    folder,
    child,
    err: () => err.text,
    said: (text) => err.said(text),
    leaveLog: () => err.leave(),
    stop,
    async [Symbol.asyncDispose]() {
      await fake.close();
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Gathers what a process writes. */
class Collector {
  text = "";
  readonly done: Promise<void>;
  #onText = () => {};
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
    this.done = this.#read();
  }

  /** Reads no more. */
  leave(): Promise<void> {
    return this.#reader.cancel();
  }

  /** Waits until it wrote this, or until its end. */
  said(text: string): Promise<void> {
    const seen = new Promise<void>((resolve) => {
      this.#onText = () => {
        if (this.text.includes(text)) resolve();
      };
      this.#onText();
    });
    return Promise.race([seen, this.done]);
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return;
      this.text += decoder.decode(value, { stream: true });
      this.#onText();
    }
  }
}
