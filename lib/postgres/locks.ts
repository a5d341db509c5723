/**
 * Locks over machines: a row that its holder keeps from expiring.
 *
 * When a lock has expired is told by the clock of the database alone, and only
 * decides who may take it over. That a holder which was replaced writes nothing
 * is told by its token: what is written inside of a job is written only while
 * the lock's row still has it, in the same transaction.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { createHash, randomUUID } from "node:crypto";
import { withTimeLimit } from "../abort.ts";
import { RotatorError } from "../errors.ts";
import { Queue } from "../store/queue.ts";
import { patiently, type Run } from "./connection.ts";
import type { Watch } from "./watch.ts";

/** A lock that was not kept for so long is free, as an interval of the database. */
const LIFETIME = "3500 ms";
/** A lock that somebody holds is tried again after this, ms, or when it is told to be free. */
const RETRY_MS = 250;
/** A database that is out of reach is waited for so long, ms. */
const PATIENCE_MS = 3_000;

/**
 * Takes the lock $1 for $2. Who takes it over keeps the one before from writing.
 * A server that has just started gives the holders time to come back.
 */
const TAKE = `
with taken as (
  insert into locks (name, token, expires_at)
  values ($1, $2, clock_timestamp() + interval '${LIFETIME}')
  on conflict (name) do update
  set token = excluded.token,
    expires_at = clock_timestamp() + interval '${LIFETIME}'
  where locks.token = excluded.token or (
    locks.expires_at < clock_timestamp()
    and pg_postmaster_start_time() + interval '${LIFETIME}' < clock_timestamp()
  )
  returning (xmax <> 0) as is_takeover
), fenced as (
  update pool set revision = revision + 1
  where id and (select is_takeover from taken)
)
select 1 from taken`;

const RELEASE = `
with freed as (
  delete from locks where name = $1 and token = $2 returning name
)
select pg_notify($3, 'free ' || name) from freed`;

/** Keeps locks from expiring; its parameter is a list of tokens as JSON. */
export const KEEP = `
update locks set expires_at = clock_timestamp() + interval '${LIFETIME}'
where token in (select json_array_elements_text($1::text::json))`;

/** A lock that this process holds. */
interface Held {
  readonly name: string;
  readonly token: string;
  isOver: boolean;
}

/** The locks of one store. */
export class Locks {
  readonly #ask: Run;
  readonly #watch: Watch;
  readonly #queue: Queue;
  readonly #held = new AsyncLocalStorage<readonly Held[]>();
  readonly #about: { name: string; schema: string; waitLimit: number };

  constructor(
    ask: Run,
    watch: Watch,
    about: { name: string; schema: string; waitLimit: number },
  ) {
    this.#ask = ask;
    this.#watch = watch;
    this.#about = about;
    this.#queue = new Queue(() => busyError(about.name));
  }

  /** What a write from here must find in the table: tokens by lock, as JSON. */
  get fences(): string {
    const held = this.#held.getStore()?.filter(({ isOver }) => !isOver) ?? [];
    return JSON.stringify(
      Object.fromEntries(held.map(({ name, token }) => [name, token])),
    );
  }

  /** Runs a job while no one else holds the name. */
  async run<T>(name: string, job: () => Promise<T>): Promise<T> {
    const giveUpAt = performance.now() + this.#about.waitLimit;
    const key = createHash("sha256").update(name).digest("hex").slice(0, 16);
    return await this.#queue.run(key, giveUpAt, async () => {
      const held = { name: key, token: randomUUID(), isOver: false };
      await this.#take(held, giveUpAt);
      return await this.#runHeld(held, job);
    });
  }

  async #runHeld<T>(held: Held, job: () => Promise<T>): Promise<T> {
    const outer = this.#held.getStore() ?? [];
    try {
      return await this.#held.run([...outer, held], job);
    } finally {
      held.isOver = true;
      this.#watch.tokens.delete(held.token);
      const { name, token } = held;
      // one that stays behind expires
      await this.#ask(RELEASE, [name, token, this.#about.schema])
        .catch(() => {});
    }
  }

  async #take({ name, token }: Held, giveUpAt: number): Promise<void> {
    const patientUntil = performance.now() + PATIENCE_MS;
    for (;;) {
      const freed = this.#watch.untilFree(name);
      const ask = () => this.#ask(TAKE, [name, token]);
      if ((await patiently(patientUntil, ask)).length > 0) break;
      if (performance.now() >= giveUpAt) throw busyError(this.#about.name);
      const ms = RETRY_MS * (0.75 + Math.random() / 2);
      await withTimeLimit({ ms }, () => freed).catch(() => {});
    }
    this.#watch.tokens.add(token);
    this.#watch.want();
  }
}

/** The error of whose turn has not come in time. */
export function busyError(name: string): RotatorError {
  return new RotatorError(
    "store_locked",
    `Others held a lock in the store ${name} all the time; end the programs that use it and try again`,
  );
}

/** The error of a job whose lock was taken over. */
export function fencedError(name: string): RotatorError {
  return new RotatorError(
    "store_locked",
    `Another process took a lock in the store ${name} over, as this one did not answer for too long, so nothing was written; try again`,
  );
}

/** The error of a change that may have been made. */
export function doubtfulError(error: unknown): unknown {
  if (!(error instanceof RotatorError)) return error;
  const text =
    `${error.message}; whether the change was written is not known yet, the next read shows it`;
  return new RotatorError(error.code, text, { cause: error });
}
