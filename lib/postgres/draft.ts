import { deepFreeze, makeChange, parseChanged } from "../store/state.ts";
import { dictionary, lazily } from "../store/shape.ts";
import type { AccountRecord, PoolState } from "../types.ts";
import { isRecord } from "../values.ts";

/** A state without its accounts. */
type Rest = Omit<PoolState, "accounts">;

/** What a change makes different, row by row. */
export interface Rows {
  /** All but the accounts; absent: it stays. */
  rest?: Rest;
  /** Null: the account is gone. */
  records: { alias: string; record: AccountRecord | null }[];
}

/** Records never change, so that each is formatted once at most. */
const texts = new WeakMap<AccountRecord, string>();

function textOf(record: AccountRecord): string {
  const text = texts.get(record) ?? JSON.stringify(record);
  texts.set(record, text);
  return text;
}

/**
 * Finds out what a change makes different. Costs what it looks at: an account
 * that it leaves alone is neither copied nor compared.
 *
 * @param before A frozen state.
 * @throws What `change` throws; {TypeError} when it left something that is no
 * state, or is not done yet.
 */
function rowsOf(
  before: PoolState,
  change: (state: PoolState) => void,
): Rows {
  const { accounts: known, ...rest } = before;
  const { entries, touched } = lazily(
    Object.keys(known),
    (alias): AccountRecord => JSON.parse(textOf(known[alias]!)),
  );
  const draft: PoolState = { ...structuredClone(rest), accounts: entries };
  makeChange(draft, change);
  const left = draft.accounts;
  const seen = isRecord(left) ? new Map(touched(left)) : undefined;
  const { accounts: read, ...after } = parseChanged(JSON.stringify({
    ...draft,
    accounts: seen ? Object.fromEntries(seen) : left,
  }));
  const changed = Object.entries(read).filter(([alias, record]) =>
    !known[alias] || textOf(known[alias]) !== textOf(record)
  );
  const gone = Object.keys(known).filter((alias) =>
    !Object.hasOwn(left, alias) ||
    (seen!.has(alias) && !Object.hasOwn(read, alias))
  );
  const isSame = JSON.stringify(after) === JSON.stringify(rest);
  return {
    ...(isSame ? {} : { rest: after }),
    records: [
      ...changed.map(([alias, record]) => ({ alias, record })),
      ...gone.map((alias) => ({ alias, record: null })),
    ],
  };
}

/** What a change comes to. */
export type Plan =
  | { kind: "rows"; rows: Rows }
  | { kind: "same" }
  | { kind: "refused"; reason: unknown };

export function plan(
  state: PoolState,
  change: (state: PoolState) => void,
): Plan {
  try {
    const rows = rowsOf(state, change);
    const isSame = !rows.rest && rows.records.length === 0;
    return isSame ? { kind: "same" } : { kind: "rows", rows };
  } catch (reason) {
    return { kind: "refused", reason };
  }
}

/** A state with some rows changed; it shares all others with the one before. */
export function withRows(
  before: PoolState,
  { rest, records }: Rows,
): PoolState {
  const { accounts: known, ...kept } = before;
  const accounts = dictionary(known);
  for (const { alias, record } of records) {
    if (record) accounts[alias] = record;
    else delete accounts[alias];
  }
  return deepFreeze({ ...rest ?? kept, accounts });
}
