/**
 * The content of the stand-in's answers to `POST …/responses`.
 *
 * @module
 */

import type { FakeReply } from "./fake_types.ts";

const PAD_BYTES = 65_536;

/** What a reply is made of, besides its content. */
export interface ReplyContext {
  /** The account that answers. */
  readonly account: string;
  readonly model: string | null;
  /** Tells replies apart. */
  readonly id: string;
  /** Epoch ms. */
  readonly now: number;
  /** Sent in a reasoning item before the message; undefined: no such item. */
  readonly encrypted: string | undefined;
  /** The `codex.rate_limits` event, where the reply asks for one. */
  readonly rateLimits: () => unknown;
}

type StreamEvent = Record<string, unknown>;

/** One event as it goes over the wire. */
export function encodeEvent(event: unknown): string {
  const type = (event as { type?: unknown } | null)?.type;
  const name = typeof type === "string" ? `event: ${type}\n` : "";
  return `${name}data: ${JSON.stringify(event)}\n\n`;
}

/** The events of an ordinary answer, from `response.created` to `response.completed`. */
export function* replyEvents(
  reply: FakeReply,
  context: ReplyContext,
): Generator<StreamEvent> {
  let sequence = 0;
  for (const event of contentEvents(reply, context)) {
    yield event.type === "codex.rate_limits"
      ? event
      : { ...event, sequence_number: sequence++ };
  }
}

function* contentEvents(
  reply: FakeReply,
  context: ReplyContext,
): Generator<StreamEvent> {
  const response = responseObject(context);
  yield { type: "response.created", response };
  yield { type: "response.in_progress", response };
  if (reply.rateLimitsEvent === true) {
    yield context.rateLimits() as StreamEvent;
  }
  const output: StreamEvent[] = [];
  if (context.encrypted !== undefined) {
    const item = reasoningItem(context.id, context.encrypted);
    yield { type: "response.output_item.added", output_index: 0, item };
    yield { type: "response.output_item.done", output_index: 0, item };
    output.push(item);
  }
  output.push(yield* messageEvents(reply, context, output.length));
  yield {
    type: "response.completed",
    response: {
      ...response,
      status: "completed",
      output: reply.emptyOutput === true ? [] : output,
      usage: tokenCounts(),
    },
  };
}

function* messageEvents(
  reply: FakeReply,
  context: ReplyContext,
  outputIndex: number,
): Generator<StreamEvent, StreamEvent> {
  const item = {
    type: "message",
    id: `msg_${context.id}`,
    role: "assistant",
    status: "in_progress",
    content: [] as unknown[],
  };
  const place = {
    item_id: item.id,
    output_index: outputIndex,
    content_index: 0,
  };
  yield {
    type: "response.output_item.added",
    output_index: outputIndex,
    item,
  };
  yield {
    type: "response.content_part.added",
    ...place,
    part: outputText(""),
  };
  const text = reply.text ?? `Hello from ${context.account}`;
  for (const delta of deltas(reply, text)) {
    yield {
      type: "response.output_text.delta",
      ...place,
      delta,
      logprobs: [],
    };
  }
  yield { type: "response.output_text.done", ...place, text, logprobs: [] };
  const part = outputText(text);
  yield { type: "response.content_part.done", ...place, part };
  const done = { ...item, status: "completed", content: [part] };
  yield {
    type: "response.output_item.done",
    output_index: outputIndex,
    item: done,
  };
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

function outputText(text: string): StreamEvent {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

function reasoningItem(id: string, encrypted: string): StreamEvent {
  return {
    type: "reasoning",
    id: `rs_${id}`,
    summary: [],
    encrypted_content: encrypted,
  };
}

function tokenCounts(): StreamEvent {
  return {
    input_tokens: 12,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 4,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 16,
  };
}

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

/** The answer to `POST …/responses/compact`. */
export function compaction(
  id: string,
  encrypted: string,
  now: number,
): StreamEvent {
  return {
    id: `resp_${id}`,
    object: "response.compaction",
    created_at: Math.floor(now / 1000),
    output: [{
      type: "compaction",
      id: `cmp_${id}`,
      encrypted_content: encrypted,
    }],
    usage: tokenCounts(),
  };
}
