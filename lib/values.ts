/** Small readers of values whose type nobody promised, and what else all parts share. None of them throws. */

/** A decimal number as the backend writes one. */
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
/** Text that a header can carry as it is. */
const HEADER_TEXT = /^[\x21-\x7e]+$/;

/** An object as JSON knows it: no list, not null. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An amount as a number; undefined when it cannot be read as a finite one. */
export function readDecimal(value: unknown): number | undefined {
  if (typeof value === "number") {
    return Number.isFinite(value) ? value : undefined;
  }
  if (typeof value !== "string" || !DECIMAL.test(value.trim())) {
    return undefined;
  }
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}

/** The value as an object; an empty one when it is none. */
export function recordOf(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}

/** A finite number above 0, else null. */
export function readPositive(value: unknown): number | null {
  const number = readDecimal(value);
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

/** The fields that say something. */
export function definedIn<T extends object>(
  fields: T,
): { [K in keyof T]?: NonNullable<T[K]> } {
  const entries = Object.entries(fields);
  return Object.fromEntries(
    entries.filter(([, it]) => (it ?? null) !== null),
  ) as { [K in keyof T]?: NonNullable<T[K]> };
}

/** Whether a text can be sent in a header as it is. */
export function isHeaderText(text: string): boolean {
  return HEADER_TEXT.test(text);
}

/** The UTC day of a time (epoch ms), YYYY-MM-DD. */
export function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

/** An epoch time (ms) as an ISO string; null when it is none. */
export function iso(time: number | null | undefined): string | null {
  if (typeof time !== "number") return null;
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** What says a text only the first time. */
export function once(say: (text: string) => void): (text: string) => void {
  const told = new Set<string>();
  return (text) => {
    if (!told.has(text)) say(text);
    told.add(text);
  };
}

export function joined(
  chunks: readonly Uint8Array[],
  size: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}
