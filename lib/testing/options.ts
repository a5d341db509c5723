/**
 * How the stand-in of the backend starts.
 *
 * @module
 */
import type { FakeAccountOptions } from "./types.ts";

/** How a stand-in starts. */
export interface FakeCodexOptions {
  /** Its accounts by name (default none). */
  accounts?: Record<string, FakeAccountOptions>;
  /** The clock for all that depends on time but delays (epoch ms, default `Date.now`). */
  now?: () => number;
  /** Default any free one. */
  port?: number;
  /** The path of the backend's URL, "" for none (default "/backend-api"). */
  backendPath?: string;
  /**
   * Where, below the backend's URL, usage is answered; others are 404 (default
   * "/wham/usage", or "/api/codex/usage" where `backendPath` lacks "/backend-api").
   */
  usagePaths?: readonly string[];
  /** Lifetime of access tokens (ms, default 1 hour). */
  accessLifetimeMs?: number;
  /** A spent refresh token that is shown again revokes its successors (default true). */
  revokeFamilyOnReuse?: boolean;
  /** The ports of `http://localhost:PORT/auth/callback` that a browser login may return to (default 1455 and 1457). */
  redirectPorts?: readonly number[];
  /** Between two polls of a device login (seconds, default 5). */
  deviceInterval?: number;
}
