/**
 * The tables, and how they come to be.
 *
 * @module
 */
import type { Connection } from "./connection.ts";

/** The newest layout of the tables that this version works with. */
export const LAYOUT = 1;

/** What the server says of tables or a schema that are not there. */
const MISSING = /^(42P01|3F000)$/;

/** Whether a statement failed because the tables are not there yet. */
export function isMissing({ sqlState }: { sqlState?: string | undefined }) {
  return MISSING.test(sqlState ?? "");
}

/** Creates what is missing. */
export async function createTables(connection: Connection): Promise<void> {
  await connection.ask(tablesIn(connection.target.schema));
}

/** One transaction, which waits for those of other processes. */
const tablesIn = (schema: string) => `
select pg_advisory_xact_lock(hashtext('codex-rotator'), hashtext('${schema}'));

do $$ begin
  if to_regnamespace('"${schema}"') is null then
    create schema "${schema}";
  end if;
end $$;

-- one row: all but the accounts, and how often anything changed
create table if not exists pool (
  id boolean primary key default true check (id),
  layout integer not null,
  revision bigint not null,
  rest json not null
);

insert into pool (layout, revision, rest)
values (${LAYOUT}, 1, '{"version":1,"settings":{}}')
on conflict (id) do nothing;

-- an account that is gone has no record, so that others hear of it
create table if not exists accounts (
  id bigint generated always as identity,
  alias text primary key,
  record json,
  revision bigint not null
);

create index if not exists accounts_revision on accounts (revision);

-- the last change that each process has made
create table if not exists processes (
  id text primary key,
  change bigint not null,
  at timestamptz not null default now()
);

create table if not exists locks (
  name text primary key,
  token text not null,
  expires_at timestamptz not null
);

create table if not exists sessions (
  key text primary key,
  value text not null,
  at timestamptz not null default now()
);

create table if not exists ledger (
  id text primary key,
  at timestamptz not null,
  entry json not null
);

create index if not exists ledger_at on ledger (at, id);
`;
