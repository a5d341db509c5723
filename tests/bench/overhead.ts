/**
 * How much time a rotator adds to a request, beside a bare wrapper that copies
 * the request, parses the body and pipes the stream. The network is a stub
 * that answers at once, so that nothing else is measured.
 *
 * Runs on every runtime: `deno run -A`, `bun` or `node` and this file.
 *
 * @module
 */
import { measureAdded } from "./added.ts";
import { answerHeaders, STREAM } from "./traffic.ts";

const HEADERS = answerHeaders();

await measureAdded({
  title: "added per request, no network",
  fetch: () => Promise.resolve(new Response(STREAM, { headers: HEADERS })),
  backend: "https://chatgpt.com/backend-api",
  rounds: 31,
  requestsPerRound: 100,
});
