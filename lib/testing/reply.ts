/**
 * The content of the stand-in's answers.
 *
 * @module
 */
import type { FakeRefusalForm, FakeReply } from "./types.ts";

const PAD_BYTES = 65_536;

/** What a reply is made of, besides its content. */
export interface ReplyContext {
  readonly account: string;
  readonly model: string | null;
  /** Tells replies apart. */
  readonly id: string;
  /** Epoch ms. */
  readonly now: number;
  /** Sent in an item of its own; undefined: no such item. */
  readonly encrypted: string | undefined;
  /** The ciphertext is the whole answer: the conversation was compacted. */
  readonly compacts: boolean;
}

export type StreamEvent = Record<string, unknown>;

/** Events that are no output, sent where a reply asks for noise. */
const NOISE: readonly (StreamEvent | string)[] = [
  ": a comment\n\n",
  { type: "keepalive" },
  { type: "response.metadata", metadata: {}, headers: {} },
  { type: "codex.response.metadata", metadata: {}, headers: {} },
  { type: "responsesapi.websocket_timing", timing: {} },
  { type: "response.of_a_kind_unknown_today", value: 1 },
];

/** The events of an ordinary answer, from `response.created` to `response.completed`. */
export function* replyEvents(
  reply: FakeReply,
  context: ReplyContext,
): Generator<StreamEvent | string> {
  let sequence = 0;
  for (const event of contentEvents(reply, context)) {
    const numbered = typeof event !== "string" &&
      String(event.type).startsWith("response.");
    yield numbered ? { ...event, sequence_number: sequence++ } : event;
  }
}

function* contentEvents(
  reply: FakeReply,
  context: ReplyContext,
): Generator<StreamEvent | string> {
  yield* preamble(context);
  if (reply.noise === true) yield* NOISE;
  const output: StreamEvent[] = [];
  if (context.encrypted !== undefined) {
    const item = encryptedItem(context);
    yield { type: "response.output_item.added", output_index: 0, item };
    yield { type: "response.output_item.done", output_index: 0, item };
    output.push(item);
  }
  if (!context.compacts) {
    output.push(yield* messageEvents(reply, context, output.length));
  }
  yield {
    type: "response.completed",
    response: {
      ...responseObject(context),
      status: "completed",
      output: reply.emptyOutput === true ? [] : output,
      usage: TOKEN_COUNTS,
    },
  };
}

function* preamble(
  context: ReplyContext,
  instructions: string | null = null,
): Generator<StreamEvent> {
  const response = responseObject(context);
  yield { type: "response.created", response: { ...response, instructions } };
  yield { type: "response.in_progress", response };
}

function* messageEvents(
  reply: FakeReply,
  context: ReplyContext,
  output_index: number,
): Generator<StreamEvent, StreamEvent> {
  const id = `msg_${context.id}`;
  const message = { type: "message", id, role: "assistant" };
  const place = { item_id: id, output_index, content_index: 0 };
  const item = { ...message, status: "in_progress", content: [] };
  yield { type: "response.output_item.added", output_index, item };
  const part = { type: "output_text", text: "", annotations: [], logprobs: [] };
  yield { type: "response.content_part.added", ...place, part };
  const text = reply.text ?? `Hello from ${context.account}`;
  const said = { ...place, logprobs: [] };
  for (const delta of deltas(reply, text)) {
    yield { type: "response.output_text.delta", ...said, delta };
  }
  yield { type: "response.output_text.done", ...said, text };
  const whole = { ...part, text };
  yield { type: "response.content_part.done", ...place, part: whole };
  const done = { ...message, status: "completed", content: [whole] };
  yield { type: "response.output_item.done", output_index, item: done };
  return done;
}

function* deltas(reply: FakeReply, text: string): Generator<string> {
  const parts = Math.max(1, reply.deltas ?? 2);
  const size = Math.ceil(text.length / parts);
  for (let at = 0; at < text.length; at += size) {
    yield text.slice(at, at + size);
  }
  for (let sent = 0; sent < (reply.padBytes ?? 0); sent += PAD_BYTES) {
    yield "x".repeat(PAD_BYTES);
  }
}

function encryptedItem({ id, encrypted, compacts }: ReplyContext): StreamEvent {
  const kind = compacts
    ? { type: "compaction", id: `cmp_${id}` }
    : { type: "reasoning", id: `rs_${id}`, summary: [] };
  return { ...kind, encrypted_content: encrypted };
}

const TOKEN_COUNTS = {
  input_tokens: 12,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 4,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 16,
};

function responseObject(context: ReplyContext): StreamEvent {
  return {
    id: `resp_${context.id}`,
    object: "response",
    created_at: Math.floor(context.now / 1000),
    status: "in_progress",
    error: null,
    incomplete_details: null,
    instructions: null,
    metadata: {},
    model: context.model ?? "unknown",
    output: [],
    parallel_tool_calls: true,
    temperature: 1,
    tool_choice: "auto",
    tools: [],
    top_p: 1,
    store: false,
    usage: null,
  };
}

export function compaction(context: ReplyContext): StreamEvent {
  return {
    id: `resp_${context.id}`,
    object: "response.compaction",
    created_at: Math.floor(context.now / 1000),
    output: [encryptedItem({ ...context, compacts: true })],
    usage: TOKEN_COUNTS,
  };
}

/** A failure as an answer would tell it. */
interface Failure {
  readonly status: number;
  readonly error: StreamEvent;
  readonly headers: Record<string, string>;
}

/** A stream that fails before any content. */
export function* failureEvents(
  { status, error, headers }: Failure,
  form: FakeRefusalForm,
  context: ReplyContext,
): Generator<StreamEvent | { wait: number | Promise<unknown> }> {
  yield* preamble(context, "x".repeat(form.preambleBytes ?? 0));
  if (form.after !== undefined) yield { wait: form.after };
  if (form.as === "error") {
    const told = Object.entries(headers)
      .map(([name, value]) => [capital(name), value]);
    const answer = { status_code: status, headers: Object.fromEntries(told) };
    return yield { type: "error", error, ...answer };
  }
  const failed = { ...error, code: error.code ?? error.type };
  const response = responseObject(context);
  yield {
    type: "response.failed",
    response: { ...response, status: "failed", error: failed },
  };
}

/** `x-codex-plan-type` as `X-Codex-Plan-Type`. */
function capital(name: string): string {
  return name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
}
