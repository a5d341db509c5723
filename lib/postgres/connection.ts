/**
 * One connection to a PostgreSQL server, opened when it is needed.
 *
 * A client whose connection has failed is given up, and the next statement
 * opens another: nothing of a broken connection lives on.
 *
 * @module
 */
import { Socket } from "node:net";
import postgres from "postgres";
import { delay, withTimeLimit } from "../abort.ts";
import { networkReason, RotatorError } from "../errors.ts";
import type { Target } from "./target.ts";

/** A statement is given up after this, ms. */
const LIMIT_MS = 5_000;
/** The server gives up a statement after this, ms: whoever sent it is gone by then. */
const SERVER_LIMIT_MS = 8_000;
/** The server ends a transaction whose process was suspended for so long, ms. */
const IDLE_LIMIT_MS = 2_000;
/** Between two tries at a database that is out of reach, ms. */
const PAUSE_MS = 100;
/** Errors of a connection that was never there. */
const UNSENT =
  /^(UNOPENED|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ENOENT|EACCES|CONNECT_TIMEOUT)$/;
/** How a server ends a connection that has been there. */
const ENDED = /^57P0[12]$/;

/** Options of `npm:postgres`; its types are not those of our users. */
type ClientOptions = postgres.Options<Record<string, never>>;

/** A row of a result. */
export type Row = Record<string, unknown>;

/** What a server or its connection failed with; holds no password and no parameter. */
export class DatabaseError extends RotatorError {
  /**
   * "refused": by the server; "unsent": there was no connection; "lost": the
   * statement may have been carried out all the same.
   */
  readonly kind: "refused" | "unsent" | "lost";
  /** The server's code for what it refused. */
  readonly sqlState: string | undefined;

  constructor(kind: DatabaseError["kind"], message: string, sqlState?: string) {
    super("store_unwritable", message);
    this.kind = kind;
    this.sqlState = sqlState;
  }
}

/** Whether an error is of the connection, and not of what it was asked for. */
export function isOutOfReach(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && error.kind !== "refused";
}

/** Does a job, and again while the database is out of reach, until then. */
export async function patiently<T>(
  until: number,
  job: () => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      return await job();
    } catch (error) {
      const isOver = performance.now() >= until;
      if (isOver || !isOutOfReach(error)) throw error;
    }
    await delay(PAUSE_MS);
  }
}

/** What a connection tells by itself. */
export interface Listener {
  onNotify?(payload: string): void;
  /** It is gone, and with it what it listened to. */
  onLost?(): void;
}

/** Carries out a statement. */
export type Run = (
  statement: string,
  parameters?: readonly (string | null)[],
  limit?: number,
) => Promise<Row[]>;

/** One connection; statements are carried out one after another. */
export class Connection {
  readonly target: Target;
  readonly #options: ClientOptions;
  readonly #listener: Listener;
  #client: postgres.Sql | undefined;
  /** Those that have been connected: what they fail with may have been sent before. */
  readonly #served = new WeakSet<postgres.Sql>();
  /** The transaction under way. */
  #transaction: Promise<void> | undefined;

  constructor(target: Target, listener: Listener = {}) {
    this.target = target;
    this.#options = target.client;
    this.#listener = listener;
  }

