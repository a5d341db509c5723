/** A plain client of the stand-in, for its own tests. */
import {
  type FakeAccountOptions,
  type FakeCodex,
  type FakeCodexOptions,
  type FakeTokens,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";

export const CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann";
export const MODEL = "gpt-5.3-codex";
export const SPARK = "gpt-5.3-codex-spark";
/** Mid-2026, on a whole second, so that resets are told exactly. */
export const NOON = 1_780_000_000_000;
export const SECONDS = NOON / 1000;
export const WEEK = 604_800;
export const FULL = [{ seconds: WEEK, usedPercent: 100 }];
export const TEN = { hasCredits: true, unlimited: false, balance: "10" };

/** A stand-in with one account, and a clock that stands still until it is moved. */
export interface Site extends AsyncDisposable {
  fake: FakeCodex;
  clock: { now: number };
  /** A request to serve a model, as alice. */
  ask(
    changes?: Record<string, unknown>,
    headers?: Record<string, string>,
  ): Promise<Answer>;
  /** The usage of alice. */
  usage(): Promise<Answer>;
}

export async function startAlice(
  alice: FakeAccountOptions = {},
  options: FakeCodexOptions = {},
): Promise<Site> {
  const clock = { now: NOON };
  const fake = await startFakeCodex({
    now: () => clock.now,
    ...options,
    accounts: { alice, ...options.accounts },
  });
  return {
    fake,
    clock,
    ask: (changes, headers) => respond(fake, "alice", changes, headers),
    usage: () => askUsage(fake, "alice"),
    [Symbol.asyncDispose]: () => fake.close(),
  };
}

export function authorized(
  tokens: FakeTokens,
  headers: Record<string, string> = {},
): Record<string, string> {
  return {
    "authorization": `Bearer ${tokens.access}`,
    "chatgpt-account-id": tokens.accountId,
    "user-agent": "stand-in-test/1.0",
    ...headers,
  };
}

/** A body as the backend wants it, but for `changes`. */
export function conforming(changes: Record<string, unknown> = {}): string {
  return JSON.stringify({
    model: MODEL,
    instructions: "Be brief.",
    input: [{ role: "user", content: "Hello" }],
    store: false,
    stream: true,
    ...changes,
  });
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // deno-lint-ignore no-explicit-any
  json: any;
}

export async function read(response: Response): Promise<Answer> {
  const text = await response.text();
  const { status, headers } = response;
  return { status, headers, text, json: parsed(text) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Sends one request to `POST …/responses` with new tokens of the account. */
export function respond(
  fake: FakeCodex,
  account: string,
  changes: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): Promise<Answer> {
  return send(fake, account, "POST /codex/responses", {
    headers,
    body: conforming(changes),
  });
}

/** Sends a request below the backend's URL with new tokens of the account. */
export async function send(
  fake: FakeCodex,
  account: string,
  what: string,
  init: { headers?: Record<string, string>; body?: BodyInit } = {},
): Promise<Answer> {
  const [method, path] = what.split(" ");
  const response = await fetch(fake.backend + path, {
    method: method!,
    ...init,
    headers: authorized(fake.tokens(account), init.headers),
    redirect: "manual",
  });
  return read(response);
}

/** Asks for the account's usage. */
export function askUsage(
  fake: FakeCodex,
  account: string,
  path = "/wham/usage",
): Promise<Answer> {
  return send(fake, account, `GET ${path}`);
}

// deno-lint-ignore no-explicit-any
export function eventsOf(stream: string): any[] {
  return [...stream.matchAll(/^data: (.*)$/gm)].map((line) =>
    JSON.parse(line[1] ?? "")
  );
}
