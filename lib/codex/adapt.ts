/**
 * Makes a request body acceptable to the Codex backend, only where it is not
 * already.
 *
 * @module
 */
import { isRecord, readText } from "./json.ts";

const DEFAULT_INSTRUCTIONS = "You are a helpful assistant.";
/** Parameters that the backend refuses. */
const REFUSED = [
  "max_output_tokens",
  "max_completion_tokens",
  "max_tokens",
  "stream_options",
];

/** A body as the backend takes it. */
export interface Adapted {
  /** The body to send; undefined: the caller's conforms, byte for byte. */
  json: Record<string, unknown> | undefined;
  /** The caller did not ask for a stream, so it is to be folded into one response. */
  folds: boolean;
}

/** Makes the body of a request for a response acceptable. */
export function adaptBody(json: Record<string, unknown>): Adapted {
  const { input, instructions } = json;
  const folds = json.stream !== true;
  const conforms = !folds && json.store === false &&
    typeof input !== "string" && readText(instructions) !== null &&
    !REFUSED.some((name) => Object.hasOwn(json, name));
  if (conforms) return { json: undefined, folds };
  const adapted: Record<string, unknown> = {
    ...json,
    store: false,
    stream: true,
    instructions: readText(instructions) === null
      ? DEFAULT_INSTRUCTIONS
      : instructions,
  };
  if (typeof input === "string") adapted.input = [userMessage(input)];
  for (const name of REFUSED) delete adapted[name];
  return { json: adapted, folds };
}

function userMessage(text: string): Record<string, unknown> {
  const content = [{ type: "input_text", text }];
  return { type: "message", role: "user", content };
}

/**
 * A body without what only the account that made it can read; undefined when
 * there is nothing of that kind in it.
 */
export function withoutCiphertext(
  json: Record<string, unknown>,
): Record<string, unknown> | undefined {
  const { previous_response_id: previous, ...rest } = json;
  const input = Array.isArray(json.input) ? json.input : [];
  const kept = input.filter((item) => !isCiphertext(item));
  const hasPrevious = previous !== undefined && previous !== null;
  if (kept.length === input.length && !hasPrevious) return undefined;
  return Array.isArray(json.input) ? { ...rest, input: kept } : rest;
}

function isCiphertext(item: unknown): boolean {
  if (!isRecord(item) || readText(item.encrypted_content) === null) {
    return false;
  }
  const type = readText(item.type) ?? "";
  return type === "reasoning" || type.startsWith("compaction");
}
