// Written here and not taken from @std/cli/unicode-width, because the copy of
// the standard library on npm lacks the data file which that module reads.

const ZERO = /^[\p{Mn}\p{Me}\p{Cf}\p{Cc}\u1160-\u11ff\ud7b0-\ud7ff]$/u;
const HALF = /^[\uff61-\uffdc]$/;
const WIDE =
  /^[\p{Emoji_Presentation}\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\p{sc=Bopomofo}\p{sc=Yi}\p{sc=Tangut}\u3000-\u303e\u309b-\u33ff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]$/u;

/** Columns that a text without escape sequences takes in a terminal. */
export function textWidth(text: string): number {
  // most there is: plain text, and bars
  if (/^[ -~█░→…]*$/.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

function characterWidth(character: string): 0 | 1 | 2 {
  if (ZERO.test(character)) return 0;
  return WIDE.test(character) && !HALF.test(character) ? 2 : 1;
}
