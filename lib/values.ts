/** A decimal number as the backend writes one. */
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
/** Text that a header can carry as it is. */
const HEADER_TEXT = /^[\x21-\x7e]+$/;

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

/** Whether a text can be sent in a header as it is. */
export function isHeaderText(text: string): boolean {
  return HEADER_TEXT.test(text);
}
