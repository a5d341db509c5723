/**
 * How a stand-in is started, and what can be done with it.
 *
 * @module
 */

import type {
  FakeAccount,
  FakeAccountOptions,
  FakeLogEntry,
  FakeTokens,
} from "./fake_types.ts";

/** How a stand-in starts. */
export interface FakeCodexOptions {
  /**
   * Its accounts by name.
   *
   * @default none
   */
  accounts?: Record<string, FakeAccountOptions>;
  /**
   * The clock, epoch ms, for all that depends on time but `delayMs`.
   *
   * @default Date.now
   */
  now?: () => number;
  /**
   * The port.
   *
   * @default any free one
   */
  port?: number;
  /**
   * Refuses request bodies that the real backend refuses.
   *
   * @default true
   */
  strict?: boolean;
  /**
   * The path of the backend's URL, "" for none.
   *
   * @default "/backend-api"
   */
  backendPath?: string;
  /**
   * Where, below the backend's URL, usage is answered; others are 404.
   *
   * @default ["/wham/usage"], or ["/api/codex/usage"] where `backendPath` lacks "/backend-api"
   */
  usagePaths?: readonly string[];
  /**
   * Lifetime of access tokens, ms.
   *
   * @default 1 hour
   */
  accessLifetimeMs?: number;
  /**
   * A spent refresh token that is shown again revokes its successors.
   *
   * @default true
   */
  revokeFamilyOnReuse?: boolean;
  /**
   * The ports of `http://localhost:PORT/auth/callback` that a browser login may return to.
   *
   * @default [1455, 1457]
   */
  redirectPorts?: readonly number[];
  /**
   * Seconds between two polls of a device login.
   *
   * @default 5
   */
  deviceInterval?: number;
}

/** A running stand-in. */
export interface FakeCodex extends AsyncDisposable {
  /** The backend's URL, for example `http://127.0.0.1:8080/backend-api`. */
  readonly backend: string;
  /** The issuer's URL, for example `http://127.0.0.1:8080/issuer`. */
  readonly issuer: string;
  /** All requests, in the order in which they arrived. */
  readonly log: readonly FakeLogEntry[];
  /** Those that drew purchased credits. */
  readonly charged: readonly FakeLogEntry[];
  /**
   * What a well-behaved client never does: a spent refresh token shown again, a
   * turn state or an account id sent with another account's token, a FedRAMP
   * header missing or too many. Names accounts, holds no tokens.
   */
  readonly violations: readonly string[];
  /** A marker in every token, to search outputs for leaks. */
  readonly canary: string;
  /** Where usage is answered; live. */
  usagePaths: readonly string[];
  /** Whom a browser login signs in; null: the page asks. */
  signInAs: string | null;
  /** Whether a device may sign in; false: 404. */
  deviceLogin: boolean;
  /** The live account of this name. Throws when there is none. */
  account(name: string): FakeAccount;
  /** Adds an account, or replaces the one of this name; its tokens stay good. */
  addAccount(name: string, options?: FakeAccountOptions): FakeAccount;
  /**
   * Signs an account in.
   *
   * @param name The account.
   * @param options `lifetimeMs` of the access token; a negative one has expired.
   * @returns The tokens of a new login.
   */
  tokens(name: string, options?: { lifetimeMs?: number }): FakeTokens;
  /**
   * Revokes the tokens that an account has. New logins are not affected.
   *
   * @param name The account.
   * @param what Only the access tokens, or the refresh tokens as well.
   */
  revoke(name: string, what: "access" | "all"): void;
  /** Approves the device login that shows this code. */
  approveDevice(userCode: string, account: string): void;
  /** Denies it. */
  denyDevice(userCode: string): void;
  /**
   * Waits for a request, without guessing how long it takes.
   *
   * @param matches Called for the requests in the log and whenever one changes.
   * @param options `timeoutMs`, default 10 seconds, rejects.
   */
  seen(
    matches: (entry: FakeLogEntry) => boolean,
    options?: { timeoutMs?: number },
  ): Promise<FakeLogEntry>;
  /** Forgets the requests so far; `n` counts on. */
  clearLog(): void;
  /** Cuts all connections and frees the port. */
  close(): Promise<void>;
}
