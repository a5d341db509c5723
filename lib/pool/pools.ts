import type { Standing } from "../types.ts";

/** The pools in the order in which they are used, cheapest first. */
export type Pool = "first" | "credits" | "unconfirmed";

/** All pools in their order. */
export const POOLS: readonly Pool[] = ["first", "credits", "unconfirmed"];

/** The place of a pool in that order; 3 is behind all of them. */
export type PoolIndex = 0 | 1 | 2 | 3;

/** The place of a standing's pool; behind all of them when it cannot serve. */
export function poolIndexOf({ kind }: Standing): PoolIndex {
  switch (kind) {
    case "included":
    case "unknown":
      return 0;
    case "credits":
      return 1;
    case "unconfirmed":
      return 2;
    case "blocked":
      return 3;
  }
}

/** The pool of a standing; undefined when it cannot serve. */
export function poolOf(standing: Standing): Pool | undefined {
  return POOLS[poolIndexOf(standing)];
}
