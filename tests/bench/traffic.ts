/**
 * What the measurements send and get: accounts, one request and its answer.
 *
 * @module
 */
import { join } from "node:path";
import { type AccountRecord, jsonStore, type Store } from "../../mod.ts";
import type { FetchLike } from "../../mod.ts";

const HOUR = 3_600_000;

/** A short request as an agent sends it. */
export const BODY = JSON.stringify({
  model: "gpt-5.5",
  instructions: "Be brief.",
  input: [{ role: "user", content: "Hello ".repeat(500) }],
  store: false,
  stream: true,
});

/** The same as options of `fetch`. */
export const POST = {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: BODY,
} as const;

/** Events as they go over the wire. */
export function wire(
  events: readonly ({ type: string } & Record<string, unknown>)[],
): string {
  return events
    .map((it) => `event: ${it.type}\ndata: ${JSON.stringify(it)}\n\n`)
    .join("");
}

/** The shortest whole answer. */
export const STREAM = wire([
  { type: "response.created", response: { id: "r" } },
  { type: "response.output_item.added", output_index: 0, item: {} },
  { type: "response.output_text.delta", delta: "Hello" },
  { type: "response.completed", response: { id: "r", output: [] } },
]);

/**
 * 25 headers, ten of them about limits.
 *
 * @param now Epoch ms.
 * @param usedPercent Of the shorter window.
 */
export function answerHeaders(
  now: number = Date.now(),
  usedPercent = 12.5,
): [string, string][] {
  const reset = String(Math.round((now + 2 * HOUR) / 1000));
  const filler = Array.from({ length: 14 }, (_, n): [string, string] => [
    `x-other-${n}`,
    `value ${n}`,
  ]);
  return [
    ["content-type", "text/event-stream"],
    ["x-codex-plan-type", "plus"],
    ["x-codex-active-limit", "codex"],
    ["x-codex-primary-used-percent", String(usedPercent)],
    ["x-codex-primary-window-minutes", "300"],
    ["x-codex-primary-reset-at", reset],
    ["x-codex-secondary-used-percent", "40"],
    ["x-codex-secondary-window-minutes", "10080"],
    ["x-codex-secondary-reset-at", reset],
    ["x-codex-credits-has-credits", "False"],
    ["x-codex-credits-unlimited", "False"],
    ...filler,
  ];
}

/** What any wrapper has to do: copy the request, parse the body, pipe the stream. */
export function bareWrapper(fetch: FetchLike): FetchLike {
  return async (input, init) => {
    const headers = new Headers(init?.headers);
    headers.set("authorization", "Bearer token");
    JSON.parse(init?.body as string);
    const request = new Request(input, { ...init, headers });
    const { status, headers: given, body } = await fetch(request);
    const reader = body!.getReader();
    const stream = new ReadableStream<Uint8Array>({
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
    }, { highWaterMark: 0 });
    return new Response(stream, { status, headers: given });
  };
}

/** An account with fresh facts, usage left and a good token. */
export function record(n: number, now: number = Date.now()): AccountRecord {
  const window = (windowSeconds: number) => ({
    usedPercent: 10,
    windowSeconds,
    resetsAt: now + 2 * HOUR,
  });
  return {
    accountId: `account-${n}`,
    userId: `user-${n}`,
    email: `user-${n}@example.com`,
    plan: "plus",
    tokens: { access: `access-${n}`, expiresAt: now + 24 * HOUR },
    usage: {
      observedAt: now,
      meters: { codex: { windows: [window(18_000), window(604_800)] } },
    },
    credits: {
      observedAt: now,
      hasCredits: false,
      unlimited: false,
      balance: "0",
    },
    requests: 0,
  };
}

/** A file in the folder that holds so many of these accounts. */
export async function storeOf(
  folder: string,
  size: number,
  now?: number,
): Promise<Store & { readonly path: string }> {
  const store = jsonStore(join(folder, `${size}.json`));
  await fill(store, size, now);
  return store;
}

/** Puts so many accounts into a store. */
export async function fill(
  store: Store,
  size: number,
  now?: number,
): Promise<void> {
  await store.update((state) => {
    for (let n = 0; n < size; n++) state.accounts[`user-${n}`] = record(n, now);
  });
}
