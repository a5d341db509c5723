/**
 * The state as rows: one per account, and one for all else.
 *
 * @module
 */
import { RotatorError } from "../errors.ts";
import { parseState } from "../store/state.ts";
import type { AccountRecord } from "../types.ts";
import { isRecord } from "../values.ts";
import type { Row, Run } from "./connection.ts";
import type { Rows } from "./draft.ts";
import { LAYOUT } from "./schema.ts";

/** Everything that changed since revision $1, and the last change of the process $2. */
const READ = `
select pool.layout, pool.revision::text, pool.rest,
  (select change::text from processes where id = $2) as change,
  accounts.alias, accounts.record
from pool left join accounts on accounts.revision > $1::text::bigint
where pool.id
order by accounts.id`;

/**
 * Writes rows, unless anything changed since revision $1 or a lock of $6 has
 * been taken over: one statement, so that it is done as a whole or not at all.
 */
const WRITE = `
with changed as (
  update pool set revision = revision + 1, rest = coalesce($4::text::json, rest)
  where id and revision = $1::text::bigint and layout = ${LAYOUT} and not exists (
    select from json_each_text($6::text::json) as fence
    where not exists (
      select from locks where name = fence.key and token = fence.value
    )
  )
  returning revision
), noted as (
  insert into processes (id, change) select $2, $3::text::bigint from changed
  on conflict (id) do update set change = excluded.change, at = now()
), written as (
  insert into accounts (alias, record, revision)
  select row.alias, row.record::json, changed.revision
  from changed, json_to_recordset($5::text::json)
    as row (alias text, record text)
  on conflict (alias) do update
  set record = excluded.record, revision = excluded.revision
)
select revision::text, pg_notify($7, 'revision ' || revision) from changed`;

/** Has others wait, in the order they came, until the transaction ends. */
export const LOCK = "select from pool where id for update";

/** Forgets processes that ended long ago. */
export const FORGET =
  "delete from processes where at < now() - interval '2 days'";

/** What a read found. */
export interface Changes extends Rows {
  readonly revision: number;
  /** The number of the last change of the process that was written. */
  readonly change: number;
}

/** What is to be written. */
export interface Writing {
  /** What it was made from. */
  readonly revision: number;
  /** Names the process, which counts its changes. */
  readonly process: string;
  readonly change: number;
  /** The locks that must still be held: tokens by lock, as JSON. */
  readonly fences: string;
  /** Who listens to it hears of it. */
  readonly channel: string;
  readonly rows: Rows;
}

/**
 * Reads what changed since a revision.
 *
 * @throws {RotatorError} `store_version`, `store_corrupt`.
 */
export async function readChanges(
  run: Run,
  { name, since, process }: { name: string; since: number; process: string },
): Promise<Changes> {
  const rows = await run(READ, [String(since), process]);
  const [pool] = rows;
  if (!pool) throw corrupt(name, "its table pool is empty");
  const { layout, revision, change, rest } = pool;
  if (Number(layout) > LAYOUT) {
    throw new RotatorError(
      "store_version",
      `The store ${name} has version ${layout} and this codex-rotator reads version ${LAYOUT}; update codex-rotator or choose another store`,
    );
  }
  if (!isRecord(rest)) throw corrupt(name, "what it holds is not an object");
  const text = JSON.stringify({ ...rest, accounts: {} });
  const { accounts: _, ...checked } = parseState(text, name);
  return {
    revision: Number(revision),
    change: Number(change ?? 0),
    rest: checked,
    records: rows.filter(({ alias }) => alias !== null)
      .map((row) => readRecord(row, name)),
  };
}

function readRecord({ alias, record }: Row, name: string) {
  if (record !== null && !isRecord(record)) {
    throw corrupt(name, `the record of ${alias} is not an object`);
  }
  return { alias: String(alias), record: record as AccountRecord | null };
}

function corrupt(name: string, found: string): RotatorError {
  return new RotatorError(
    "store_corrupt",
    `The store ${name} cannot be used: ${found}; it was left as it is, repair it or put a dump back`,
  );
}

/** Writes rows; returns the new revision, or undefined where nothing was written. */
export async function writeRows(
  run: Run,
  { revision, process, change, fences, ...writing }: Writing,
): Promise<number | undefined> {
  const { channel, rows: { rest, records } } = writing;
  const texts = records.map(({ alias, record }) => ({
    alias,
    // as a text in a text, which may hold what no text of the server may
    record: record && JSON.stringify(record),
  }));
  const [written] = await run(WRITE, [
    String(revision),
    process,
    String(change),
    rest ? JSON.stringify(rest) : null,
    JSON.stringify(texts),
    fences,
    channel,
  ]);
  return written && Number(written["revision"]);
}
