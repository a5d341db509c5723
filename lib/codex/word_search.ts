/**
 * Finds one of a few words in bytes, several times faster than a text made of
 * them could be searched.
 *
 * @module
 */

/** Every so many bytes one four of them are looked at. */
const STRIDE = 8;
/** A word of this length holds one of those fours, wherever it begins. */
const LEAST = STRIDE + 3;
// more would leave the processor's nearest memory, fewer would mix up more fours
const BITS = 14;
/** A byte must be able to name them. */
const MOST_PLACES = 255;

/** A four of bytes as it stands in a word. */
interface Spot {
  readonly word: Uint8Array;
  /** Where in the word. */
  readonly offset: number;
}

/** Words of at least 11 bytes, to be searched for together. */
export class WordSearch {
  /** How long the longest word is, bytes. */
  readonly longest: number;
  readonly #spots: Spot[][] = [[]];
  /** By the hash of a four: its place in the spots; 0: it stands in no word. */
  readonly #places = new Uint8Array(1 << BITS);

  /** @param words Of ASCII characters. */
  constructor(words: readonly string[]) {
    this.longest = Math.max(...words.map((text) => text.length));
    for (const text of words) this.#add(new TextEncoder().encode(text));
  }

  /** The last of a word's fours tell it best from what begins like it. */
  #add(word: Uint8Array): void {
    if (word.length < LEAST) {
      throw new RangeError(
        `A word has ${word.length} bytes; it needs ${LEAST} to be found`,
      );
    }
    for (let n = 0; n < STRIDE; n++) {
      const offset = word.length - LEAST + n;
      const [four] = new Int32Array(word.slice(offset, offset + 4).buffer);
      const hash = hashOf(four!);
      this.#places[hash] ||= this.#newPlace();
      this.#spots[this.#places[hash]!]!.push({ word, offset });
    }
  }

  #newPlace(): number {
    const place = this.#spots.push([]) - 1;
    if (place <= MOST_PLACES) return place;
    throw new RangeError(`The words differ in more than ${MOST_PLACES} places`);
  }

  /**
   * The place of a word, near the first one if there are several.
   *
   * @param bytes Where to look.
   * @param fours The same memory.
   * @param from No word before this counts.
   * @param to Nor one that ends behind this.
   * @returns Where it begins; -1 when there is none.
   */
  find(
    bytes: Uint8Array,
    fours: Int32Array,
    from: number,
    to: number,
  ): number {
    const end = to >> 2;
    let n = (from >> 3) << 1;
    for (;;) {
      n = nextKnown(fours, this.#places, n, end);
      if (n >= end) return -1;
      const place = this.#places[hashOf(fours[n]!)]!;
      for (const { word, offset } of this.#spots[place]!) {
        const at = n * 4 - offset;
        if (at < from || at + word.length > to) continue;
        if (standsAt(bytes, at, word)) return at;
      }
      n += 2;
    }
  }
}

/** The next four that stands in a word, or the end. Small, as this takes nearly all of the time. */
function nextKnown(
  fours: Int32Array,
  places: Uint8Array,
  from: number,
  end: number,
): number {
  let n = from;
  while (n < end) {
    while (n + 14 < end && hasNone(fours, places, n)) n += 16;
    for (const stop = Math.min(n + 16, end); n < stop; n += 2) {
      if (places[hashOf(fours[n]!)] !== 0) return n;
    }
  }
  return n;
}

/** Eight at once: this way it takes half as long. */
function hasNone(fours: Int32Array, places: Uint8Array, n: number): boolean {
  return (places[hashOf(fours[n]!)]! | places[hashOf(fours[n + 2]!)]! |
    places[hashOf(fours[n + 4]!)]! | places[hashOf(fours[n + 6]!)]! |
    places[hashOf(fours[n + 8]!)]! | places[hashOf(fours[n + 10]!)]! |
    places[hashOf(fours[n + 12]!)]! | places[hashOf(fours[n + 14]!)]!) === 0;
}

function hashOf(four: number): number {
  return Math.imul(four, 0x9e3779b1) >>> (32 - BITS);
}

/** Whether a word stands at a place. Compared from its end: many begin alike. */
export function standsAt(
  bytes: Uint8Array,
  at: number,
  word: Uint8Array,
): boolean {
  for (let n = word.length - 1; n >= 0; n--) {
    if (bytes[at + n] !== word[n]) return false;
  }
  return true;
}
