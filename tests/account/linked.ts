/** An account that is linked to the Codex CLI's file, with a stand-in for the issuer. */
import { fromFileUrl, join } from "@std/path";
import { readFileSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import {
  createRotator,
  jsonStore,
  type PoolState,
  type Rotator,
  type RotatorEvent,
} from "../../mod.ts";
import { addLogin } from "../../lib/account/import.ts";
import { sourceOf } from "../../lib/account/link.ts";
import {
  type LoginFileKind,
  readLoginFile,
} from "../../lib/account/login_files.ts";
import {
  type FakeAccountOptions,
  type FakeCodex,
  type FakeTokens,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import { commandOf } from "../runtimes.ts";
import { tempFolder } from "../test.ts";

export const MINUTE = 60_000;

/** Such a set-up, gone at the end of the test. */
export interface LinkedSetUp extends AsyncDisposable {
  readonly fake: FakeCodex;
  readonly folder: string;
  readonly file: string;
  readonly storePath: string;
  readonly rotator: Rotator;
  readonly events: RotatorEvent[];
  /** The refresh tokens that were shown, in order. */
  shown(): string[];
  /** Signs in with the other tool. */
  signIn(name?: string, lifetimeMs?: number): Promise<FakeTokens>;
  /** Imports the file as it is, linked to it. */
  link(): Promise<void>;
  state(): PoolState;
  read(): Promise<string>;
}

/** The Codex CLI's file, as it writes it. */
export function codexFile(tokens: FakeTokens): string {
  return JSON.stringify(
    {
      auth_mode: "chatgpt",
      OPENAI_API_KEY: null,
      tokens: {
        id_token: tokens.id,
        access_token: tokens.access,
        refresh_token: tokens.refresh,
        account_id: tokens.accountId,
      },
      last_refresh: "2026-01-02T03:04:05.678901Z",
      agent_identity: { kept: [1, "two"] },
    },
    null,
    2,
  );
}

/** OpenCode's file, as it writes it. */
export function openCodeFile(tokens: FakeTokens): string {
  return JSON.stringify(
    {
      anthropic: { type: "api", key: "another" },
      openai: {
        type: "oauth",
        refresh: tokens.refresh,
        access: tokens.access,
        expires: tokens.expiresAt,
        accountId: tokens.accountId,
      },
    },
    null,
    2,
  );
}

/** Starts a stand-in for issuer and backend, a store and a login file. */
export async function linkedSetUp(
  options: {
    accounts?: Record<string, FakeAccountOptions>;
    kind?: LoginFileKind;
    /** The folder of the file, below the folder of all. */
    below?: string;
  } = {},
): Promise<LinkedSetUp> {
  const { accounts = { me: {}, other: {} }, kind = "codex", below = "" } =
    options;
  const fake = await startFakeCodex({ accounts });
  const folder = await tempFolder();
  const file = join(folder, below, "auth.json");
  await mkdir(join(folder, below), { recursive: true });
  const storePath = join(folder, "store", "accounts.json");
  const store = jsonStore(storePath);
  const events: RotatorEvent[] = [];
  const rotator = createRotator({
    store,
    backend: fake.backend,
    issuer: fake.issuer,
    credits: "none",
    onEvent: (event) => events.push(event),
  });
  const write = kind === "codex" ? codexFile : openCodeFile;
  return {
    fake,
    folder,
    file,
    storePath,
    rotator,
    events,
    shown: () =>
      fake.log.flatMap(({ kind, json }) => {
        const token = (json as { refresh_token?: string })?.refresh_token;
        return kind === "token" && token !== undefined ? [token] : [];
      }),
    async signIn(name = "me", lifetimeMs = -MINUTE) {
      const tokens = fake.tokens(name, { lifetimeMs });
      await writeFile(file, write(tokens));
      return tokens;
    },
    async link() {
      const { logins: [found] } = readLoginFile(
        await readFile(file, "utf8"),
        file,
        kind,
      );
      const { login } = found!;
      await store.update((state) => {
        addLogin(state, login, { source: sourceOf(kind, file, login) });
      });
    },
    state: () => JSON.parse(readFileSync(storePath, "utf8")),
    read: () => readFile(file, "utf8"),
    async [Symbol.asyncDispose]() {
      await rotator.close();
      await fake.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** Makes the account one that is linked to no file. */
export async function unlink(storePath: string): Promise<void> {
  const state = JSON.parse(await Deno.readTextFile(storePath));
  delete state.accounts.me.source;
  await Deno.writeTextFile(storePath, JSON.stringify(state));
}

const WORKER = fromFileUrl(new URL("./link_worker.ts", import.meta.url));

/** One of those who share a linked file, see link_worker.ts. */
export function startWorker(
  role: string,
  { setUp, command = commandOf("deno"), env = {} }: {
    setUp: Pick<LinkedSetUp, "storePath" | "fake" | "file">;
    command?: readonly string[];
    env?: Record<string, string>;
  },
) {
  const { storePath, fake: { backend, issuer }, file } = setUp;
  const [program = "", ...flags] = command;
  const child = new Deno.Command(program, {
    args: [...flags, WORKER, role, storePath, backend, issuer, file],
    env,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  // one that hangs ends its test with what was told so far, not the whole run
  const deadline = setTimeout(() => child.kill("SIGKILL"), 120_000);
  return {
    say: (text: string) => writer.write(new TextEncoder().encode(`${text}\n`)),
    async line() {
      let text = "";
      while (!text.includes("\n")) {
        const { done, value } = await reader.read();
        if (done) break;
        text += value;
      }
      return text.trim();
    },
    async end() {
      await writer.close().catch(() => {});
      await reader.cancel();
      await child.status;
      clearTimeout(deadline);
    },
  };
}
