/**
 * What is written down of a request once its answer has ended: a line of the
 * ledger, and what it cost.
 */
import { relay, withBody } from "./response.ts";
import { joined, parseJson, recordOf } from "./values.ts";
import { readTokenUsage } from "./codex/stream.ts";
import type { RotatorContext } from "./context.ts";
import { servedOn } from "./pool/standing.ts";
import type { Answer, NetworkError, Sent } from "./tries.ts";
import type { LedgerEntry } from "./spending_types.ts";

/** Records a request when its answer, of which the end of a stream is told to the attempt, ends; returns the response to hand over. */
export function record(
  context: RotatorContext,
  sent: Sent,
  answer: Answer | NetworkError,
  response: Response,
): Response {
  const { request, attempt } = sent;
  const { signal } = request;
  if (!context.ledger.isOn && attempt.paid === undefined) return response;
  const end = () => {
    attempt.onEnd = () => {};
    signal?.removeEventListener("abort", end);
    if (context.open.delete(end)) finish(context, sent, response);
  };
  context.open.add(end);
  // nobody may read what is left of it, and so find its end
  signal?.addEventListener("abort", end);
  if ("isStream" in answer && answer.isStream) {
    attempt.onEnd = end;
    return response;
  }
  const isAnswer = response.ok && response.body !== null && !request.isFree &&
    !request.folds;
  if (!isAnswer) {
    end();
    return response;
  }
  return watchBody(response, (text) => {
    const body = text === undefined ? undefined : parseJson(text);
    attempt.usage = readTokenUsage(recordOf(body));
    end();
  });
}

/** A larger answer is not looked into, bytes. */
const MAX_WATCHED_BYTES = 8 * 1024 * 1024;

/**
 * A response whose text is told at its end, however that comes.
 *
 * @param onEnd Told undefined where the body did not come whole or is too large.
 */
function watchBody(
  response: Response,
  onEnd: (text: string | undefined) => void,
): Response {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const body = relay(response.body!.getReader(), {
    onChunk(chunk) {
      size += chunk.length;
      if (size <= MAX_WATCHED_BYTES) chunks.push(chunk);
      else chunks.length = 0;
    },
    onEnd(error) {
      const isWhole = error === undefined && size <= MAX_WATCHED_BYTES;
      onEnd(
        isWhole ? new TextDecoder().decode(joined(chunks, size)) : undefined,
      );
    },
  });
  return withBody(response, body);
}

function finish(
  context: RotatorContext,
  sent: Sent,
  response: Response,
): void {
  const { attempt } = sent;
  const { paid, account, usage } = attempt;
  const entry = entryOf(context, sent, response);
  if (paid === undefined) return context.ledger.add(entry);
  // what the backend or a gateway lost may have been charged, a refusal was not
  const isRefusal = response.status === 503 ||
    (response.status >= 300 && response.status < 500);
  if (isRefusal && !attempt.hasBegun) {
    context.spending.cancel(account, paid);
    return context.ledger.add(entry);
  }
  const tokens = usage
    ? (usage.inputTokens ?? 0) + (usage.outputTokens ?? 0)
    : null;
  void context.spending.end(paid, tokens).then((cost) => {
    const { credits = null, approximate = false } = cost ?? {};
    context.ledger.add({
      ...entry,
      balanceAfter: account.record.credits?.balance ?? entry.balanceAfter,
      credits: cost ? credits ?? "0" : null,
      approximate,
    });
  });
}

function entryOf(
  context: RotatorContext,
  { request, attempt, tries }: Sent,
  response: Response,
): LedgerEntry {
  const { pool, usage, charged, about } = attempt;
  return {
    at: new Date(request.startedAt).toISOString(),
    request: about.request ?? 0,
    alias: attempt.account.alias,
    model: request.model ?? null,
    session: request.session ?? null,
    standing: servedOn(pool),
    status: response.status,
    ms: Math.max(0, context.now() - request.startedAt),
    attempts: tries.sent,
    inputTokens: usage?.inputTokens ?? null,
    cachedTokens: usage?.cachedTokens ?? null,
    outputTokens: usage?.outputTokens ?? null,
    balanceBefore: attempt.balanceBefore,
    balanceAfter: attempt.balanceAfter,
    credits: charged,
    approximate: false,
  };
}
