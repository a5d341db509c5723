/** Returns the nearest of `names`, or one that begins alike; undefined when none is near. */
export function nearest(
  word: string,
  names: readonly string[],
): string | undefined {
  const limit = Math.max(1, Math.floor(word.length / 3));
  const [best] = names
    .map((name) => ({ name, distance: editDistance(word, name) }))
    .filter((it) => it.distance <= limit)
    .sort((a, b) => a.distance - b.distance);
  return best?.name ?? names.find((name) => beginAlike(word, name));
}

/** Returns " (did you mean X?)", or nothing. */
export function suggestion(word: string, names: readonly string[]): string {
  const name = nearest(word, names);
  return name === undefined ? "" : ` (did you mean ${name}?)`;
}

function beginAlike(a: string, b: string): boolean {
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  return /\w{3}/.test(short) && long.startsWith(short);
}

/** Counts insertions, deletions, substitutions and swaps of neighbours between two words. */
function editDistance(a: string, b: string): number {
  const [from, to] = [a.toLowerCase().slice(0, 99), b.toLowerCase()];
  let before: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1] ? 0 : 1;
      const swapped = from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
        ? before[j - 2]! + 1
        : Infinity;
      row.push(
        Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + same, swapped),
      );
    }
    [before, last] = [last, row];
  }
  return last[to.length]!;
}
