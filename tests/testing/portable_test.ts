import { assertEquals } from "@std/assert";
import { runScript, RUNTIMES } from "../runtimes.ts";

const SCRIPT = new URL("portable_fake.ts", import.meta.url);
const FLAGS = ["--allow-net=127.0.0.1"];

for (const runtime of RUNTIMES) {
  Deno.test(`startFakeCodex() behaves alike on ${runtime}`, async () => {
    assertEquals(JSON.parse(await runScript(runtime, SCRIPT, FLAGS)), {
      completed: true,
      plan: "plus",
      unanswered: "broken",
      cut: [200, "broken"],
      bare: "broken",
      aborted: 200,
      refreshed: 200,
      hanging: "broken",
    });
  });
}
