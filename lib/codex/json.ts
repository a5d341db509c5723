/**
 * Small readers of values whose type nobody promised. None of them throws.
 *
 * @module
 */

/** An object as JSON knows it: no list, not null. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A finite number, also from a numeric string; undefined otherwise. */
export function readNumber(value: unknown): number | undefined {
  let number = value;
  if (typeof value === "string") {
    number = Number(value);
    // a blank text would be 0
    if (number === 0 && value.trim() === "") return undefined;
  }
  return typeof number === "number" && Number.isFinite(number)
    ? number
    : undefined;
}

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
  // as the backend writes them
  if (value === "False") return false;
  if (value === "True") return true;
  if (typeof value !== "string" && typeof value !== "number") return null;
  const text = String(value).trim().toLowerCase();
  if (text === "true" || text === "1") return true;
  return text === "false" || text === "0" ? false : null;
}

/** The JSON value of a text, or undefined when it is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
