/** Readers of JSON, put together from small ones. */

import { isRecord } from "../values.ts";

export type JsonObject = Record<string, unknown>;

/** The same entries without a prototype: `constructor` finds nothing, `__proto__` is a key. */
export function dictionary<T>(entries: Record<string, T>): Record<string, T> {
  return Object.assign(Object.create(null), entries);
}

/**
 * Entries of which each is read when it is asked for first. To all else they
 * are a plain object: no proxy, which cannot be cloned.
 */
export function lazily<T>(names: readonly string[], read: (name: string) => T) {
  const entries = dictionary<T>({});
  const values = new Map<string, T>();
  for (const name of names) {
    Object.defineProperty(entries, name, {
      get() {
        if (!values.has(name)) values.set(name, read(name));
        return values.get(name);
      },
      set: (value: T) => void values.set(name, value),
      enumerable: true,
      configurable: true,
    });
  }
  const isUnread = (name: string) =>
    !values.has(name) &&
    Object.getOwnPropertyDescriptor(entries, name)!.get !== undefined;
  return {
    entries,
    /** What was asked for or set, of the entries or of what took their place. */
    touched: (now: Record<string, T>): [string, T][] =>
      Object.keys(now).filter((name) => now !== entries || !isUnread(name))
        .map((name) => [name, now[name]!]),
  };
}

/** Reads a value; `at` is when the fact that it is part of was observed. */
export type Read<T> = (value: unknown, at: number) => T;

type Fields<T> = {
  [K in keyof T]-?: Read<
    Record<never, never> extends Pick<T, K> ? T[K] | undefined : T[K]
  >;
};

/** Thrown where a value has another form; nobody is told. */
export const UNREADABLE = new Error("A stored value has another form");

export function passing<T>(test: (value: unknown) => value is T): Read<T> {
  return (value) => {
    if (test(value)) return value;
    throw UNREADABLE;
  };
}

export const text: Read<string> = passing((it) => typeof it === "string");
export const flag: Read<boolean> = passing((it) => typeof it === "boolean");
export const number: Read<number> = passing((it): it is number =>
  Number.isFinite(it)
);
export const object: Read<JsonObject> = passing(isRecord);
export const list: Read<unknown[]> = passing((it): it is unknown[] =>
  Array.isArray(it)
);

/** All entries that can be read. */
export function entriesOf<T>(read: Read<T>): Read<Record<string, T>> {
  return (value, at) => {
    const found = dictionary<T>({});
    for (const [key, it] of Object.entries(isRecord(value) ? value : {})) {
      const entry = lenient(read)(it, at);
      if (entry !== undefined && key !== "__proto__") found[key] = entry;
    }
    return found;
  };
}

/** A time, or when the whole fact was observed. */
export const dated: Read<number> = (value, at) => number(value ?? at, at);

export function optional<T, D = undefined>(
  read: Read<T>,
  absent?: D,
): Read<T | D> {
  return (value, at) => value === undefined ? absent as D : read(value, at);
}

export function nullable<T>(read: Read<T>): Read<T | null> {
  return (value, at) =>
    value === undefined || value === null ? null : read(value, at);
}

/** What cannot be read is like what is absent. */
export function lenient<T, D = undefined>(
  read: Read<T>,
  absent?: D,
): Read<T | D> {
  return (value, at) => {
    try {
      if (value !== undefined) return read(value, at);
    } catch (error) {
      if (error !== UNREADABLE) throw error;
    }
    return absent as D;
  };
}

export function shape<T extends object>(fields: Fields<T>): Read<T> {
  const reads = Object.entries(fields) as [string, Read<unknown>][];
  return (stored, at) => {
    const value = object(stored, at);
    const own = value["observedAt"];
    const observedAt = typeof own === "number" ? own : at;
    const found: JsonObject = {};
    for (const [name, read] of reads) {
      const field = read(value[name], observedAt);
      // absent fields are not there, as deleting them makes an object slow
      if (field !== undefined) found[name] = field;
    }
    return found as T;
  };
}
