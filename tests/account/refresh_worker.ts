/**
 * A rotator as a process of its own. For each number it is told, it sends so
 * many requests at once and tells how they were answered, and by whom; its
 * events and the point at which it stops for good are lines as well.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { createRotator } from "../../mod.ts";
import { openStore } from "../store/open.ts";

const [where = "", backend = "", issuer = "", stopsAt = ""] = process.argv
  .slice(2);

const rotator = createRotator({
  // whoever waits longer for a dead holder's place gives up, which is seen
  store: await openStore(where, { waitLimit: 5_000 }),
  backend,
  issuer,
  credits: "none",
  fetch: fetchUntilStopped,
  onEvent: (event) => say("event", event),
});

function say(kind: string, value: unknown): void {
  process.stdout.write(`${kind} ${JSON.stringify(value)}\n`);
}

/** Stands still with the account's lock held, before or after the token call. */
async function fetchUntilStopped(
  input: RequestInfo | URL,
  init?: RequestInit,
): Promise<Response> {
  const isTokenCall = String(input).endsWith("/oauth/token");
  if (isTokenCall && stopsAt === "before") return await stop();
  const response = await fetch(input, init);
  if (isTokenCall && stopsAt === "after") {
    await response.text();
    return await stop();
  }
  return response;
}

function stop(): Promise<never> {
  say("stopped", stopsAt);
  return new Promise(() => {});
}

async function ask(): Promise<string> {
  const response = await rotator.fetch(`${rotator.baseURL}/responses`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: "gpt-5.5",
      instructions: "Be brief.",
      input: [{ role: "user", content: "Hello" }],
      store: false,
      stream: true,
    }),
  });
  await response.text();
  return `${response.status} ${rotator.accountOf(response) ?? "nobody"}`;
}

say("ready", process.pid);
for await (const line of createInterface({ input: process.stdin })) {
  const answers = await Promise.all(
    Array.from({ length: Number(line) }, () => ask()),
  );
  say("answers", answers);
}
await rotator.close();
say("closed", await rotator.status());
