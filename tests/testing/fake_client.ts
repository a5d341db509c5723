/** A plain client of the stand-in, for its own tests. */

import {
  type FakeCodex,
  type FakeTokens,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import type { FakeCodexOptions } from "../../lib/testing/fake_codex.ts";

export const CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann";
export const MODEL = "gpt-5.3-codex";
export const SPARK = "gpt-5.3-codex-spark";
/** Mid-2026, on a whole second, so that resets are told exactly. */
export const NOON = 1_780_000_000_000;

/** A stand-in whose clock stands still until it is moved. */
export async function startAt(
  now: number,
  options: FakeCodexOptions = {},
): Promise<{ fake: FakeCodex; clock: { now: number } }> {
  const clock = { now };
  const fake = await startFakeCodex({ ...options, now: () => clock.now });
  return { fake, clock };
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
export async function respond(
  fake: FakeCodex,
  account: string,
  changes: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${fake.backend}/codex/responses`, {
    method: "POST",
    headers: authorized(fake.tokens(account), headers),
    body: conforming(changes),
    redirect: "manual",
  });
  return read(response);
}

/** Asks for the account's usage. */
export async function askUsage(
  fake: FakeCodex,
  account: string,
  path = "/wham/usage",
): Promise<Answer> {
  const headers = authorized(fake.tokens(account));
  return read(await fetch(fake.backend + path, { headers }));
}

// deno-lint-ignore no-explicit-any
export function eventsOf(stream: string): any[] {
  return [...stream.matchAll(/^data: (.*)$/gm)].map((line) =>
    JSON.parse(line[1] ?? "")
  );
}
