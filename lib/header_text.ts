const SENDABLE = /^[\x21-\x7e]+$/;
/** Shorter texts are looked at as fast as they would be found, characters. */
const SHORT = 64;
/** So many long texts are remembered. */
const MOST_CHECKED = 16_384;

const checked = new Set<string>();

/** Whether a text can be sent in a header as it is; long tokens are looked at once. */
export function isHeaderText(text: string): boolean {
  if (text.length <= SHORT) return SENDABLE.test(text);
  if (checked.has(text)) return true;
  if (!SENDABLE.test(text)) return false;
  if (checked.size >= MOST_CHECKED) checked.clear();
  checked.add(text);
  return true;
}
