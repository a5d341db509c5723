/**
 * How much time a rotator adds to a request that really goes over HTTP, to a
 * server in another process on this machine.
 *
 * Runs on every runtime: `deno run -A`, `bun` or `node` and this file.
 *
 * @module
 */
import { measureAdded } from "./added.ts";
import { startScript } from "./measure.ts";

const server = startScript(new URL("server.ts", import.meta.url));
try {
  await measureAdded({
    title: "added per request, over HTTP on the loopback interface",
    fetch: (input, init) => globalThis.fetch(input, init),
    backend: (await server.line())!,
    rounds: 15,
    requestsPerRound: 30,
  });
} finally {
  server.child.kill();
}
