/** Readers of JSON, put together from small ones. */

import { isRecord } from "../values.ts";

export type JsonObject = Record<string, unknown>;

/** The same entries without a prototype: `constructor` finds nothing, `__proto__` is a key. */
export function dictionary<T>(entries: Record<string, T>): Record<string, T> {
  return Object.assign(Object.create(null), entries);
}

/** Reads a value; `at` is when the fact that it is part of was observed. */
export type Read<T> = (value: unknown, at: number) => T;

/** How each field of a `T` is read. */
type Fields<T> = {
  [K in keyof T]-?: Read<
    Record<never, never> extends Pick<T, K> ? T[K] | undefined : T[K]
  >;
};

/** Thrown where a value has another form; nobody is told. */
export const UNREADABLE = new Error("A stored value has another form");

export const text: Read<string> = (value) => {
  if (typeof value !== "string") throw UNREADABLE;
  return value;
};

export const flag: Read<boolean> = (value) => {
  if (typeof value !== "boolean") throw UNREADABLE;
  return value;
};

export const number: Read<number> = (value) => {
  if (typeof value !== "number" || !Number.isFinite(value)) throw UNREADABLE;
  return value;
};

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
  return (value, at) => {
    if (!isRecord(value)) throw UNREADABLE;
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
