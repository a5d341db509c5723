/** Small readers of values whose type nobody promised. None of them throws. */
import { isRecord, readDecimal } from "../values.ts";

export { isRecord };

/** The value as an object; an empty one when it is none. */
export function recordOf(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}

/** A finite number, also from a decimal text; undefined otherwise. */
export const readNumber: (value: unknown) => number | undefined = readDecimal;

/** A finite number above 0, else null. */
export function readPositive(value: unknown): number | null {
  const number = readNumber(value);
  return number !== undefined && number > 0 ? number : null;
}

/** A trimmed, non-empty string, else null. */
export function readText(value: unknown): string | null {
  return typeof value === "string" ? value.trim() || null : null;
}

/** A boolean, also written as `True`, `false`, `1` or `0`; null otherwise. */
export function readFlag(value: unknown): boolean | null {
  if (typeof value === "boolean") return value;
  if (typeof value !== "string" && typeof value !== "number") return null;
  const text = String(value).trim().toLowerCase();
  if (text === "true" || text === "1") return true;
  return text === "false" || text === "0" ? false : null;
}

/** The JSON value of a text, or undefined when it is not JSON. */
export function parseJson(text: string): unknown {
  // most answers have no body to read here, and what is thrown is dear
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * A map that takes any key the backend may name, except the one that would
 * change the prototype of whatever object it is copied into later.
 */
export function safeRecord<T>(
  entries: Iterable<[string, T]>,
): Record<string, T> {
  const record: Record<string, T> = Object.create(null);
  for (const [key, value] of entries) {
    if (key !== "__proto__") record[key] = value;
  }
  return record;
}
