/** What a command opens: the store, and a rotator that asks the backend. */
import { dirname } from "node:path";
import { createContext } from "../context.ts";
import { messageOf } from "../errors.ts";
import { readLedger } from "../ledger/ledger.ts";
import { rotatorOf } from "../rotator.ts";
import { jsonStore } from "../store/json_store.ts";
import { isDatabase } from "../store/paths.ts";
import { editState, normalState } from "../store/state.ts";
import type { NormalState } from "../normal_types.ts";
import type { Store } from "../types.ts";
import { once } from "../values.ts";
import { CliError, type Voice } from "./messages.ts";
import type {
  RefreshReport,
  RotatorEvent,
  StatusReport,
} from "../report_types.ts";
import { backendOf, type Context, issuerOf, storeOf } from "./options.ts";

export type NamedStore = Store & {
  readonly path?: string;
  readonly name?: string;
  close?(): Promise<void>;
};

/**
 * The store for databases, which needs a client and is loaded where one is
 * named. Bundled, this module has no address, and that one lies beside it.
 */
const DATABASE_MODULE = import.meta.url ? "../postgres.ts" : "./postgres.mjs";
const CLIENT_IS_MISSING = /^(?!Requires ).*(?:postgres\.mjs|["']postgres["'])/;

export async function openNamed(
  where: string,
  { warn }: Voice,
): Promise<NamedStore> {
  if (!isDatabase(where)) return jsonStore(where, { onWarning: warn });
  try {
    const { postgresStore } = await import(DATABASE_MODULE);
    return postgresStore(where);
  } catch (error) {
    if (!CLIENT_IS_MISSING.test(messageOf(error))) throw error;
    throw new CliError(
      "The client of PostgreSQL is not here; in a clone run npm install, give deno install --config deno.json as well, and leave postgres.mjs beside codex-rotator.mjs",
    );
  }
}

/** Reads the ledger in a store or beside it, since a time (epoch ms). */
export async function readLedgerOf(
  { ledger, path }: Pick<NamedStore, "ledger" | "path">,
  since: number,
): ReturnType<typeof readLedger> {
  if (!ledger) return await readLedger(dirname(path!), since);
  const entries = await Array.fromAsync(ledger.read(since));
  return { entries, skippedLines: 0 };
}

export function openWholeStore(context: Context): Promise<NamedStore> {
  return openNamed(storeOf(context), context);
}

export function openStore(context: Context) {
  let opened: Promise<NamedStore> | undefined;
  const open = () => opened ??= openWholeStore(context);
  return {
    read: async () => normalState(await (await open()).read()),
    async update(change: (state: NormalState) => void): Promise<NormalState> {
      const store = await open();
      const state = await store.update((state) => editState(state, change));
      return normalState(state);
    },
  };
}

/** Changes the store, and says what `change` returns of it, a line each. */
export async function changeStore(
  context: Context,
  change: (state: NormalState) => readonly string[],
): Promise<NormalState> {
  let lines: readonly string[] = [];
  const state = await openStore(context).update((state) => {
    lines = change(state);
  });
  lines.forEach(context.say);
  return state;
}

export interface Refreshed extends RefreshReport {
  readonly status: StatusReport;
  /** Whether each was asked, and what was learned could be kept. */
  readonly isOk: boolean;
}

interface RefreshOptions {
  /** All accounts where none is named. */
  readonly aliases?: readonly string[];
  readonly model?: string | undefined;
  readonly onEvent?: ((event: RotatorEvent) => void) | undefined;
}

export async function refreshStore(
  context: Context,
  { aliases = [], model, onEvent }: RefreshOptions = {},
): Promise<Refreshed> {
  const { io } = context;
  const warn = once(context.warn);
  const opened = await openWholeStore(context);
  let isKept = true;
  const store: NamedStore = {
    ...opened,
    read: () => opened.read(),
    exclusive: (name, job) => opened.exclusive(name, job),
    async update(change) {
      isKept = false;
      const state = await opened.update(change);
      isKept = true;
      return state;
    },
  };
  const rotator = rotatorOf(createContext({
    store,
    now: io.now,
    backend: backendOf(context),
    issuer: issuerOf(context),
    onEvent(event) {
      onEvent?.(event);
      if (event.type === "warning") warn(event.reason);
    },
  }, { endsSoon: true }));
  try {
    const report = await rotator.refresh({
      ...(aliases.length > 0 ? { aliases } : {}),
      signal: io.signal,
      onProgress(done, total) {
        if (!io.errIsTerminal) return;
        // The last step clears the line again, so that the result stands alone.
        const text = done < total ? `Refreshed ${done} of ${total}` : "";
        io.err(`\r\u001b[K${text}`);
      },
    });
    const { throwIfRefused } = await import("./permissions.ts");
    throwIfRefused(report.accounts.map((it) => it.error));
    const status = await rotator.status(model === undefined ? {} : { model });
    const isOk = isKept && report.accounts.every((it) => it.ok);
    return { ...report, status, isOk };
  } finally {
    await rotator.close();
  }
}

/** Asks about accounts that were just added, and returns why the usage of some was not told. */
export async function refreshQuietly(
  context: Context,
  aliases: readonly string[],
): Promise<{ alias: string; error: string }[]> {
  try {
    const { accounts } = await refreshStore(context, { aliases });
    return accounts.filter(({ ok }) => !ok)
      .map(({ alias, error }) => ({ alias, error: error ?? "no answer" }));
  } catch (error) {
    if (context.io.isInterrupted) throw error;
    return aliases.map((alias) => ({ alias, error: messageOf(error) }));
  }
}
