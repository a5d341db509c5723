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

/** Chunks as one. */
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
