/**
 * Ledger and memory of sessions as tables.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import type { LedgerEntry } from "../spending_types.ts";
import type { SessionStore, Store } from "../types.ts";
import type { Run } from "./connection.ts";

const APPEND = `
insert into ledger (id, at, entry)
select id, at::timestamptz, entry::json
from json_to_recordset($1::text::json) as line (id text, at text, entry text)
on conflict (id) do nothing`;

/** The next lines from $1 on, behind the line $3 of the time $2. */
const NEXT = `
select id, at::text, entry from ledger
where at >= $1::text::timestamptz
  and (at, id) > ($2::text::timestamptz, $3::text)
order by at, id limit 2000`;

const DROP_OLD = "delete from ledger where at < now() - interval '13 months'";

/** The ledger of a database. */
export function ledgerTable(ask: Run): NonNullable<Store["ledger"]> {
  // one that is appended again, as nobody answered, is the same line
  const ids = new WeakMap<LedgerEntry, string>();
  let dropping: Promise<unknown> | undefined;
  return {
    async append(entries) {
      const lines = entries.map((entry) => {
        const id = ids.get(entry) ?? randomUUID();
        ids.set(entry, id);
        return { id, at: entry.at, entry: JSON.stringify(entry) };
      });
      await ask(APPEND, [JSON.stringify(lines)]);
      await (dropping ??= ask(DROP_OLD));
    },
    async *read(since) {
      const first = new Date(since).toISOString();
      for (let [at, id] = [first, ""];;) {
        const rows = await ask(NEXT, [first, at, id]);
        for (const { entry } of rows) yield entry as LedgerEntry;
        const last = rows.at(-1);
        if (!last) return;
        [at, id] = [String(last["at"]), String(last["id"])];
      }
    },
  };
}

/** Idle sessions are forgotten: each one is written again while it is used. */
const REMEMBER = `
with idle as (
  delete from sessions where at < now() - interval '2 hours'
)
insert into sessions (key, value)
select key, value from json_each_text($1::text::json)
on conflict (key) do update set value = excluded.value, at = now()`;

const SESSIONS = `
select key, value from sessions where at > now() - interval '1 hour'
order by at desc limit 20000`;

/** The memory of sessions in a database. */
export function sessionTable(ask: Run): SessionStore {
  return {
    async read() {
      const rows = await ask(SESSIONS);
      return Object.fromEntries(rows.map(({ key, value }) => [key, value]));
    },
    async write(changed) {
      await ask(REMEMBER, [JSON.stringify(changed)]);
    },
  };
}
