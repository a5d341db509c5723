/**
 * What a rotator is made of: options, environment and store, wired together.
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Spending } from "./account/spending.ts";
import { type AccountContext, systemFetch } from "./account/context.ts";
import { TokenManager } from "./account/token.ts";
import { UsageChecker } from "./account/usage_check.ts";
import { MAX_REPLAY_BYTES } from "./body.ts";
import { type Learned, RefusedParts, ServedItems } from "./codex/adapt.ts";
import {
  checkedBase,
  DEFAULT_BACKEND,
  DEFAULT_ISSUER,
} from "./codex/endpoints.ts";
import { messageOf } from "./errors.ts";
import { Ledger, LedgerFile, type LedgerSink } from "./ledger/ledger.ts";
import { capPolicy } from "./pool/caps.ts";
import { mergeRecord, recordOfLogin } from "./pool/facts.ts";
import { AccountPool } from "./pool/account_pool.ts";
import { ServedModels, Sessions } from "./pool/sessions.ts";
import {
  sessionStoreOf,
  type SessionSync,
  syncSessions,
} from "./session_file.ts";
import {
  checkOptions,
  policyOf,
  policySources,
  PREFERRED_PLANS,
  readFirst,
  type RotatorOptions,
  strategyOf,
} from "./options.ts";
import { folderOf } from "./store/file.ts";
import { jsonStore } from "./store/json_store.ts";
import { StateCache } from "./store/state_cache.ts";
import { defaultStorePath, isDatabase } from "./store/paths.ts";
import type { FetchLike, Store, StrategyName } from "./types.ts";
import type { RotatorEvent } from "./report_types.ts";
import { CODEX_VERSION } from "./version.ts";
import { once } from "./values.ts";

export interface RotatorContext extends AccountContext {
  readonly storeName: string;
  /** The file, where the caller named one. */
  readonly namedStore: string | undefined;
  readonly tokens: TokenManager;
  readonly usage: UsageChecker;
  readonly sessions: Sessions;
  readonly sessionSync: SessionSync;
  /** For URLs that are not the backend's: nothing of ours is set on them. */
  readonly fetchElse: FetchLike;
  readonly spending: Spending;
  readonly ledger: Ledger;
  /** Answers that have not ended. */
  readonly open: Set<() => void>;
  readonly servedModels: ServedModels;
  /** Requests that wait for the usage of accounts now. */
  waiting: number;
  readonly random: () => number;
  readonly preferPlans: ReadonlySet<string>;
  readonly affinity: boolean;
  readonly maxWait: number;
  readonly maxReplayBytes: number;
  readonly codexVersion: string;
  readonly learned: Learned;
  readonly debug: () => boolean;
  readonly strategy: () => StrategyName;
  /** Sends a `warning` event, once for each reason. */
  readonly warnOnce: (reason: string) => void;
  /** Warns on stderr as the runtime does, once for each text. */
  readonly warnProcess: (text: string) => void;
}

/**
 * Wires the parts. Reads no file and asks nobody yet.
 *
 * @throws {TypeError} When an option is not what it should be.
 */
export function createContext(
  options: RotatorOptions,
  { endsSoon }: Pick<AccountContext, "endsSoon"> = { endsSoon: false },
): RotatorContext {
  checkOptions(options);
  const emit = safely(options.onEvent);
  const warnOnce = once((reason) => emit({ type: "warning", reason }));
  const { store, name: storeName, path } = openStore(options.store, warnOnce);
  const told = { emit, warnOnce, endsSoon };
  const account = accountContext(options, store, told);
  const tokens = new TokenManager(account);
  const usage = new UsageChecker(account, tokens);
  const sessions = new Sessions();
  const sessionStore = options.affinity === false
    ? undefined
    : sessionStoreOf(account.store, account.now);
  let debug: boolean | undefined;
  return {
    ...account,
    fetchElse: options.fetch ??
      ((input, init) => globalThis.fetch(input, init)),
    tokens,
    usage,
    storeName,
    namedStore: options.store === undefined ? undefined : path,
    spending: new Spending(account, usage),
    ledger: new Ledger(
      ledgerSink(options.ledger, account.store),
      (error) => warnOnce(`The ledger was not written: ${messageOf(error)}`),
    ),
    open: new Set(),
    sessions,
    sessionSync: syncSessions(sessions, sessionStore, account.now),
    servedModels: new ServedModels(),
    waiting: 0,
    random: options.random ?? Math.random,
    preferPlans: new Set(options.preferPlans ?? PREFERRED_PLANS),
    affinity: options.affinity ?? true,
    maxWait: options.maxWait ?? 0,
    maxReplayBytes: options.maxReplayBytes ?? MAX_REPLAY_BYTES,
    codexVersion: options.codexVersion ?? CODEX_VERSION,
    learned: { refused: new RefusedParts(), items: new ServedItems() },
    // read when first needed: a scoped run is asked for each name
    debug: () => debug ??= isDebug(),
    strategy: () => options.strategy ?? strategyOf(account.cache.state),
    warnOnce,
    warnProcess: once((text) => process.emitWarning(text, "CodexRotator")),
  };
}

