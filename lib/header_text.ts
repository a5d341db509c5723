/** So many texts are remembered. */
const MOST_CHECKED = 4096;

const checked = new Set<string>();

/** Whether a text can be sent in a header as it is; long tokens are looked at once. */
export function isHeaderText(text: string): boolean {
  if (checked.has(text)) return true;
  if (!/^[\x21-\x7e]+$/.test(text)) return false;
  if (checked.size >= MOST_CHECKED) checked.clear();
  checked.add(text);
  return true;
}
