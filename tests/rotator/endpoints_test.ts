/** Codex's other endpoints, none of which is POST …/responses. */
import { assertEquals } from "@std/assert";
import { startKnown } from "../fleet.ts";
import { test } from "../test.ts";

/** What each of the other endpoints of Codex is asked. */
const OTHERS: Record<string, Record<string, unknown>> = {
  "alpha/search": { id: "1", model: "gpt-5.5", commands: {} },
  "images/generations": { model: "gpt-image-1.5", prompt: "A fox" },
  "images/edits": { model: "gpt-image-1.5", prompt: "A hat", images: [] },
  "memories/trace_summarize": { model: "gpt-5.5", traces: [] },
};

test("rotator.fetch() serves Codex's other endpoints on an account, and on the next one when that runs out", async () => {
  for (const [path, body] of Object.entries(OTHERS)) {
    await using fleet = await startKnown({
      accounts: { alice: { plan: "pro" }, bob: {} },
    });
    const { fake, rotator } = fleet;
    fake.account("alice").queue.push({
      status: 429,
      body: { error: { type: "usage_limit_reached", resets_in_seconds: 1 } },
    });
    for (const alias of ["bob", "bob"]) {
      const response = await rotator.fetch(`${rotator.baseURL}/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      assertEquals([path, response.status], [path, 200]);
      assertEquals(rotator.accountOf(response), alias);
      assertEquals(await response.json(), { output: `Hello from ${alias}` });
    }
    assertEquals(
      fake.log.map(({ account, status }) => [account, status]),
      [["alice", 429], ["bob", 200], ["bob", 200]],
    );
    for (const { json, path: at } of fake.log) {
      assertEquals([at, json], [`/backend-api/codex/${path}`, body]);
    }
  }
});
