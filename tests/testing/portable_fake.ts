/** Runs the stand-in once through; started by fake_portable_test.ts on each runtime. */

import { startFakeCodex } from "../../lib/testing/fake_codex.ts";

const fake = await startFakeCodex({ accounts: { alice: {} } });
const { access, accountId, refresh } = fake.tokens("alice");
const headers = {
  "authorization": `Bearer ${access}`,
  "chatgpt-account-id": accountId,
  "user-agent": "stand-in-test/1.0",
};
const body = JSON.stringify({
  model: "gpt-5.3-codex",
  instructions: "Be brief.",
  input: [],
  store: false,
  stream: true,
});
const url = `${fake.backend}/codex/responses`;
function post(signal?: AbortSignal): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers,
    // A stream, as Deno may send any other body twice when a connection is cut.
    body: new Blob([body]).stream(),
    duplex: "half",
    ...(signal && { signal }),
  } as RequestInit);
}
async function outcome(job: () => Promise<unknown>): Promise<string> {
  try {
    await job();
    return "whole";
  } catch {
    return "broken";
  }
}

const report: Record<string, unknown> = {};
const stream = await (await post()).text();
report.completed = stream.includes("event: response.completed\n");
const usage = await fetch(`${fake.backend}/wham/usage`, { headers });
report.plan = (await usage.json()).plan_type;
const { queue } = fake.account("alice");
queue.push({ drop: "before-headers" });
report.unanswered = await outcome(() => post());
queue.length = 0;
queue.push({ drop: 3 });
const cut = await post();
report.cut = [cut.status, await outcome(() => cut.text())];
queue.push({ drop: 0 });
report.bare = await outcome(async () => await (await post()).text());
queue.push({ reply: { padBytes: 64 * 1024 * 1024 } });
const gone = new AbortController();
const long = await post(gone.signal);
const reader = long.body!.getReader();
await reader.read();
gone.abort();
await reader.read().catch(() => {});
report.aborted = (await fake.seen((entry) => entry.aborted)).status;
const answer = await fetch(`${fake.issuer}/oauth/token`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({
    client_id: "app_EMoamEEZ73f0CkXaXp7hrann",
    grant_type: "refresh_token",
    refresh_token: refresh,
  }),
});
report.refreshed = answer.status;
await answer.text();
queue.push({ hang: true });
fake.clearLog();
const hanging = outcome(() => post());
await fake.seen((entry) => entry.kind === "responses");
await fake.close();
report.hanging = await hanging;
// deno-lint-ignore no-console
console.log(JSON.stringify(report));