  /**
   * Carries out a statement; its limit is in ms.
   *
   * @throws {DatabaseError}
   */
  readonly run: Run = async (...args) => {
    while (this.#transaction) await this.#transaction;
    return await this.#send(...args);
  };

  /**
   * Runs a job whose statements are one transaction. Once that has failed, no
   * statement of the job is sent any more, and the job is over.
   */
  async transaction<T>(job: (run: Run) => Promise<T>): Promise<T> {
    while (this.#transaction) await this.#transaction;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#transaction = promise;
    const client = this.#client ??= this.#open();
    let isOver = false;
    const run: Run = async (...args) => {
      // on another connection it would be no part of the transaction
      if (isOver || this.#client !== client) {
        throw this.#failure("unsent", "the connection was closed");
      }
      return await this.#send(...args);
    };
    const begun = run("begin");
    const working = job(run);
    try {
      const [, result] = await Promise.all([begun, working]);
      await run("commit");
      return result;
    } catch (error) {
      isOver = true;
      await Promise.allSettled([begun, working]);
      if (this.#client === client) await this.#send("rollback").catch(() => {});
      throw error;
    } finally {
      this.#transaction = undefined;
      resolve();
    }
  }

  async #send(
    statement: string,
    parameters: readonly (string | null)[] = [],
    limit = LIMIT_MS,
  ): Promise<Row[]> {
    const client = this.#client ??= this.#open();
    const prepare = parameters.length > 0 && this.#options.prepare !== false;
    try {
      // its timer keeps the process, as the connection does not
      const rows = await withTimeLimit(
        { ms: limit },
        () => client.unsafe(statement, [...parameters], { prepare }),
      );
      this.#served.add(client);
      return rows;
    } catch (error) {
      throw this.#failed(error, client);
    }
  }

  /** As {@linkcode run}, for what may be done twice: once more where the connection turned out to be broken. */
  async ask(...args: Parameters<Run>): Promise<Row[]> {
    try {
      return await this.run(...args);
    } catch (error) {
      if (!(error instanceof DatabaseError && error.kind === "lost")) {
        throw error;
      }
    }
    return await this.run(...args);
  }

  /** Ends it; a later statement opens it again. */
  async close(): Promise<void> {
    await this.#client?.end({ timeout: 1 });
    this.#client = undefined;
  }

  #open(): postgres.Sql {
    const { url, schema } = this.target;
    const options = this.#options;
    let attempts = 0;
    const own: postgres.Sql = postgres(url, {
      ...options,
      max: 1,
      fetch_types: false,
      idle_timeout: 0,
      max_lifetime: null,
      connect_timeout: LIMIT_MS / 1000,
      backoff: () => 0,
      onnotice: () => {},
      connection: {
        application_name: "codex-rotator",
        statement_timeout: SERVER_LIMIT_MS,
        idle_in_transaction_session_timeout: IDLE_LIMIT_MS,
        // statements this small take longer to compile than to run
        jit: "off",
        ...options.connection,
        // whatever the server's or the user's defaults are
        default_transaction_isolation: "read committed",
        DateStyle: "ISO",
        TimeZone: "UTC",
        // a token is on disk before it is used
        synchronous_commit: "on",
        search_path: `"${schema}"`,
      },
      onclose: () => this.#client === own && this.#drop(own),
      // what the client takes and its types lack
      ...{
        onnotify: (_: string, payload: string) =>
          this.#listener.onNotify?.(payload),
        socket: (address: Address) => {
          const isOver = attempts >= address.host.length;
          if (!isOver && this.#client === own) {
            return openSocket(address, attempts++);
          }
          // it would try again at once, and again
          this.#drop(own);
          const error = new Error("connection closed");
          throw Object.assign(error, { code: "UNOPENED" });
        },
      },
    });
    return own;
  }

  #drop(client: postgres.Sql): void {
    if (this.#client === client) {
      this.#client = undefined;
      this.#listener.onLost?.();
    }
    void client.end({ timeout: 0 });
  }

  #failed(error: unknown, client: postgres.Sql): unknown {
    const { name, secrets } = this.target;
    // Deno's own refusals name the flag that is missing
    if (!(error instanceof Error) || error.name === "NotCapable") return error;
    const { code = "", severity } = error as {
      code?: string;
      severity?: string;
    };
    const told = secrets.reduce(
      (text, secret) => text.replaceAll(secret, "***"),
      networkReason(error) ?? (error.message || code),
    );
    if (severity === "ERROR") {
      const text = `The store ${name} refused: ${told} (${code})`;
      return new DatabaseError("refused", text, code);
    }
    this.#drop(client);
    const isUnsent = UNSENT.test(code) ||
      (severity !== undefined && !ENDED.test(code));
    const wasNever = isUnsent && !this.#served.has(client);
    return this.#failure(wasNever ? "unsent" : "lost", told);
  }

  #failure(kind: "unsent" | "lost", told: string): DatabaseError {
    const { name } = this.target;
    return new DatabaseError(
      kind,
      `The store ${name} cannot be reached: ${told}; check that the database runs, and its address, user and password`,
    );
  }
}

/** Where the client connects to. */
interface Address {
  readonly host: readonly string[];
  readonly port: readonly number[];
  readonly path?: string | false;
}

/** Opens a socket that does not keep the process; of several hosts the next one at each attempt. */
function openSocket({ host, port, path }: Address, attempt: number): Socket {
  const index = attempt % host.length;
  // the client takes the name for the certificate from here
  const socket = Object.assign(new Socket(), { host: host[index]! });
  if (path) socket.connect(path);
  else socket.connect(port[index]!, host[index]!);
  return socket.unref();
}
