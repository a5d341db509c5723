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

const now = Date.now();
const HEADERS = answerHeaders(now);
// three, so that none comes twice in a row to one of ten accounts in turn
const NEWS = [10, 11, 12].map((percent) => answerHeaders(now, percent));
let count = 0;

const answer = (headers: [string, string][]) =>
  Promise.resolve(new Response(STREAM, { headers }));

await measureAdded({
  title: "added per request, no network",
  fetch: () => answer(HEADERS),
  fetchNews: () => answer(NEWS[count++ % NEWS.length]!),
  backend: "https://chatgpt.com/backend-api",
  rounds: 31,
  requestsPerRound: 100,
});