function accountContext(
  options: RotatorOptions,
  store: Store,
  { emit, warnOnce, endsSoon }:
    & Pick<AccountContext, "emit" | "endsSoon">
    & Pick<RotatorContext, "warnOnce">,
): AccountContext {
  const { now = Date.now, fetch = systemFetch } = options;
  const sources = policySources(environment, options.credits);
  const accounts = new AccountPool();
  const cache = new StateCache(store, {
    now,
    find: recordOfLogin,
    merge: mergeRecord,
    onChange: () => accounts.invalidate(),
    onLoad: (state) => {
      const policy = policyOf(sources, state);
      const read = capPolicy(options.creditCaps, state.settings.creditCaps);
      for (const { warning } of [policy, read]) if (warning) warnOnce(warning);
      accounts.capPolicy = read;
      accounts.load(state, policy, now());
    },
    onWriteError: (error) => {
      const reason = `The store could not be written: ${messageOf(error)}`;
      emit({ type: "warning", reason });
    },
    onOutOfReach: (error) => {
      const reason =
        `The store is out of reach; what was read last goes on being used: ${
          messageOf(error)
        }`;
      emit({ type: "warning", reason });
    },
  });
  return {
    store,
    cache,
    accounts,
    backend: checkedBase(options.backend ?? DEFAULT_BACKEND, "backend"),
    issuer: checkedBase(options.issuer ?? DEFAULT_ISSUER, "issuer"),
    endsSoon,
    fetch,
    now,
    emit,
  };
}

function openStore(
  store: RotatorOptions["store"],
  onWarning: (message: string) => void,
): { store: Store; name: string; path?: string } {
  if (typeof store === "object" && !(store instanceof URL)) {
    const { path, name = path } = store as { path?: unknown; name?: unknown };
    return {
      store,
      name: typeof name === "string" ? name : "custom store",
      ...(typeof path === "string" ? { path } : {}),
    };
  }
  if (typeof store === "string" && isDatabase(store)) {
    throw new TypeError(
      'The option "store" is the URL of a database; pass postgresStore(url) of "@codex-rotator/core/postgres"',
    );
  }
  const opened = jsonStore(store ?? defaultStorePath(), { onWarning });
  return { store: opened, name: opened.path, path: opened.path };
}

function ledgerSink(
  option: RotatorOptions["ledger"],
  store: Store,
): LedgerSink | undefined {
  if (option === false) return undefined;
  if (typeof option === "function") {
    return {
      append(entries) {
        for (const entry of entries) option(entry);
        return Promise.resolve();
      },
    };
  }
  if (typeof option === "string") return new LedgerFile(option);
  if (option instanceof URL) return new LedgerFile(fileURLToPath(option));
  if (store.ledger) return store.ledger;
  const folder = folderOf(store);
  return folder === undefined ? undefined : new LedgerFile(folder);
}

/** One variable of this process, read when asked for. */
function environment(name: string): string | undefined {
  return process.env[name];
}

const DEBUG_NAMES = ["CODEX_ROTATOR_DEBUG", "OPENCODE_MULTI_AUTH_DEBUG"];

function isDebug(): boolean {
  try {
    const value = readFirst(DEBUG_NAMES, environment);
    return value !== undefined && value !== "" && value !== "0";
  } catch {
    return false;
  }
}

/** A callback that throws must not disturb the request. */
function safely(
  onEvent: ((event: RotatorEvent) => void) | undefined,
): (event: RotatorEvent) => void {
  if (!onEvent) return () => {};
  return (event) => {
    try {
      const done: unknown = onEvent(event);
      if (done instanceof Promise) done.catch(() => {});
    } catch {
      // its owner's trouble
    }
  };
}
