import { assertEquals } from "@std/assert";
import { runScript, RUNTIMES } from "../runtimes.ts";

const SCRIPT = new URL("portable_serve.ts", import.meta.url);
const FLAGS = ["--allow-net=127.0.0.1"];

for (const runtime of RUNTIMES) {
  Deno.test(`createHandler() serves alike on ${runtime}`, async () => {
    const outcome = [true, 401, true, "cut", 1, "alice", "cut"];
    assertEquals(JSON.parse(await runScript(runtime, SCRIPT, FLAGS)), {
      own: outcome,
      node: outcome,
      running: 0,
    });
  });
}
