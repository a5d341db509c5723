/**
 * Which conversation a request belongs to.
 *
 * @module
 */

import { isRecord, readText } from "./json.ts";

const HEADERS = ["session-id", "session_id", "conversation_id", "thread-id"];
const WHOLE = 256;
const DEEPEST = 3;
const MOST_PARTS = 8;

/**
 * A name for the conversation, that its later requests share; undefined when
 * nothing tells it from others.
 *
 * @param json The request's body, when it could be read.
 */
export function sessionKey(
  json: Record<string, unknown> | undefined,
  headers: Readonly<Record<string, string>>,
): string | undefined {
  const cacheKey = readText(json?.prompt_cache_key);
  if (cacheKey !== null) return `prompt_cache_key:${sketch(cacheKey, 0)}`;
  for (const name of HEADERS) {
    const value = readText(headers[name]);
    if (value !== null) return `${name}:${sketch(value, 0)}`;
  }
  const input = json?.input;
  if (!Array.isArray(input) || input.length < 2) return undefined;
  return `input:${sketch(json?.instructions, 0)}:${sketch(input[0], 0)}`;
}

/**
 * Enough of a value to tell it from others, at a cost that does not grow with
 * it: lengths, and long texts only from both ends.
 */
function sketch(value: unknown, depth: number): string {
  if (typeof value === "string") return sketchText(value);
  if (Array.isArray(value)) {
    const parts = depth < DEEPEST ? value.slice(0, MOST_PARTS) : [];
    return `[${value.length}:${
      parts.map((part) => sketch(part, depth + 1)).join()
    }]`;
  }
  if (!isRecord(value)) return String(value);
  const keys = Object.keys(value);
  const parts = depth < DEEPEST ? keys.slice(0, MOST_PARTS) : [];
  return `{${keys.length}:${
    parts.map((key) => `${sketchText(key)}=${sketch(value[key], depth + 1)}`)
      .join()
  }}`;
}

function sketchText(text: string): string {
  if (text.length <= WHOLE) return `${text.length}:${text}`;
  return `${text.length}:${text.slice(0, WHOLE / 2)}…${text.slice(-WHOLE / 2)}`;
}
