/**
 * What a store holds and this version cannot read: a newer version may have
 * written it, so it is put back wherever nothing better has come in its place.
 */
type JsonObject = Record<string, unknown>;

/** One value that was taken out. */
interface Odd {
  /** The object that it was found in; its account, or a part of that. */
  readonly parent: JsonObject;
  /** The name of that part; undefined: it is the account. */
  readonly part: string | undefined;
  readonly name: string;
  readonly value: unknown;
  /** What stands there instead. */
  readonly standIn: unknown;
}

const ODD = Symbol("odd");

type Holder = JsonObject & { [ODD]?: Odd[] };

/**
 * Takes a value out.
 *
 * @param holder What remembers it: an account, or the settings.
 * @param parent The object that it is in.
 * @param name Its name there.
 * @param standIn What is to stand there instead; undefined: nothing.
 * @param part The name of `parent` in `holder`, where they differ.
 */
export function takeOut(
  holder: JsonObject,
  parent: JsonObject,
  name: string,
  standIn?: unknown,
  part?: string,
): void {
  const known = (holder as Holder)[ODD];
  const odd: Odd = { parent, part, name, value: parent[name], standIn };
  if (known) known.push(odd);
  // not enumerable: it is nothing that anyone should see or copy
  else Object.defineProperty(holder, ODD, { value: [odd] });
  if (standIn === undefined) delete parent[name];
  else parent[name] = standIn;
}

/** A holder as it is to be written: with what was taken out and not replaced since. */
export function putBack<T extends object>(holder: T): T {
  const odds = (holder as Holder)[ODD];
  if (odds === undefined) return holder;
  const whole = { ...holder } as JsonObject;
  const parents = new Map<unknown, JsonObject>();
  // the last one first: a part may have been taken out after something in it
  for (const { parent, part, name, value, standIn } of odds.toReversed()) {
    if (part === undefined) {
      if (whole[name] === standIn) whole[name] = value;
      continue;
    }
    const now = whole[part];
    if (typeof now !== "object" || now === null) continue;
    // cooldowns are kept anew each time some of them are over
    const isSame = now === parent || parents.get(now) === parent ||
      part === "cooldowns";
    if (!isSame || (now as JsonObject)[name] !== standIn) continue;
    whole[part] = { ...now, [name]: value };
    parents.set(whole[part], parent);
  }
  return whole as T;
}
